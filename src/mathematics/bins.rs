//! Values as distributions over bins: [`ValueDistribution`].

use burn::tensor::{Device, Int, Tensor, activation};
use serde::{Deserialize, Serialize};

use crate::checks::{check, check_positive};
use crate::error::Result;

/// A critic's value as the mean of a distribution over bins, which it learns by classification (arXiv
/// 2403.03950).
///
/// The bins are the same whatever the rewards: they lie evenly around 0 in the critic's own unit, distances
/// from the mean of the latest targets in units of their standard deviation. As that unit moves, the values
/// move with it a little, by a thousandth of a unit an update or less after the first thousand, and are
/// learnt anew.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValueDistribution {
    /// How many bins. Accepted: 2 to 4,096, and enough for bins to fit beside what
    /// [`HlGauss`](BinTarget::HlGauss) spreads over. More resolve finer, and an update takes longer.
    pub bins: usize,
    /// How far from 0 targets are told apart, in the critic's unit: what lies farther counts as being there.
    /// Accepted: above 0.
    pub range: f64,
    /// What a target is spread over.
    pub target: BinTarget,
}

/// How a target becomes a distribution over bins. Both keep its mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub enum BinTarget {
    /// Over the two bins that it lies between.
    TwoHot,
    /// Over those under a normal distribution around it.
    HlGauss {
        /// Its standard deviation, in bins. Accepted: 0.25 to 100. From 0.8 on the mean is kept to 1e-6 bins
        /// or so; with the authors' 0.75 to 5e-6.
        deviation: f64,
    },
}

impl Default for ValueDistribution {
    fn default() -> Self {
        Self { bins: 51, range: 10.0, target: BinTarget::HlGauss { deviation: 0.8 } }
    }
}

/// How many standard deviations of the normal distribution the bins reach beyond the range.
const TAIL: f64 = 6.0;

impl ValueDistribution {
    pub(crate) fn validate(&self) -> Result<()> {
        check("ValueDistribution::bins", self.bins, |bins| (2..=4096).contains(bins), "2 to 4096")?;
        check_positive("ValueDistribution::range", self.range)?;
        if let BinTarget::HlGauss { deviation } = self.target {
            let accepted = |deviation: &f64| (0.25..=100.0).contains(deviation);
            check("HlGauss::deviation", deviation, accepted, "0.25 to 100")?;
        }
        let enough = |bins: &usize| (bins - 1) as f64 > self.tails();
        check("ValueDistribution::bins", self.bins, enough, "more than HlGauss::deviation times 12, and 1")
    }

    /// The bins that the range itself does not take, on both sides.
    fn tails(&self) -> f64 {
        match self.target {
            BinTarget::TwoHot => 0.0,
            BinTarget::HlGauss { deviation } => 2.0 * TAIL * deviation,
        }
    }

    /// How wide a bin is.
    fn width(&self) -> f64 {
        2.0 * self.range / ((self.bins - 1) as f64 - self.tails())
    }

    /// The value that each bin stands for.
    pub(crate) fn centres(&self) -> Vec<f32> {
        let middle = (self.bins - 1) as f64 / 2.0;
        (0..self.bins).map(|bin| ((bin as f64 - middle) * self.width()) as f32).collect()
    }

    /// How far each bin is from each of these `targets` `[batch]`, in bins, `[batch, bins]`.
    fn distances(&self, targets: Tensor<1>, device: &Device) -> Tensor<2> {
        let middle = (self.bins - 1) as f64 / 2.0;
        let places = targets.clamp(-self.range, self.range) / self.width() + middle;
        let bins = Tensor::<1, Int>::arange(0..self.bins as i64, device).float().cast(places.dtype());
        bins.unsqueeze_dim::<2>(0) - places.unsqueeze_dim::<2>(1)
    }

    /// The distributions that stand for `targets` `[batch]`, in the critic's unit, `[batch, bins]`.
    pub fn distributions(&self, targets: Tensor<1>) -> Tensor<2> {
        let device = targets.device();
        let distances = self.distances(targets, &device);
        match self.target {
            BinTarget::TwoHot => (-distances.abs() + 1.0).clamp_min(0.0),
            BinTarget::HlGauss { deviation } => {
                let scale = deviation * std::f64::consts::SQRT_2;
                let [upper, lower] = [0.5, -0.5].map(|edge| ((distances.clone() + edge) / scale).erf());
                let masses = upper - lower;
                masses.clone() / masses.sum_dim(1)
            }
        }
    }

    /// The means of the distributions with these `logits` `[rows, bins]`, in the critic's unit, `[rows]`.
    pub fn means(&self, logits: Tensor<2>) -> Tensor<1> {
        let (device, dtype) = (logits.device(), logits.dtype());
        let bins = Tensor::<1, Int>::arange(0..self.bins as i64, &device).float().cast(dtype);
        let centres = (bins - (self.bins - 1) as f64 / 2.0) * self.width();
        (activation::softmax(logits, 1) * centres.unsqueeze_dim::<2>(0)).sum_dim(1).squeeze_dim(1)
    }

    /// The mean cross-entropy of the distributions with these `logits` `[batch, bins]` with those that stand
    /// for `targets` `[batch]`, a tensor of one element.
    pub fn loss(&self, logits: Tensor<2>, targets: Tensor<1>) -> Tensor<1> {
        let log = activation::log_softmax(logits, 1);
        -(log * self.distributions(targets)).sum_dim(1).mean_dim(0).squeeze_dim(1)
    }
}
