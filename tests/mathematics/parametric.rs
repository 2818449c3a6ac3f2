//! The parametric E-step: its weights are advantages, and the policy follows their gradient.

use burn::tensor::Tensor;
use mpo::{
    Categorical, Distribution, EStep, EStepConfig, EStepKind, Gaussian, Objective, Rng, Scale, Stream,
    expected_advantage,
};

use crate::common::difference::largest_difference;
use crate::common::double::{numbers, tensor, tracked};
use crate::policies::normals;

fn rng(seed: u64) -> Rng {
    Rng::stream(seed, Stream::Replay)
}

/// A finite difference of the objective itself, in each place of some parameters.
fn differences(at: &Tensor<2>, objective: &dyn Fn(Tensor<2>) -> Tensor<1>) -> Vec<f64> {
    let shape = at.dims();
    (0..shape[0] * shape[1])
        .map(|place| {
            let moved = |step: f64| {
                let mut values = numbers(at.clone());
                values[place] += step;
                numbers(objective(tracked(tensor(values, shape))).inner())[0]
            };
            (moved(1e-5) - moved(-1e-5)) / 2e-5
        })
        .collect()
}

fn gradient(at: &Tensor<2>, objective: &dyn Fn(Tensor<2>) -> Tensor<1>) -> Vec<f64> {
    let tracked = tracked(at.clone());
    let gradients = objective(tracked.clone()).backward();
    numbers(tracked.grad(&gradients).unwrap())
}

fn gaussian(mean: Tensor<2>, deviation: Tensor<2>) -> Gaussian {
    Gaussian { mean, scale: Scale::Diagonal(deviation) }
}

#[test]
fn the_gradient_is_that_of_finite_differences() {
    let rng = &mut rng(1);
    let [old_mean, mean] = [0, 1].map(|_| normals(rng, [3, 2]) * 0.3);
    let [old_deviation, deviation] = [0, 1].map(|_| (normals(rng, [3, 2]) * 0.2).exp());
    let old = gaussian(old_mean, old_deviation);
    let actions = old.sample(normals(rng, [3, 9, 2]));
    let weights = normals(rng, [3, 9]);
    let apart = |tensor: &Tensor<2>| Tensor::from_inner(tensor.clone());
    let of = |policy: Gaussian| expected_advantage(&policy, &old, actions.clone(), weights.clone());
    let of_mean = |mean| of(gaussian(mean, apart(&deviation)));
    let of_deviation = |deviation| of(gaussian(apart(&mean), deviation));
    assert!(largest_difference(&gradient(&mean, &of_mean), &differences(&mean, &of_mean)) < 1e-8);
    let found = gradient(&deviation, &of_deviation);
    assert!(largest_difference(&found, &differences(&deviation, &of_deviation)) < 1e-8);
}

/// Q = -(a - c)²: E_π Q = -(μ - c)² - σ², whose gradient is -2 (μ - c) and -2 σ, from actions of another
/// policy.
#[test]
fn the_gradient_of_a_parabola_is_that_in_closed_form() {
    const SAMPLES: usize = 400_000;
    let one = |x: f64| tensor(vec![x], [1, 1]);
    let old = gaussian(one(0.1), one(0.5));
    let actions = old.sample(normals(&mut rng(2), [1, SAMPLES, 1]));
    let values = -(actions.clone() - 0.7).square().reshape([1, SAMPLES]);
    let config = EStepConfig { kind: EStepKind::Parametric, ..EStepConfig::default() };
    let solution = EStep::new(config).unwrap().solve(values, None).unwrap();
    assert_eq!((solution.objective, solution.dual.interior), (Objective::Advantage, true));
    let weights = tensor(solution.weights.into_data().convert::<f64>().try_into_vec().unwrap(), [1, SAMPLES]);
    assert!(numbers(weights.clone().sum())[0].abs() < 1e-5);
    let apart = |x: f64| Tensor::from_inner(one(x));
    let of = |policy: Gaussian| expected_advantage(&policy, &old, actions.clone(), weights.clone());
    for (mean, deviation) in [(0.1, 0.5), (0.2, 0.45)] {
        let found = [
            gradient(&one(mean), &|mean| of(gaussian(mean, apart(deviation))))[0],
            gradient(&one(deviation), &|deviation| of(gaussian(apart(mean), deviation)))[0],
        ];
        let expected = [-2.0 * (mean - 0.7), -2.0 * deviation];
        assert!(largest_difference(&found, &expected) < 0.02, "{found:?}, {expected:?}");
    }
}

/// Enumerated it is exact: ∂/∂logits of Σ_a π A is π (A - E_π A), whatever the policy that they were listed
/// by.
#[test]
fn the_gradient_of_an_enumeration_is_exact() {
    let rng = &mut rng(3);
    let (old, logits, values) = (normals(rng, [2, 5]), normals(rng, [2, 5]), normals(rng, [2, 5]));
    let old = Categorical::new(vec![old]).unwrap();
    let listed = old.enumerate().unwrap();
    let config = EStepConfig { kind: EStepKind::Parametric, ..EStepConfig::default() };
    let solution = EStep::new(config).unwrap().solve(values.clone(), Some(listed.probabilities)).unwrap();
    let weights = tensor(solution.weights.into_data().convert::<f64>().try_into_vec().unwrap(), [2, 5]);
    let found = gradient(&logits, &|logits| {
        expected_advantage(
            &Categorical::new(vec![logits]).unwrap(),
            &old,
            listed.actions.clone(),
            weights.clone(),
        )
    });
    let shares = numbers(Categorical::new(vec![logits]).unwrap().log_probabilities()[0].clone().exp());
    let values = numbers(values);
    for (place, found) in found.iter().enumerate() {
        let state = place / 5 * 5..place / 5 * 5 + 5;
        let mean: f64 = state.map(|other| shares[other] * values[other]).sum();
        let expected = shares[place] * (values[place] - mean) / 2.0;
        assert!((found - expected).abs() < 1e-7, "{found}, {expected}");
    }
}

/// In the mean over many draws, however few the samples, they are the true advantages.
#[test]
fn advantages_of_few_samples_are_not_biased() {
    const DRAWS: usize = 100_000;
    let numbers: Vec<f64> = {
        let mut rng = rng(4);
        (0..3 * DRAWS).map(|_| rng.normal()).collect()
    };
    let dual = mpo::dual::Dual::new(numbers.iter().copied(), 3, 0.1).unwrap();
    let weights = dual.advantages();
    // E Σ_j w_j x_j = E (x - E x)² = 1 of standard normal values.
    let mean = weights.iter().zip(&numbers).map(|(w, x)| w * x).sum::<f64>() / DRAWS as f64;
    assert!((mean - 1.0).abs() < 0.02, "{mean}");
    let alone = mpo::dual::Dual::new([3.0], 1, 0.1).unwrap().advantages();
    assert_eq!(alone, [0.0]);
}
