//! Observations on two scales, so that neither large numbers nor small ones are lost on a network.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor};

/// Every number of an observation twice: as sign(s) log(1 + |s|), the symmetric logarithm of arXiv 2301.04104, and as
/// (s - mean) / standard deviation, cut off at ±10.
///
/// The first keeps what is small as it is: a pole's angle of 0.05 that has to be balanced, however fast the pole has swung
/// before. The second puts joint velocities of ±20 beside positions of ±0.5 on one scale.
///
/// Mean and deviation follow the batches that are learnt from: as plain averages of the first 1,000 batches, as exponential
/// averages over about as many from then on. They are parameters without gradients: saved, copied to targets and
/// averaged with the others.
#[derive(Module, Debug)]
pub(crate) struct Scales {
    /// `[observation]`
    mean: Param<Tensor<1>>,
    /// `[observation]`
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

/// Observations as the first layer sees them.
pub(crate) fn scaled(scales: Option<&Scales>, observations: Tensor<2>) -> Tensor<2> {
    match scales {
        Some(scales) => scales.forward(observations),
        None => observations,
    }
}

impl Scales {
    /// Mean 0 and deviation 1, until a batch has been seen.
    pub(crate) fn new(observation_size: usize, device: &Device) -> Self {
        let fixed = |value| Param::initialized(ParamId::new(), value);
        Self {
            mean: fixed(Tensor::zeros([observation_size], device)),
            deviation: fixed(Tensor::ones([observation_size], device)),
            batches: fixed(Tensor::zeros([1], device)),
        }
    }

    /// How many numbers an observation has.
    pub(crate) fn observation_size(&self) -> usize {
        self.mean.dims()[0]
    }

    /// How many numbers are kept for observations of this size.
    pub(crate) fn parameter_count(observation_size: usize) -> Option<usize> {
        observation_size.checked_mul(2)?.checked_add(1)
    }

    /// These after another batch of `observations`, `[batch, observation]`, without gradients.
    pub(crate) fn follow(self, observations: &Tensor<2>) -> Self {
        let [mean, deviation, batches] =
            [&self.mean, &self.deviation, &self.batches].map(|param| param.val().inner());
        let batches = (batches + 1.0).clamp_max(MEMORY);
        let rate = batches.clone().recip();
        let latest: Tensor<2> = observations.clone().mean_dim(0);
        // Around the batch's own mean: no digits are lost where that is large.
        let within: Tensor<1> = (observations.clone() - latest.clone()).square().mean_dim(0).squeeze_dim(0);
        let step = latest.squeeze_dim(0) - mean.clone();
        let kept = -rate.clone() + 1.0;
        let variance = deviation.square() * kept.clone()
            + within * rate.clone()
            + step.clone().square() * (rate.clone() * kept);
        let set = |param: Param<Tensor<1>>, value| param.map(|_| Tensor::from_inner(value));
        Self {
            mean: set(self.mean, mean + step * rate),
            deviation: set(self.deviation, variance.sqrt()),
            batches: set(self.batches, batches),
        }
    }

    /// `observations` `[batch, observation]` on both scales, `[batch, 2 observation]`.
    pub(crate) fn forward(&self, observations: Tensor<2>) -> Tensor<2> {
        let compressed = observations.clone().sign() * observations.clone().abs().log1p();
        let [mean, deviation] = [&self.mean, &self.deviation].map(|param| param.val().unsqueeze::<2>());
        let standard = (observations - mean) / deviation.clamp_min(SMALLEST_DEVIATION);
        Tensor::cat(vec![compressed, standard.clamp(-LARGEST, LARGEST)], 1)
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

    fn scales() -> Scales {
        Scales::new(COLUMNS, &Device::flex().autodiff())
    }

    /// Both scales of each row: the compressed numbers, and the standard ones.
    fn seen(scales: &Scales, rows: &[[f64; COLUMNS]]) -> Vec<[[f64; COLUMNS]; 2]> {
        let numbers: Vec<f64> = to_host("test", scales.valid().forward(batch(rows))).unwrap();
        numbers.chunks(4).map(|row| [[row[0], row[1]], [row[2], row[3]]]).collect()
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
            let (mut scales, mut all) = (scales(), Vec::new());
            for shift in [0.0, 1.5, -1.0] {
                // As the network is given them.
                let mut number = || f64::from((mean + shift * deviation + deviation * rng.normal()) as f32);
                let rows: Vec<_> = (0..50).map(|_| [number(), number()]).collect();
                scales = scales.follow(&batch(&rows));
                all.extend(rows);
            }
            for (row, [compressed, standard]) in all.iter().zip(seen(&scales, &all)) {
                for column in 0..COLUMNS {
                    let expected = row[column].signum() * row[column].abs().ln_1p();
                    assert!((compressed[column] - expected).abs() < 1e-6 * expected.abs().max(1.0));
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
        for (row, [_, standard]) in rows.iter().zip(seen(&scales(), &rows)) {
            assert_eq!(standard, row.map(|number| f64::from(number as f32)));
        }
    }

    #[test]
    fn what_never_changes_is_zero_and_what_is_far_off_is_cut() {
        let scales = scales().follow(&batch(&[[7.0, -1.0], [7.0, 1.0]]));
        let of = |row| seen(&scales, &[row])[0][1];
        assert_eq!(of([7.0, 0.5]), [0.0, 0.5]);
        assert_eq!(of([8.0, 9.0]), [10.0, 9.0]);
        assert_eq!(of([-1e30, -1e30]), [-10.0, -10.0]);
        // A thousandth is the smallest unit.
        assert!((of([7.002, 0.0])[0] - 2.0).abs() < 1e-3);
    }

    /// After many batches of one kind and then of another, the second kind counts.
    #[test]
    fn follows_what_is_learnt_from() {
        let mut scales = scales();
        for _ in 0..3000 {
            scales = scales.follow(&batch(&[[-1.0, 0.0], [1.0, 0.0]]));
        }
        for _ in 0..1000 {
            scales = scales.follow(&batch(&[[99.0, 0.0], [101.0, 0.0]]));
        }
        // Weights 1 - e⁻¹ and e⁻¹ of means 100 and 0: the mean, and the variance within and between the two.
        let second = 1.0 - 0.999_f64.powi(1000);
        let deviation = (1.0 + 100.0 * 100.0 * second * (1.0 - second)).sqrt();
        for observation in [0.0, 100.0] {
            let standard = seen(&scales, &[[observation, 0.0]])[0][1][0];
            let expected = (observation - 100.0 * second) / deviation;
            assert!((standard - expected).abs() < 1e-3, "{standard}, expected {expected}");
        }
    }
}
