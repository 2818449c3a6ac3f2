//! Properties of the M-step's closed-form gradient: it is that of the sampled loss, for any weights.

use crate::common::double::{numbers, tensor, tracked};
use crate::policies::{diagonal_matrix, entries, gradient_of, normals, policy, tracked_scale};
use burn::tensor::Tensor;
use mpo::Distribution;
use mpo::{Gaussian, Rng, Scale, Scatter, Statistics, Stream, policy_gradient};
use proptest::prelude::*;

/// A Lagrangian of the M-step: what was sampled, from which policy, and the multipliers.
struct Lagrangian {
    old: Gaussian,
    /// `[batch, samples, action]`.
    actions: Tensor<3>,
    /// `[batch, samples]`, in no way normalised.
    weights: Tensor<2>,
    multiplier_mean: Tensor<1>,
    multiplier_covariance: Tensor<1>,
    per_dimension: bool,
}

impl Lagrangian {
    fn new(rng: &mut Rng, states: usize, n: usize, full: bool, per_dimension: bool) -> Self {
        let samples = 7;
        let old = policy(rng, states, n, full);
        let constraints = if per_dimension { n } else { 1 };
        Self {
            actions: old.sample(normals(rng, [states, samples, n])),
            weights: normals(rng, [states, samples]).exp(),
            multiplier_mean: normals(rng, [constraints]).exp(),
            multiplier_covariance: normals(rng, [constraints]).exp() * 10.0,
            per_dimension,
            old,
        }
    }

    fn on_autodiff(self) -> Self {
        Self {
            old: Gaussian { mean: Tensor::from_inner(self.old.mean), scale: tracked_scale(self.old.scale) },
            actions: Tensor::from_inner(self.actions),
            weights: Tensor::from_inner(self.weights),
            multiplier_mean: Tensor::from_inner(self.multiplier_mean),
            multiplier_covariance: Tensor::from_inner(self.multiplier_covariance),
            per_dimension: self.per_dimension,
        }
    }

    /// -Σ_j w_j (log N(a_j; μ, Σ_k) + log N(a_j; μ_k, Σ)), `[batch, 1]`.
    fn sampled_loss(&self, policy: &Gaussian) -> Tensor<2> {
        let log_probability = |mean: &Gaussian, scale: &Gaussian| {
            let (mean, scale) = (mean.mean.clone(), scale.scale.clone());
            Gaussian { mean, scale }.log_probability(self.actions.clone())
        };
        let both = log_probability(policy, &self.old) + log_probability(&self.old, policy);
        -(both * self.weights.clone()).sum_dim(1)
    }

    fn value(&self, policy: &Gaussian) -> Tensor<1> {
        let kl = match self.per_dimension {
            true => policy.decoupled_kl_per_dimension(&self.old).unwrap(),
            false => policy.decoupled_kl(&self.old),
        };
        let penalty = kl.mean * self.multiplier_mean.clone().unsqueeze()
            + kl.covariance * self.multiplier_covariance.clone().unsqueeze();
        // A product, as Burn rounds the gradient of a division by a number to single precision.
        let share = 1.0 / policy.states() as f64;
        (self.sampled_loss(policy) + penalty.sum_dim(1)).sum() * share
    }

    fn statistics(&self) -> Statistics {
        Statistics::new(&self.old, self.actions.clone(), self.weights.clone())
    }

    /// The gradients with respect to the means and to the entries of the scale.
    fn gradient(&self, policy: &Gaussian) -> (Vec<f64>, Vec<f64>) {
        let (mean, covariance) = (&self.multiplier_mean, &self.multiplier_covariance);
        let gradient = policy_gradient(policy, &self.old, &self.statistics(), mean, covariance);
        (numbers(gradient.mean), numbers(entries(&gradient.scale)))
    }
}

/// The same kind of scale with other entries.
fn with_entries(scale: &Scale, entries: Vec<f64>) -> Scale {
    match scale {
        Scale::Diagonal(deviation) => Scale::Diagonal(tensor(entries, deviation.dims())),
        Scale::Cholesky(factor) => Scale::Cholesky(tensor(entries, factor.dims())),
    }
}

/// The largest difference, in units of the largest expected value.
fn deviation(measured: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(measured.len(), expected.len());
    let scale = expected.iter().fold(1e-3_f64, |scale, value| scale.max(value.abs()));
    let larger = |a: f64, b: f64| if b > a || b.is_nan() { b } else { a };
    measured.iter().zip(expected).map(|(a, b)| (a - b).abs() / scale).fold(0.0, larger)
}

/// Full, diagonal, and diagonal with a constraint a dimension.
fn kinds() -> impl Strategy<Value = (bool, bool)> {
    prop_oneof![Just((true, false)), Just((false, false)), Just((false, true))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn the_gradient_is_that_of_the_sampled_loss(
        seed in any::<u64>(), states in 1..4_usize, n in 1..7_usize, (full, per_dimension) in kinds(),
    ) {
        let rng = &mut Rng::stream(seed, Stream::Weights);
        let lagrangian = Lagrangian::new(rng, states, n, full, per_dimension);
        let policy = policy(rng, states, n, full);
        let (of_mean, of_scale) = lagrangian.gradient(&policy);

        let policy = Gaussian { mean: tracked(policy.mean), scale: tracked_scale(policy.scale) };
        let gradients = lagrangian.on_autodiff().value(&policy).backward();
        let expected = numbers(policy.mean.grad(&gradients).unwrap());
        prop_assert!(deviation(&of_mean, &expected) <= 1e-11, "{of_mean:?} {expected:?}");
        let expected = numbers(entries(&gradient_of(&policy.scale, &gradients)));
        prop_assert!(deviation(&of_scale, &expected) <= 1e-11, "{of_scale:?} {expected:?}");
    }

    /// The loss depends on the samples through their statistics alone.
    #[test]
    fn losses_differ_as_the_statistics_say(
        seed in any::<u64>(), states in 1..4_usize, n in 1..7_usize, full in any::<bool>(),
    ) {
        let rng = &mut Rng::stream(seed, Stream::Weights);
        let lagrangian = Lagrangian::new(rng, states, n, full, false);
        let statistics = lagrangian.statistics();
        let scatter = match statistics.scatter {
            Scatter::Full(scatter) => scatter,
            Scatter::Diagonal(diagonal) => diagonal_matrix(diagonal),
        };
        // W/2 (μ - m)ᵀ Σ_k⁻¹ (μ - m) + W/2 [log det Σ + tr(Σ⁻¹ S)].
        let of_statistics = |policy: &Gaussian| -> Tensor<2> {
            let shift = (policy.mean.clone() - statistics.mean.clone()).unsqueeze_dim(2);
            let distance: Tensor<2> = lagrangian.old.scale.whiten(shift).square().sum_dim(1).squeeze_dim(2);
            let ratio = policy.scale.whiten(policy.scale.whiten(scatter.clone()).transpose());
            let identity = diagonal_matrix(tensor(vec![1.0; states * n], [states, n]));
            let trace: Tensor<2> = (ratio * identity).sum_dim(1).sum_dim(2).squeeze_dim(2);
            let log_det: Tensor<2> = policy.scale.half_log_det().unsqueeze_dim(1) * 2.0;
            (distance + log_det + trace) * statistics.total.clone() * 0.5
        };
        let policies = [policy(rng, states, n, full), policy(rng, states, n, full)];
        let [sampled, expected] = [
            policies.each_ref().map(|policy| lagrangian.sampled_loss(policy)),
            policies.each_ref().map(of_statistics),
        ]
        .map(|[one, other]| numbers(one - other));
        prop_assert!(deviation(&sampled, &expected) <= 1e-10, "{sampled:?} {expected:?}");
        let total = numbers(lagrangian.weights.clone().sum_dim(1));
        prop_assert!(deviation(&numbers(statistics.total), &total) <= 1e-14);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_gradient_matches_finite_differences(
        seed in any::<u64>(), states in 1..3_usize, n in 1..7_usize, (full, per_dimension) in kinds(),
    ) {
        const STEP: f64 = 1e-5;
        let rng = &mut Rng::stream(seed, Stream::Weights);
        let lagrangian = Lagrangian::new(rng, states, n, full, per_dimension);
        let policy = policy(rng, states, n, full);
        let (of_mean, of_scale) = lagrangian.gradient(&policy);
        let slope = |moved: &dyn Fn(f64) -> Gaussian| {
            let [high, low] = [STEP, -STEP].map(|step| numbers(lagrangian.value(&moved(step)))[0]);
            (high - low) / (2.0 * STEP)
        };
        let moved = |values: &[f64], index: usize, step: f64| {
            let mut values = values.to_vec();
            values[index] += step;
            values
        };
        let means = numbers(policy.mean.clone());
        let slopes: Vec<f64> = (0..means.len())
            .map(|index| slope(&|step| Gaussian {
                mean: tensor(moved(&means, index, step), [states, n]),
                scale: policy.scale.clone(),
            }))
            .collect();
        prop_assert!(deviation(&of_mean, &slopes) <= 1e-6, "{of_mean:?} {slopes:?}");
        let scales = numbers(entries(&policy.scale));
        let slopes: Vec<f64> = (0..scales.len())
            .map(|index| slope(&|step| Gaussian {
                mean: policy.mean.clone(),
                scale: with_entries(&policy.scale, moved(&scales, index, step)),
            }))
            .collect();
        prop_assert!(deviation(&of_scale, &slopes) <= 1e-6, "{of_scale:?} {slopes:?}");
    }
}

/// A state whose samples all weigh nothing holds on to the old policy, as one with hardly any weight does.
#[test]
fn states_without_weight_are_held_by_the_trust_region() {
    for full in [true, false] {
        let [nothing, little] = [0.0, 1e-12].map(|weight| {
            let rng = &mut Rng::stream(5, Stream::Weights);
            let mut lagrangian = Lagrangian::new(rng, 2, 3, full, false);
            lagrangian.weights = lagrangian.weights * tensor(vec![weight, 1.0], [2, 1]);
            lagrangian.gradient(&policy(rng, 2, 3, full))
        });
        assert!(deviation(&nothing.0, &little.0) <= 1e-9, "{nothing:?} {little:?}");
        assert!(deviation(&nothing.1, &little.1) <= 1e-9, "{nothing:?} {little:?}");
    }
}
