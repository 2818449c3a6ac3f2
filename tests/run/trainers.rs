//! Trainers of small agents in short runs, and an observer that writes everything down.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};

use burn::tensor::Device;
use mpo::{
    Batch, Event, MpoAgent, MpoConfig, Observer, Progress, ReplayBuffer, Rng, Stream, Trainer, TrainerConfig,
};

use super::environments::Recorder;
use crate::common::agents::agent;
use crate::common::presets::small;

pub fn short(environment_steps: u64) -> TrainerConfig {
    TrainerConfig {
        environment_steps,
        replay_capacity: 1000,
        warm_up_steps: 30,
        updates_per_step: 0.0,
        evaluation_period: 1_000_000,
        evaluation_episodes: 2,
        metrics_period: 1_000_000,
        tolerated_failed_episodes: 0,
        tolerated_refused_updates: 0,
        checkpoint_period: 1_000_000,
        tolerated_failed_saves: 0,
        checkpoints_kept: 2,
        stop_at_return: None,
        seed: 11,
    }
}

pub fn quick_agent() -> MpoAgent {
    let mut config = small(MpoConfig::default());
    config.batch_size = 16;
    config.target_period = 7;
    agent(&config, 2, 2, 1)
}

pub fn trainer(config: TrainerConfig) -> Trainer<Recorder> {
    Trainer::new(config, quick_agent(), Recorder::default())
        .and_then(|trainer| trainer.evaluate_in(Recorder::default()))
        .unwrap()
}

/// Every event with the steps, updates and iterations made by then.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Events>>);

type Events = Vec<(Event, [u64; 3])>;

impl Heard {
    pub fn borrow(&self) -> MutexGuard<'_, Events> {
        self.0.lock().unwrap()
    }

    pub fn take(&self) -> Events {
        std::mem::take(&mut *self.borrow())
    }
}

pub fn listen(heard: &Heard) -> impl Observer + 'static {
    let heard = heard.clone();
    move |event: &Event, progress: &Progress<'_>| {
        let counts = progress.counts;
        let counts = [counts.environment_steps, counts.updates, counts.iterations];
        heard.borrow().push((event.clone(), counts));
        ControlFlow::Continue(())
    }
}

pub fn everything(replay: &ReplayBuffer) -> Batch {
    let mut rng = Rng::stream(1, Stream::Replay);
    replay.sample_transitions(20 * replay.len(), 1, 1.0, &mut rng, &Device::flex()).unwrap()
}
