//! Environments around environments: [`TimeLimit`], [`ActionRepeat`], [`Paced`].

use std::thread;
use std::time::{Duration, Instant};

use crate::action_space::ActionSpace;
use crate::checks::{check, check_any};
use crate::error::Result;
use crate::experience::environment::{Environment, Step};

/// An environment whose episodes are cut off after some steps, if they have not ended before. A task without
/// an end needs one: the training begins anew from time to time, and an evaluation plays whole episodes.
#[derive(Debug, Clone)]
pub struct TimeLimit<E> {
    environment: E,
    limit: u64,
    steps: u64,
}

impl<E: Environment> TimeLimit<E> {
    /// Cuts episodes off after `steps`.
    ///
    /// # Errors
    /// If `steps` is 0.
    pub fn new(environment: E, steps: u64) -> Result<Self> {
        check_any("TimeLimit", steps)?;
        Ok(Self { environment, limit: steps, steps: 0 })
    }
}

impl<E: Environment> Environment for TimeLimit<E> {
    type Error = E::Error;

    fn observation_size(&self) -> usize {
        self.environment.observation_size()
    }

    fn action_space(&self) -> ActionSpace {
        self.environment.action_space()
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>, Self::Error> {
        self.steps = 0;
        self.environment.reset(seed)
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, Self::Error> {
        let step = self.environment.step(action)?;
        self.steps += 1;
        let truncated = step.truncated || (self.steps >= self.limit && !step.terminated);
        Ok(Step { truncated, ..step })
    }

    fn repeatable(&self) -> bool {
        self.environment.repeatable()
    }
}

/// An environment in which each action is applied several times in a row, or until the episode ends: one step
/// of it, whose reward is the sum of theirs. Where a task is controlled more finely than it has to be, it is
/// learnt in fewer steps.
#[derive(Debug, Clone)]
pub struct ActionRepeat<E> {
    environment: E,
    times: u64,
}

impl<E: Environment> ActionRepeat<E> {
    /// Applies each action this many times.
    ///
    /// # Errors
    /// If `times` is 0.
    pub fn new(environment: E, times: u64) -> Result<Self> {
        check_any("ActionRepeat", times)?;
        Ok(Self { environment, times })
    }
}

impl<E: Environment> Environment for ActionRepeat<E> {
    type Error = E::Error;

    fn observation_size(&self) -> usize {
        self.environment.observation_size()
    }

    fn action_space(&self) -> ActionSpace {
        self.environment.action_space()
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>, Self::Error> {
        self.environment.reset(seed)
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, Self::Error> {
        let mut last = self.environment.step(action)?;
        for _ in 1..self.times {
            if last.is_last() {
                break;
            }
            let step = self.environment.step(action)?;
            last = Step { reward: last.reward + step.reward, ..step };
        }
        Ok(last)
    }

    fn repeatable(&self) -> bool {
        self.environment.repeatable()
    }
}

/// An environment whose steps take their time, as a robot's do: each answers at the next tick of a clock, the
/// action having been applied at once. For trying out, in simulation, what is to be trained in real time.
///
/// A step that is asked for after the tick it should have answered at answers at once, and the clock goes on
/// from there: no step is made up for.
#[derive(Debug, Clone)]
pub struct Paced<E> {
    environment: E,
    period: Duration,
    tick: Option<Instant>,
}

impl<E: Environment> Paced<E> {
    /// A step every `period`.
    ///
    /// # Errors
    /// If the period is not above zero, or above an hour.
    pub fn new(environment: E, period: Duration) -> Result<Self> {
        let accepted = |period: &Duration| !period.is_zero() && period.as_secs() < 3600;
        check("Paced", period, accepted, "above zero, up to an hour")?;
        Ok(Self { environment, period, tick: None })
    }
}

impl<E: Environment> Environment for Paced<E> {
    type Error = E::Error;

    fn observation_size(&self) -> usize {
        self.environment.observation_size()
    }

    fn action_space(&self) -> ActionSpace {
        self.environment.action_space()
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>, Self::Error> {
        let observation = self.environment.reset(seed);
        self.tick = Some(Instant::now());
        observation
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, Self::Error> {
        let step = self.environment.step(action)?;
        let now = Instant::now();
        let tick = self.tick.map_or(now, |tick| tick + self.period).max(now);
        thread::sleep(tick - now);
        self.tick = Some(tick);
        Ok(step)
    }

    fn repeatable(&self) -> bool {
        self.environment.repeatable()
    }
}
