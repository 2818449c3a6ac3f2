//! What the action penalty keeps low, beside the critic's values.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::estep::EStepConfig;

/// A second E-step, which weighs actions by how little they cost. Its weights multiply those of the critic's values. (MO-MPO,
/// arXiv 2005.07513, adds the two up: with so small an ε that draws the policy half-way back to where it was.)
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionPenalty {
    /// What is kept low.
    pub cost: ActionCost,
    /// How far its weights may depart from the policy. Its ε is small beside that of the critic's values: 1e-3.
    pub e_step: EStepConfig,
}

/// What an action costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActionCost {
    /// How far it lies outside [-1, 1], where all actions do the same, as Acme has it (arXiv 2006.00979).
    BeyondBounds,
    /// Its squared length, the effort, as in MO-MPO's experiments: where no action is worth more than another the policy goes
    /// back to the middle of the action range, and does not drift to its ends.
    Effort,
}

impl ActionCost {
    /// The costs of `actions` `[batch, samples, action]`, as what is to be raised, `[batch, samples]`: 0 at best.
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

/// How far each sampled action lies outside [-1, 1], as a cost to be kept low beside the critic's values:
/// -‖a - clip(a)‖ for `actions` `[batch, samples, action]`, as `[batch, samples]`.
pub fn action_penalty(actions: Tensor<3>) -> Tensor<2> {
    let [states, samples, _] = actions.dims();
    let outside = actions.clone() - actions.clamp(-1.0, 1.0);
    -outside.square().sum_dim(2).sqrt().reshape([states, samples])
}
