//! Properties of the E-step on tensors.

use crate::common::difference::largest_difference;
use burn::tensor::{Device, Tensor, TensorData};
use mpo::dual::{DualForm, DualSolution};
use mpo::{ActionCost, EStep, EStepConfig, EStepSolution, Error, TemperatureSolver, action_penalty};
use proptest::collection::vec;
use proptest::prelude::*;

const GRADIENT_STEP: TemperatureSolver =
    TemperatureSolver::GradientStep { learning_rate: 0.1, initial_temperature: 1.0 };

/// One batch of values, `[states, samples]`.
#[derive(Debug, Clone)]
struct Batch {
    values: Vec<f32>,
    samples: usize,
}

impl Batch {
    fn tensor(&self) -> Tensor<2> {
        let shape = [self.values.len() / self.samples, self.samples];
        Tensor::from_data(TensorData::new(self.values.clone(), shape), &Device::flex())
    }
}

/// Values of any scale and offset.
fn batch() -> impl Strategy<Value = Batch> {
    let scale = (-6.0..6.0_f32).prop_map(|exponent| 10_f32.powf(exponent));
    let offset = prop_oneof![Just(0.0), -1e6..1e6_f32];
    (1..5_usize, 2..9_usize, scale, offset).prop_flat_map(|(states, samples, scale, offset)| {
        vec(-1.0..1.0_f32, states * samples).prop_map(move |values| Batch {
            values: values.iter().map(|value| offset + scale * value).collect(),
            samples,
        })
    })
}

fn e_step(epsilon: f64, solver: TemperatureSolver, form: DualForm) -> EStep {
    EStep::new(EStepConfig { epsilon, solver, form, minimum_temperature: 0.0, ..EStepConfig::default() })
        .unwrap()
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter().collect()
}

/// Softmax of the values at a temperature, or the best values alone.
fn softmax(batch: &Batch, temperature: f64) -> Vec<f64> {
    let states = batch.values.chunks(batch.samples).map(|state| {
        let top = state.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let below = state.iter().map(|&value| f64::from(value) - f64::from(top));
        let masses = below.map(|below| match temperature {
            0.0 => f64::from(below == 0.0),
            _ => (below / temperature).exp(),
        });
        let masses: Vec<f64> = masses.collect();
        let sum: f64 = masses.iter().sum();
        masses.into_iter().map(move |mass| mass / sum)
    });
    states.flatten().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// One solver for batches of all scales in turn gives what a fresh one gives for each.
    #[test]
    fn batches_are_solved_whatever_came_before(batches in vec(batch(), 1..5), epsilon in 0.001..0.5_f64) {
        let mut used = e_step(epsilon, TemperatureSolver::Exact, DualForm::Stable);
        for batch in &batches {
            let EStepSolution { weights, dual, .. } = used.solve(batch.tensor(), None).unwrap();
            prop_assert_eq!(weights.dims(), batch.tensor().dims());
            let weights = numbers(weights);
            let expected = softmax(batch, dual.temperature);
            prop_assert!(largest_difference(&weights, &expected) <= 1e-7);
            prop_assert!(dual.kl <= epsilon);
            prop_assert!(!dual.interior || dual.kl >= (1.0 - 1e-6) * epsilon, "{dual:?}");
            let fresh = e_step(epsilon, TemperatureSolver::Exact, DualForm::Stable).solve(batch.tensor(), None).unwrap();
            prop_assert_eq!(dual.interior, fresh.dual.interior);
            prop_assert!(largest_difference(&weights, &numbers(fresh.weights)) <= 1e-6);
        }
    }

    /// Actions that are all listed: a uniform prior is none, and an action with k times the probability of
    /// another counts as k samples of it.
    #[test]
    fn a_prior_counts_as_so_many_samples(
        batch in batch(),
        copies in vec(1..4_usize, 8),
        epsilon in 0.001..0.5_f64,
    ) {
        let solve = |values: &Batch| {
            e_step(epsilon, TemperatureSolver::Exact, DualForm::Stable).solve(values.tensor(), None).unwrap()
        };
        let with_prior = |prior: Vec<f32>| {
            let prior = Tensor::from_data(TensorData::new(prior, batch.tensor().dims()), &Device::flex());
            let mut e_step = e_step(epsilon, TemperatureSolver::Exact, DualForm::Stable);
            e_step.solve(batch.tensor(), Some(prior)).unwrap()
        };
        let uniform = with_prior(vec![1.0 / batch.samples as f32; batch.values.len()]);
        prop_assert!(largest_difference(&numbers(uniform.weights), &numbers(solve(&batch).weights)) <= 1e-6);

        let copies = &copies[..batch.samples];
        let count: usize = copies.iter().sum();
        let states = batch.values.len() / batch.samples;
        let prior = copies.iter().map(|&copies| copies as f32 / count as f32);
        let listed = with_prior(prior.collect::<Vec<_>>().repeat(states));
        let repeated = batch.values.chunks(batch.samples).flat_map(|state| {
            state.iter().zip(copies).flat_map(|(&value, &copies)| std::iter::repeat_n(value, copies))
        });
        let sampled = solve(&Batch { values: repeated.collect(), samples: count });
        let weights = numbers(sampled.weights);
        let mut weights = weights.iter();
        let summed = copies.repeat(states).into_iter().map(|copies| weights.by_ref().take(copies).sum::<f64>());
        prop_assert!(largest_difference(&numbers(listed.weights), &summed.collect::<Vec<_>>()) <= 1e-5);
        prop_assert!((listed.dual.kl - sampled.dual.kl).abs() <= 1e-6);
    }

    /// Whatever the solver and the form, weights and temperature of finite values are finite.
    #[test]
    fn finite_values_give_finite_numbers(
        batches in vec(batch(), 1..5),
        epsilon in 0.001..2.5_f64,
        solver in prop_oneof![Just(TemperatureSolver::Exact), Just(GRADIENT_STEP)],
        form in prop_oneof![Just(DualForm::Stable), Just(DualForm::Unstable)],
    ) {
        let mut e_step = e_step(epsilon, solver, form);
        for batch in batches {
            let EStepSolution { weights, dual, .. } = e_step.solve(batch.tensor(), None).unwrap();
            let DualSolution { temperature, value, kl, gap, .. } = dual;
            prop_assert!(temperature.is_finite() && temperature >= 0.0 && gap.is_finite(), "{dual:?}");
            // Only where eq. 8 as printed overflows at a temperature that is not its own choice there is no
            // value.
            let overflows = solver == GRADIENT_STEP && form == DualForm::Unstable;
            prop_assert!(value.is_finite() && kl.is_finite() || overflows && kl == f64::INFINITY, "{dual:?}");
            for state in numbers(weights).chunks(batch.samples) {
                prop_assert!(state.iter().all(|&weight| (0.0..=1.0).contains(&weight)));
                prop_assert!((state.iter().sum::<f64>() - 1.0).abs() <= 1e-6);
            }
        }
    }

    /// The gradient-step solver against Adam written out.
    #[test]
    fn gradient_steps_are_adam_on_the_softplus_parameter(
        batches in vec(batch(), 8),
        epsilon in 0.001..0.5_f64,
        learning_rate in 0.001..1.0_f64,
        initial_temperature in 0.01..100.0_f64,
    ) {
        let solver = TemperatureSolver::GradientStep { learning_rate, initial_temperature };
        let mut e_step = e_step(epsilon, solver, DualForm::Stable);
        let mut x = initial_temperature.exp_m1().ln();
        let (mut first, mut second) = (0.0, 0.0);
        for (step, batch) in batches.iter().enumerate() {
            let EStepSolution { weights, dual, .. } = e_step.solve(batch.tensor(), None).unwrap();
            let temperature = x.exp().ln_1p() + 1e-8;
            let deviation = dual.temperature / temperature - 1.0;
            prop_assert!(deviation.abs() <= 1e-8, "{} for {temperature}", dual.temperature);
            prop_assert!(largest_difference(&numbers(weights), &softmax(batch, temperature)) <= 1e-6);
            let gradient = (epsilon - dual.kl) * x.exp() / (1.0 + x.exp());
            first = 0.9 * first + 0.1 * gradient;
            second = 0.999 * second + 0.001 * gradient * gradient;
            let power = step as f64 + 1.0;
            let (mean, square) = (first / (1.0 - 0.9_f64.powf(power)), second / (1.0 - 0.999_f64.powf(power)));
            x -= learning_rate * mean / (f64::sqrt(square) + 1e-8);
        }
    }

    /// Minus the distance to the box [-1, 1]^n.
    #[test]
    fn the_action_penalty_is_the_distance_out_of_bounds(
        actions in vec(-3.0..3.0_f32, 2 * 3 * 4),
    ) {
        let tensor = Tensor::from_data(TensorData::new(actions.clone(), [2, 3, 4]), &Device::flex());
        let expected: Vec<f64> = actions
            .chunks(4)
            .map(|action| {
                let outside = action.iter().map(|&a| (f64::from(a).abs() - 1.0).max(0.0));
                -outside.map(|outside| outside * outside).sum::<f64>().sqrt()
            })
            .collect();
        let penalty = action_penalty(tensor);
        prop_assert_eq!(penalty.dims(), [2, 3]);
        prop_assert!(largest_difference(&numbers(penalty), &expected) <= 1e-6);
    }

    /// Minus the sum of the squared components.
    #[test]
    fn effort_is_the_squared_length(actions in vec(-3.0..3.0_f32, 2 * 3 * 4)) {
        let tensor = Tensor::from_data(TensorData::new(actions.clone(), [2, 3, 4]), &Device::flex());
        let expected: Vec<f64> =
            actions.chunks(4).map(|action| -action.iter().map(|&a| f64::from(a).powi(2)).sum::<f64>()).collect();
        let cost = ActionCost::Effort.of(tensor);
        prop_assert_eq!(cost.dims(), [2, 3]);
        prop_assert!(largest_difference(&numbers(cost), &expected) <= 1e-5);
    }
}

/// On one batch the gradient steps arrive where the exact solver goes at once.
#[test]
fn gradient_steps_converge_to_the_exact_temperature() {
    let values = Tensor::<2>::from_floats([[0.0, 1.0, 2.0, -1.0], [5.0, 5.5, 8.0, 4.0]], &Device::flex());
    let exact = e_step(0.1, TemperatureSolver::Exact, DualForm::Stable).solve(values.clone(), None).unwrap();
    let mut approximate = e_step(0.1, GRADIENT_STEP, DualForm::Stable);
    let mut temperature = 0.0;
    for _ in 0..2000 {
        temperature = approximate.solve(values.clone(), None).unwrap().dual.temperature;
    }
    assert!((temperature / exact.dual.temperature - 1.0).abs() < 1e-4, "{temperature}, {exact:?}");
}

#[test]
fn actions_within_bounds_cost_nothing() {
    let actions = Tensor::<3>::from_floats([[[1.0, -1.0], [0.3, 0.0]]], &Device::flex());
    assert_eq!(numbers(action_penalty(actions)), [0.0, 0.0]);
}

/// A refused batch leaves the solver as it was.
#[test]
fn bad_values_are_refused_and_change_nothing() {
    let device = Device::flex();
    let good = Tensor::<2>::from_floats([[0.0, 1.0, 5.0], [2.0, 1.5, 1.0]], &device);
    for solver in [TemperatureSolver::Exact, GRADIENT_STEP] {
        let mut disturbed = e_step(0.1, solver, DualForm::Stable);
        let mut expected = disturbed.clone();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let values = Tensor::<2>::from_floats([[0.0, 1.0, 5.0], [2.0, bad, 1.0]], &device);
            match disturbed.solve(values, None).unwrap_err() {
                Error::NonFinite { place: "values", index: 4, value } => {
                    assert_eq!(value.to_string(), bad.to_string());
                }
                other => panic!("{other:?}"),
            }
        }
        for shape in [[0, 3], [2, 0]] {
            match disturbed.solve(Tensor::zeros(shape, &device), None).unwrap_err() {
                Error::Shape { place: "action values", shape: refused, .. } => assert_eq!(refused, shape),
                other => panic!("{other:?}"),
            }
        }
        for _ in 0..3 {
            let (disturbed, expected) =
                (disturbed.solve(good.clone(), None), expected.solve(good.clone(), None));
            assert_eq!(disturbed.unwrap().dual, expected.unwrap().dual);
        }
    }
}

#[test]
fn bad_settings_are_refused_by_name() {
    let refused = |config: EStepConfig| match EStep::new(config).unwrap_err() {
        Error::Config { field, value, .. } => (field, value),
        other => panic!("{other:?}"),
    };
    let config = EStepConfig::default;
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let value = format!("{bad:?}");
        let epsilon = EStepConfig { epsilon: bad, ..config() };
        assert_eq!(refused(epsilon), ("EStepConfig::epsilon", value.clone()));
        for (learning_rate, initial_temperature, field) in
            [(bad, 1.0, "GradientStep::learning_rate"), (0.1, bad, "GradientStep::initial_temperature")]
        {
            let solver = TemperatureSolver::GradientStep { learning_rate, initial_temperature };
            assert_eq!(refused(EStepConfig { solver, ..config() }), (field, value.clone()));
        }
    }
    for bad in [-1e-9, f64::NAN, f64::INFINITY] {
        let bound = EStepConfig { minimum_temperature: bad, ..config() };
        assert_eq!(refused(bound), ("EStepConfig::minimum_temperature", format!("{bad:?}")));
    }
    assert_eq!(EStep::new(config()).unwrap().config(), &config());
}

/// The lowest temperature holds where the optimum lies below it, and only there.
#[test]
fn the_minimum_temperature_holds() {
    let values = Tensor::<2>::from_floats([[0.0, 1.0, 5.0], [2.0, 1.5, 1.0]], &Device::flex());
    let solve = |minimum_temperature| {
        let config = EStepConfig { minimum_temperature, ..EStepConfig::default() };
        EStep::new(config).unwrap().solve(values.clone(), None).unwrap().dual
    };
    let free = solve(0.0);
    let low = solve(0.5 * free.temperature);
    assert!(low.interior && (low.temperature / free.temperature - 1.0).abs() < 1e-7, "{low:?}, {free:?}");
    let high = solve(2.0 * free.temperature);
    assert!(!high.interior && high.kl < free.kl, "{high:?}");
    assert_eq!(high.temperature, 2.0 * free.temperature);
}
