//! Random cases, the same in every run.

use proptest::test_runner::{Config, RngSeed};

/// Draws `cases` cases from a fixed seed.
pub fn cases(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(20_260_101), failure_persistence: None, ..Config::default() }
}
