//! The target networks: sampled actions, and what they are worth.

use burn::tensor::Tensor;

use crate::backends::both;
use crate::experience::batch::Batch;
use crate::host::tensor;
use crate::mathematics::distribution::{Distribution, Enumeration};
use crate::mathematics::targets::mean_value;
use crate::networks::{Actor, Critic};
use crate::rng::Rng;

/// The policy π_i and the critic Q' of an iteration (θ_i and φ' in Algorithm 1), copies without gradients:
/// the E-step samples and weighs by them, the critic's targets are made of them.
#[derive(Debug, Clone)]
pub struct TargetNetworks<A: Actor, C: Critic> {
    pub(crate) actor: A,
    pub(crate) critic: C,
    /// Whether a batch was prepared for.
    pub(crate) begun: bool,
}

/// States with actions sampled from a policy, or all actions that there are.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SampledActions<D> {
    /// `[rows, observation]`
    pub observations: Tensor<2>,
    /// The policy that they are sampled from.
    pub policy: D,
    /// `[rows, samples, action]`, not clipped.
    pub actions: Tensor<3>,
    /// How probable each action is, `[rows, samples]`, where they are
    /// [all that there are](Distribution::enumerate); none where they are samples.
    pub probabilities: Option<Tensor<2>>,
}

impl<A: Actor, C: Critic> TargetNetworks<A, C> {
    /// Copies of these networks, which have learnt nothing yet.
    pub fn new(actor: &A, critic: &C) -> Self {
        Self { actor: actor.valid(), critic: critic.valid(), begun: false }
    }

    /// Copies the networks again: θ_i = θ, φ' = φ.
    pub fn copy(&mut self, actor: &A, critic: &C) {
        (self.actor, self.critic) = (actor.valid(), critic.valid());
    }

    /// π_i.
    pub fn actor(&self) -> &A {
        &self.actor
    }

    /// Q'.
    pub fn critic(&self) -> &C {
        &self.critic
    }

    /// Both networks before they learn from a batch, whose observations they have seen. With the first batch
    /// the critic's values begin where they would be if every reward were the mean one, and the targets are
    /// copied: from 0 it would take as many copies as the horizon is long.
    #[must_use]
    pub fn prepare(&mut self, actor: A, critic: C, batch: &Batch) -> (A, C) {
        self.prepare_for(actor, critic, &batch.observations, [&batch.rewards, &batch.discounts])
    }

    /// [`prepare`](Self::prepare) for a batch with these observations, rewards and discounts.
    pub(crate) fn prepare_for(
        &mut self,
        actor: A,
        critic: C,
        seen: &Tensor<2>,
        [rewards, discounts]: [&Tensor<1>; 2],
    ) -> (A, C) {
        let (actor, mut critic) = both(&seen.device(), || actor.observe(seen), || critic.observe(seen));
        if !std::mem::replace(&mut self.begun, true) {
            critic = critic.start_from(&mean_value(rewards.clone(), discounts.clone()));
            self.copy(&actor, &critic);
        }
        (actor, critic)
    }

    /// Samples actions of the target policy at `observations`, `[rows, observation]`; where the policy
    /// [lists all that there are](Distribution::enumerate) these, whatever `samples` says.
    pub fn sample(
        &self,
        observations: Tensor<2>,
        samples: usize,
        rng: &mut Rng,
    ) -> SampledActions<A::Distribution> {
        let device = observations.device();
        let shape = [observations.dims()[0], samples, self.actor.action_size()];
        let mut noise = || tensor(rng.normals(shape.iter().product()), shape, &device);
        let policy = || self.actor.policy(observations.clone());
        let (policy, noise) = match self.actor.action_space().choices() {
            [] => both(&device, policy, noise),
            _ => {
                let policy = policy();
                if let Some(Enumeration { actions, probabilities }) = policy.enumerate() {
                    return SampledActions {
                        observations,
                        policy,
                        actions,
                        probabilities: Some(probabilities),
                    };
                }
                (policy, noise())
            }
        };
        let actions = policy.sample(noise);
        SampledActions { observations, policy, actions, probabilities: None }
    }

    /// Q'(s, a) of sampled actions, `[rows, samples]`.
    pub fn values(&self, states: &SampledActions<A::Distribution>) -> Tensor<2> {
        self.values_of(states.observations.clone(), states.actions.clone())
    }

    /// Q'(s, a) of `actions` `[rows, samples, action]`, as `[rows, samples]`: numbers are clipped to [-1, 1],
    /// choices stay as they are.
    pub fn values_of(&self, observations: Tensor<2>, actions: Tensor<3>) -> Tensor<2> {
        let clipped = self.critic.action_space().clipped(actions);
        self.critic.sampled_values(observations, clipped)
    }
}

impl<D: Distribution> SampledActions<D> {
    /// E_π Q(s, ·), `[rows]`, of the `values` of these actions, `[rows, samples]`: exact where they are all
    /// that there are, else the mean over the samples.
    pub fn expected(&self, values: Tensor<2>) -> Tensor<1> {
        match &self.probabilities {
            Some(probabilities) => (values * probabilities.clone()).sum_dim(1).squeeze_dim(1),
            None => values.mean_dim(1).squeeze_dim(1),
        }
    }

    /// Those of the first `rows` states.
    pub fn first(&self, rows: usize) -> Self {
        Self {
            observations: self.observations.clone().narrow(0, 0, rows),
            policy: self.policy.narrow(0, rows),
            actions: self.actions.clone().narrow(0, 0, rows),
            probabilities: self.probabilities.clone().map(|share| share.narrow(0, 0, rows)),
        }
    }
}
