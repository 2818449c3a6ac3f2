//! The dual solved where the values are: a fixed number of steps in tensor operations, so that a device with
//! a queue of its own never waits for the host.

use burn::tensor::Tensor;

use super::DualSolution;

/// How far, relative to ε, the KL divergence stays below it: single precision does not tell apart less.
const TOLERANCE: f64 = 1e-5;

/// exp(-80) adds nothing to a sum that holds exp(0) = 1, and 80 e^80 is finite.
const LEAST_EXPONENT: f64 = -80.0;

/// The weights of the actions at the dual's minimum, and the solution's numbers while they are on the device.
#[derive(Debug, Clone)]
pub(crate) struct DeviceSolution {
    /// `[states, samples]`
    pub(crate) weights: Tensor<2>,
    /// Temperature, value, KL divergence and the lower bound of the temperature, `[4]`.
    pub(crate) numbers: Tensor<1>,
}

impl DeviceSolution {
    /// The solution, from its numbers on the host.
    pub(crate) fn on_host(numbers: &[f32], epsilon: f64) -> DualSolution {
        let number = |index: usize| numbers.get(index).map_or(f64::NAN, |&number| f64::from(number));
        let [temperature, value, kl, bound] = [0, 1, 2, 3].map(number);
        DualSolution {
            temperature,
            value,
            kl,
            gap: (temperature * (epsilon - kl)).max(0.0),
            interior: temperature > bound,
        }
    }
}

/// Minimises the dual of `values` `[states, samples]` over η ≥ `minimum_temperature` by `steps` Newton steps
/// on log KL as a function of log η inside a bracket, from the temperature `start` where there is one. The KL
/// divergence is never above `epsilon` but by rounding, however few the steps.
pub(crate) fn solve_on_device(
    values: Tensor<2>,
    epsilon: f64,
    minimum_temperature: f64,
    start: Option<f64>,
    steps: usize,
) -> DeviceSolution {
    let best = values.clone().max_dim(1);
    let below_best = values - best.clone();
    // In units of the largest range of a state, whatever the values' units are, or of the lowest temperature,
    // where that is larger: nothing overflows then.
    let least = minimum_temperature.clamp(f32::MIN_POSITIVE.into(), f32::MAX.into());
    let unit = (-below_best.clone().min_dim(1).min_dim(0)).clamp_min(least);
    let below_best = below_best / unit.clone();
    let evaluate = |temperature: &Tensor<2>| Point::new(&below_best, temperature);
    let feasible = |point: &Point| point.kl.clone().lower_equal_elem(epsilon);

    // Hoeffding: KL ≤ range² / (8 η²), so that `high` is feasible.
    let ranges = below_best.clone().min_dim(1);
    let hoeffding = (ranges.square().mean_dim(0) / (8.0 * epsilon)).sqrt().clamp_min(f32::MIN_POSITIVE);
    let bound = (unit.clone().recip() * minimum_temperature).clamp_min(f32::MIN_POSITIVE);
    let mut high = hoeffding.max_pair(bound.clone());
    let at_bound = evaluate(&bound);
    high = high.mask_where(feasible(&at_bound), bound.clone());
    let mut low = bound.clone();
    let mut temperature = match start {
        None => high.clone(),
        Some(start) => (unit.clone().recip() * start).max_pair(low.clone()).min_pair(high.clone()),
    };
    for _ in 0..steps {
        let point = evaluate(&temperature);
        let is_feasible = feasible(&point);
        high = high.clone().mask_where(is_feasible.clone(), temperature.clone());
        low = temperature.clone().mask_where(is_feasible, low);
        // d log KL / d log η = -Var / KL.
        let excess = (point.kl.clone() / (epsilon * (1.0 - TOLERANCE))).log();
        let newton = temperature * (excess * point.kl / point.variance).clamp(-20.0, 20.0).exp();
        let inside = newton.clone().greater(low.clone()).bool_and(newton.clone().lower(high.clone()));
        // Otherwise the middle of the bracket, or an eighth of its end where that is far off.
        let middle = (low.clone().max_pair(high.clone() / 64.0) * high.clone()).sqrt();
        temperature = middle.mask_where(inside, newton);
    }
    let Point { weights, log_partition, kl, .. } = evaluate(&high);
    let temperature = high * unit.clone();
    let value = temperature.clone() * (log_partition + epsilon) + best.mean_dim(0);
    let numbers = Tensor::cat(vec![temperature, value, kl, bound * unit], 0).flatten(0, 1);
    DeviceSolution { weights, numbers }
}

/// The dual at one temperature, each a mean over the states, `[1, 1]`.
struct Point {
    /// `[states, samples]`
    weights: Tensor<2>,
    log_partition: Tensor<2>,
    kl: Tensor<2>,
    /// Of (Q - max Q) / η under the weights.
    variance: Tensor<2>,
}

impl Point {
    fn new(below_best: &Tensor<2>, temperature: &Tensor<2>) -> Self {
        let [_, samples] = below_best.dims();
        let exponents = (below_best.clone() / temperature.clone()).clamp_min(LEAST_EXPONENT);
        let masses = exponents.clone().exp();
        let sums = masses.clone().sum_dim(1);
        let weights = masses / sums.clone();
        let log_partition = (sums / samples as f64).log();
        let weighted = weights.clone() * exponents.clone();
        let mean = weighted.clone().sum_dim(1);
        let second = (weighted * exponents).sum_dim(1);
        Self {
            weights,
            // Rounding alone can make these two slightly negative.
            kl: (mean.clone() - log_partition.clone()).mean_dim(0).clamp_min(f32::MIN_POSITIVE),
            variance: (second - mean.square()).mean_dim(0).clamp_min(f32::MIN_POSITIVE),
            log_partition: log_partition.mean_dim(0),
        }
    }
}
