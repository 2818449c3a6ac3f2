//! The library's own seeded random numbers: the same seed gives the same run, bit for bit.

use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_xoshiro::Xoshiro256PlusPlus;

/// A seeded generator (xoshiro256++, whose numbers stay the same from version to version).
///
/// Each use of randomness draws from a [stream](Rng::stream) of its own, so that, say, a longer evaluation does
/// not change the exploration.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Rng(Xoshiro256PlusPlus);

/// What the random numbers of a [`Rng`] stream are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The networks' initial weights.
    Weights,
    /// The noise of the behaviour policy.
    Exploration,
    /// The actions sampled in the E-step and for the targets of the policy evaluation.
    ActionSamples,
    /// Which transitions are drawn from the replay.
    Replay,
    /// The seeds of training episodes.
    Episodes,
    /// The seeds of evaluation episodes.
    Evaluation,
}

impl Rng {
    /// The stream of `seed` for one use.
    pub fn stream(seed: u64, stream: Stream) -> Self {
        // Odd multiples of the golden ratio keep the seeds of different streams apart; the generator's own
        // seeding (SplitMix64) then spreads them over its whole state.
        let offset = (stream as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self(Xoshiro256PlusPlus::seed_from_u64(seed.rotate_left(17) ^ offset))
    }

    /// A uniform whole number, as for the seed of an episode.
    pub fn next_seed(&mut self) -> u64 {
        self.0.random()
    }

    /// A uniform index below `bound`, which must not be 0.
    pub fn index(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }

    /// A uniform number between `low` and `high`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.random::<f64>()
    }

    /// A number of the standard normal distribution.
    pub fn normal(&mut self) -> f64 {
        self.0.sample(StandardNormal)
    }

    /// `count` independent numbers of the standard normal distribution.
    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.0.sample(StandardNormal)).collect()
    }
}
