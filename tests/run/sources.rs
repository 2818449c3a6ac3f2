//! One environment alone, and several at once.

use std::ops::ControlFlow;
use std::time::Duration;

use crate::common::agents::agent;
use crate::common::presets::small;
use crate::common::tensors::numbers;
use crate::environments::{Call, Recorder, STEPS};
use crate::failures::quietly;
use crate::rows::{Fault, Track, trainer};
use crate::trainers::{Heard, everything, listen, quick_agent, short};
use mpo::envs::Cartpole;
use mpo::{
    Behaviour, Environment, Environments, Event, Excursions, Exploration, FirstRow, Layout, MpoConfig,
    NoiseColour, Progress, ReplayBuffer, Rng, Step, StopReason, Stream, TimeLimit, Trainer, TrainerConfig,
    VectorEnvironment, Worker,
};

/// Every step held leads from one observation of an episode to the next of the same one.
fn check_whole_steps(replay: &ReplayBuffer) {
    let held = everything(replay);
    let (from, to) = (numbers(&held.observations), numbers(&held.next_observations));
    for (from, to) in from.chunks(2).zip(to.chunks(2)) {
        assert_eq!([from[0], from[1] + 1.0], [to[0], to[1]]);
    }
}

/// An evaluation that is due in the midst of an episode waits for its end, and leaves the training as it is.
#[test]
fn one_environment_is_evaluated_between_episodes() {
    let run = |evaluation_period, evaluation_episodes| {
        let environment = Recorder::default();
        let (log, heard) = (environment.log.clone(), Heard::default());
        let config =
            TrainerConfig { updates_per_step: 1.0, evaluation_period, evaluation_episodes, ..short(90) };
        let mut trainer = Trainer::new(config, quick_agent(), environment).unwrap().observe(listen(&heard));
        let summary = trainer.run().unwrap();
        let evaluated = |(event, counts): &(Event, [u64; 3])| match event {
            Event::Evaluation(_) => Some(counts[0]),
            _ => None,
        };
        let evaluations: Vec<u64> = heard.borrow().iter().filter_map(evaluated).collect();
        check_whole_steps(trainer.replay());
        (trainer.agent().actor().clone(), evaluations, summary, Recorder::steps(&log).len())
    };
    let (_, evaluations, summary, steps) = run(25, 2);
    assert_eq!(evaluations, [40, 60, 80, 90]);
    assert_eq!((summary.evaluation.unwrap().episodes, steps), (2, 90 + 4 * 2 * STEPS));
    let (_, evaluations, summary, steps) = run(1, 0);
    assert_eq!((evaluations, summary.evaluation, steps), (vec![], None, 90));
    assert!(summary.to_string().starts_with("no evaluation after 90 environment steps, 60 updates"));
}

/// How often is evaluated between episodes changes nothing of what is learnt.
#[test]
fn evaluations_between_episodes_leave_the_training_as_it_is() {
    let act = |evaluation_period, evaluation_episodes| {
        let config =
            TrainerConfig { updates_per_step: 1.0, evaluation_period, evaluation_episodes, ..short(90) };
        let environment = TimeLimit::new(Cartpole::balance(), 20).unwrap();
        let agent = agent(&small(MpoConfig::default()), 5, 1, 1);
        let mut trainer = Trainer::new(config, agent, environment).unwrap();
        trainer.run().unwrap();
        let held = everything(trainer.replay());
        (trainer.agent().mean_action(&[0.1; 5]).unwrap(), numbers(&held.actions), trainer.evaluations().len())
    };
    let (never, often) = (act(1000, 0), act(30, 2));
    assert_eq!((&never.0, &never.1), (&often.0, &often.1));
    assert_eq!((never.2, often.2), (0, 3));
}

/// The evaluation at the end leaves the episode under way; that of a run that was stopped is left out, as a
/// robot is not to move any more.
#[test]
fn the_end_of_a_run_in_one_environment() {
    let environment = Track::default();
    let config = TrainerConfig { evaluation_episodes: 1, ..short(30) };
    let mut trainer = Trainer::new(config, quick_agent(), environment.clone()).unwrap();
    assert_eq!(trainer.run().unwrap().evaluation.unwrap().mean_return, 210.0);
    trainer.run_for(15).unwrap();
    let steps = |environment: &Track| environment.episodes().iter().map(|of| of.1).collect::<Vec<_>>();
    assert_eq!(steps(&environment), [20, 10, 20, 15, 20]);
    assert_eq!((trainer.replay().len(), trainer.evaluate(1).unwrap().episodes), (45, 1));
    check_whole_steps(trainer.replay());

    let environment = Track::default();
    let stop = |_: &Event, progress: &Progress<'_>| match progress.counts.environment_steps {
        33 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let mut trainer = Trainer::new(short(100), quick_agent(), environment.clone()).unwrap().observe(stop);
    let summary = trainer.run().unwrap();
    assert_eq!((summary.reason, summary.evaluation), (StopReason::Observer, None));
    assert_eq!(steps(&environment), [20, 13]);
    assert_eq!(trainer.run_for(7).unwrap().counts.environment_steps, 40);
    assert_eq!(steps(&environment)[..2], [20, 20]);
}

/// Each row has seeds and noise of its own; the first those of a run in it alone.
#[test]
fn rows_have_randomness_of_their_own() {
    let run = |count: usize| {
        let rows = vec![(); count].into_iter().map(|()| Track::default()).collect::<Vec<_>>();
        trainer(short(40 * count as u64), &rows).run().unwrap();
        rows.iter().map(Track::episodes).collect::<Vec<_>>()
    };
    let (alone, four) = (run(1), run(4));
    assert_eq!((alone[0].len(), four.len()), (2, 4));
    let seeds = |row: &[(u64, usize, Vec<f32>)]| row.iter().map(|episode| episode.0).collect::<Vec<_>>();
    assert_eq!(seeds(&alone[0]), seeds(&four[0]));
    // One observation is the same for all rows, whose noise is not.
    let close = |one: &[f32], other: &[f32]| one.iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(close(&alone[0][0].2, &four[0][0].2));
    let mut all: Vec<u64> = four.iter().flat_map(|row| seeds(row)).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 8);
    for row in 1..4 {
        assert!((0..row).all(|other| !close(&four[row][0].2, &four[other][0].2)));
    }
}

/// In one pass for all rows: what each would have done by itself, to within rounding; and after an error
/// nothing.
#[test]
fn a_behaviour_acts_in_rows_as_in_each_alone() {
    let agent = quick_agent();
    let excursions = Some(Excursions { uninformed: 0.5, informed: 0.5, phase: 3, hold: 2.0 });
    for (noise, excursions) in
        [(NoiseColour::Pink, None), (NoiseColour::White, excursions), (NoiseColour::Pink, excursions)]
    {
        let exploration = Exploration { noise, excursions };
        let rng = Rng::stream(3, Stream::Exploration);
        let policy = agent.policy().clone();
        let new = |rng| Behaviour::new(policy.clone(), exploration.clone(), rng).unwrap();
        let mut rows = new(rng.clone()).with_rows(3).unwrap();
        let mut others = rng.clone();
        let mut alone = [new(rng), new(others.split()), new(others.split())];
        for step in 0..30_u8 {
            let seen = [0_u8, 1, 2].map(|row| [f32::from(step), f32::from(row)]);
            // Rows come and go.
            let asked: Vec<usize> = (0..3).filter(|row| (usize::from(step) + row) % 4 > 0).collect();
            let observations: Vec<_> = asked.iter().map(|&row| (row, seen[row].as_slice())).collect();
            assert!(rows.act_in_rows(&[(0, &seen[0]), (2, &[f32::NAN, 0.0])]).is_err());
            assert!(rows.act_in_rows(&[(3, &seen[0])]).is_err());
            let found = rows.act_in_rows(&observations).unwrap();
            assert_eq!(found.len(), asked.len());
            for (&row, found) in asked.iter().zip(found) {
                let expected = alone[row].act(&seen[row]).unwrap();
                let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
                assert!(found.values.iter().zip(&expected.values).all(close), "{found:?} {expected:?}");
                let (one, other) = (found.log_probability, expected.log_probability);
                assert!(one == other || (one - other).abs() < 1e-4, "{one} {other}");
            }
            if step == 17 {
                rows.reset_row(1).unwrap();
                alone[1].reset();
            }
        }
        assert!(rows.reset_row(3).is_err() && rows.with_rows(0).is_err());
    }
}

/// Steps of all rows count, what goes by steps comes with the first that reach it, and each episode is told
/// of.
#[test]
fn steps_of_all_rows_count() {
    let (heard, rows) = (Heard::default(), [Track::default(), Track::default(), Track::default()]);
    let config = TrainerConfig { updates_per_step: 0.5, metrics_period: 10, ..short(100) };
    let mut trainer = trainer(config, &rows).observe(listen(&heard));
    let counts = trainer.run().unwrap().counts;
    assert_eq!((counts.environment_steps, counts.updates, trainer.replay().len()), (102, 36, 102));
    let at = |kind: fn(&Event) -> bool| {
        let heard = heard.borrow();
        heard.iter().filter(|(event, _)| kind(event)).map(|(_, counts)| counts[0]).collect::<Vec<_>>()
    };
    assert_eq!(at(|event| *event == Event::Step), (1..=34).map(|round| 3 * round).collect::<Vec<_>>());
    assert_eq!(at(|event| *event == Event::Episode { episode_return: 210.0 }), [60, 60, 60]);
    assert_eq!(at(|event| matches!(event, Event::Metrics(_))), [42, 51, 60, 72, 81, 90, 102]);
    // Another run begins where this one ended.
    assert_eq!(trainer.run_for(1).unwrap().counts.environment_steps, 105);
    check_whole_steps(trainer.replay());
}

/// In threads or not: what is slow enough for threads learns what is quick learns, to the last bit.
#[test]
fn threads_change_nothing() {
    let run = |time| {
        let rows = vec![Track { time, ..Track::default() }; 4];
        let mut trainer = trainer(TrainerConfig { updates_per_step: 0.5, ..short(160) }, &rows);
        trainer.run().unwrap();
        let held = everything(trainer.replay());
        (
            trainer.agent().mean_action(&[1.0, 2.0]).unwrap(),
            numbers(&held.observations),
            numbers(&held.actions),
        )
    };
    assert_eq!(run(Duration::ZERO), run(Duration::from_millis(1)));
}

/// One row that fails costs its own episodes: the others play theirs to their ends, by the seeds and with the
/// noise that they would have had.
#[test]
fn a_row_that_fails_fails_alone() {
    let seeds = |rows: &[Track]| {
        let of = |row: &Track| row.episodes().iter().map(|episode| episode.0).take(3).collect::<Vec<_>>();
        rows.iter().map(of).collect::<Vec<_>>()
    };
    let well = [Track::default(), Track::default(), Track::default()];
    trainer(short(240), &well).run().unwrap();
    let faults: [fn(usize) -> Option<Fault>; 2] =
        [|call| (call % 7 == 3).then_some(Fault::Error), |call| (call % 7 == 0).then_some(Fault::Panic)];
    quietly(|| {
        for fault in faults {
            let rows = [Track::default(), Track::failing(fault), Track::default()];
            let config = TrainerConfig { tolerated_failed_episodes: 1_000, ..short(240) };
            let mut trainer = trainer(config, &rows);
            let counts = trainer.run().unwrap().counts;
            assert_eq!(trainer.replay().len() as u64, counts.environment_steps);
            assert!((10..40).contains(&counts.failed_episodes), "{}", counts.failed_episodes);
            check_whole_steps(trainer.replay());
            let found = [&rows[0], &rows[2]].map(Track::episodes);
            for episodes in &found {
                let (last, whole) = episodes.split_last().unwrap();
                assert!(whole.iter().all(|episode| episode.1 == STEPS) && last.1 <= STEPS && whole.len() > 3);
            }
            assert_eq!([&seeds(&rows)[0], &seeds(&rows)[2]], [&seeds(&well)[0], &seeds(&well)[2]]);
        }
    });
}

/// One that always fails ends the run with its own error; whatever the others did is there.
#[test]
fn a_row_that_always_fails_ends_the_run() {
    let rows =
        [Track::default(), Track::failing(|call| (call % 4 == 3).then_some(Fault::Error)), Track::default()];
    let mut trainer = trainer(TrainerConfig { tolerated_failed_episodes: 2, ..short(1000) }, &rows);
    let error = trainer.run().unwrap_err();
    assert_eq!(error.to_string(), "the environment failed in step: row 1: call 11 failed");
    // Three times two steps and one that fails, beside nine of each other row.
    assert_eq!((trainer.replay().len(), trainer.steps()), (2 * 9 + 6, 24));
    check_whole_steps(trainer.replay());
    assert!(trainer.run().is_err());
}

/// The others wait for one that hangs as long as its worker's limit, and no longer.
#[test]
fn a_row_that_hangs_costs_its_own_episode() {
    let tracks =
        [Track::default(), Track::failing(|call| (call == 30).then_some(Fault::Hang)), Track::default()];
    let worker = |track: &Track| {
        let track = track.clone();
        Worker::new(move || track.clone(), Duration::from_millis(200)).unwrap()
    };
    let rows = Environments::new(tracks.iter().map(worker).collect()).unwrap();
    let config = TrainerConfig { tolerated_failed_episodes: 1, evaluation_episodes: 0, ..short(180) };
    let mut trainer = Trainer::new(config, quick_agent(), rows).unwrap();
    let begun = std::time::Instant::now();
    let counts = trainer.run().unwrap().counts;
    assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
    assert_eq!((counts.failed_episodes, trainer.replay().len() as u64), (1, counts.environment_steps));
    for track in [&tracks[0], &tracks[2]] {
        assert!(track.episodes()[..3].iter().all(|episode| episode.1 == STEPS));
    }
}

/// A simulator that steps all rows in one call, and gives one answer too few where it is told to.
struct Simulator {
    tracks: Vec<Track>,
    calls: usize,
    short_at: usize,
}

impl VectorEnvironment for Simulator {
    type Error = mpo::BoxedError;

    fn layout(&self) -> Layout {
        Layout {
            rows: self.tracks.len(),
            observation_size: 2,
            action_space: self.tracks[0].action_space(),
            repeatable: false,
        }
    }

    fn reset_rows(&mut self, seeds: &[(usize, u64)]) -> Vec<Result<Vec<f32>, Self::Error>> {
        seeds.iter().map(|&(row, seed)| self.tracks[row].reset(seed)).collect()
    }

    fn step_rows(&mut self, actions: &[(usize, Vec<f32>)]) -> Vec<Result<Step, Self::Error>> {
        self.calls += 1;
        let missing = usize::from(self.calls == self.short_at);
        actions.iter().skip(missing).map(|(row, action)| self.tracks[*row].step(action)).collect()
    }
}

#[test]
fn simulators_of_many_rows_are_a_source_too() {
    let run = |source: fn() -> Simulator| {
        let mut trainer = Trainer::new(
            TrainerConfig { updates_per_step: 0.5, evaluation_episodes: 2, ..short(90) },
            quick_agent(),
            source(),
        )
        .unwrap();
        let evaluation = trainer.run().unwrap().evaluation.unwrap();
        (trainer.agent().mean_action(&[1.0, 2.0]).unwrap(), evaluation.mean_return)
    };
    let rows = || vec![Track::default(), Track::default(), Track::default()];
    let simulator = || Simulator { tracks: rows(), calls: 0, short_at: 0 };
    let mut other = trainer(TrainerConfig { updates_per_step: 0.5, ..short(90) }, &rows());
    other.run().unwrap();
    let fresh: fn() -> Simulator = || Simulator {
        tracks: vec![Track::default(), Track::default(), Track::default()],
        calls: 0,
        short_at: 0,
    };
    assert_eq!(run(fresh), (other.agent().mean_action(&[1.0, 2.0]).unwrap(), 210.0));
    // Answers that are missing are an error of every row, and the next run begins anew.
    let mut faulty = Trainer::new(
        TrainerConfig { evaluation_episodes: 0, ..short(60) },
        quick_agent(),
        Simulator { short_at: 4, ..simulator() },
    )
    .unwrap();
    let error = faulty.run().unwrap_err().to_string();
    assert_eq!(error, "the environment failed in step: 2 answers for 3 rows");
    assert_eq!((faulty.steps(), faulty.run().unwrap().counts.environment_steps), (9, 60));
    // One row of them as an environment.
    let mut alone = Trainer::new(short(60), quick_agent(), FirstRow(simulator())).unwrap();
    let mut plain = Trainer::new(short(60), quick_agent(), Track::default()).unwrap();
    let summaries = [alone.run().unwrap(), plain.run().unwrap()].map(|summary| summary.evaluation);
    assert_eq!(summaries[0], summaries[1]);
}

#[test]
fn rows_that_differ_are_refused() {
    assert!(Environments::<Track>::new(Vec::new()).is_err());
    let other = Recorder { low: vec![-3.0, 10.0], ..Recorder::default() };
    let error = Environments::new(vec![Recorder::default(), other]).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("the same for all rows"), "{error}");
    // Each needs two places in the replay.
    let rows = Environments::new(vec![Track::default(); 4]).unwrap();
    let config = TrainerConfig { replay_capacity: 7, ..short(10) };
    assert!(Trainer::new(config, quick_agent(), rows).is_err());
    let trainer = Trainer::new(short(10), quick_agent(), Recorder::default()).unwrap();
    let other = Recorder { low: vec![-3.0, 10.0], ..Recorder::default() };
    let error = trainer.evaluate_in(other).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("those of the one trained in"), "{error}");
    let mut none = Environments::new(vec![Track::default(); 2]).unwrap();
    assert!(none.step_rows(&[(2, vec![0.0; 2])])[0].is_err());
    let calls = none.reset_rows(&[(1, 1), (1, 2)]);
    assert!(calls[0].is_ok() && calls[1].is_err());
    assert!(matches!(none.rows()[1].calls.lock().unwrap()[..], [Call::Reset(1)]));
}
