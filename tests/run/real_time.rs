//! Acting in one thread, learning in another.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::tensors::numbers;
use crate::environments::STEPS;
use crate::failures::quietly;
use crate::rows::{Fault, Track, trainer};
use crate::trainers::{Heard, everything, listen, quick_agent, short};
use mpo::{Environments, Error, Event, Progress, RealTime, StopReason, Timing, Trainer, TrainerConfig};

fn pace(milliseconds: u64) -> Track {
    Track { time: Duration::from_millis(milliseconds), ..Track::default() }
}

fn real_time(config: TrainerConfig, rows: &[Track]) -> Trainer<Environments<Track>> {
    trainer(config, rows).in_real_time(RealTime::default()).unwrap()
}

/// All that was done arrives once and in order, learns at its ratio, and is told of.
#[test]
fn steps_made_in_real_time_are_learnt_from() {
    let rows = [pace(2), pace(2)];
    let heard = Heard::default();
    let config = TrainerConfig { updates_per_step: 0.2, metrics_period: 20, ..short(200) };
    let mut trainer = real_time(config, &rows).observe(listen(&heard));
    let summary = trainer.run().unwrap();
    assert_eq!((summary.reason, summary.counts.environment_steps), (StopReason::Steps, 200));
    assert!(summary.counts.updates <= 34);
    assert_eq!(trainer.replay().len(), 200);
    let held = everything(trainer.replay());
    for (from, to) in numbers(&held.observations).chunks(2).zip(numbers(&held.next_observations).chunks(2)) {
        assert_eq!([from[0], from[1] + 1.0], [to[0], to[1]]);
    }
    let timing = summary.timing.unwrap();
    assert_eq!((timing.steps, timing.lost_steps), (100, 0));
    let returns = heard.take().into_iter().filter(|(event, _)| matches!(event, Event::Episode { .. }));
    assert!(returns.map(|(event, _)| event).eq(vec![Event::Episode { episode_return: 210.0 }; 10]));
    // What is left of the updates is the next run's, whose episodes are new ones.
    let counts = trainer.run_for(20).unwrap().counts;
    assert_eq!((counts.environment_steps, trainer.replay().len()), (220, 220));
    assert_eq!(
        rows[0].episodes().iter().map(|episode| episode.1).collect::<Vec<_>>(),
        [20, 20, 20, 20, 20, 10]
    );
}

/// An observer, a checkpoint and updates that take long: acting goes on at its pace meanwhile.
#[test]
fn acting_waits_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = times.clone();
    let slow = move |event: &Event, _: &Progress<'_>| {
        if let Event::Timing(timing) = event {
            noted.lock().unwrap().push(*timing);
        }
        std::thread::sleep(Duration::from_millis(150));
        ControlFlow::Continue(())
    };
    let config =
        TrainerConfig { updates_per_step: 10.0, metrics_period: 50, checkpoint_period: 20, ..short(200) };
    let mut trainer = trainer(config, &[pace(5)])
        .in_real_time(RealTime { late: Duration::from_millis(50), ..RealTime::default() })
        .unwrap()
        .observe(slow)
        .save_into(folder.path());
    let begun = Instant::now();
    let summary = trainer.run().unwrap();
    // 200 steps of 5 ms, and at the end what observers are told.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let timing = summary.timing.unwrap();
    assert_eq!((timing.steps, timing.lost_steps), (200, 0));
    // On a machine that does much else too.
    assert!(timing.late_steps < 10, "{timing:?}");
    // Far behind, and it says so.
    assert!(summary.counts.updates < 1000 && timing.steps_behind > 50.0, "{timing:?}");
    let told: Vec<Timing> = times.lock().unwrap().clone();
    assert_eq!(told.iter().map(|timing| timing.steps).sum::<u64>(), 200);
    assert!(std::fs::read_dir(folder.path()).unwrap().count() >= 2);
}

/// A queue that is full loses steps, not the order of those it takes.
#[test]
fn a_full_queue_loses_steps_and_says_so() {
    let track = pace(1);
    let slow = |_: &Event, _: &Progress<'_>| {
        std::thread::sleep(Duration::from_millis(60));
        ControlFlow::Continue(())
    };
    let settings = RealTime { queue: 4, ..RealTime::default() };
    let mut trainer =
        trainer(short(60), std::slice::from_ref(&track)).in_real_time(settings).unwrap().observe(slow);
    let summary = trainer.run().unwrap();
    let timing = summary.timing.unwrap();
    assert_eq!((summary.counts.environment_steps, trainer.replay().len()), (60, 60));
    assert!(timing.lost_steps > 20, "{timing:?}");
    let made: usize = track.episodes().iter().map(|episode| episode.1).sum();
    assert_eq!(made as u64, 60 + timing.lost_steps);
    let held = everything(trainer.replay());
    for (from, to) in numbers(&held.observations).chunks(2).zip(numbers(&held.next_observations).chunks(2)) {
        assert_eq!([from[0], from[1] + 1.0], [to[0], to[1]]);
    }
}

#[test]
fn failures_and_stops_are_as_in_turns() {
    quietly(|| {
        // One too many in a row: no step is made after it.
        for fault in [Fault::Error, Fault::Panic] {
            let track = match fault {
                Fault::Error => Track::failing(|call| (call >= 25).then_some(Fault::Error)),
                _ => Track::failing(|call| (call >= 25).then_some(Fault::Panic)),
            };
            let config = TrainerConfig { tolerated_failed_episodes: 2, ..short(100) };
            let mut trainer = real_time(config, std::slice::from_ref(&track));
            assert!(matches!(trainer.run(), Err(Error::Environment { .. })));
            assert_eq!((trainer.steps(), track.calls.lock().unwrap().len()), (23, 28));
        }
        let track = Track {
            time: Duration::from_millis(1),
            ..Track::failing(|call| (call % 30 == 29).then_some(Fault::Error))
        };
        let config = TrainerConfig { tolerated_failed_episodes: 1, ..short(100) };
        let summary = real_time(config, &[track]).run().unwrap();
        assert_eq!((summary.counts.environment_steps, summary.counts.failed_episodes > 1), (100, true));
    });
    let track = pace(5);
    let stop = |_: &Event, progress: &Progress<'_>| match progress.counts.environment_steps {
        30.. => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let mut trainer = real_time(short(100_000), std::slice::from_ref(&track)).observe(stop);
    let summary = trainer.run().unwrap();
    assert_eq!((summary.reason, summary.evaluation), (StopReason::Observer, None));
    assert!((30..45).contains(&summary.counts.environment_steps), "{}", summary.counts.environment_steps);
    assert_eq!(trainer.replay().len() as u64, summary.counts.environment_steps);
}

/// Whoever panics stops the robot.
#[test]
fn a_panic_ends_acting() {
    quietly(|| {
        let panics = |_: &Event, progress: &Progress<'_>| match progress.counts.environment_steps {
            30.. => panic!("the observer went wrong"),
            _ => ControlFlow::Continue(()),
        };
        let track = pace(2);
        let mut trainer = real_time(short(100_000), std::slice::from_ref(&track)).observe(panics);
        let run = std::panic::AssertUnwindSafe(|| trainer.run().map(|_| ()));
        assert!(std::panic::catch_unwind(run).is_err());
        let steps = track.calls.lock().unwrap().len();
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(track.calls.lock().unwrap().len(), steps);
    });
}

/// Between episodes by the thread that acts; or elsewhere, while it acts.
#[test]
fn evaluations_in_real_time() {
    for elsewhere in [false, true] {
        let (track, heard) = (pace(1), Heard::default());
        let config = TrainerConfig { evaluation_period: 50, evaluation_episodes: 1, ..short(200) };
        let environments = |track: &Track| Environments::new(vec![track.clone()]).unwrap();
        let mut trainer = Trainer::new(config, quick_agent(), environments(&track)).unwrap();
        if elsewhere {
            trainer = trainer.evaluate_in(environments(&Track::default())).unwrap();
        }
        let mut trainer = trainer.in_real_time(RealTime::default()).unwrap().observe(listen(&heard));
        let summary = trainer.run().unwrap();
        assert_eq!(summary.evaluation.unwrap().mean_return, 210.0);
        let evaluations = trainer.evaluations();
        assert!((2..=5).contains(&evaluations.len()), "{evaluations:?}");
        assert!(evaluations.iter().all(|(_, evaluation)| evaluation.mean_return == 210.0));
        assert_eq!((trainer.replay().len(), summary.counts.environment_steps), (200, 200));
        let steps: usize = track.episodes().iter().map(|episode| episode.1).sum();
        let evaluated = if elsewhere { 0 } else { evaluations.len() * STEPS };
        assert_eq!(steps, 200 + evaluated);
    }
    // A return that is reached ends the run.
    let config = TrainerConfig {
        evaluation_period: 50,
        evaluation_episodes: 1,
        stop_at_return: Some(200.0),
        ..short(100_000)
    };
    let rows = Environments::new(vec![pace(1)]).unwrap();
    let trainer = Trainer::new(config, quick_agent(), rows).unwrap();
    let summary = trainer.in_real_time(RealTime::default()).unwrap().run().unwrap();
    assert_eq!(summary.reason, StopReason::Return);
    assert!(summary.counts.environment_steps < 1000);
}

/// A run that was interrupted goes on, with new episodes.
#[test]
fn runs_in_real_time_are_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let make = |steps| {
        let config = TrainerConfig { updates_per_step: 0.1, checkpoint_period: 30, ..short(steps) };
        real_time(config, &[pace(1), pace(1)]).save_into(folder.path())
    };
    let mut first = make(100);
    first.run().unwrap();
    let updates = first.agent().updates();
    drop(first);
    let mut resumed = make(160);
    assert_eq!(resumed.resume().unwrap().environment_steps, 100);
    let counts = resumed.run().unwrap().counts;
    assert_eq!((counts.environment_steps, resumed.replay().len()), (160, 160));
    assert!(counts.updates >= updates);
}
