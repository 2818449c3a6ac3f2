//! Exponential moving averages of networks.

use burn::module::Module;

use super::parameters::{flat, from_flat};

/// Moves every parameter of `average` by the share `rate` towards that of `latest`: θ̄ ← θ̄ + rate (θ -
/// θ̄), the exponential moving average of the parameters over about 1 / rate calls; with a rate of 1 it is
/// `latest` itself. Both are clones of one module, on one device.
pub fn follow<M: Module>(average: M, latest: &M, rate: f64) -> M {
    if rate == 1.0 {
        return latest.clone();
    }
    match (flat(&average), flat(latest)) {
        (Some(before), Some(latest)) => from_flat(average, before.clone() + (latest - before) * rate),
        _ => average,
    }
}
