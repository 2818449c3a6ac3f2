//! What the library asks of a simulation or a robot: [`Environment`].

use crate::checks::{check, check_finite, check_size};
use crate::error::{BoxedError, Error, Result};

/// A task with continuous actions: the one trait to implement in order to train.
///
/// The environment speaks its own units: observations as they are measured, actions inside
/// [`action_space`](Environment::action_space). The policy works in [-1, 1]; the library maps between them
/// and never hands over an action outside the bounds. Every episode has to end at some time, be it by
/// truncation: an evaluation plays whole episodes.
///
/// ```
/// use mpo::{ActionSpace, Environment, Step};
///
/// /// A point that is to be moved to zero: position and steps made.
/// struct Point(f32, u32);
///
/// impl Environment for Point {
///     type Error = std::convert::Infallible;
///
///     fn observation_size(&self) -> usize {
///         1
///     }
///
///     fn action_space(&self) -> ActionSpace {
///         ActionSpace::symmetric(1)
///     }
///
///     fn reset(&mut self, seed: u64) -> Result<Vec<f32>, Self::Error> {
///         *self = Self(if seed % 2 == 0 { 1.0 } else { -1.0 }, 0);
///         Ok(vec![self.0])
///     }
///
///     fn step(&mut self, action: &[f32]) -> Result<Step, Self::Error> {
///         *self = Self(self.0 + 0.1 * action[0], self.1 + 1);
///         let truncated = self.1 == 50;
///         Ok(Step { observation: vec![self.0], reward: -self.0.abs(), terminated: false, truncated })
///     }
/// }
/// ```
pub trait Environment {
    /// What the environment itself reports when it fails: an error type of its own, [`BoxedError`],
    /// `anyhow::Error`, or [`std::convert::Infallible`] if it cannot fail.
    type Error: Into<BoxedError>;

    /// How many numbers an observation has.
    fn observation_size(&self) -> usize;

    /// The range of each component of an action, in the environment's units.
    fn action_space(&self) -> ActionSpace;

    /// Starts a new episode and returns its first observation.
    ///
    /// `seed` is drawn from the library's own generator: an environment that takes all its randomness from it
    /// makes the whole run repeatable.
    fn reset(&mut self, seed: u64) -> Result<Vec<f32>, Self::Error>;

    /// Applies one action, given in the environment's units and inside its bounds.
    fn step(&mut self, action: &[f32]) -> Result<Step, Self::Error>;

    /// Whether an episode can be played again: the seed and the actions alone decide its course, to the last
    /// bit, and playing it does nothing but take time. A run that is resumed then brings the episode that was
    /// under way back by playing it again. Otherwise, as on a robot, it begins a new one.
    fn repeatable(&self) -> bool {
        false
    }
}

/// What one action led to.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The observation after the action, also at the episode's end (never that of the next episode).
    pub observation: Vec<f32>,
    /// The reward of this step. Accepted: -1e12 to 1e12.
    pub reward: f32,
    /// The task itself ended: no reward can follow, so nothing is bootstrapped from the observation.
    pub terminated: bool,
    /// The episode was cut off, as by a time limit: the value of the observation still counts.
    pub truncated: bool,
}

impl Step {
    /// Whether a new episode has to start.
    pub fn is_last(&self) -> bool {
        self.terminated || self.truncated
    }
}

/// The lower and upper bound of each component of an action, in the environment's units.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionSpace {
    low: Vec<f32>,
    high: Vec<f32>,
}

impl ActionSpace {
    /// Bounds from their lower and upper ends.
    ///
    /// # Errors
    /// If there is no component, the lengths differ, or a lower end is not below its upper end, both finite.
    pub fn bounded(low: Vec<f32>, high: Vec<f32>) -> Result<Self> {
        check("ActionSpace::low", low.len(), |&size| size > 0, "at least one component")?;
        check_size("ActionSpace::high", high.len(), low.len())?;
        for (&low, &high) in low.iter().zip(&high) {
            check(
                "ActionSpace",
                (low, high),
                |(low, high)| low < high && (high - low).is_finite(),
                "a lower end below its upper end, both finite",
            )?;
        }
        Ok(Self { low, high })
    }

    /// The bounds [-1, 1] for `size` components. Without any no trainer takes them.
    pub fn symmetric(size: usize) -> Self {
        Self { low: vec![-1.0; size], high: vec![1.0; size] }
    }

    /// How many components an action has.
    pub fn size(&self) -> usize {
        self.low.len()
    }

    /// The lower ends.
    pub fn low(&self) -> &[f32] {
        &self.low
    }

    /// The upper ends.
    pub fn high(&self) -> &[f32] {
        &self.high
    }

    /// Maps an action of the policy to the environment's units: [-1, 1] to the bounds, clipped to them.
    ///
    /// # Errors
    /// If the action has the wrong size or is not finite.
    pub fn to_environment(&self, action: &[f32]) -> Result<Vec<f32>> {
        check_size("action", action.len(), self.size())?;
        check_finite("action", action)?;
        let ends = self.low.iter().zip(&self.high);
        Ok(action
            .iter()
            .zip(ends)
            .map(|(&action, (&low, &high))| {
                let share = 0.5 * (action.clamp(-1.0, 1.0) + 1.0);
                (low + share * (high - low)).clamp(low, high)
            })
            .collect())
    }

    /// Maps an action of the environment to the policy's units: the bounds to [-1, 1]. What is outside of
    /// them by no more than rounding is taken to be at their end.
    ///
    /// # Errors
    /// If the action has the wrong size, is not finite or lies outside the bounds.
    pub fn to_policy(&self, action: &[f32]) -> Result<Vec<f32>> {
        check_size("action", action.len(), self.size())?;
        check_finite("action", action)?;
        let ends = self.low.iter().zip(&self.high);
        let mapped = action.iter().zip(ends).map(|(&action, (&low, &high))| {
            let value = 2.0 * (action - low) / (high - low) - 1.0;
            if value.abs() <= 1.0 + 1e-4 {
                return Ok(value.clamp(-1.0, 1.0));
            }
            Err(Error::Range {
                place: "action",
                value: action.into(),
                accepted: "what lies inside the bounds",
            })
        });
        mapped.collect()
    }
}
