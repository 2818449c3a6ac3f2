//! Several environments stepped at once: [`VectorEnvironment`], and its ways from and to one [`Environment`].

use crate::action_space::ActionSpace;
use crate::error::BoxedError;
use crate::experience::environment::{Environment, Step};

/// Environments of one kind that are stepped together, each of them a *row*: what a
/// [`Trainer`](crate::Trainer) collects from.
///
/// Every [`Environment`] is one, of a single row. [`Environments`](crate::Environments) makes one of several
/// environments of one type. Implement it for a simulator that steps many rows at once; [`FirstRow`] makes an
/// environment of that.
///
/// Rows have episodes of their own: each begins when its last one has ended, whatever the others do. A row
/// that cannot be reset sits out until it can, so that a call may be for some of the rows alone.
///
/// ```
/// use mpo::{ActionSpace, Layout, Step, VectorEnvironment};
///
/// /// Points that are to be moved to zero, all in one array.
/// struct Points { position: Vec<f32>, steps: Vec<u32> }
///
/// impl VectorEnvironment for Points {
///     type Error = std::convert::Infallible;
///
///     fn layout(&self) -> Layout {
///         let rows = self.position.len();
///         Layout { rows, observation_size: 1, action_space: ActionSpace::symmetric(1), repeatable: true }
///     }
///
///     fn reset_rows(&mut self, seeds: &[(usize, u64)]) -> Vec<Result<Vec<f32>, Self::Error>> {
///         let reset = |&(row, seed): &(usize, u64)| {
///             self.steps[row] = 0;
///             self.position[row] = if seed % 2 == 0 { 1.0 } else { -1.0 };
///             Ok(vec![self.position[row]])
///         };
///         seeds.iter().map(reset).collect()
///     }
///
///     fn step_rows(&mut self, actions: &[(usize, Vec<f32>)]) -> Vec<Result<Step, Self::Error>> { let step
///     = |(row, action): &(usize, Vec<f32>)| { self.steps[*row] += 1; self.position[*row] += 0.1 *
///     action[0]; let position = self.position[*row]; let truncated = self.steps[*row] == 50; Ok(Step {
///     observation: vec![position], reward: -position.abs(), terminated: false, truncated }) };
///     actions.iter().map(step).collect() } }
/// ```
pub trait VectorEnvironment {
    /// What a row reports when it fails: see [`Environment::Error`].
    type Error: Into<BoxedError>;

    /// How many rows there are, and what one is like. It stays the same.
    fn layout(&self) -> Layout;

    /// Starts a new episode in each of these rows, with a seed for each; their first observations, in the
    /// same order. See [`Environment::reset`].
    fn reset_rows(&mut self, seeds: &[(usize, u64)]) -> Vec<Result<Vec<f32>, Self::Error>>;

    /// Applies an action in each of these rows, in the environment's units and inside its bounds; what came
    /// of it, in the same order. See [`Environment::step`].
    fn step_rows(&mut self, actions: &[(usize, Vec<f32>)]) -> Vec<Result<Step, Self::Error>>;
}

/// The rows of a [`VectorEnvironment`].
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// How many there are. Accepted: 1 to 4096.
    pub rows: usize,
    /// See [`Environment::observation_size`].
    pub observation_size: usize,
    /// See [`Environment::action_space`].
    pub action_space: ActionSpace,
    /// See [`Environment::repeatable`].
    pub repeatable: bool,
}

impl<E: Environment> VectorEnvironment for E {
    type Error = E::Error;

    fn layout(&self) -> Layout {
        Layout {
            rows: 1,
            observation_size: self.observation_size(),
            action_space: self.action_space(),
            repeatable: self.repeatable(),
        }
    }

    fn reset_rows(&mut self, seeds: &[(usize, u64)]) -> Vec<Result<Vec<f32>, Self::Error>> {
        seeds.iter().map(|&(_, seed)| self.reset(seed)).collect()
    }

    fn step_rows(&mut self, actions: &[(usize, Vec<f32>)]) -> Vec<Result<Step, Self::Error>> {
        actions.iter().map(|(_, action)| self.step(action)).collect()
    }
}

/// The first row of a [`VectorEnvironment`] as an [`Environment`]: for whatever takes one alone.
#[derive(Debug, Clone)]
pub struct FirstRow<V>(
    /// All rows; the others stand still.
    pub V,
);

impl<V: VectorEnvironment> Environment for FirstRow<V> {
    type Error = BoxedError;

    fn observation_size(&self) -> usize {
        self.0.layout().observation_size
    }

    fn action_space(&self) -> ActionSpace {
        self.0.layout().action_space
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>, BoxedError> {
        answer(self.0.reset_rows(&[(0, seed)]))
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, BoxedError> {
        answer(self.0.step_rows(&[(0, action.to_vec())]))
    }

    fn repeatable(&self) -> bool {
        self.0.layout().repeatable
    }
}

/// The one answer of one row.
fn answer<T, E: Into<BoxedError>>(answers: Vec<Result<T, E>>) -> Result<T, BoxedError> {
    let count = answers.len();
    let mut answers = answers.into_iter();
    match (answers.next(), count) {
        (Some(answer), 1) => answer.map_err(Into::into),
        _ => Err(format!("{count} answers of one row").into()),
    }
}
