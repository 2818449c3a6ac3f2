//! The running mean and standard deviation of what a network learns from, by which observations and values
//! are normalised.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor};

/// The running mean and standard deviation of each of several numbers, over the batches that are learnt from:
/// plain averages of the first 1,000 batches, exponential moving averages over about as many from then on.
///
/// They are parameters without gradients: saved, copied to targets and averaged with the others.
#[derive(Module, Debug)]
pub(crate) struct Moments {
    /// `[numbers]`
    mean: Param<Tensor<1>>,
    /// What is left of the mean where `mean` has no digits for it: a thousandth of a batch's step, far from
    /// 0, rounds to nothing, `[numbers]`.
    remainder: Param<Tensor<1>>,
    /// `[numbers]`
    deviation: Param<Tensor<1>>,
    /// How many batches they are of, `[1]`.
    batches: Param<Tensor<1>>,
}

/// How many batches count.
const MEMORY: f64 = 1_000.0;

/// A number that never changes, but for how it is rounded, is not blown up: the smallest unit is this part of
/// the mean.
pub(crate) const SMALLEST_PART: f32 = 1e-6;

/// Nor is one that is always 0. Squares of numbers below it are none in single precision.
pub(crate) const SMALLEST_UNIT: f32 = 1e-15;

/// Numbers further from the mean count as being this far from it: the sums of their squares stay numbers.
const FARTHEST: f32 = 1e16;

/// An observation counts as at most this many standard deviations from the mean in both statistics: a single
/// outlier hardly moves them, while a new range that a sensor keeps to is reached within some batches.
const REACH: f32 = 10.0;

/// Normalised observations are clipped here: those far off are rare, and should not drown the rest.
pub(crate) const LARGEST: f32 = 10.0;

/// Observations that are not normalised are clipped here, so that gradients stay finite.
pub(crate) const LARGEST_RAW: f32 = 1e3;

/// Observations as the first layer sees them: normalised, where that is wanted, and clipped.
pub(crate) fn normalised(moments: Option<&Moments>, observations: Tensor<2>) -> Tensor<2> {
    match moments {
        Some(moments) => moments.standard(observations).clamp(-LARGEST, LARGEST),
        None => observations.clamp(-LARGEST_RAW, LARGEST_RAW),
    }
}

impl Moments {
    /// Of no batch yet.
    pub(crate) fn new(numbers: usize, device: &Device) -> Self {
        let fixed = |numbers| Param::initialized(ParamId::new(), Tensor::zeros([numbers], device));
        Self { mean: fixed(numbers), remainder: fixed(numbers), deviation: fixed(numbers), batches: fixed(1) }
    }

    /// How many parameters these are.
    pub(crate) fn parameter_count(numbers: usize) -> Option<usize> {
        numbers.checked_mul(3)?.checked_add(1)
    }

    /// These with another mean where they are of no batch yet, `[numbers]` without gradients.
    pub(crate) fn start_from(self, mean: Tensor<1>) -> Self {
        let known = self.known().inner();
        let kept = self.mean().inner() * known.clone();
        Self { mean: set(self.mean, kept + mean * (-known + 1.0)), ..self }
    }

    /// 0 before the first batch, 1 from then on, `[1]`.
    fn known(&self) -> Tensor<1> {
        self.batches.val().clamp_max(1.0)
    }

    /// `[numbers]`
    pub(crate) fn mean(&self) -> Tensor<1> {
        self.mean.val()
    }

    /// 0 before the first batch, and while there is no spread, `[numbers]`.
    pub(crate) fn deviation(&self) -> Tensor<1> {
        self.deviation.val()
    }

    /// What distances from the mean are measured in, `[numbers]`: the deviation, unless that is nothing
    /// beside the mean.
    pub(crate) fn unit(&self) -> Tensor<1> {
        let part = self.mean().abs() * SMALLEST_PART;
        self.deviation().max_pair(part).clamp_min(SMALLEST_UNIT)
    }

    /// How much further the mean of these is than that of `other`, `[numbers]`.
    pub(crate) fn mean_beyond(&self, other: &Self) -> Tensor<1> {
        (self.mean() - other.mean()) + (self.remainder.val() - other.remainder.val())
    }

    /// x - mean, for x of `[batch, numbers]` or, of one number, `[batch]`.
    pub(crate) fn centred<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let [mean, remainder] = [&self.mean, &self.remainder].map(|part| part.val().cast(x.dtype()));
        x - mean.unsqueeze() - remainder.unsqueeze()
    }

    /// (x - mean) / unit, for x as in [`Self::centred`]. Before the first batch, x as it is.
    pub(crate) fn standard<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let known = self.known();
        let unit = self.unit() * known.clone() + (-known + 1.0);
        let unit = unit.cast(x.dtype());
        self.centred(x) / unit.unsqueeze()
    }

    /// These after another batch of observations, `[batch, numbers]` without gradients.
    pub(crate) fn follow_observations(self, batch: &Tensor<2>) -> Self {
        let within_reach = self.within_reach(batch.clone());
        self.follow(&within_reach)
    }

    /// A batch without what lies far beyond all else. In the first one that is told by the distances from
    /// row to row, of which the geometric mean hardly knows the rare ones, however large.
    fn within_reach(&self, batch: Tensor<2>) -> Tensor<2> {
        let [rows, numbers] = batch.dims();
        let [mean, unit, known] = [self.mean(), self.unit(), self.known()].map(Tensor::inner);
        let unknown = -known.clone() + 1.0;
        let first = batch.clone().narrow(0, 0, 1).reshape([numbers]);
        let others = batch.clone().narrow(0, rows / 2, rows - rows / 2);
        let distances = others.clone() - batch.clone().narrow(0, 0, others.dims()[0]);
        let typical =
            distances.abs().clamp(SMALLEST_UNIT, f32::MAX).log().mean_dim(0).exp().reshape([numbers]);
        let middle = mean * known.clone() + first * unknown.clone();
        let reach = (unit * known + typical * unknown) * REACH;
        let [low, high] = [middle.clone() - reach.clone(), middle + reach]
            .map(|end| end.unsqueeze_dim::<2>(0).expand([rows, numbers]));
        batch.max_pair(low).min_pair(high)
    }

    /// These after another batch, `[batch, numbers]` or, of one number, `[batch]`, without gradients.
    pub(crate) fn follow<const D: usize>(self, batch: &Tensor<D>) -> Self {
        let [mean, remainder, deviation, batches] =
            [&self.mean, &self.remainder, &self.deviation, &self.batches].map(|param| param.val().inner());
        let numbers = mean.dims();
        let batches = (batches + 1.0).clamp_max(MEMORY);
        let rate = batches.clone().recip();
        let kept = -rate.clone() + 1.0;
        // All of it is reckoned from the mean so far, and the spread around the batch's own: no digits are
        // lost far from 0.
        let distances = batch.clone() - mean.clone().unsqueeze() - remainder.clone().unsqueeze();
        let distances = distances.clamp(-FARTHEST, FARTHEST);
        let step = distances.clone().mean_dim(0);
        let within = (distances - step.clone()).square().mean_dim(0).reshape(numbers);
        let step = step.reshape(numbers);
        let variance = deviation.square() * kept.clone()
            + within * rate.clone()
            + step.clone().square() * (rate.clone() * kept);
        let step = step * rate + remainder;
        let moved = mean.clone() + step.clone();
        let remainder = step - (moved.clone() - mean);
        Self {
            mean: set(self.mean, moved),
            remainder: set(self.remainder, remainder),
            deviation: set(self.deviation, variance.sqrt()),
            batches: set(self.batches, batches),
        }
    }
}

fn set(param: Param<Tensor<1>>, value: Tensor<1>) -> Param<Tensor<1>> {
    param.map(|_| Tensor::from_inner(value))
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::host::{tensor, to_host};
    use crate::rng::{Rng, Stream};

    const COLUMNS: usize = 2;

    fn batch(rows: &[[f64; COLUMNS]]) -> Tensor<2> {
        let numbers = rows.iter().flatten().map(|&number| number as f32);
        tensor(numbers.collect(), [rows.len(), COLUMNS], &Device::flex())
    }

    fn moments() -> Moments {
        Moments::new(COLUMNS, &Device::flex().autodiff())
    }

    /// Each row as a first layer sees it.
    fn seen(moments: &Moments, rows: &[[f64; COLUMNS]]) -> Vec<[f64; COLUMNS]> {
        let numbers: Vec<f64> = to_host("test", normalised(Some(&moments.valid()), batch(rows))).unwrap();
        numbers.chunks(COLUMNS).map(|row| [row[0], row[1]]).collect()
    }

    /// The plain mean and deviation of a column.
    fn plain(rows: &[[f64; COLUMNS]], column: usize) -> (f64, f64) {
        let count = rows.len() as f64;
        let mean = rows.iter().map(|row| row[column]).sum::<f64>() / count;
        (mean, (rows.iter().map(|row| (row[column] - mean).powi(2)).sum::<f64>() / count).sqrt())
    }

    #[test]
    fn several_batches_count_as_all_at_once() {
        let sizes = [
            (0.0, 1.0),
            (-3.0, 20.0),
            (1000.0, 0.1),
            (0.2, 1e-2),
            (1e12, 1e11),
            (1e-9, 1e-10),
            (200.0, 0.01),
        ];
        for (mean, deviation) in sizes {
            let mut rng = Rng::stream(1, Stream::Replay);
            let (mut moments, mut all) = (moments(), Vec::new());
            for shift in [0.0, 1.5, -1.0] {
                // As the network is given them.
                let mut number = || f64::from((mean + shift * deviation + deviation * rng.normal()) as f32);
                let rows: Vec<_> = (0..50).map(|_| [number(), number()]).collect();
                moments = moments.follow(&batch(&rows));
                all.extend(rows);
            }
            for (row, standard) in all.iter().zip(seen(&moments, &all)) {
                for column in 0..COLUMNS {
                    let (mean, deviation) = plain(&all, column);
                    let expected = (row[column] - mean) / deviation;
                    let off = (standard[column] - expected).abs();
                    assert!(off < 2e-3, "{mean}, {deviation}: {standard:?}, expected {expected}");
                }
            }
        }
    }

    #[test]
    fn observations_stay_as_they_are_before_the_first_batch() {
        let rows = [[0.3, -2.0], [0.0, 7.5]];
        for (row, standard) in rows.iter().zip(seen(&moments(), &rows)) {
            assert_eq!(standard, row.map(|number| f64::from(number as f32)));
        }
    }

    #[test]
    fn what_never_changes_is_zero_and_what_is_far_off_is_cut() {
        let moments = moments().follow(&batch(&[[7.0, -1.0], [7.0, 1.0]]));
        let of = |row| seen(&moments, &[row])[0];
        assert_eq!(of([7.0, 0.5]), [0.0, 0.5]);
        assert_eq!(of([8.0, 9.0]), [10.0, 9.0]);
        assert_eq!(of([-1e30, -1e30]), [-10.0, -10.0]);
        // How a number of this size is rounded is no change.
        assert!(of([7.0 + 5e-7, 0.0])[0].abs() < 0.1);
    }

    /// No number is too large, nor does it matter for how long it was there: what the rest says is still
    /// seen.
    #[test]
    fn numbers_of_any_size_are_learnt_from() {
        for large in [1e20, 1e25, f64::from(f32::MAX)] {
            let mut moments = moments();
            for _ in 0..2000 {
                moments = moments.follow_observations(&batch(&[
                    [1.0, large],
                    [-1.0, -1.0],
                    [1.0, -large],
                    [-1.0, large],
                ]));
            }
            for (row, expected) in [([1.0, -1.0], 1.0), ([-1.0, large], -1.0), ([0.5, -large], 0.5)] {
                let standard = seen(&moments, &[row])[0];
                assert!((standard[0] - expected).abs() < 5e-3, "{standard:?}");
                assert!(standard[1].is_finite());
            }
        }
    }

    /// Neither in the first batch nor later.
    #[test]
    fn what_is_said_wrongly_once_leaves_no_trace() {
        for (wrong_batch, wrong_row) in [(0, 7), (0, 0), (1, 3), (500, 63), (1500, 0)] {
            for large in [1e6, 1e25, -f64::from(f32::MAX)] {
                let mut rng = Rng::stream(1, Stream::Replay);
                let mut moments = moments();
                for index in 0..2000 {
                    let mut rows: Vec<_> =
                        (0..64).map(|_| [5.0 + rng.normal(), 0.01 * rng.normal()]).collect();
                    if index == wrong_batch {
                        rows[wrong_row] = [large, large];
                    }
                    moments = moments.follow_observations(&batch(&rows));
                }
                let [low, high] = [[4.0, -0.01], [6.0, 0.01]].map(|row| seen(&moments, &[row])[0]);
                for (column, (low, high)) in low.into_iter().zip(high).enumerate() {
                    let off = (low + 1.0).abs().max((high - 1.0).abs());
                    // Where the first row itself was wrong, it takes longer.
                    let allowed = if (wrong_batch, wrong_row) == (0, 0) { 20.0 } else { 0.35 };
                    assert!(off < allowed, "{large} in batch {wrong_batch}, column {column}: {low}, {high}");
                }
            }
        }
    }

    /// What was always the same, and then is not, is seen in its new range soon.
    #[test]
    fn a_new_range_is_reached() {
        let (mut rng, mut moments) = (Rng::stream(1, Stream::Replay), moments());
        for index in 0..1100 {
            let mut number = || if index < 100 { 3.0 } else { 50.0 + 10.0 * rng.normal() };
            let rows: Vec<_> = (0..64).map(|_| [number(), 0.0]).collect();
            moments = moments.follow_observations(&batch(&rows));
        }
        let [low, high] = [40.0, 60.0].map(|number| seen(&moments, &[[number, 0.0]])[0][0]);
        // Ten of eleven batches lie there, and spread by 10; the rest adds to mean and deviation.
        assert!((low..high).contains(&0.2) && (0.9..1.4).contains(&(high - low)), "{low}, {high}");
    }

    /// A thousandth of a batch's step is less than the mean's last digit: it adds up all the same.
    #[test]
    fn a_mean_far_from_zero_follows_small_steps() {
        for (mean, deviation) in [(1000.0, 0.05), (200.0, 0.01), (-1e4, 1.0)] {
            let mut rng = Rng::stream(1, Stream::Replay);
            let mut moments = moments();
            for index in 0..6000 {
                let centre = if index < 1000 { mean + 3.0 * deviation } else { mean };
                let mut number = || f64::from((centre + deviation * rng.normal()) as f32);
                let rows: Vec<_> = (0..20).map(|_| [number(), number()]).collect();
                moments = moments.follow(&batch(&rows));
            }
            for standard in seen(&moments, &[[mean, mean + deviation]])[0].iter().zip([0.0, 1.0]) {
                // What is left of the first batches, e⁻⁵ of three deviations, and chance.
                assert!((standard.0 - standard.1).abs() < 0.06, "{mean}, {deviation}: {standard:?}");
            }
        }
    }

    /// After many batches of one kind and then of another, the second kind counts.
    #[test]
    fn follows_what_is_learnt_from() {
        let mut moments = moments();
        for _ in 0..3000 {
            moments = moments.follow(&batch(&[[-1.0, 0.0], [1.0, 0.0]]));
        }
        for _ in 0..1000 {
            moments = moments.follow(&batch(&[[99.0, 0.0], [101.0, 0.0]]));
        }
        // Weights 1 - e⁻¹ and e⁻¹ of means 100 and 0: the mean, and the variance within and between the two.
        let second = 1.0 - 0.999_f64.powi(1000);
        let deviation = (1.0 + 100.0 * 100.0 * second * (1.0 - second)).sqrt();
        for observation in [0.0, 100.0] {
            let standard = seen(&moments, &[[observation, 0.0]])[0][0];
            let expected = (observation - 100.0 * second) / deviation;
            assert!((standard - expected).abs() < 1e-3, "{standard}, expected {expected}");
        }
    }
}
