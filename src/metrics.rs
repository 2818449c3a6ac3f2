//! What an update reports.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::dual::DualSolution;
use crate::distribution::Distribution;
use crate::m_step::MStepReport;

/// The measures of one update, or their means over several. Constraints are given as realised KL / ε: 1 is on
/// the boundary. Where a constraint is one for each dimension, its measures are means over the dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Metrics {
    /// The critic's loss, mean over the batch of ½ (Q(s,a) - y)² or its Huber form, the errors
    /// in the critic's units: those of different presets do not compare.
    pub critic_loss: f64,
    /// η, [in the critic's units](crate::Critic::in_units).
    pub temperature: f64,
    /// g(η), an upper bound on the value, less the action penalty, that any weights within ε reach, in the
    /// critic's units.
    pub dual: f64,
    /// mean_s KL(q ‖ 1/M) / ε of the weights q that the M-step fits the policy to.
    pub kl: f64,
    /// η (ε - KL), how far the weights may be from optimal.
    pub gap: f64,
    /// 1 where the temperature is an interior optimum, 0 where it is at its bound.
    pub interior: f64,
    /// C_μ / ε_μ before the last step on the policy.
    pub kl_mean: f64,
    /// C_Σ / ε_Σ before the last step on the policy.
    pub kl_covariance: f64,
    /// α_μ.
    pub multiplier_mean: f64,
    /// α_Σ.
    pub multiplier_covariance: f64,
    /// The mean of L_ii over batch and dimensions, of the target policy: for a diagonal covariance the
    /// standard deviation.
    pub standard_deviation: f64,
}

impl Metrics {
    fn fields(&mut self) -> [&mut f64; 11] {
        let Self {
            critic_loss,
            temperature,
            dual,
            kl,
            gap,
            interior,
            kl_mean,
            kl_covariance,
            multiplier_mean,
            multiplier_covariance,
            standard_deviation,
        } = self;
        [
            critic_loss,
            temperature,
            dual,
            kl,
            gap,
            interior,
            kl_mean,
            kl_covariance,
            multiplier_mean,
            multiplier_covariance,
            standard_deviation,
        ]
    }

    /// What is measured on the device, `[1]` each, in the order in which [`Self::new`] takes it.
    pub(crate) fn to_be_read<D: Distribution>(
        critic_loss: Tensor<1>,
        report: MStepReport,
        old: &D,
    ) -> [Tensor<1>; 6] {
        [
            critic_loss,
            report.kl_mean.mean_dim(0),
            report.kl_covariance.mean_dim(0),
            report.multipliers.mean.mean_dim(0),
            report.multipliers.covariance.mean_dim(0),
            old.spread().flatten::<1>(0, 1).mean_dim(0),
        ]
    }

    /// From what was measured on the device and on the host. `epsilon` is the E-step's.
    pub(crate) fn new(measured: [f32; 6], dual: &DualSolution, epsilon: f64) -> Self {
        let [critic_loss, kl_mean, kl_covariance, multiplier_mean, multiplier_covariance, standard_deviation] =
            measured.map(f64::from);
        Self {
            critic_loss,
            temperature: dual.temperature,
            dual: dual.value,
            kl: dual.kl / epsilon,
            gap: dual.gap,
            interior: f64::from(u8::from(dual.interior)),
            kl_mean,
            kl_covariance,
            multiplier_mean,
            multiplier_covariance,
            standard_deviation,
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
        let mut metrics = *metrics;
        for (sum, value) in self.sum.fields().into_iter().zip(metrics.fields()) {
            *sum += *value;
        }
        self.count = self.count.saturating_add(1);
    }

    /// The mean so far, to begin anew; none where nothing was added.
    pub(crate) fn take(&mut self) -> Option<Metrics> {
        let Self { mut sum, count } = std::mem::take(self);
        sum.fields().into_iter().for_each(|sum| *sum /= f64::from(count));
        (count > 0).then_some(sum)
    }

    /// The sums so far and their count, to be saved: as bits, since measures may be infinite.
    pub(crate) fn bits(&self) -> ([u64; 11], u32) {
        let mut sum = self.sum;
        (sum.fields().map(|sum| sum.to_bits()), self.count)
    }

    pub(crate) fn from_bits((bits, count): ([u64; 11], u32)) -> Self {
        let mut sum = Metrics::default();
        sum.fields().into_iter().zip(bits).for_each(|(sum, bits)| *sum = f64::from_bits(bits));
        Self { sum, count }
    }
}
