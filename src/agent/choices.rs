//! Agents with the default networks for choices.

use burn::tensor::Device;

use super::MpoAgent;
use crate::action_space::ActionSpace;
use crate::error::{Error, Result};
use crate::experience::vector::{Layout, VectorEnvironment};
use crate::learner::config::MpoConfig;
use crate::networks::{CategoricalActor, DiscreteQNetwork, GaussianActor, HybridActor, QNetwork};
use crate::rng::{Rng, Stream};

/// An agent with one discrete action.
pub type DiscreteAgent = MpoAgent<CategoricalActor, DiscreteQNetwork>;

impl DiscreteAgent {
    /// An agent with one discrete action of so many `alternatives`, with the default networks, on `device`.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use mpo::{DiscreteAgent, MpoConfig};
    ///
    /// # fn main() -> mpo::Result<()> {
    /// let mut agent = DiscreteAgent::discrete(MpoConfig::discrete(), 4, 2, &Device::flex(), 1)?;
    /// let action = agent.act(&[0.0; 4])?;
    /// assert!(action.values == [0.0] || action.values == [1.0]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the observation's size is 0, there are fewer than 2 alternatives, or a setting lies outside its
    /// accepted range.
    pub fn discrete(
        config: MpoConfig,
        observation_size: usize,
        alternatives: usize,
        device: &Device,
        seed: u64,
    ) -> Result<Self> {
        let mut rng = Rng::stream(seed, Stream::Weights);
        let actor =
            CategoricalActor::new(&config.choices, observation_size, &[alternatives], device, &mut rng)?;
        let critic = DiscreteQNetwork::new(&config.critic, observation_size, alternatives, device, &mut rng)?;
        Self::with_networks(config, actor, critic, seed)
    }

    /// An agent with the default networks for the observations of `environment`, whose actions are
    /// [a choice](crate::ActionSpace::discrete).
    ///
    /// # Errors
    /// If its actions are anything else, a size is 0 or a setting lies outside its accepted range.
    pub fn discrete_of<E: VectorEnvironment>(
        config: MpoConfig,
        environment: &E,
        device: &Device,
        seed: u64,
    ) -> Result<Self> {
        let Layout { rows, observation_size, action_space, .. } = environment.layout();
        let (0, &[alternatives]) = (action_space.bounded_size(), action_space.choices()) else {
            return Err(refused(&action_space, "a single choice, ActionSpace::discrete"));
        };
        Self::discrete(config, observation_size, alternatives, device, seed)?.with_rows(rows)
    }
}

/// An agent whose action is several choices at once.
pub type MultiDiscreteAgent = MpoAgent<CategoricalActor, QNetwork>;

impl MultiDiscreteAgent {
    /// An agent with the default networks for the observations of `environment`, whose actions are
    /// [choices](crate::ActionSpace::multi_discrete).
    ///
    /// # Errors
    /// If its actions are anything else, a size is 0 or a setting lies outside its accepted range.
    pub fn multi_discrete_of<E: VectorEnvironment>(
        config: MpoConfig,
        environment: &E,
        device: &Device,
        seed: u64,
    ) -> Result<Self> {
        let Layout { rows, observation_size, action_space, .. } = environment.layout();
        if action_space.bounded_size() > 0 || action_space.choices().is_empty() {
            return Err(refused(&action_space, "choices alone, ActionSpace::multi_discrete"));
        }
        let (rng, choices) = (&mut Rng::stream(seed, Stream::Weights), action_space.choices());
        let actor = CategoricalActor::new(&config.choices, observation_size, choices, device, rng)?;
        let critic = QNetwork::for_actions(&config.critic, observation_size, &action_space, device, rng)?;
        Self::with_networks(config, actor, critic, seed)?.with_rows(rows)
    }
}

/// An agent whose actions are numbers inside bounds and choices.
pub type HybridAgent = MpoAgent<HybridActor, QNetwork>;

impl HybridAgent {
    /// An agent with the default networks for the observations of `environment`, whose actions are numbers
    /// inside bounds [with choices](crate::ActionSpace::with_choices).
    ///
    /// # Errors
    /// If its actions are anything else, a size is 0 or a setting lies outside its accepted range.
    pub fn hybrid_of<E: VectorEnvironment>(
        config: MpoConfig,
        environment: &E,
        device: &Device,
        seed: u64,
    ) -> Result<Self> {
        let Layout { rows, observation_size, action_space, .. } = environment.layout();
        let (bounded, choices) = (action_space.bounded_size(), action_space.choices());
        if bounded == 0 || choices.is_empty() {
            return Err(refused(
                &action_space,
                "numbers inside bounds with choices, ActionSpace::with_choices",
            ));
        }
        let rng = &mut Rng::stream(seed, Stream::Weights);
        let actor = HybridActor::new(
            GaussianActor::new(&config.actor, observation_size, bounded, device, rng)?,
            CategoricalActor::new(&config.choices, observation_size, choices, device, rng)?,
        )?;
        let critic = QNetwork::for_actions(&config.critic, observation_size, &action_space, device, rng)?;
        Self::with_networks(config, actor, critic, seed)?.with_action_space(action_space)?.with_rows(rows)
    }
}

fn refused(space: &ActionSpace, accepted: &'static str) -> Error {
    Error::Config { field: "Environment::action_space", value: format!("{space:?}"), accepted }
}
