//! Recorded episodes: read from a file, learnt from without an environment, and gone on from with one.

use std::fs;

use crate::common::tensors::numbers;
use crate::rows::Track;
use crate::trainers::{everything, quick_agent, short};
use mpo::{
    ActionSpace, Environments, Error, RecordedEpisode, ReplayBuffer, Rng, Stream, Trainer, TrainerConfig,
};

fn bounds() -> ActionSpace {
    ActionSpace::bounded(vec![-2.0, 0.0], vec![2.0, 10.0]).unwrap()
}

fn episode(steps: u8, terminated: bool) -> RecordedEpisode {
    let mut episode = RecordedEpisode::new(vec![7.0, 0.0]);
    for step in 1..=steps {
        episode.push(vec![1.0, f32::from(step)], f32::from(step), vec![7.0, f32::from(step)]);
    }
    RecordedEpisode { terminated, ..episode }
}

#[test]
fn episodes_of_a_file_are_steps_of_a_replay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("episodes.jsonl");
    episode(3, true).append_to(&path).unwrap();
    episode(4, false).append_to(&path).unwrap();
    // As others may write it: whole numbers, spaces, a missing `terminated`, an empty line.
    let text = fs::read_to_string(&path).unwrap();
    let line = r#"{ "rewards": [1], "actions": [[-2, 10]], "observations": [[1, 2], [3, 4]] }"#;
    fs::write(&path, format!("{text}\n{line}")).unwrap();
    let mut replay = ReplayBuffer::new(100, 2, 2).unwrap();
    assert_eq!(replay.read_episodes(&path, &bounds()).unwrap(), 3);
    assert_eq!((replay.len(), replay.mean_return()), (8, Some((6.0 + 10.0 + 1.0) / 3.0)));
    let held = everything(&replay);
    for action in numbers(&held.actions).chunks(2) {
        // In the policy's units.
        let near = |value: f32| {
            [1, 2, 3, 4].map(|step| step as f32 / 5.0 - 1.0).iter().any(|at| (at - value).abs() < 1e-6)
        };
        assert!(action == [-1.0, 1.0] || action[0] == 0.5 && near(action[1]), "{action:?}");
    }
    // Bootstrapped from where an episode was cut off, and not from where its task ended.
    for (discount, next) in numbers(&held.discounts).iter().zip(numbers(&held.next_observations).chunks(2)) {
        assert!(if *discount == 0.0 { next == [7.0, 3.0] } else { *discount == 1.0 });
    }
    assert!(numbers(&held.discounts).contains(&0.0));
}

/// What does not fit is named by its line, and nothing of the file is stored.
#[test]
fn files_with_other_contents_are_refused_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("episodes.jsonl");
    let whole = r#"{"observations": [[1, 2], [3, 4]], "actions": [[1, 1]], "rewards": [1]}"#;
    let cases = [
        (
            r#"{"observations": [[1, 2]], "actions": [[1, 1]], "rewards": [1]}"#,
            "the episode's observations has 1",
        ),
        (
            r#"{"observations": [[1, 2], [3, 4]], "actions": [[1, 1]], "rewards": []}"#,
            "the episode's rewards has 0",
        ),
        (r#"{"observations": [[1, 2], [3]], "actions": [[1, 1]], "rewards": [1]}"#, "observation has 1"),
        (r#"{"observations": [[1, 2], [3, 4]], "actions": [[1]], "rewards": [1]}"#, "action has 1"),
        (r#"{"observations": [[1, 2], [3, 4]], "actions": [[2.1, 1]], "rewards": [1]}"#, "action is 2.09"),
        (
            r#"{"observations": [[1, 2], [3, 4]], "actions": [[1, 1]], "rewards": [1e13]}"#,
            "reward is 9999999827968",
        ),
        (r#"{"observations": [[1, 2], [3, 1e39]], "actions": [[1, 1]], "rewards": [1]}"#, "line 2"),
        (r#"{"observations": [], "actions": [], "rewards": []}"#, "the episode's observations has 0"),
        (
            r#"{"observations": [[1, 2], [3, 4]], "actions": [[1, 1]], "reward": [1]}"#,
            "unknown field `reward`",
        ),
        ("1,2,3", "line 2"),
    ];
    for (line, words) in cases {
        fs::write(&path, format!("{whole}\n{line}\n")).unwrap();
        let mut replay = ReplayBuffer::new(100, 2, 2).unwrap();
        let error = replay.read_episodes(&path, &bounds()).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("line 2: ") && text.contains(words), "{text}");
        assert!(replay.is_empty());
    }
    let mut replay = ReplayBuffer::new(100, 2, 2).unwrap();
    assert!(matches!(replay.read_episodes(folder.path().join("none"), &bounds()), Err(Error::File { .. })));
    assert!(replay.read_episodes(&path, &ActionSpace::symmetric(1)).is_err());
    // An episode without a step is one.
    replay.add_episode(&episode(0, false), &bounds()).unwrap();
    assert!(replay.is_empty());
}

/// Without an environment, then with one: the replay is learnt from, and goes on.
#[test]
fn trainers_start_from_what_was_recorded() {
    let config =
        TrainerConfig { updates_per_step: 1.0, warm_up_steps: 1, evaluation_episodes: 0, ..short(30) };
    let mut replay = ReplayBuffer::new(config.replay_capacity, 2, 2).unwrap();
    for _ in 0..5 {
        replay.add_episode(&episode(5, false), &bounds()).unwrap();
    }
    let mut agent = quick_agent();
    let before = agent.mean_action(&[7.0, 1.0]).unwrap();
    let mut rng = Rng::stream(1, Stream::Replay);
    assert!(agent.learn(&replay, 0, &mut rng).unwrap().is_none());
    let metrics = agent.learn(&replay, 20, &mut rng).unwrap().unwrap();
    assert!(metrics.critic_loss.is_finite() && agent.updates() == 20);
    assert_ne!(agent.mean_action(&[7.0, 1.0]).unwrap(), before);
    let rows = || Environments::new(vec![Track::default(); 2]).unwrap();
    let other = ReplayBuffer::new(config.replay_capacity - 1, 2, 2).unwrap();
    let trainer = Trainer::new(config.clone(), agent.clone(), rows()).unwrap();
    let error = trainer.start_from(other).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("the replay's capacity is 999"), "{error}");
    let narrow = ReplayBuffer::new(config.replay_capacity, 2, 1).unwrap();
    assert!(Trainer::new(config.clone(), agent.clone(), rows()).unwrap().start_from(narrow).is_err());
    let mut trainer = Trainer::new(config, agent, rows()).unwrap().start_from(replay).unwrap();
    let counts = trainer.run().unwrap().counts;
    assert_eq!((counts.environment_steps, counts.updates, trainer.agent().updates()), (30, 29, 49));
    assert_eq!(trainer.replay().len(), 25 + 30);
    assert_eq!(trainer.replay().mean_return(), Some(15.0));
}
