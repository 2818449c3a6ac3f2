//! Environments that go wrong, each in its way: an error with what helps, and the next reset begins anew.

use std::time::{Duration, Instant};

use mpo::gymnasium::GymnasiumError;
use mpo::{ActionSpace, Environment, Error, MpoAgent, MpoConfig, Step, Trainer, TrainerConfig};

use crate::python::{ends_within, says, there, troubled, troubles};

#[test]
fn an_environment_is_played() {
    if !there() {
        return;
    }
    let mut environment = troubles("Troubled").make().unwrap();
    assert_eq!(environment.observation_size(), 2);
    assert_eq!(environment.action_space(), ActionSpace::bounded(vec![-2.0], vec![3.0]).unwrap());
    assert!(!environment.repeatable());
    assert!(troubles("Troubled").repeatable(true).make().unwrap().repeatable());
    for seed in [7, u64::MAX] {
        assert!(matches!(environment.step(&[0.5]), Err(GymnasiumError::NoEpisode)));
        assert_eq!(environment.reset(seed).unwrap(), [(seed % 1000) as f32, 0.0]);
        for step in 1..=10 {
            let observation = vec![step as f32, 0.5];
            let expected =
                Step { observation, reward: step as f32 + 0.5, terminated: false, truncated: step == 10 };
            assert_eq!(environment.step(&[0.5]).unwrap(), expected);
        }
    }
}

#[test]
fn actions_that_are_none_are_refused_and_the_episode_goes_on() {
    if !there() {
        return;
    }
    let mut environment = troubles("Troubled").make().unwrap();
    environment.reset(1).unwrap();
    says(environment.step(&[0.5, 0.5]), &["[0.5, 0.5]", "1 finite"]);
    says(environment.step(&[f32::NAN]), &["NaN", "1 finite"]);
    assert_eq!(environment.step(&[0.5]).unwrap().observation, [1.0, 0.5]);
}

#[test]
fn choices_come_as_whole_numbers() {
    if !there() {
        return;
    }
    let mut environment = troubles("choices").make().unwrap();
    assert_eq!(environment.action_space(), ActionSpace::discrete(4));
    environment.reset(1).unwrap();
    for choice in [4.0, -1.0, 0.5] {
        says(environment.step(&[choice]), &["the action is", "1 finite"]);
    }
    // The stand-in counts its choices from 10 on, and says what it was given.
    assert_eq!(environment.step(&[3.0]).unwrap().observation, [1.0, 13.0]);
    assert_eq!(environment.step(&[0.0]).unwrap().observation, [2.0, 10.0]);
}

#[test]
fn what_goes_wrong_is_an_error_and_a_reset_begins_anew() {
    if !there() {
        return;
    }
    for (trouble, words) in [
        ("raise", ["RuntimeError: a bolt is loose", "in go_wrong"]),
        ("exit", ["the battery is empty", "exit status: 3"]),
        ("sys.exit", ["SystemExit: the operator went home", "in go_wrong"]),
        ("kill", ["signal: 9", "ended"]),
        ("fork", ["exit status: 3", "ended"]),
        ("scribble", ["does something else write there?", "expected an answer"]),
        ("size", ["the observation has 1 numbers, its space 2", "ValueError"]),
        ("no reward", ["struct.error", "Traceback"]),
    ] {
        let mut environment = troubled(trouble, 3).make().unwrap();
        environment.reset(1).unwrap();
        let first = environment.process_id().unwrap();
        environment.step(&[0.0]).unwrap();
        environment.step(&[0.0]).unwrap();
        let begun = Instant::now();
        says(environment.step(&[0.0]), &words);
        assert!(begun.elapsed() < Duration::from_secs(20), "{trouble}");
        assert!(ends_within(first, Duration::ZERO), "{trouble}: it still runs");
        assert!(matches!(environment.step(&[0.0]), Err(GymnasiumError::NoEpisode)));
        environment.reset(2).unwrap();
        assert_ne!(environment.process_id(), Some(first));
        assert_eq!(environment.step(&[1.0]).unwrap().observation, [1.0, 1.0], "{trouble}");
    }
    let mut environment = troubled("reset", 0).make().unwrap();
    says(environment.reset(1), &["RuntimeError: a bolt is loose", "in reset"]);
    says(environment.render(), &["no episode"]);
    let mut environment = troubles("Troubled").make().unwrap();
    environment.reset(1).unwrap();
    says(environment.render(), &["RuntimeError: no paint"]);
}

#[test]
fn a_hang_is_killed_and_says_where() {
    if !there() {
        return;
    }
    let limit = Duration::from_millis(300);
    for (trouble, words) in [
        ("hang", vec!["no answer within 300ms", "troubles.py", "in go_wrong"]),
        ("hang with Python's lock", vec!["no answer within 300ms"]),
    ] {
        let mut environment = troubled(trouble, 2).answer_limit(limit).make().unwrap();
        environment.reset(1).unwrap();
        let first = environment.process_id().unwrap();
        environment.step(&[0.0]).unwrap();
        // What is idle for longer than the limit is not late.
        std::thread::sleep(3 * limit);
        let begun = Instant::now();
        let error = says(environment.step(&[0.0]), &words);
        assert!(matches!(error, GymnasiumError::Late { .. }), "{error}");
        assert!(begun.elapsed() >= limit && begun.elapsed() < Duration::from_secs(10));
        assert!(ends_within(first, Duration::ZERO), "{trouble}: it still runs");
        environment.reset(1).unwrap();
        environment.step(&[0.0]).unwrap();
    }
}

/// What the environment started is killed with it, and so is Python behind a script that stands in for it.
#[test]
#[cfg(unix)]
fn all_of_a_process_that_hangs_is_killed() {
    if !there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("python3");
    let python = crate::python::interpreter();
    std::fs::write(&script, format!("#!/bin/sh\n'{python}' \"$@\"\nexit $?\n")).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for trouble in ["helper and hang", "helper and hang with Python's lock", "helper and kill"] {
        let limit = Duration::from_millis(300);
        let mut environment = troubled(trouble, 2).answer_limit(limit).interpreter(&script).make().unwrap();
        environment.reset(1).unwrap();
        let [python, helper] = environment.step(&[0.0]).unwrap().observation[..] else { panic!() };
        let begun = Instant::now();
        says(environment.step(&[0.0]), &["the Python process"]);
        assert!(begun.elapsed() < Duration::from_secs(10), "{trouble}");
        for process in [python, helper] {
            assert!(ends_within(process as u32, Duration::from_secs(1)), "{trouble}: {process} still runs");
        }
    }
}

#[test]
fn prints_reads_and_interrupts_are_harmless() {
    if !there() {
        return;
    }
    for trouble in ["print and read", "interrupt"] {
        let mut environment = troubled(trouble, 2).make().unwrap();
        environment.reset(1).unwrap();
        for step in 1..=10 {
            assert_eq!(environment.step(&[0.25]).unwrap().observation, [step as f32, 0.25], "{trouble}");
        }
    }
}

#[test]
fn a_clone_is_another_of_its_kind() {
    if !there() {
        return;
    }
    let mut first = troubles("Troubled").make().unwrap();
    first.reset(1).unwrap();
    let mut second = first.clone();
    assert_eq!((second.observation_size(), second.process_id()), (2, None));
    assert!(matches!(second.step(&[0.0]), Err(GymnasiumError::NoEpisode)));
    second.reset(5).unwrap();
    assert_eq!(first.step(&[1.0]).unwrap().observation, [1.0, 1.0]);
    assert_eq!(second.step(&[2.0]).unwrap().observation, [1.0, 2.0]);
    let running = second.process_id().unwrap();
    drop(second);
    assert!(ends_within(running, Duration::ZERO));
}

#[test]
fn an_environment_is_closed_in_the_end() {
    if !there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let closed = folder.path().join("closed");
    let options = troubles("Troubled").argument("closed", closed.to_str().unwrap());
    let environment = options.make().unwrap();
    assert!(!closed.exists());
    drop(environment);
    assert!(closed.exists());
}

fn config(tolerated_failed_episodes: u32) -> TrainerConfig {
    TrainerConfig {
        environment_steps: 60,
        updates_per_step: 0.0,
        evaluation_period: 1000,
        evaluation_episodes: 1,
        tolerated_failed_episodes,
        ..TrainerConfig::default()
    }
}

fn trainer(trouble: &str, tolerated: u32) -> Trainer<mpo::gymnasium::Gymnasium> {
    let environment = troubled(trouble, 25).answer_limit(Duration::from_millis(500)).make().unwrap();
    let device = mpo::device(mpo::devices::default_backend()).unwrap();
    let agent = MpoAgent::of(MpoConfig::default(), &environment, &device, 1).unwrap();
    let trainer = Trainer::new(config(tolerated), agent, environment.clone()).unwrap();
    trainer.evaluate_in(environment).unwrap()
}

/// Nothing of a step that failed is stored, and the training goes on with a new process.
#[test]
fn training_goes_on_past_processes_that_fail() {
    if !there() {
        return;
    }
    for trouble in ["kill", "hang", "raise", "scribble", "nan", "infinite reward"] {
        let mut patient = trainer(trouble, 1);
        let summary = patient.run().unwrap();
        let failed = if ["nan", "infinite reward"].contains(&trouble) { 1 } else { 2 };
        assert_eq!(summary.counts.environment_steps, 60, "{trouble}");
        assert_eq!(summary.counts.failed_episodes, failed, "{trouble}");
        assert_eq!(patient.replay().len(), 60, "{trouble}");
        let mut strict = trainer(trouble, 0);
        let error = strict.run().unwrap_err();
        match trouble {
            "nan" => assert!(matches!(error, Error::NonFinite { place: "observation", .. }), "{error}"),
            "infinite reward" => {
                assert!(matches!(error, Error::NonFinite { place: "reward", .. }), "{error}")
            }
            _ => assert!(matches!(error, Error::Environment { place: "step", .. }), "{error}"),
        }
        assert_eq!(strict.replay().len(), 24, "{trouble}");
    }
}
