//! Files of any contents: what was saved comes back, and what was forged is refused or can be used.

use crate::forgery::{Forgery, NUMBERS, samples, try_forgery};
use mpo::{Action, Error, ReplayBuffer, Step};
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

/// What is done to a replay of two observations and one action component.
#[derive(Debug, Clone)]
enum Operation {
    Begin { stream: usize, number: f32 },
    Push { stream: usize, number: f32, terminated: bool, truncated: bool },
}

fn operation() -> impl Strategy<Value = Operation> {
    let number = -1e3_f32..1e3;
    prop_oneof![
        1 => (0..3_usize, number.clone()).prop_map(|(stream, number)| Operation::Begin { stream, number }),
        6 => (0..3_usize, number, prop::bool::weighted(0.1), prop::bool::weighted(0.1))
            .prop_map(|(stream, number, terminated, truncated)| Operation::Push { stream, number, terminated, truncated }),
    ]
}

/// Pushes without an episode under way, and streams beyond half of the capacity, are refused, as they are
/// meant to be.
fn apply(replay: &mut ReplayBuffer, operation: &Operation) -> bool {
    let done = match *operation {
        Operation::Begin { stream, number } => {
            replay.stream(stream).and_then(|mut writer| writer.begin_episode(&[number, 1.0]))
        }
        Operation::Push { stream, number, terminated, truncated } => {
            let action = Action { values: vec![number], log_probability: -number };
            let step = Step { observation: vec![number, 2.0], reward: number, terminated, truncated };
            replay.stream(stream).and_then(|mut writer| writer.push(&action, &step))
        }
    };
    done.is_ok()
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

/// Whatever stands in the place of a link or a kind: rows that are no episodes are refused, and no sample goes
/// around for ever.
#[test]
fn replays_of_forged_links_are_refused_or_can_be_used() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("replay.mpo");
    let capacity = 12;
    let mut replay = ReplayBuffer::new(capacity, 2, 1).unwrap();
    for round in 0..9 {
        for stream in 0..2 {
            let number = round as f32;
            let operation = match round % (3 + stream) {
                0 => Operation::Begin { stream, number },
                _ => Operation::Push { stream, number, terminated: false, truncated: round == 5 },
            };
            apply(&mut replay, &operation);
        }
    }
    replay.save(&path).unwrap();
    let genuine = std::fs::read(&path).unwrap();
    let content = genuine.len() - 4;
    let mut outcomes = [0; 2];
    for place in content - 5 * capacity..content {
        for byte in [0, 1, 2, 3, 5, 11, 12, 255] {
            let mut forged = genuine[..content].to_vec();
            forged[place] = byte;
            forged.extend(crc32fast::hash(&forged).to_le_bytes());
            std::fs::write(&path, forged).unwrap();
            match ReplayBuffer::load(&path) {
                Ok(mut loaded) => {
                    let _ = samples(&loaded);
                    for number in 0..30 {
                        let number = number as f32;
                        apply(&mut loaded, &Operation::Begin { stream: 1, number });
                        apply(
                            &mut loaded,
                            &Operation::Push { stream: 0, number, terminated: false, truncated: false },
                        );
                    }
                    let _ = samples(&loaded);
                    outcomes[0] += 1;
                }
                Err(error) => {
                    assert!(matches!(error, Error::Damaged { .. }), "{error}");
                    outcomes[1] += 1;
                }
            }
        }
    }
    assert!(outcomes[0] > 50 && outcomes[1] > 200, "{outcomes:?}");
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
