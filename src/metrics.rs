//! What an update reports.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::dual::DualSolution;
use crate::gaussian::Gaussian;
use crate::mstep::MStepReport;

/// The measures of one update, or their means over several. Constraints are given as realised KL / ε: 1 is on the
/// boundary. Where a constraint is one for each dimension, its measures are means over the dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Metrics {
    /// The critic's loss, mean over the batch of ½ (Q(s,a) - y)² or its Huber form.
    pub critic_loss: f64,
    /// η, in units of the critic's values.
    pub temperature: f64,
    /// g(η), an upper bound on the value that any weights within ε reach.
    pub dual: f64,
    /// mean_s KL(q ‖ 1/M) / ε.
    pub kl: f64,
    /// η (ε - KL), how far the weights may be from optimal.
    pub gap: f64,
    /// 1 where the temperature is an interior optimum, 0 where it is at its bound.
    pub interior: f64,
    /// The temperature of the action penalty; 0 without one.
    pub penalty_temperature: f64,
    /// C_μ / ε_μ before the last step on the policy.
    pub kl_mean: f64,
    /// C_Σ / ε_Σ before the last step on the policy.
    pub kl_covariance: f64,
    /// α_μ.
    pub multiplier_mean: f64,
    /// α_Σ.
    pub multiplier_covariance: f64,
    /// The mean of L_ii over batch and dimensions, of the target policy: for a diagonal covariance the standard
    /// deviation.
    pub standard_deviation: f64,
}

impl Metrics {
    fn combine(&mut self, other: &Self, combine: impl Fn(f64, f64) -> f64) {
        let Self {
            critic_loss,
            temperature,
            dual,
            kl,
            gap,
            interior,
            penalty_temperature,
            kl_mean,
            kl_covariance,
            multiplier_mean,
            multiplier_covariance,
            standard_deviation,
        } = self;
        for (mine, theirs) in [
            (critic_loss, other.critic_loss),
            (temperature, other.temperature),
            (dual, other.dual),
            (kl, other.kl),
            (gap, other.gap),
            (interior, other.interior),
            (penalty_temperature, other.penalty_temperature),
            (kl_mean, other.kl_mean),
            (kl_covariance, other.kl_covariance),
            (multiplier_mean, other.multiplier_mean),
            (multiplier_covariance, other.multiplier_covariance),
            (standard_deviation, other.standard_deviation),
        ] {
            *mine = combine(*mine, theirs);
        }
    }

    /// Reads what lies on the device, all at once.
    pub(crate) fn read(
        critic_loss: f64,
        dual: &DualSolution,
        epsilon: f64,
        penalty: Option<DualSolution>,
        report: MStepReport,
        old: &Gaussian,
    ) -> Self {
        let numbers = vec![
            report.kl_mean.mean(),
            report.kl_covariance.mean(),
            report.multiplier_mean.mean(),
            report.multiplier_covariance.mean(),
            old.scale.diagonal().mean(),
        ];
        let numbers = Tensor::cat(numbers, 0).into_data().convert::<f64>();
        let number = |index: usize| numbers.as_slice::<f64>().map_or(f64::NAN, |numbers| numbers[index]);
        Self {
            critic_loss,
            temperature: dual.temperature,
            dual: dual.value,
            kl: dual.kl / epsilon,
            gap: dual.gap,
            interior: f64::from(u8::from(dual.interior)),
            penalty_temperature: penalty.map_or(0.0, |penalty| penalty.temperature),
            kl_mean: number(0),
            kl_covariance: number(1),
            multiplier_mean: number(2),
            multiplier_covariance: number(3),
            standard_deviation: number(4),
        }
    }
}

/// The mean of the metrics of several updates.
#[derive(Debug, Clone, Default)]
pub(crate) struct MeanMetrics {
    sum: Metrics,
    count: u32,
}

impl MeanMetrics {
    pub(crate) fn add(&mut self, metrics: &Metrics) {
        self.sum.combine(metrics, |sum, value| sum + value);
        self.count += 1;
    }

    /// The mean so far, to begin anew; none where nothing was added.
    pub(crate) fn take(&mut self) -> Option<Metrics> {
        let Self { mut sum, count } = std::mem::take(self);
        let other = sum;
        sum.combine(&other, |sum, _| sum / f64::from(count));
        (count > 0).then_some(sum)
    }
}
