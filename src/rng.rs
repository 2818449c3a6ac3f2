//! The library's own seeded random numbers: the same seed gives the same run, bit for bit.

use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_xoshiro::Xoshiro256PlusPlus;

/// A seeded generator (xoshiro256++, whose numbers stay the same from version to version).
///
/// Each use of randomness draws from a [stream](Rng::stream) of its own, so that, say, a longer evaluation
/// does not change the exploration.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Rng(Xoshiro256PlusPlus);

/// What the random numbers of a [`Rng`] stream are for. The seeds of streams depend on these numbers: they
/// stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The networks' initial weights.
    Weights = 0,
    /// The noise of the behaviour policy.
    Exploration = 1,
    /// The actions sampled in the E-step and for the targets of the policy evaluation.
    ActionSamples = 2,
    /// Which transitions are drawn from the replay.
    Replay = 3,
    /// The seeds of training episodes.
    Episodes = 4,
    /// The seeds of evaluation episodes.
    Evaluation = 5,
}

impl Rng {
    /// The stream of `seed` for one use.
    pub fn stream(seed: u64, stream: Stream) -> Self {
        // Odd multiples of the golden ratio keep the seeds of different streams apart; the generator's own
        // seeding (SplitMix64) then spreads them over its whole state.
        let offset = (stream as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self(Xoshiro256PlusPlus::seed_from_u64(seed.rotate_left(17) ^ offset))
    }

    /// Another generator, seeded by this one, as for each of several environments.
    #[must_use]
    pub fn split(&mut self) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(self.next_seed()))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Neither those of each other nor those of the generator that they come from.
    #[test]
    fn split_generators_have_numbers_of_their_own() {
        let mut rng = Rng::stream(7, Stream::Exploration);
        let mut split = [rng.split(), rng.split(), rng];
        let [first, second, third] = split.each_mut().map(|rng| [rng.next_seed(), rng.next_seed()]);
        assert!(first != second && second != third && first != third);
        assert_eq!(Rng::stream(7, Stream::Exploration).split().next_seed(), first[0]);
    }

    /// No stream's numbers ever change, so that a run of an earlier version can be made again.
    #[test]
    fn streams_stay_as_they_are() {
        let streams = [
            (Stream::Weights, [0x5B31_8CA1_297B_C382, 0xC951_37CE_D56C_A785]),
            (Stream::Exploration, [0xC1C7_6DF5_63C8_6194, 0xEDC9_BB8C_320A_63DD]),
            (Stream::ActionSamples, [0x67D4_3D56_932C_DFD1, 0x403B_66B3_1EA7_C17E]),
            (Stream::Replay, [0x2EEA_985D_4490_7BEB, 0x86B6_30FF_048B_361E]),
            (Stream::Episodes, [0x118E_46CC_E266_3182, 0x7D21_8D03_FF58_5608]),
            (Stream::Evaluation, [0xF3A4_F6B6_5F17_2B24, 0x4C59_C523_52FE_DF88]),
        ];
        for (stream, expected) in streams {
            let mut rng = Rng::stream(7, stream);
            assert_eq!([rng.next_seed(), rng.next_seed()], expected, "{stream:?}");
        }
    }
}
