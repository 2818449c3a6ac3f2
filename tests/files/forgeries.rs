//! Files of any contents: what was saved comes back, and what was forged is refused or can be used.

use crate::forgery::{Forgery, NUMBERS, samples, try_forgery};
use mpo::{Experience, ReplayBuffer};
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

/// What is done to a replay of two observations and one action component.
#[derive(Debug, Clone)]
enum Operation {
    Begin(f32),
    Push { number: f32, terminated: bool, truncated: bool },
}

fn operation() -> impl Strategy<Value = Operation> {
    let number = -1e3_f32..1e3;
    prop_oneof![
        1 => number.clone().prop_map(Operation::Begin),
        6 => (number, prop::bool::weighted(0.1), prop::bool::weighted(0.1))
            .prop_map(|(number, terminated, truncated)| Operation::Push { number, terminated, truncated }),
    ]
}

/// Pushes without an episode under way are refused, as they are meant to be.
fn apply(replay: &mut ReplayBuffer, operation: &Operation) -> bool {
    match *operation {
        Operation::Begin(number) => replay.begin_episode(&[number, 1.0]),
        Operation::Push { number, terminated, truncated } => replay.push(Experience {
            action: &[number],
            log_probability: -number,
            reward: number,
            next_observation: &[number, 2.0],
            terminated,
            truncated,
        }),
    }
    .is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A replay that was saved and loaded goes on as the one that was not, whatever was done before and is
    /// done after.
    #[test]
    fn replays_come_back_as_they_were(
        capacity in 2_usize..40,
        before in vec(operation(), 0..120),
        after in vec(operation(), 0..60),
    ) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("replay.mpo");
        let mut replay = ReplayBuffer::new(capacity, 2, 1).unwrap();
        before.iter().for_each(|operation| { apply(&mut replay, operation); });
        replay.save(&path).unwrap();
        let mut loaded = ReplayBuffer::load(&path).unwrap();
        prop_assert_eq!(samples(&loaded), samples(&replay));
        for operation in &after {
            prop_assert_eq!(apply(&mut loaded, operation), apply(&mut replay, operation));
        }
        prop_assert_eq!(samples(&loaded), samples(&replay));
    }

    /// Files that were written wrongly, rather than damaged: their checksum fits.
    #[test]
    fn forged_files_are_refused_or_can_be_used(forgery in forgery()) {
        try_forgery(&forgery);
    }
}

fn forgery() -> impl Strategy<Value = Forgery> {
    let numbers = prop::sample::select(&NUMBERS[..]);
    (
        0..4_usize,
        any::<usize>(),
        vec(any::<u8>(), 0..4),
        prop::option::of((any::<usize>(), numbers)),
        0..3_usize,
    )
        .prop_map(|(file, place, bytes, number, cut)| Forgery { file, place, bytes, number, cut })
}

/// As many forgeries as `MPO_FORGERIES` says, for a night.
#[test]
#[ignore = "a million cases take half an hour; the same property runs with 200 in every test run"]
fn many_forgeries_are_refused_or_can_be_used() {
    let cases = std::env::var("MPO_FORGERIES").map_or(10_000, |count| count.parse().unwrap());
    let config = ProptestConfig::with_cases(cases);
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&forgery(), |forgery| {
            try_forgery(&forgery);
            Ok(())
        })
        .unwrap();
}
