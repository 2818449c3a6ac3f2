//! The policy network for choices.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::actor::{Actor, OUTPUT_GAIN, policy_by_autodiff};
use super::backward::Backward;
use super::layers::{Hidden, NetworkConfig, linear};
use super::moments::Moments;
use super::parameters::{is_trainable, with_own_gradients};
use super::trunk;
use crate::action_space::ActionSpace;
use crate::checks::{check, check_count};
use crate::error::Result;
use crate::host::is_host;
use crate::mathematics::categorical::Categorical;
use crate::rng::Rng;

/// Settings of a [`CategoricalActor`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CategoricalActorConfig {
    /// The hidden layers.
    pub network: NetworkConfig,
    /// The share of each choice that is uniform over its alternatives, so that the policy goes on trying
    /// all of them. Accepted: 0 to below 1. The likeliest, which is deployed, is not changed by it.
    pub uniform_share: f64,
}

impl Default for CategoricalActorConfig {
    /// As in the default preset.
    fn default() -> Self {
        Self { network: NetworkConfig::default(), uniform_share: 0.02 }
    }
}

/// The default policy network for choices: hidden layers, then a logit for each alternative of each choice.
#[derive(Module, Debug)]
pub struct CategoricalActor {
    /// Of observations.
    moments: Option<Moments>,
    first: Linear,
    hidden: Hidden,
    /// Choice after choice.
    logits: Linear,
    #[module(skip)]
    config: CategoricalActorConfig,
    /// Of how many alternatives each choice is.
    #[module(skip)]
    choices: Vec<usize>,
}

impl CategoricalActor {
    /// A policy over choices of so many alternatives each, on the autodiff side of `device`.
    ///
    /// # Errors
    /// If a size is 0, there is no choice or one of fewer than 2 alternatives, or a setting lies outside its
    /// accepted range.
    pub fn new(
        config: &CategoricalActorConfig,
        observation_size: usize,
        choices: &[usize],
        device: &Device,
        rng: &mut Rng,
    ) -> Result<Self> {
        config.network.validate()?;
        check_count("observation_size", observation_size, 1)?;
        ActionSpace::multi_discrete(choices).check("choices")?;
        let share = |share: &f64| (0.0..1.0).contains(share);
        check("CategoricalActorConfig::uniform_share", config.uniform_share, share, "0 to below 1")?;
        let device = &device.clone().autodiff();
        let hidden = &config.network.hidden;
        let (first, last) = (hidden[0], hidden[hidden.len() - 1]);
        let normalise = config.network.normalise_observations;
        Ok(Self {
            moments: normalise.then(|| Moments::new(observation_size, device)),
            first: linear(observation_size, first, 1.0, device, rng),
            hidden: Hidden::new(&config.network, device, rng),
            logits: linear(last, choices.iter().sum(), OUTPUT_GAIN, device, rng),
            config: config.clone(),
            choices: choices.to_vec(),
        })
    }

    /// The settings that it was made with.
    pub fn config(&self) -> &CategoricalActorConfig {
        &self.config
    }

    /// From what the last hidden layer gives out.
    fn of_features(&self, features: Tensor<2>) -> Categorical {
        let logits = self.logits.forward(features);
        let mut start = 0;
        let of_choice = |&alternatives: &usize| {
            start += alternatives;
            logits.clone().narrow(1, start - alternatives, alternatives)
        };
        Categorical::of_logits(self.choices.iter().map(of_choice).collect())
            .mixed_with_uniform(self.config.uniform_share)
    }
}

impl CategoricalActorConfig {
    /// How many parameters the network has; none where that is beyond all numbers.
    pub(crate) fn parameter_count(&self, observation_size: usize, choices: &[usize]) -> Option<usize> {
        let outputs = choices.iter().try_fold(0_usize, |sum, &alternatives| sum.checked_add(alternatives))?;
        self.network.parameter_count(observation_size, outputs)
    }
}

impl Actor for CategoricalActor {
    type Distribution = Categorical;

    fn policy(&self, observations: Tensor<2>) -> Categorical {
        self.of_features(trunk::features(self.moments.as_ref(), &self.first, &self.hidden, observations))
    }

    fn differentiable_policy(&self, observations: Tensor<2>) -> (Categorical, Backward<Self>) {
        if !(is_host(&observations) && is_trainable(self)) {
            return policy_by_autodiff(self, observations);
        }
        let actor = with_own_gradients(self);
        let tape = trunk::recorded(&actor.moments, &actor.first, &actor.hidden, observations);
        (actor.of_features(tape.features()), Backward::recorded(actor, tape))
    }

    fn observation_size(&self) -> usize {
        self.first.weight.dims()[0]
    }

    fn action_size(&self) -> usize {
        self.choices.len()
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::multi_discrete(self.choices.as_slice())
    }

    fn observe(mut self, observations: &Tensor<2>) -> Self {
        if is_trainable(&self) {
            self.moments = self.moments.map(|moments| moments.follow_observations(observations));
        }
        self
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::json!(self.config)
    }
}
