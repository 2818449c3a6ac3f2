//! Mean and deviation of what a network learns from, so that it sees observations, and says values, on one scale.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor};

/// The mean and the standard deviation of each of several numbers, over the batches that are learnt from: plain averages of
/// the first 1,000 batches, exponential averages over about as many from then on.
///
/// They are parameters without gradients: saved, copied to targets and averaged with the others.
#[derive(Module, Debug)]
pub(crate) struct Moments {
    /// `[numbers]`
    mean: Param<Tensor<1>>,
    /// `[numbers]`
    deviation: Param<Tensor<1>>,
    /// How many batches they are of, `[1]`.
    batches: Param<Tensor<1>>,
}

/// How many batches count.
const MEMORY: f64 = 1_000.0;

/// A number that never changes is not blown up beyond this.
const SMALLEST_DEVIATION: f32 = 1e-3;

/// Where numbers far off are cut: they are rare, and should not drown the rest.
const LARGEST: f32 = 10.0;

/// Observations as the first layer sees them: in units of their spread where it is known.
pub(crate) fn normalised(moments: Option<&Moments>, observations: Tensor<2>) -> Tensor<2> {
    match moments {
        Some(moments) => moments.standard(observations).clamp(-LARGEST, LARGEST),
        None => observations,
    }
}

impl Moments {
    /// Mean 0 and deviation 1, until a batch has been seen.
    pub(crate) fn new(numbers: usize, device: &Device) -> Self {
        let fixed = |value| Param::initialized(ParamId::new(), value);
        Self {
            mean: fixed(Tensor::zeros([numbers], device)),
            deviation: fixed(Tensor::ones([numbers], device)),
            batches: fixed(Tensor::zeros([1], device)),
        }
    }

    /// How many parameters these are.
    pub(crate) fn parameter_count(numbers: usize) -> Option<usize> {
        numbers.checked_mul(2)?.checked_add(1)
    }

    /// `[numbers]`
    pub(crate) fn mean(&self) -> Tensor<1> {
        self.mean.val()
    }

    /// `[numbers]`
    pub(crate) fn deviation(&self) -> Tensor<1> {
        self.deviation.val()
    }

    /// 0 before the first batch, 1 from then on, `[1]`.
    pub(crate) fn known(&self) -> Tensor<1> {
        self.batches.val().clamp_max(1.0)
    }

    /// These after another batch, `[batch, numbers]` or, of one number, `[batch]`, without gradients.
    pub(crate) fn follow<const D: usize>(self, batch: &Tensor<D>) -> Self {
        let [mean, deviation, batches] =
            [&self.mean, &self.deviation, &self.batches].map(|param| param.val().inner());
        let batches = (batches + 1.0).clamp_max(MEMORY);
        let rate = batches.clone().recip();
        let numbers = mean.dims();
        let latest = batch.clone().mean_dim(0);
        // Around the batch's own mean: no digits are lost where that is large.
        let within = (batch.clone() - latest.clone()).square().mean_dim(0).reshape(numbers);
        let step = latest.reshape(numbers) - mean.clone();
        let kept = -rate.clone() + 1.0;
        let variance = deviation.square() * kept.clone()
            + within * rate.clone()
            + step.clone().square() * (rate.clone() * kept);
        let set = |param: Param<Tensor<1>>, value| param.map(|_| Tensor::from_inner(value));
        Self {
            mean: set(self.mean, mean + step * rate),
            deviation: set(self.deviation, variance.sqrt().clamp_min(SMALLEST_DEVIATION)),
            batches: set(self.batches, batches),
        }
    }

    /// (x - mean) / deviation, for x of `[batch, numbers]`.
    fn standard(&self, x: Tensor<2>) -> Tensor<2> {
        (x - self.mean().unsqueeze()) / self.deviation().unsqueeze()
    }
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
        for (mean, deviation) in [(0.0, 1.0), (-3.0, 20.0), (1000.0, 0.1), (0.2, 1e-2), (1e12, 1e11)] {
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
        // A thousandth is the smallest unit.
        assert!((of([7.002, 0.0])[0] - 2.0).abs() < 1e-3);
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
