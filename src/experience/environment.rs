//! What the library asks of a simulation or a robot: [`Environment`].

use crate::action_space::ActionSpace;
use crate::error::BoxedError;

/// A task: the one trait to implement in order to train.
///
/// The environment speaks its own units: observations as they are measured, actions inside
/// [`action_space`](Environment::action_space), each component a number, that of a choice its index. The
/// policy works in [-1, 1]; the library maps between them and never hands over an action outside the bounds,
/// nor a choice that there is not. Every episode has to end at some time, be it by
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

    /// What its actions are: [`ActionSpace::symmetric`] or [`bounded`](ActionSpace::bounded) numbers in the
    /// environment's units, a choice of [so many alternatives](ActionSpace::discrete), or both.
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
    /// The episode was cut off, as by a time limit: the value of the observation still counts. Where both are
    /// said it terminated.
    pub truncated: bool,
}

impl Step {
    /// Whether a new episode has to start.
    pub fn is_last(&self) -> bool {
        self.terminated || self.truncated
    }
}
