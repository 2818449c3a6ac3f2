//! Environments that hang or panic in a thread of their own.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use mpo::envs::Cartpole;
use mpo::{
    ActionSpace, Environment, Error, MpoAgent, MpoConfig, Step, Trainer, TrainerConfig, Worker, WorkerError,
};

/// Episodes of ten steps. The calls whose number, over all threads, `does` names go wrong.
struct Troubled {
    calls: Arc<AtomicUsize>,
    does: fn(usize) -> Trouble,
    step: usize,
}

#[derive(Clone, Copy)]
enum Trouble {
    None,
    Hang,
    Panic,
}

impl Troubled {
    fn worker(does: fn(usize) -> Trouble, limit: Duration) -> Worker<Self> {
        let calls = Arc::new(AtomicUsize::new(0));
        let make = move || Self { calls: calls.clone(), does, step: 0 };
        Worker::new(make, limit).unwrap()
    }

    fn call(&self) {
        match (self.does)(self.calls.fetch_add(1, Ordering::Relaxed)) {
            Trouble::None => {}
            Trouble::Hang => std::thread::sleep(100 * LIMIT),
            Trouble::Panic => panic!("a bolt is loose"),
        }
    }
}

const LIMIT: Duration = Duration::from_millis(100);

impl Environment for Troubled {
    type Error = Infallible;

    fn observation_size(&self) -> usize {
        1
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::symmetric(1)
    }

    fn reset(&mut self, _: u64) -> Result<Vec<f32>, Infallible> {
        self.call();
        self.step = 0;
        Ok(vec![0.0])
    }

    fn step(&mut self, _: &[f32]) -> Result<Step, Infallible> {
        self.call();
        self.step += 1;
        let truncated = self.step == 10;
        Ok(Step { observation: vec![self.step as f32], reward: 1.0, terminated: false, truncated })
    }
}

/// A worker plays the episode that its environment plays.
#[test]
fn a_worker_is_its_environment() {
    let mut alone = Cartpole::swingup();
    let mut worker = Worker::new(Cartpole::swingup, Duration::from_secs(60)).unwrap();
    assert_eq!(worker.observation_size(), 5);
    assert_eq!(worker.action_space(), alone.action_space());
    assert!(worker.repeatable());
    for seed in [3, 4] {
        assert_eq!(worker.reset(seed).unwrap(), alone.reset(seed).unwrap());
        for step in 0..50 {
            let action = [(step as f32).sin()];
            assert_eq!(worker.step(&action).unwrap(), alone.step(&action).unwrap());
        }
    }
    let own = worker.step(&[f32::NAN]).unwrap_err();
    assert_eq!(own.to_string(), alone.step(&[f32::NAN]).unwrap_err().to_string());
    assert!(matches!(own, WorkerError::Environment(_)));
    // Its own error is not the end of its thread.
    worker.step(&[0.1]).unwrap();
}

#[test]
fn late_answers_and_panics_are_errors_and_a_reset_begins_anew() {
    for (does, late) in [
        ((|call| if call == 3 { Trouble::Hang } else { Trouble::None }) as fn(usize) -> Trouble, true),
        (|call| if call == 3 { Trouble::Panic } else { Trouble::None }, false),
    ] {
        let limit = if late { LIMIT } else { 600 * LIMIT };
        let mut worker = Troubled::worker(does, limit);
        worker.reset(1).unwrap();
        worker.step(&[0.0]).unwrap();
        worker.step(&[0.0]).unwrap();
        let begun = Instant::now();
        let error = worker.step(&[0.0]).unwrap_err();
        assert!(begun.elapsed() < 100 * LIMIT);
        assert_eq!(matches!(error, WorkerError::Late(LIMIT)), late, "{error}");
        assert_eq!(error.to_string() == "it panicked: a bolt is loose", !late, "{error}");
        assert!(matches!(worker.step(&[0.0]), Err(WorkerError::Ended)), "the thread was given up");
        worker.reset(1).unwrap();
        assert_eq!(worker.step(&[0.0]).unwrap().observation, [1.0]);
    }
}

/// Episodes that hang or panic are left, nothing of the step that failed is stored, and the training goes on.
#[test]
fn training_goes_on_past_episodes_that_hang() {
    let trouble: fn(usize) -> Trouble = |call| match call {
        7 | 40 | 41 => Trouble::Hang,
        25 => Trouble::Panic,
        _ => Trouble::None,
    };
    let config = TrainerConfig {
        environment_steps: 60,
        updates_per_step: 0.0,
        evaluation_period: 1000,
        evaluation_episodes: 1,
        tolerated_failed_episodes: 2,
        ..TrainerConfig::default()
    };
    let trainer = |tolerated_failed_episodes| {
        let config = TrainerConfig { tolerated_failed_episodes, ..config.clone() };
        let agent = MpoAgent::new(MpoConfig::default(), 1, 1, &Device::flex(), 1).unwrap();
        Trainer::new(config, agent, Troubled::worker(trouble, LIMIT))
            .and_then(|trainer| trainer.evaluate_in(Troubled::worker(|_| Trouble::None, LIMIT)))
            .unwrap()
    };
    let mut patient = trainer(2);
    let summary = patient.run().unwrap();
    assert_eq!((summary.counts.environment_steps, summary.counts.failed_episodes), (60, 4));
    assert_eq!((patient.replay().len(), patient.replay().mean_reward()), (60, Some(1.0)));
    let mut strict = trainer(0);
    let error = strict.run().unwrap_err();
    assert!(matches!(error, Error::Environment { place: "step", .. }), "{error:?}");
    assert!(error.to_string().contains("no answer within 100ms"), "{error}");
    assert_eq!(strict.replay().len(), 6);
}

#[test]
fn an_environment_that_cannot_be_made_is_an_error() {
    // A thread that panics may take a while to say so.
    let make = || -> Cartpole { panic!("no such robot") };
    let error = Worker::new(make, 600 * LIMIT).map(|_| ()).unwrap_err();
    assert!(matches!(error, WorkerError::Panicked(_)), "{error}");
    assert!(error.to_string().contains("no such robot"), "{error}");
    let make = || {
        std::thread::sleep(20 * LIMIT);
        Cartpole::balance()
    };
    assert!(matches!(Worker::new(make, LIMIT), Err(WorkerError::Late(_))));
}
