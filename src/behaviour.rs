//! What acts in one environment: [`Behaviour`].

use burn::tensor::Tensor;

use crate::checks::check_finite;
use crate::error::Result;
use crate::experience::action::Action;
use crate::exploration::{Exploration, Explorer, Noise};
use crate::host::{tensor, to_host};
use crate::learner::Learner;
use crate::mathematics::distribution::Distribution;
use crate::networks::{Actor, Critic};
use crate::policy::{ACTION, Policy};
use crate::rng::Rng;

/// The behaviour policy of one environment: a policy as it was when it was last [brought up to
/// date](Self::follow), and its exploration. Several of them act side by side, on threads of their own, for one
/// [`Learner`].
#[derive(Debug, Clone)]
pub struct Behaviour<A: Actor> {
    policy: Policy<A>,
    explorer: Explorer,
}

impl<A: Actor> Behaviour<A> {
    /// Acts by `policy`, exploring with random numbers of `rng`.
    ///
    /// # Errors
    /// If a setting lies outside its accepted range.
    pub fn new(policy: Policy<A>, exploration: Exploration, rng: Rng) -> Result<Self> {
        Ok(Self { policy, explorer: Explorer::new(exploration, rng)? })
    }

    /// The policy that it acts by.
    pub fn policy(&self) -> &Policy<A> {
        &self.policy
    }

    /// Samples the action for an observation.
    ///
    /// # Errors
    /// If the observation has the wrong size or is not finite, or the policy is not. The behaviour then stays
    /// as it was.
    pub fn act(&mut self, observation: &[f32]) -> Result<Action> {
        let policy = self.policy.at(observation)?;
        let n = policy.action_size();
        // Beside the behaviour, so that an error leaves no trace.
        let mut explorer = self.explorer.clone();
        let action = match explorer.excursion(n) {
            Some(values) => Action { values, log_probability: f32::MAX },
            None => {
                let Noise { z, log_density } = explorer.noise(n);
                let action = policy.sample(tensor(z, [1, 1, n], &policy.mode().device()));
                let log_probability = policy.log_probability_given(action.clone(), log_density.into());
                let numbers = Tensor::cat(vec![action.reshape([n]), log_probability], 0);
                let mut values = to_host(ACTION, numbers)?;
                check_finite(ACTION, &values)?;
                let log_probability = values.pop().unwrap_or_default();
                Action { values, log_probability }
            }
        };
        self.explorer = explorer;
        Ok(action)
    }

    /// Begins an episode: what went before has no part in its noise.
    pub fn reset(&mut self) {
        self.explorer.reset();
    }

    /// Takes over the learner's latest policy.
    pub fn follow<C: Critic>(&mut self, learner: &Learner<A, C>) {
        self.update(learner.latest_policy(), learner.informed());
    }

    /// Acts by another policy from now on; see [`Learner::informed`] for what exploration may depend on
    /// besides.
    pub fn update(&mut self, policy: Policy<A>, informed: f64) {
        self.policy = policy;
        self.explorer.judge(informed);
    }

    pub(crate) fn explorer(&self) -> &Explorer {
        &self.explorer
    }

    pub(crate) fn with_explorer(self, explorer: Explorer) -> Self {
        Self { explorer, ..self }
    }
}
