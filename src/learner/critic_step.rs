//! Policy evaluation: the critic's regression on its targets.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::checks::{check_any, check_shape, check_share};
use crate::error::Result;
use crate::experience::batch::Batch;
use crate::learner::target_networks::TargetNetworks;
use crate::mathematics::distribution::Distribution;
use crate::mathematics::targets::{retrace_targets, retrace_traces, td_targets};
use crate::networks::{Actor, Critic, Optimizer, OptimizerConfig};

/// How the targets of the critic are computed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub enum PolicyEvaluation {
    /// The rewards of up to `steps` steps as they were seen, then the target critic. 1 is TD(0), the paper's.
    /// More steps carry rewards back faster, but are biased towards the older policies that took them; 3 to 5
    /// is usual.
    NStep {
        /// Accepted: at least 1.
        steps: usize,
    },
    /// Retrace(λ): sequences corrected for the policy having changed.
    Retrace {
        /// The length of the sequences. Accepted: at least 1.
        steps: usize,
        /// λ. Accepted: 0 to 1; the paper's is 1.
        lambda: f64,
    },
}

/// Policy evaluation (Algorithm 1, lines 11 to 17): regresses a critic on what the values of the actions
/// taken should be, by the target networks.
#[derive(Debug, Clone)]
pub struct CriticStep {
    evaluation: PolicyEvaluation,
    optimizer: Optimizer,
}

impl CriticStep {
    /// Policy evaluation with these settings.
    ///
    /// # Errors
    /// If a setting lies outside its accepted range.
    pub fn new(evaluation: PolicyEvaluation, optimizer: OptimizerConfig) -> Result<Self> {
        let (steps, lambda) = match evaluation {
            PolicyEvaluation::NStep { steps } => (steps, 1.0),
            PolicyEvaluation::Retrace { steps, lambda } => (steps, lambda),
        };
        check_any("PolicyEvaluation::steps", steps as u64)?;
        check_share("Retrace::lambda", lambda)?;
        Ok(Self { evaluation, optimizer: Optimizer::new(optimizer)? })
    }

    /// One step of a critic, [prepared](TargetNetworks::prepare) for the batch, and its loss `[1]`, without
    /// gradients. `next_values` are V(s') = mean_j Q'(s', a'_j) over actions of the target policy at the
    /// batch's next observations, `[rows]`.
    ///
    /// # Errors
    /// If the batch is not of the kind that is learnt from or does not fit the critic, or the critic's loss
    /// is not of one element.
    pub fn regress<A: Actor, C: Critic>(
        &mut self,
        critic: &C,
        target: &TargetNetworks<A, C>,
        batch: &Batch,
        next_values: Tensor<1>,
    ) -> Result<(C, Tensor<1>)> {
        let sizes = [critic.observation_size(), critic.action_size()];
        batch.check(self.takes_sequences(), sizes, &batch.observations.device())?;
        check_shape("next_values", &next_values.dims(), &[batch.rows()])?;
        let targets = self.targets(target, batch, next_values);
        let critic = critic.clone().observe_targets(&targets);
        let (loss, gradient) = critic_gradient(&critic, batch, targets)?;
        Ok((self.descend(critic, gradient), loss))
    }

    /// A step of a critic against the [gradient](critic_gradient) of its loss.
    pub(crate) fn descend<C: Critic>(&mut self, critic: C, gradient: Option<Tensor<1>>) -> C {
        self.optimizer.descend(critic, gradient)
    }

    /// Whether it learns from sequences rather than from single transitions.
    pub(crate) fn takes_sequences(&self) -> bool {
        matches!(self.evaluation, PolicyEvaluation::Retrace { .. })
    }

    /// What the values of the actions taken should be, `[rows]`.
    pub(crate) fn targets<A: Actor, C: Critic>(
        &self,
        target: &TargetNetworks<A, C>,
        batch: &Batch,
        next_values: Tensor<1>,
    ) -> Tensor<1> {
        let (rewards, discounts) = (batch.rewards.clone(), batch.discounts.clone());
        let PolicyEvaluation::Retrace { lambda, .. } = self.evaluation else {
            return td_targets(rewards, discounts, next_values);
        };
        let [rows] = rewards.dims();
        let in_sequences = |numbers: Tensor<1>| numbers.reshape([rows / batch.steps, batch.steps]);
        let actions = batch.actions.clone().unsqueeze_dim::<3>(1);
        let log_probabilities =
            target.actor.policy(batch.observations.clone()).log_probability(actions.clone());
        let values = target.values_of(batch.observations.clone(), actions);
        let traces = retrace_traces(
            in_sequences(log_probabilities.reshape([rows])),
            in_sequences(batch.log_probabilities.clone()),
            lambda,
        );
        let targets = retrace_targets(
            in_sequences(rewards),
            in_sequences(discounts),
            in_sequences(next_values),
            in_sequences(values.reshape([rows])),
            // Nothing that follows in another turn around the episode counts for what comes before.
            traces * in_sequences(batch.continued.clone()),
        );
        targets.reshape([rows])
    }

    pub(crate) fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// This step with an optimizer with another history.
    pub(crate) fn with_optimizer(self, optimizer: Optimizer) -> Self {
        Self { optimizer, ..self }
    }

    /// See [`Optimizer::take_squared_norms`].
    pub(crate) fn take_squared_norms(&mut self) -> Option<Tensor<1>> {
        self.optimizer.take_squared_norms()
    }
}

/// The loss, `[1]`, of a critic that has seen the `targets`, without gradients, and its gradient.
pub(crate) fn critic_gradient<C: Critic>(
    critic: &C,
    batch: &Batch,
    targets: Tensor<1>,
) -> Result<(Tensor<1>, Option<Tensor<1>>)> {
    let taken = critic.action_space().clipped(batch.actions.clone());
    let (loss, backward) = critic.differentiable_loss(batch.observations.clone(), taken, targets);
    check_shape("the critic's loss", &loss.dims(), &[1])?;
    Ok((loss.clone().inner(), backward.gradient(loss)))
}
