//! The dual solved in tensor operations, beside the host's solution.

use crate::common::difference::largest_difference;
use burn::tensor::{Device, Tensor, TensorData};
use mpo::dual::DualForm;
use mpo::{EStep, EStepConfig, EStepSolution, Error, Rng, Stream, TemperatureSolver};
use proptest::prelude::*;

fn e_step(solver: TemperatureSolver, epsilon: f64, minimum_temperature: f64) -> EStep {
    EStep::new(EStepConfig { epsilon, solver, minimum_temperature, ..EStepConfig::default() }).unwrap()
}

const ON_DEVICE: TemperatureSolver = TemperatureSolver::OnDevice { steps: 12 };

fn tensor(values: Vec<f32>, samples: usize) -> Tensor<2> {
    let shape = [values.len() / samples, samples];
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn weights(solution: &EStepSolution) -> Vec<f32> {
    solution.weights.clone().into_data().try_into_vec().unwrap()
}

/// Both solutions of the same values.
fn both(values: &[f32], samples: usize, epsilon: f64, minimum: f64) -> [EStepSolution; 2] {
    [TemperatureSolver::Exact, ON_DEVICE]
        .map(|solver| e_step(solver, epsilon, minimum).solve(tensor(values.to_vec(), samples)).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn it_agrees_with_the_host(
        seed in any::<u64>(), states in 1..30_usize, samples in 2..65_usize,
        log_scale in -6.0..6.0_f64, log_epsilon in -3.0..-0.5_f64, skewed in any::<bool>(),
    ) {
        let mut rng = Rng::stream(seed, Stream::ActionSamples);
        let scale = 10_f64.powf(log_scale);
        let epsilon = 10_f64.powf(log_epsilon);
        let normal = |rng: &mut Rng| if skewed { rng.normal().exp() } else { rng.normal() };
        let values: Vec<f32> = (0..states * samples).map(|_| (scale * normal(&mut rng)) as f32).collect();
        let [host, device] = both(&values, samples, epsilon, 0.0);
        prop_assert_eq!(host.dual.interior, device.dual.interior);
        prop_assert!(device.dual.kl <= epsilon * (1.0 + 1e-5), "KL {} > {epsilon}", device.dual.kl);
        if host.dual.interior {
            prop_assert!(device.dual.kl >= epsilon * (1.0 - 2e-3), "KL {} << {epsilon}", device.dual.kl);
            let off = device.dual.temperature / host.dual.temperature - 1.0;
            prop_assert!(off.abs() <= 2e-3, "temperature off by {off}");
            let off = (device.dual.value - host.dual.value).abs();
            prop_assert!(off <= 1e-4 * scale * 10.0, "value off by {off} of {scale}");
        }
        prop_assert!(largest_difference(&weights(&host), &weights(&device)) <= 1e-3);
    }
}

#[test]
fn few_steps_from_the_last_temperature_are_enough() {
    let mut rng = Rng::stream(1, Stream::ActionSamples);
    let mut warm = e_step(TemperatureSolver::OnDevice { steps: 4 }, 0.1, 0.0);
    let mut last = f64::INFINITY;
    for _ in 0..5 {
        let values: Vec<f32> = rng.normals(256 * 20);
        let solution = warm.solve(tensor(values, 20)).unwrap();
        assert!(solution.dual.kl <= 0.1 * (1.0 + 1e-5));
        last = 1.0 - solution.dual.kl / 0.1;
    }
    assert!(last <= 1e-3, "KL falls short of epsilon by {last}");
}

#[test]
fn too_few_steps_stay_inside_the_constraint() {
    let values = Rng::stream(2, Stream::ActionSamples).normals(50 * 20);
    for steps in 1..6 {
        let mut e_step = e_step(TemperatureSolver::OnDevice { steps }, 0.01, 0.0);
        assert!(e_step.solve(tensor(values.clone(), 20)).unwrap().dual.kl <= 0.01 * (1.0 + 1e-5));
    }
}

#[test]
fn without_an_interior_optimum_it_takes_the_bound() {
    for (values, epsilon, minimum) in [
        (vec![3.0; 12], 0.1, 0.0),
        (vec![0.0; 12], 0.1, 0.0),
        (vec![3.0; 12], 0.1, 0.01),
        (vec![-7.0; 12], 0.1, 1e30),
        (vec![1.0, 2.0, 3.0, 3.0, 1.0, 1.0, 0.0, 0.0, 5.0, -1.0, 2.0, 7.0], 1.2, 0.0),
        (vec![1.0, 2.0, 3.0, 4.0, 1.0, 1.0, 0.0, 0.5, 5.0, -1.0, 2.0, 7.0], 0.1, 100.0),
        (vec![1e30, -1e30, 0.0, 1.0, 2.0, 3.0, -1e30, 1e30, 0.0, 5.0, 6.0, 7.0], 2.0, 0.0),
    ] {
        let [host, device] = both(&values, 4, epsilon, minimum);
        assert!(!host.dual.interior && !device.dual.interior, "{values:?}");
        assert!(
            (host.dual.temperature - device.dual.temperature).abs() <= 1e-5 * host.dual.temperature.max(1.0)
        );
        assert!(largest_difference(&weights(&host), &weights(&device)) <= 1e-5, "{values:?}");
    }
}

#[test]
fn the_unstable_form_and_no_steps_are_refused() {
    let config = EStepConfig { solver: ON_DEVICE, form: DualForm::Unstable, ..EStepConfig::default() };
    assert!(matches!(EStep::new(config), Err(Error::Config { field: "EStepConfig::form", .. })));
    let config = EStepConfig { solver: TemperatureSolver::OnDevice { steps: 0 }, ..EStepConfig::default() };
    assert!(matches!(EStep::new(config), Err(Error::Config { field: "OnDevice::steps", .. })));
}

#[test]
fn values_that_are_not_finite_are_refused() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut e_step = e_step(ON_DEVICE, 0.1, 0.0);
        let mut values = vec![1.0, 2.0, 3.0, 4.0];
        values[2] = bad;
        let refused = e_step.solve(tensor(values, 2));
        assert!(matches!(refused, Err(Error::NonFinite { .. })), "{bad}: {refused:?}");
        assert!(e_step.solve(tensor(vec![1.0, 2.0, 3.0, 4.0], 2)).is_ok());
    }
}
