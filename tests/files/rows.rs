//! Runs in several environments, interrupted and resumed.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::checkpoints::{FOLDER, check_same, config, go_on, remains, this_test, tiny};
use crate::common::agents::agent;
use mpo::envs::Cartpole;
use mpo::{
    Environments, Error, Event, Excursions, MpoConfig, Progress, Rng, Stream, TimeLimit, Trainer,
    TrainerConfig,
};
use tempfile::TempDir;

type Rows = Environments<TimeLimit<Cartpole>>;

/// Rows whose episodes end at steps of their own.
fn rows(count: u64) -> Rows {
    let row = |row| TimeLimit::new(Cartpole::balance(), 130 + 7 * row).unwrap();
    Environments::new((0..count).map(row).collect()).unwrap()
}

fn trainer(count: u64, config: TrainerConfig, elsewhere: bool, folder: &Path) -> Trainer<Rows> {
    let mut settings = tiny(MpoConfig::default());
    settings.exploration.excursions =
        Some(Excursions { uninformed: 0.5, informed: 0.5, phase: 7, hold: 2.0 });
    let config = TrainerConfig { replay_capacity: 1800, ..config };
    let trainer = Trainer::new(config, agent(&settings, 5, 1, 5), rows(count)).unwrap();
    let trainer = if elsewhere { trainer.evaluate_in(rows(2)).unwrap() } else { trainer };
    trainer.save_into(folder.join("checkpoints"))
}

/// With one row and with several, evaluated elsewhere and between episodes: interrupted by the end of a run,
/// by an observer, and by a process that dies, a run is the one that was not.
#[test]
fn resumed_runs_in_rows_are_the_run_that_was_interrupted() {
    for (count, elsewhere) in [(1, false), (3, true), (4, false)] {
        let trainer = |steps, folder: &TempDir| trainer(count, config(steps), elsewhere, folder.path());
        let straight = TempDir::new().unwrap();
        let mut run = go_on(trainer(1404, &straight), straight.path());
        let expected = remains(&mut run, straight.path());
        for parts in [vec![700], vec![402, 403, 1200], vec![1, 60, 777]] {
            let folder = TempDir::new().unwrap();
            for &steps in &parts {
                go_on(trainer(steps, &folder), folder.path());
            }
            let mut run = go_on(trainer(1404, &folder), folder.path());
            check_same(remains(&mut run, folder.path()), &expected, (count, elsewhere, &parts));
        }
        for dies in [false, true] {
            let folder = TempDir::new().unwrap();
            let ended = move |_: &Event, progress: &Progress<'_>| match progress.counts.environment_steps {
                820.. if dies => panic!("the power is cut"),
                820.. => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            };
            let run = || drop(go_on(trainer(1404, &folder).observe(ended), folder.path()));
            assert_eq!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err(), dies);
            let mut run = go_on(trainer(1404, &folder), folder.path());
            check_same(remains(&mut run, folder.path()), &expected, (count, elsewhere, dies));
        }
    }
}

/// A run in another number of rows is another run.
#[test]
fn other_numbers_of_rows_are_refused_by_name() {
    let folder = TempDir::new().unwrap();
    trainer(3, config(300), true, folder.path()).run().unwrap();
    let mut other = trainer(4, config(600), true, folder.path());
    let error = other.resume().unwrap_err();
    assert!(
        matches!(error, Error::Format { .. }) && error.to_string().contains("rows = 3, not 4"),
        "{error}"
    );
    assert_eq!((other.steps(), other.run().is_err()), (0, true));
    drop(other);
    // An agent's file brings as many rows as were saved.
    let path = folder.path().join("checkpoints/step-000000000300/agent.mpo");
    let mut settings = tiny(MpoConfig::default());
    settings.exploration.excursions =
        Some(Excursions { uninformed: 0.5, informed: 0.5, phase: 7, hold: 2.0 });
    let mut alone = agent(&settings, 5, 1, 5);
    alone.restore(path).unwrap();
    assert_eq!(alone.behaviour().rows(), 3);
}

fn long(folder: &Path) -> Trainer<Rows> {
    let config = TrainerConfig { checkpoint_period: 60, evaluation_period: 500, ..config(12_000) };
    trainer(4, config, false, folder)
}

/// Kills a training process in several rows at 30 random instants: what comes of it is the run that was never
/// interrupted, to the last bit.
#[cfg(unix)]
#[test]
fn killed_at_any_instant_a_run_in_rows_is_the_same() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let folder = Path::new(&folder);
        let complete = folder.join("complete");
        let note = move |event: &Event, progress: &Progress<'_>| {
            if let Event::Saved = event {
                fs::write(&complete, progress.counts.environment_steps.to_string()).unwrap();
            }
            ControlFlow::Continue(())
        };
        drop(go_on(long(folder).observe(note), folder));
        return;
    }
    let [straight, folder] = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let mut rng = Rng::stream(4, Stream::Episodes);
    let noted = || fs::read_to_string(folder.path().join("complete")).ok().and_then(|text| text.parse().ok());
    for round in 0..30 {
        let reached: u64 = noted().unwrap_or(0);
        let name = "rows::killed_at_any_instant_a_run_in_rows_is_the_same";
        let mut process = this_test(name, folder.path(), "").spawn().unwrap();
        let begun = Instant::now();
        while noted().unwrap_or(0) <= reached {
            assert!(begun.elapsed() < Duration::from_secs(60), "round {round}: no checkpoint in a minute");
            assert!(process.try_wait().unwrap().is_none(), "round {round}: ended by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(rng.index(60_000) as u64));
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let mut run = go_on(long(folder.path()), folder.path());
    let found = remains(&mut run, folder.path());
    let mut run = go_on(long(straight.path()), straight.path());
    check_same(found, &remains(&mut run, straight.path()), "killed 30 times");
}
