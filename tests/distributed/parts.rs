//! What the tests are made of.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mpo::{
    ActionSpace, BoxedError, Device, Environment, Event, MpoAgent, MpoConfig, Observer, Progress,
    ReplayBuffer, Rng, Step, Stream, TrainerConfig,
};

use crate::common::agents::agent;
use crate::common::presets::small;
use crate::common::tensors::numbers;

pub fn short(environment_steps: u64) -> TrainerConfig {
    TrainerConfig {
        environment_steps,
        replay_capacity: 100_000,
        warm_up_steps: 30,
        updates_per_step: 0.0,
        evaluation_episodes: 0,
        seed: 11,
        ..TrainerConfig::default()
    }
}

/// An agent for observations and actions of these sizes.
pub fn quick_agent(observation_size: usize, action_size: usize, seed: u64) -> MpoAgent {
    let mut config = small(MpoConfig::simulation());
    config.batch_size = 16;
    config.target_period = 7;
    agent(&config, observation_size, action_size, seed)
}

/// Every event with the steps and updates made by then.
pub type Heard = Arc<Mutex<Vec<(Event, [u64; 2])>>>;

pub fn listen(heard: &Heard) -> impl Observer + use<> {
    let heard = heard.clone();
    move |event: &Event, progress: &Progress<'_>| {
        let counts = progress.counts;
        heard.lock().unwrap().push((event.clone(), [counts.environment_steps, counts.updates]));
        ControlFlow::Continue(())
    }
}

/// A robot that counts its steps: its observation is its number and how many steps it has made, and so is
/// each of them known by what is stored of it. Its episodes have 20 steps.
#[derive(Clone)]
pub struct Counter {
    pub number: u32,
    pub steps: u32,
    pub pace: Duration,
}

pub const EPISODE: u32 = 20;

impl Counter {
    pub fn new(number: u32, pace: Duration) -> Self {
        Self { number, steps: 0, pace }
    }

    fn observation(&self) -> Vec<f32> {
        vec![self.number as f32, self.steps as f32]
    }
}

impl Environment for Counter {
    type Error = BoxedError;

    fn observation_size(&self) -> usize {
        2
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::symmetric(1)
    }

    fn reset(&mut self, _: u64) -> Result<Vec<f32>, BoxedError> {
        Ok(self.observation())
    }

    fn step(&mut self, _: &[f32]) -> Result<Step, BoxedError> {
        std::thread::sleep(self.pace);
        self.steps += 1;
        let truncated = self.steps.is_multiple_of(EPISODE);
        Ok(Step { observation: self.observation(), reward: 1.0, terminated: false, truncated })
    }
}

/// The steps of [`Counter`]s in a replay, as the number of each and how many it had made before, in order and
/// each as often as it is there. Every step has to lead to the next one.
pub fn stored(replay: &ReplayBuffer) -> Vec<(u32, u32)> {
    let mut rng = Rng::stream(1, Stream::Replay);
    let drawn = replay.sample_transitions(20 * replay.len(), 1, 1.0, &mut rng, &Device::flex()).unwrap();
    let (from, to) = (numbers(&drawn.observations), numbers(&drawn.next_observations));
    let mut steps: Vec<(u32, u32)> = Vec::new();
    for (from, to) in from.chunks(2).zip(to.chunks(2)) {
        assert_eq!([from[0], from[1] + 1.0], [to[0], to[1]]);
        steps.push((from[0] as u32, from[1] as u32));
    }
    steps.sort_unstable();
    steps.dedup();
    assert_eq!(steps.len(), replay.len(), "a step is stored twice");
    steps
}
