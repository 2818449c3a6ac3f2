//! An environment that remembers all that is done to it, and fails where it is told to.

use std::cell::RefCell;
use std::rc::Rc;

use mpo::{ActionSpace, Environment, Step};

/// What was asked of the environment.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    Reset(u64),
    Step { observation: Vec<f32>, action: Vec<f32> },
}

pub type Log = Rc<RefCell<Vec<Call>>>;

#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the motor is hot")]
pub struct Hot;

/// Episodes of 20 steps, whose observations are [episode, step].
#[derive(Clone)]
pub struct Recorder {
    pub log: Log,
    pub low: Vec<f32>,
    pub high: Vec<f32>,
    /// Of the second component of the action.
    pub reward: fn(f32) -> f32,
    pub terminates: bool,
    /// The calls, counted from 0, that fail.
    pub failures: Vec<usize>,
    pub episode: usize,
    pub step: usize,
}

pub const STEPS: usize = 20;

impl Default for Recorder {
    fn default() -> Self {
        Self {
            log: Log::default(),
            low: vec![-2.0, 10.0],
            high: vec![6.0, 11.0],
            reward: |action| 11.0 - action,
            terminates: false,
            failures: Vec::new(),
            episode: 0,
            step: 0,
        }
    }
}

impl Recorder {
    fn observation(&self) -> Vec<f32> {
        vec![self.episode as f32, self.step as f32]
    }

    fn record(&mut self, call: Call) -> Result<(), Hot> {
        let mut log = self.log.borrow_mut();
        log.push(call);
        if self.failures.contains(&(log.len() - 1)) { Err(Hot) } else { Ok(()) }
    }

    /// The actions taken, and the observations they were taken at.
    pub fn steps(log: &Log) -> Vec<(Vec<f32>, Vec<f32>)> {
        let step = |call: &Call| match call {
            Call::Step { observation, action } => Some((observation.clone(), action.clone())),
            Call::Reset(_) => None,
        };
        log.borrow().iter().filter_map(step).collect()
    }
}

impl Environment for Recorder {
    type Error = Hot;

    fn observation_size(&self) -> usize {
        2
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::bounded(self.low.clone(), self.high.clone()).unwrap()
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>, Hot> {
        self.record(Call::Reset(seed))?;
        self.episode += 1;
        self.step = 0;
        Ok(self.observation())
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, Hot> {
        self.record(Call::Step { observation: self.observation(), action: action.to_vec() })?;
        self.step += 1;
        let last = self.step == STEPS;
        Ok(Step {
            observation: self.observation(),
            reward: (self.reward)(action[1]),
            terminated: last && self.terminates,
            truncated: last && !self.terminates,
        })
    }
}
