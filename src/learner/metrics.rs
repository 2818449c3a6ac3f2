//! What an update reports.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::learner::m_step::MStepReport;
use crate::mathematics::dual::DualSolution;

/// The struct of the measures, and their names and values as arrays, from one list of their names.
macro_rules! measures {
    ($(#[$about:meta])* pub struct Metrics { $($(#[$formula:meta])* $name:ident,)* }) => {
        $(#[$about])*
        pub struct Metrics {
            $($(#[$formula])* pub $name: f64,)*
        }

        const COUNT: usize = [$(stringify!($name)),*].len();

        impl Metrics {
            pub(crate) const NAMES: [&str; COUNT] = [$(stringify!($name)),*];

            /// Every measure, in the order of [`Self::NAMES`].
            fn values(&self) -> [f64; COUNT] {
                [$(self.$name),*]
            }

            fn from_values([$($name),*]: [f64; COUNT]) -> Self {
                Self { $($name),* }
            }
        }
    };
}

measures! {
    /// The measures of one update, or their means over several. Constraints are given as realised KL / ε: 1
    /// is on the boundary. Where a constraint is one for each dimension, its measures are means over the
    /// dimensions. The parametric E-step ([`EStepKind::Parametric`](crate::EStepKind::Parametric)) has no
    /// temperature and no dual: their measures are 0.
    #[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct Metrics {
        /// The critic's loss, mean over the batch of ½ (Q(s,a) - y)² or its Huber form, the errors
        /// in the critic's units: those of different presets do not compare. Of values as distributions the
        /// cross-entropy, of an [`Ensemble`](crate::networks::Ensemble) the sum over its critics.
        critic_loss,
        /// η, [in the critic's units](crate::Critic::in_units).
        temperature,
        /// g(η), in the critic's units: no weights within ε reach a higher mean of value less action penalty.
        dual,
        /// mean_s KL(q ‖ 1/M) / ε of the weights q that the M-step fits the policy to; for actions that are
        /// all there are, their probabilities stand for 1/M.
        kl,
        /// η (ε - KL), how far the weights may be from optimal.
        gap,
        /// 1 where the constraint is active, 0 where the temperature is at its lower bound. Of the parametric
        /// E-step 1 where any action is worth more than another.
        interior,
        /// C_μ / ε_μ before the last step on the policy; of a choice all of its divergence.
        kl_mean,
        /// C_Σ / ε_Σ before the last step on the policy.
        kl_covariance,
        /// α_μ.
        multiplier_mean,
        /// α_Σ.
        multiplier_covariance,
        /// The mean of L_ii over batch and dimensions, of the target policy: for a diagonal covariance the
        /// standard deviation, of a choice its entropy as a part of the largest it can have.
        standard_deviation,
    }
}

impl Metrics {
    /// What is measured on the device, `[1]` each, in the order in which [`Self::new`] takes it.
    pub(crate) fn to_be_read(
        critic_loss: Tensor<1>,
        report: MStepReport,
        spread: Tensor<1>,
    ) -> [Tensor<1>; 6] {
        [
            critic_loss,
            report.kl_mean.mean_dim(0),
            report.kl_covariance.mean_dim(0),
            report.multipliers.mean.mean_dim(0),
            report.multipliers.covariance.mean_dim(0),
            spread,
        ]
    }

    /// From what was measured on the device and on the host. `epsilon` is the E-step's.
    pub(crate) fn new(measured: [f32; 6], dual: &DualSolution, epsilon: f64) -> Self {
        let mut metrics = Self {
            temperature: dual.temperature,
            dual: dual.value,
            kl: dual.kl / epsilon,
            gap: dual.gap,
            interior: f64::from(u8::from(dual.interior)),
            ..Self::default()
        };
        [
            metrics.critic_loss,
            metrics.kl_mean,
            metrics.kl_covariance,
            metrics.multiplier_mean,
            metrics.multiplier_covariance,
            metrics.standard_deviation,
        ] = measured.map(f64::from);
        metrics
    }
}

/// The mean of the metrics of several updates.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Bits", into = "Bits")]
pub(crate) struct MeanMetrics {
    sums: [f64; COUNT],
    count: u32,
}

/// The sums as bits, since measures may be infinite, which JSON cannot say, and their count.
type Bits = ([u64; COUNT], u32);

impl From<MeanMetrics> for Bits {
    fn from(mean: MeanMetrics) -> Self {
        (mean.sums.map(f64::to_bits), mean.count)
    }
}

impl From<Bits> for MeanMetrics {
    fn from((sums, count): Bits) -> Self {
        Self { sums: sums.map(f64::from_bits), count }
    }
}

impl MeanMetrics {
    pub(crate) fn add(&mut self, metrics: &Metrics) {
        self.sums.iter_mut().zip(metrics.values()).for_each(|(sum, value)| *sum += value);
        self.count = self.count.saturating_add(1);
    }

    /// The mean so far, to begin anew; none where nothing was added.
    pub(crate) fn take(&mut self) -> Option<Metrics> {
        let Self { sums, count } = std::mem::take(self);
        (count > 0).then(|| Metrics::from_values(sums.map(|sum| sum / f64::from(count))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// JSON has no infinity, and a number of many digits has to come back to the last bit.
    #[test]
    fn means_survive_being_saved() {
        let mut mean = MeanMetrics::default();
        mean.add(&Metrics { critic_loss: 0.1, temperature: f64::INFINITY, ..Metrics::default() });
        mean.add(&Metrics { critic_loss: 0.2, gap: f64::NEG_INFINITY, ..Metrics::default() });
        let saved = serde_json::to_string(&mean).unwrap();
        let mut restored: MeanMetrics = serde_json::from_str(&saved).unwrap();
        let found = restored.take().unwrap();
        assert_eq!(found, mean.take().unwrap());
        assert_eq!((found.critic_loss, found.temperature), ((0.1 + 0.2) / 2.0, f64::INFINITY));
        assert!(restored.take().is_none());
    }
}
