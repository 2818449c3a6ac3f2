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

fn saved(replay: &ReplayBuffer) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("replay.mpo");
    replay.save(&path).unwrap();
    std::fs::read(&path).unwrap()
}

/// Whether a replay's file still loads, and can be sampled from, with these bytes in it.
fn loads_with(genuine: &[u8], place: usize, bytes: &[u8]) -> bool {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("replay.mpo");
    let mut forged = genuine[..genuine.len() - 4].to_vec();
    forged[place..place + bytes.len()].copy_from_slice(bytes);
    forged.extend(crc32fast::hash(&forged).to_le_bytes());
    std::fs::write(&path, forged).unwrap();
    match ReplayBuffer::load(&path) {
        Ok(loaded) => !samples(&loaded).is_empty(),
        Err(Error::Damaged { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Rows that are no episodes any more, whichever byte says so.
#[test]
fn replays_of_forged_links_are_refused() {
    let capacity = 12;
    let mut replay = ReplayBuffer::new(capacity, 2, 1).unwrap();
    // 16 observations of three episodes in each of two streams, the last ones under way.
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
    let genuine = saved(&replay);
    let (links, end) = (genuine.len() - 4 - 4 * capacity, genuine.len() - 4);
    let loads = |place: usize, bytes: &[u8]| loads_with(&genuine, place, bytes);
    for (place, &own) in genuine.iter().enumerate().take(end).skip(links - capacity) {
        for byte in [0, 1, 2, 3, 5, 11, 12, 255] {
            // Before the links, the kinds: a step, one that ended the task, none.
            let fits = byte == own || place < links && byte < 2 && own < 2;
            assert_eq!(loads(place, &[byte]), fits, "{byte} for {own} at {place}");
        }
    }
    let latest = br#""latest":14"#;
    let place = genuine.windows(latest.len()).position(|window| window == latest).unwrap();
    for number in 10..100 {
        let forged = format!(r#""latest":{number}"#);
        assert_eq!(loads(place, forged.as_bytes()), number == 14, "{number}");
    }
}

/// An episode whose last observation leads back to where the other links say that it begins, but which do not
/// lead on from each observation to another one.
#[test]
fn replays_whose_links_lead_nowhere_are_refused() {
    let mut replay = ReplayBuffer::new(9, 2, 1).unwrap();
    apply(&mut replay, &Operation::Begin { stream: 0, number: 1.0 });
    for number in [2.0, 3.0] {
        apply(&mut replay, &Operation::Push { stream: 0, number, terminated: false, truncated: false });
    }
    let genuine = saved(&replay);
    let place = genuine.len() - 4 - 3 * 4;
    for (links, fit) in [
        ([1_u32, 1, 2], true),
        ([0, 1, 1], false),
        ([3, 1, 1], false),
        ([u32::MAX, 1, 1], false),
        ([2, 1, 1], false),
        ([2, 1, 2], false),
        ([2, 0, 2], false),
    ] {
        let bytes: Vec<u8> = links.iter().flat_map(|link| link.to_le_bytes()).collect();
        assert_eq!(loads_with(&genuine, place, &bytes), fit, "{links:?}");
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
