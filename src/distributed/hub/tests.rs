//! Parts and questions that should be taken, and those that should not.

use std::sync::mpsc::{Receiver, sync_channel};

use super::*;
use crate::acting::Happening;
use crate::action_space::ActionSpace;
use crate::distributed::part::{About, Continued};
use crate::experience::action::Action;
use crate::experience::environment::Step;
use crate::rng::{Rng, Stream};

const RUN: u64 = 77;

fn form() -> Form {
    let space = ActionSpace::bounded(vec![-1.0, 0.0], vec![1.0, 5.0]).unwrap();
    Form { observation_size: 3, space: space.with_choices([4]) }
}

fn hub(queue: usize, steps_ahead: Option<u64>) -> (Hub, Receiver<Received>) {
    let (parts, received) = sync_channel(queue);
    let ratio = Ratio { warm_up_steps: 10, updates_per_step: 0.5, steps_ahead };
    let hub = Hub::new(RUN, form(), ratio, [2, 4], parts, BTreeMap::new());
    hub.go_on(0, 1_000_000);
    (hub, received)
}

fn about(sequence: u64, steps_before: u64) -> About {
    About {
        run: RUN,
        collector: "robot".into(),
        instance: 1,
        sequence,
        version: 3,
        steps_before,
        late_steps: 1,
        age_seconds: 0.0,
        rows: 2,
    }
}

/// A part of two steps in row 0, an episode's beginning and end in row 1 and a failure.
fn happened() -> (Vec<Continued>, Vec<Happening>) {
    let step = |row, truncated| Happening::Stepped {
        row,
        action: Action { values: vec![0.5, -1.5, 2.0], log_probability: -0.3 },
        step: Step { observation: vec![1.0, 2.0, 3.0], reward: 0.5, terminated: false, truncated },
    };
    let continued = vec![Continued { row: 0, sum: 4.5, observation: vec![0.0, 1.0, 2.0] }];
    let began = Happening::Began { row: 1, seed: 0, observation: vec![9.0; 3] };
    let error = crate::error::Error::Environment { place: "step", source: "hot".into() };
    (continued, vec![step(0, false), began, step(1, true), Happening::Failed { row: 0, error }])
}

fn bytes(about: &About) -> Vec<u8> {
    let (continued, happened) = happened();
    Part::bytes(about, &continued, &happened, &form(), 0.25)
}

/// Why it is refused, and that nothing came of it.
fn refusal(hub: &Hub, queue: &Receiver<Received>, name: &str, bytes: &[u8]) -> String {
    hub.rejected();
    let refused = hub.experience(name, bytes).unwrap_err();
    assert_eq!(hub.rejected(), [0, 1, 0]);
    assert!(queue.try_recv().is_err(), "{} was stored", refused.reason);
    refused.reason
}

#[test]
fn parts_arrive_as_they_were_sent() {
    let (hub, queue) = hub(9, None);
    let receipt = hub.experience("robot", &bytes(&about(0, 0))).unwrap();
    assert_eq!(receipt, Receipt { run: RUN, next: 1, version: 0, go: Go::On });
    let Received { part, .. } = queue.recv().unwrap();
    let (continued, happened) = happened();
    assert_eq!(part.about, About { age_seconds: 0.25, ..about(0, 0) });
    assert_eq!((part.steps(), &part.continued), (2, &continued));
    assert_eq!(format!("{:?}", &part.happened[..3]), format!("{:?}", &happened[..3]));
    assert!(format!("{:?}", part.happened[3]).contains("hot"));
}

/// Each is stored once: what comes again is not, and what never came is counted by what comes after it.
#[test]
fn duplicates_and_gaps() {
    let (hub, queue) = hub(9, None);
    for (sequence, before, next, duplicates) in [(0, 0, 1, 0), (0, 0, 1, 1), (4, 10, 5, 0), (2, 4, 5, 1)] {
        let receipt = hub.experience("robot", &bytes(&about(sequence, before))).unwrap();
        assert_eq!((receipt.next, hub.rejected()[DUPLICATE]), (next, duplicates));
    }
    let parts: Vec<Part> = queue.try_iter().map(|received| received.part).collect();
    assert_eq!(parts.iter().map(|part| part.about.sequence).collect::<Vec<_>>(), [0, 4]);
    let mut member = Member::of(&parts[0].about);
    assert_eq!(member.take(&parts[0].about, 2), Gap { anew: false, parts: 0, steps: 0 });
    assert_eq!(member.take(&parts[1].about, 2), Gap { anew: false, parts: 3, steps: 8 });
    // An instance that began anew, and the late messages of the one before.
    let anew = About { instance: 2, ..about(0, 0) };
    assert_eq!(hub.experience("robot", &bytes(&anew)).unwrap().next, 1);
    assert_eq!(member.take(&anew, 2), Gap { anew: true, parts: 0, steps: 0 });
    queue.recv().unwrap();
    assert!(refusal(&hub, &queue, "robot", &bytes(&about(5, 12))).contains("another collector of this name"));
    let earlier = About { steps_before: 1, sequence: 1, ..anew };
    assert!(refusal(&hub, &queue, "robot", &bytes(&earlier)).contains("before those of an earlier part"));
}

#[test]
fn what_does_not_belong_is_refused_with_its_reason() {
    let (hub, queue) = hub(9, None);
    let of = |change: fn(&mut About)| {
        let mut about = about(0, 0);
        change(&mut about);
        bytes(&about)
    };
    for (bytes, reason) in [
        (of(|about| about.run = 78), "of the run 4e"),
        (of(|about| about.collector = "other".into()), "a part of other in the name of robot"),
        (of(|about| about.collector = "a/b".into()), "without a proper name"),
        (of(|about| about.rows = 0), "of 0 rows"),
        (of(|about| about.rows = 1), "an event in row 1"),
        (of(|about| about.rows = 5), "accepted: up to 4 in all"),
        (of(|about| about.late_steps = 3), "more late steps than steps"),
        (of(|about| about.sequence = u64::MAX), "a count beyond"),
        (of(|about| about.steps_before = 1 << 53), "a count beyond"),
        (Vec::new(), "not an mpo experience"),
        (vec![0; form().longest() + 1], "accepted: up to"),
    ] {
        let found = refusal(&hub, &queue, "robot", &bytes);
        assert!(found.contains(reason), "{found}, not {reason}");
    }
    let (continued, happened) = happened();
    let narrow = Form { space: ActionSpace::symmetric(3), ..form() };
    let found =
        refusal(&hub, &queue, "robot", &Part::bytes(&about(0, 0), &continued, &happened, &narrow, 0.0));
    assert!(found.contains("other bounds"), "{found}");
    let wide = Form { observation_size: 4, ..form() };
    let found = refusal(&hub, &queue, "robot", &Part::bytes(&about(0, 0), &continued, &happened, &wide, 0.0));
    assert!(found.contains("observations of 4"), "{found}");
    // Steps that cannot be: not finite, of no such choice, too large a reward, without an episode.
    let stepped = |values: &[f32], reward| {
        vec![Happening::Stepped {
            row: 0,
            action: Action { values: values.to_vec(), log_probability: 0.0 },
            step: Step { observation: vec![0.0; 3], reward, terminated: false, truncated: false },
        }]
    };
    for (continued, happened, reason) in [
        (&continued[..], stepped(&[f32::NAN, 0.0, 0.0], 0.0), "NaN"),
        (&continued[..], stepped(&[0.0, 0.0, 4.0], 0.0), "4"),
        (&continued[..], stepped(&[0.0, 0.0, 0.0], 1e13), "reward"),
        (&[], stepped(&[0.0, 0.0, 0.0], 0.0), "no episode is under way"),
        (&[continued[0].clone(), continued[0].clone()], Vec::new(), "goes on in row 0"),
    ] {
        let none = About { late_steps: 0, ..about(0, 0) };
        let found = refusal(&hub, &queue, "robot", &Part::bytes(&none, continued, &happened, &form(), 0.0));
        assert!(found.contains(reason), "{found}, not {reason}");
    }
    // One collector more than there may be.
    for name in ["one", "two"] {
        let about = About { collector: name.into(), ..about(0, 0) };
        hub.experience(name, &bytes(&about)).unwrap();
    }
    queue.try_iter().for_each(drop);
    let third = About { collector: "three".into(), ..about(0, 0) };
    assert!(refusal(&hub, &queue, "three", &bytes(&third)).contains("Fleet::collectors"));
}

#[test]
fn collectors_wait_for_learning_and_for_room() {
    let (hub, queue) = hub(2, Some(4));
    let send = |sequence, before| hub.experience("robot", &bytes(&about(sequence, before))).unwrap();
    assert_eq!(send(0, 0).go, Go::On);
    // The queue is full after another one: it is not taken, and comes again.
    assert_eq!(send(1, 2), Receipt { run: RUN, next: 2, version: 0, go: Go::On });
    assert_eq!(send(2, 4), Receipt { run: RUN, next: 2, version: 0, go: Go::Wait });
    assert_eq!(hub.rejected(), [0, 0, 1]);
    for sequence in 2..8 {
        queue.recv().unwrap();
        let receipt = send(sequence, 2 * sequence);
        // The warm-up is 10 steps, and 4 may be ahead; an update is due every second step.
        let expected = if 2 * (sequence + 1) < 16 { Go::On } else { Go::Wait };
        assert_eq!((receipt.next, receipt.go), (sequence + 1, expected), "{sequence}");
    }
    hub.updated(1);
    let ask = |version| {
        let question = message::to_bytes(&Question { format: FORMAT, version });
        Snapshot::of_bytes(&hub.policy("robot", &question).unwrap()).unwrap()
    };
    assert_eq!(ask(None).0.receipt.go, Go::On);
    assert_eq!(ask(None).0.exploring, None);
    hub.publish(5, Exploration::default(), 0.25, vec![1, 2, 3]);
    let (snapshot, policy) = ask(Some(4));
    assert_eq!((snapshot.receipt.version, policy), (5, vec![1, 2, 3]));
    assert_eq!(ask(Some(5)).1, Vec::<u8>::new());
    hub.pause();
    assert_eq!(ask(Some(5)).0.receipt.go, Go::Wait);
    hub.heard_of("robot", true);
    hub.end(Duration::ZERO);
    assert!(!hub.all_know());
    assert_eq!(send(8, 16), Receipt { run: RUN, next: 8, version: 5, go: Go::Stop });
    assert!(hub.all_know());
    let question = message::to_bytes(&Question { format: 2, version: None });
    let refused = hub.policy("robot", &question).unwrap_err();
    assert!(refused.reason.contains("messages of format 2"), "{}", refused.reason);
}

/// Whatever arrives, nothing panics, and nothing is stored that could not have been sent: 100,000 messages,
/// or as many as `MPO_FORGERIES` says.
#[test]
fn forged_messages_do_no_harm() {
    let count = std::env::var("MPO_FORGERIES").ok().and_then(|count| count.parse().ok()).unwrap_or(100_000);
    let mut rng = Rng::stream(5, Stream::Replay);
    let (hub, queue) = hub(1 << 16, Some(4));
    hub.publish(5, Exploration::default(), 0.25, vec![7; 100]);
    let question = message::to_bytes(&Question { format: FORMAT, version: Some(1) });
    let snapshot = hub.policy("robot", &question).unwrap();
    let receipt = message::to_bytes(&Receipt { run: RUN, next: 1, version: 0, go: Go::On });
    let (mut taken, mut refused) = (0, 0);
    for number in 0..count {
        let part = bytes(&About { instance: number / 500, ..about(number, 2 * number) });
        let valid = [&part, &question, &snapshot, &receipt][if rng.index(3) > 0 { 0 } else { rng.index(4) }];
        let mut forged = valid.clone();
        for _ in 0..rng.index(4) {
            let place = rng.index(forged.len());
            match rng.index(6) {
                0 => forged[place] ^= 1 << rng.index(8),
                1 => forged[place] = rng.next_seed() as u8,
                2 => forged.truncate(place.max(1)),
                3 => forged.insert(place, rng.next_seed() as u8),
                4 => {
                    let end = forged.len().min(place + 1 + rng.index(16));
                    let piece = forged[place..end].to_vec();
                    let to = rng.index(forged.len());
                    forged.splice(to..to, piece);
                }
                // Another number in the header's words.
                _ => {
                    let digits: Vec<_> =
                        (0..forged.len()).filter(|&at| forged[at].is_ascii_digit()).collect();
                    if !digits.is_empty() {
                        forged[digits[rng.index(digits.len())]] = b'0' + rng.index(10) as u8;
                    }
                }
            }
        }
        // Half of them with a checksum that fits, so that what is behind it is tried too.
        if rng.index(2) == 0 && forged.len() > 4 {
            if rng.index(2) == 0 {
                let end = forged.len() - 4;
                let checksum = crc32fast::hash(&forged[..end]);
                forged[end..].copy_from_slice(&checksum.to_le_bytes());
            } else {
                let checksum = crc32fast::hash(&forged[4..]);
                forged[..4].copy_from_slice(&checksum.to_le_bytes());
            }
        }
        match hub.experience("robot", &forged) {
            Ok(_) => taken += 1,
            Err(why) => {
                assert!(!why.reason.is_empty());
                refused += 1;
            }
        }
        let _ = hub.policy("robot", &forged);
        let _ = Snapshot::of_bytes(&forged);
        let _ = message::of_bytes::<Receipt>(&forged);
        let _ = message::of_bytes::<Refused>(&forged);
        for Received { part, .. } in queue.try_iter() {
            // What was stored can be sent again as it is.
            let again = Part::bytes(&part.about, &part.continued, &part.happened, &form(), 0.0);
            Part::of_bytes(&again, RUN, &form()).unwrap();
        }
    }
    assert!(taken > count / 20 && refused > count / 5, "{taken} taken, {refused} refused of {count}");
}
