//! The optimizer against Adam written out, and the activations against the standard library.

use crate::common::double::{numbers, tensor, tracked};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use mpo::Error;
use mpo::networks::{Activation, Optimizer, OptimizerConfig, follow};
use proptest::collection::vec;
use proptest::prelude::*;

/// Parameters of two shapes, and one that no loss depends on.
#[derive(Module, Debug)]
struct Parameters {
    vector: Param<Tensor<1>>,
    matrix: Param<Tensor<2>>,
    idle: Param<Tensor<1>>,
}

impl Parameters {
    fn zeros() -> Self {
        Self {
            vector: Param::from_tensor(tracked(tensor(vec![0.0; 2], [2]))),
            matrix: Param::from_tensor(tracked(tensor(vec![0.0; 4], [2, 2]))),
            idle: Param::from_tensor(tracked(tensor(vec![0.5], [1]))),
        }
    }

    /// A loss with this gradient, vector first.
    fn linear(&self, gradient: &[f64]) -> Tensor<1> {
        let precision = self.vector.val().dtype();
        let constant = |part: &[f64]| Tensor::from_inner(tensor(part.to_vec(), [part.len()]).cast(precision));
        let of_vector = self.vector.val() * constant(&gradient[..2]);
        let of_matrix = self.matrix.val().reshape([4]) * constant(&gradient[2..]);
        of_vector.sum() + of_matrix.sum()
    }

    fn numbers(&self) -> Vec<f64> {
        let (vector, matrix) = (self.vector.val().without_autodiff(), self.matrix.val().without_autodiff());
        [numbers(vector.cast(DType::F64)), numbers(matrix.cast(DType::F64))].concat()
    }
}

/// Makes single precision of every parameter: what a CPU steps by on plain numbers.
struct Single;

impl ModuleMapper for Single {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|old| Tensor::from_inner(old.inner().cast(DType::F32)).require_grad())
    }
}

/// Adam by the book (arXiv 1412.6980, algorithm 1), after clipping by the norm over all parameters.
#[derive(Default)]
struct Adam {
    parameters: [f64; 6],
    first: [f64; 6],
    second: [f64; 6],
    steps: i32,
}

impl Adam {
    fn step(&mut self, gradient: &[f64], config: &OptimizerConfig) {
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        // As PyTorch's `clip_grad_norm_`.
        let factor = config.gradient_norm.map_or(1.0, |limit| (limit / (norm + 1e-6)).min(1.0));
        self.steps += 1;
        for (index, gradient) in gradient.iter().map(|g| g * factor).enumerate() {
            let (first, second) = (&mut self.first[index], &mut self.second[index]);
            *first = 0.9 * *first + 0.1 * gradient;
            *second = 0.999 * *second + 0.001 * gradient * gradient;
            let first = *first / (1.0 - 0.9_f64.powi(self.steps));
            let second = *second / (1.0 - 0.999_f64.powi(self.steps));
            self.parameters[index] -= config.learning_rate * first / (second.sqrt() + config.epsilon);
        }
    }
}

/// Gradients of several steps, each parameter's of a size of its own in each step.
fn gradients() -> impl Strategy<Value = Vec<Vec<f64>>> {
    let gradient =
        (-1.0..1.0_f64, -8.0..2.0_f64).prop_map(|(sign, exponent)| sign.signum() * 10_f64.powf(exponent));
    vec(vec(gradient, 6), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn steps_are_those_of_adam(
        gradients in gradients(),
        learning_rate in 1e-4..1.0_f64,
        gradient_norm in prop_oneof![Just(None), (0.01..10.0_f64).prop_map(Some)],
        epsilon in prop_oneof![Just(1e-8), (-8.0..0.0_f64).prop_map(|exponent| 10_f64.powf(exponent))],
    ) {
        let config = OptimizerConfig { learning_rate, gradient_norm, epsilon };
        let mut optimizer = Optimizer::new(config.clone()).unwrap();
        let mut adam = Adam::default();
        let mut parameters = Parameters::zeros();
        let mut single = (Optimizer::new(config.clone()).unwrap(), Parameters::zeros().map(&mut Single));
        for gradient in &gradients {
            let loss = parameters.linear(gradient);
            parameters = optimizer.step(parameters, loss);
            adam.step(gradient, &config);
            for (measured, expected) in parameters.numbers().iter().zip(adam.parameters) {
                // Burn holds β₁ and β₂ in single precision.
                let error = (measured - expected).abs() / learning_rate;
                prop_assert!(error <= 1e-4, "{measured} in place of {expected}");
            }
            let loss = single.1.linear(gradient);
            single.1 = single.0.step(single.1, loss);
            prop_assert_eq!(single.1.vector.val().dtype(), DType::F32);
            for (measured, expected) in single.1.numbers().iter().zip(adam.parameters) {
                let error = (measured - expected).abs() / learning_rate;
                prop_assert!(error <= 1e-3, "{measured} in place of {expected}, in single precision");
            }
        }
        prop_assert_eq!(numbers(parameters.idle.val().inner()), vec![0.5]);
    }
}

#[test]
fn bad_settings_are_refused_by_name() {
    let good = OptimizerConfig { learning_rate: 0.1, gradient_norm: None, epsilon: 1e-8 };
    let below_single_precision = OptimizerConfig { epsilon: 1e-60, ..good.clone() };
    assert!(matches!(Optimizer::new(below_single_precision), Err(Error::Config { .. })));
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        for (config, expected) in [
            (OptimizerConfig { learning_rate: bad, ..good.clone() }, "OptimizerConfig::learning_rate"),
            (OptimizerConfig { gradient_norm: Some(bad), ..good.clone() }, "OptimizerConfig::gradient_norm"),
            (OptimizerConfig { epsilon: bad, ..good.clone() }, "OptimizerConfig::epsilon"),
        ] {
            match Optimizer::new(config).unwrap_err() {
                Error::Config { field, value, .. } => {
                    assert_eq!((field, value), (expected, format!("{bad:?}")))
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// An activation's values and slopes in single precision.
fn applied(activation: Activation, at: &[f64]) -> [Vec<f64>; 2] {
    let data = TensorData::new(at.to_vec(), [at.len()]);
    let x = Tensor::<1>::from_data(data, (&Device::flex().autodiff(), DType::F32)).require_grad();
    let y = activation.forward(x.clone());
    let slopes = x.grad(&y.clone().sum().backward()).unwrap();
    [y, slopes].map(|tensor| tensor.into_data().iter().collect())
}

fn check_activation(activation: Activation, value: fn(f64) -> f64, slope: fn(f64) -> f64) {
    let at: Vec<f64> = (-5000..=5000).map(|step| f64::from(step as f32 / 100.0)).collect();
    let [values, slopes] = applied(activation, &at);
    for (index, &x) in at.iter().enumerate() {
        let (y, expected) = (values[index], value(x));
        assert!(
            (y - expected).abs() <= 3e-7 * expected.abs().max(1.0),
            "{activation:?}({x}) = {y}, not {expected}"
        );
        let (dy, expected) = (slopes[index], slope(x));
        assert!((dy - expected).abs() <= 1e-6, "{activation:?}'({x}) = {dy}, not {expected}");
    }
}

#[test]
fn relu_is_the_positive_part() {
    check_activation(Activation::Relu, |x| x.max(0.0), |x| f64::from(x > 0.0));
}

#[test]
fn elu_is_the_exponential_below_zero() {
    check_activation(Activation::Elu, |x| if x > 0.0 { x } else { x.exp_m1() }, |x| x.min(0.0).exp());
}

#[test]
fn tanh_is_the_hyperbolic_tangent() {
    check_activation(Activation::Tanh, f64::tanh, |x| x.cosh().powi(-2));
}

/// θ̄ ← θ̄ + rate (θ - θ̄) from 0 towards 1 leaves 1 - (1 - rate)ᵏ after k calls, in every parameter.
#[test]
fn averages_follow_exponentially() {
    let zeros = Parameters::zeros().valid();
    let ones = zeros.clone().map(&mut One);
    for rate in [0.002, 0.3, 1.0] {
        let mut average = zeros.clone();
        for calls in 1..=20 {
            average = follow(average, &ones, rate);
            let expected = 1.0 - (1.0 - rate).powi(calls);
            for number in average.numbers() {
                assert!((number - expected).abs() < 1e-12, "{rate}, {calls}: {number}, {expected}");
            }
        }
    }
}

/// Sets every parameter to 1.
struct One;

impl ModuleMapper for One {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.ones_like())
    }
}
