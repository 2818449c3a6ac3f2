//! What the action penalty keeps low, beside the critic's values.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// What actions cost, taken from their values in the E-step: one dual and one ε hold for both. The critic
/// knows nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionPenalty {
    /// What is kept low.
    pub cost: ActionCost,
    /// What a cost of 1 takes from an action's value, in the critic's units (see
    /// [`Critic::in_units`](crate::Critic::in_units)). Accepted: 0 or more. Beside
    /// [`EStepConfig::minimum_temperature`](crate::EStepConfig::minimum_temperature) it decides how fast
    /// actions go to where they cost nothing while none is worth more than another.
    pub weight: f64,
}

/// What an action costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ActionCost {
    /// How far it lies outside [-1, 1], where all actions do the same, as Acme has it (arXiv 2006.00979).
    BeyondBounds,
    /// Its squared length, the effort, as in MO-MPO's experiments (arXiv 2005.07513): where no action is
    /// worth more than another the policy goes back to the middle of the action range, and does not drift to
    /// its ends.
    Effort,
}

impl ActionCost {
    /// What is added to the values of `actions` `[batch, samples, action]`, `[batch, samples]`: the negative
    /// cost, at most 0.
    pub fn of(self, actions: Tensor<3>) -> Tensor<2> {
        match self {
            Self::BeyondBounds => action_penalty(actions),
            Self::Effort => {
                let [states, samples, _] = actions.dims();
                -actions.square().sum_dim(2).reshape([states, samples])
            }
        }
    }
}

/// The negative distance of each sampled action from [-1, 1], which is added to the critic's values:
/// -‖a - clip(a)‖ for `actions` `[batch, samples, action]`, as `[batch, samples]`.
pub fn action_penalty(actions: Tensor<3>) -> Tensor<2> {
    let [states, samples, _] = actions.dims();
    let outside = actions.clone() - actions.clamp(-1.0, 1.0);
    -outside.square().sum_dim(2).sqrt().reshape([states, samples])
}
