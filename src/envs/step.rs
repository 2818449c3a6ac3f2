//! The result of a control step before it is rounded for the learner.

use crate::environment::Step;

/// What one action led to, in the simulation's double precision; a [`Step`] holds the same in `f32`.
///
/// `N` is the number of observations of the task. No control task terminates, so there is no `terminated`
/// here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ControlStep<const N: usize> {
    /// The observation after the action, in the order and units that the task documents.
    pub observation: [f64; N],
    /// The reward of this step, in [0, 1].
    pub reward: f64,
    /// The episode was cut off by its time limit: the value of the observation still counts.
    pub truncated: bool,
}

impl<const N: usize> From<ControlStep<N>> for Step {
    fn from(step: ControlStep<N>) -> Self {
        Self {
            observation: rounded(&step.observation),
            reward: step.reward as f32,
            terminated: false,
            truncated: step.truncated,
        }
    }
}

/// An observation in the learner's precision.
pub(super) fn rounded(observation: &[f64]) -> Vec<f32> {
    observation.iter().map(|&value| value as f32).collect()
}
