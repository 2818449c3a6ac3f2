//! An environment that answers whatever it is told to.

use std::convert::Infallible;

use mpo::{ActionSpace, Environment, Step};

/// Episodes of 10 steps with observations [0.5, ...] and rewards 1, but at one call.
#[derive(Debug, Clone, Default)]
pub struct Faulty {
    pub observation_size: usize,
    pub action_size: usize,
    /// The number of the call (resets and steps together, from 0) that is answered otherwise, and how.
    pub fault: Option<(usize, Vec<f32>, f32)>,
    calls: usize,
    steps: usize,
}

impl Faulty {
    pub fn new(observation_size: usize, action_size: usize) -> Self {
        Self { observation_size, action_size, ..Self::default() }
    }

    pub fn with_fault(mut self, call: usize, observation: Vec<f32>, reward: f32) -> Self {
        self.fault = Some((call, observation, reward));
        self
    }

    fn answer(&mut self) -> (Vec<f32>, f32) {
        let call = self.calls;
        self.calls += 1;
        match &self.fault {
            Some((at, observation, reward)) if *at == call => (observation.clone(), *reward),
            _ => (vec![0.5; self.observation_size], 1.0),
        }
    }
}

impl Environment for Faulty {
    type Error = Infallible;

    fn observation_size(&self) -> usize {
        self.observation_size
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::symmetric(self.action_size)
    }

    fn reset(&mut self, _: u64) -> Result<Vec<f32>, Infallible> {
        self.steps = 0;
        Ok(self.answer().0)
    }

    fn step(&mut self, _: &[f32]) -> Result<Step, Infallible> {
        self.steps += 1;
        let (observation, reward) = self.answer();
        Ok(Step { observation, reward, terminated: false, truncated: self.steps == 10 })
    }
}
