//! Environments that go to other threads, remember what is done to them, and fail where they are told to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mpo::{ActionSpace, BoxedError, Environment, Environments, Step, Trainer, TrainerConfig};

use crate::environments::{Call, STEPS};
use crate::trainers::quick_agent;

/// How a call goes wrong.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    Error,
    Panic,
    Hang,
}

/// Episodes of 20 steps, whose observations are [episode, step] and whose reward is the step's number.
#[derive(Clone)]
pub struct Track {
    pub calls: Arc<Mutex<Vec<Call>>>,
    pub fault: fn(usize) -> Option<Fault>,
    /// What a step takes.
    pub time: Duration,
    /// Episode and step.
    pub at: [f32; 2],
}

impl Default for Track {
    fn default() -> Self {
        Self { calls: Arc::default(), fault: |_| None, time: Duration::ZERO, at: [0.0; 2] }
    }
}

impl Track {
    pub fn failing(fault: fn(usize) -> Option<Fault>) -> Self {
        Self { fault, ..Self::default() }
    }

    fn call(&self, call: Call) -> Result<(), BoxedError> {
        let number = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(call);
            calls.len() - 1
        };
        match (self.fault)(number) {
            None => return Ok(()),
            Some(Fault::Error) => {}
            Some(Fault::Panic) => panic!("call {number} went wrong"),
            Some(Fault::Hang) => std::thread::sleep(Duration::from_secs(3)),
        }
        Err(format!("call {number} failed").into())
    }

    /// The seeds of its episodes, and the steps and first action of each.
    pub fn episodes(&self) -> Vec<(u64, usize, Vec<f32>)> {
        let mut episodes: Vec<(u64, usize, Vec<f32>)> = Vec::new();
        for call in &*self.calls.lock().unwrap() {
            match (call, episodes.last_mut()) {
                (Call::Reset(seed), _) => episodes.push((*seed, 0, Vec::new())),
                (Call::Step { action, .. }, Some(episode)) => {
                    if episode.1 == 0 {
                        episode.2.clone_from(action);
                    }
                    episode.1 += 1;
                }
                _ => panic!("a step comes first"),
            }
        }
        episodes
    }
}

impl Environment for Track {
    type Error = BoxedError;

    fn observation_size(&self) -> usize {
        2
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::symmetric(2)
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>, BoxedError> {
        self.call(Call::Reset(seed))?;
        self.at = [self.at[0] + 1.0, 0.0];
        Ok(self.at.to_vec())
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, BoxedError> {
        std::thread::sleep(self.time);
        self.call(Call::Step { observation: self.at.to_vec(), action: action.to_vec() })?;
        self.at[1] += 1.0;
        let truncated = self.at[1] == STEPS as f32;
        Ok(Step { observation: self.at.to_vec(), reward: self.at[1], terminated: false, truncated })
    }
}

/// A trainer in these rows, without evaluations.
pub fn trainer(config: TrainerConfig, rows: &[Track]) -> Trainer<Environments<Track>> {
    let config = TrainerConfig { evaluation_episodes: 0, ..config };
    Trainer::new(config, quick_agent(), Environments::new(rows.to_vec()).unwrap()).unwrap()
}
