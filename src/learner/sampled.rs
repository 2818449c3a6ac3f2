//! Actions of the target policy for a batch, and what they are worth to both halves of an update.

use burn::tensor::Tensor;

use crate::error::Result;
use crate::experience::batch::Batch;
use crate::learner::config::{ImproveAt, MpoConfig};
use crate::learner::target_networks::{SampledActions, TargetNetworks};
use crate::mathematics::distribution::Distribution;
use crate::networks::{Actor, Critic};
use crate::rng::Rng;

/// Actions of the target policy where it is improved and where the critic's targets need them. Next states
/// mostly serve for both, and so do their values.
pub(crate) struct Sampled<D> {
    /// Those where the policy is improved, as many as the batch has rows.
    pub(crate) states: SampledActions<D>,
    next: SampledActions<D>,
    /// Those of `next`, of which `states` are the first.
    shared_values: Option<Tensor<2>>,
}

impl<D: Distribution> Sampled<D> {
    pub(crate) fn draw<A: Actor<Distribution = D>, C: Critic>(
        target: &TargetNetworks<A, C>,
        config: &MpoConfig,
        batch: &Batch,
        rng: &mut Rng,
    ) -> Result<Self> {
        let mut sample = |observations| target.sample(observations, config.sampled_actions, rng);
        Ok(match config.improve_at {
            ImproveAt::States => {
                let next = sample(batch.next_observations.clone());
                Self { states: sample(batch.observations.clone()), next, shared_values: None }
            }
            ImproveAt::NextStates => {
                let next = sample(batch.evaluated()?);
                let values = target.values(&next);
                Self { states: next.first(batch.rows()), next, shared_values: Some(values) }
            }
        })
    }

    /// What the E-step weighs the actions by, `[rows, samples]`: their values, less what they cost.
    pub(crate) fn preferences<A: Actor<Distribution = D>, C: Critic>(
        &self,
        target: &TargetNetworks<A, C>,
        config: &MpoConfig,
    ) -> Tensor<2> {
        let rows = self.states.policy.states();
        let values = self.shared_values.clone().unwrap_or_else(|| target.values(&self.states));
        let preferences = target.critic.in_units(values.narrow(0, 0, rows));
        let bounded = target.actor.action_space().bounded_part(self.states.actions.clone());
        match (&config.action_penalty, bounded) {
            (Some(penalty), Some(actions)) => preferences + penalty.cost.of(actions) * penalty.weight,
            _ => preferences,
        }
    }

    /// V(s') of the batch's next observations, `[rows]`.
    pub(crate) fn next_values<A: Actor<Distribution = D>, C: Critic>(
        &self,
        target: &TargetNetworks<A, C>,
        batch: &Batch,
    ) -> Result<Tensor<1>> {
        match self.shared_values.clone() {
            Some(values) => batch.next_values(self.next.expected(values)),
            None => Ok(self.next.expected(target.values(&self.next))),
        }
    }

    /// How widely the policy spreads, the mean over rows and components, `[1]`.
    pub(crate) fn spread(&self) -> Tensor<1> {
        self.states.policy.spread().flatten::<1>(0, 1).mean_dim(0)
    }
}
