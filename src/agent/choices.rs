//! Agents with the default networks for choices.

use burn::tensor::Device;

use super::MpoAgent;
use crate::error::{Error, Result};
use crate::experience::vector::{Layout, VectorEnvironment};
use crate::learner::config::MpoConfig;
use crate::networks::{CategoricalActor, DiscreteQNetwork};
use crate::rng::{Rng, Stream};

/// An agent whose action is a choice of one of several things.
pub type DiscreteAgent = MpoAgent<CategoricalActor, DiscreteQNetwork>;

impl DiscreteAgent {
    /// An agent that chooses one of `things`, with the default networks, on `device`.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use mpo::{DiscreteAgent, MpoConfig};
    ///
    /// # fn main() -> mpo::Result<()> {
    /// let mut agent = DiscreteAgent::discrete(MpoConfig::default(), 4, 2, &Device::flex(), 1)?;
    /// let action = agent.act(&[0.0; 4])?;
    /// assert!(action.values == [0.0] || action.values == [1.0]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the observation's size is 0, there are fewer than 2 things, or a setting lies outside its accepted
    /// range.
    pub fn discrete(
        config: MpoConfig,
        observation_size: usize,
        things: usize,
        device: &Device,
        seed: u64,
    ) -> Result<Self> {
        let mut rng = Rng::stream(seed, Stream::Weights);
        let actor = CategoricalActor::new(&config.choices, observation_size, &[things], device, &mut rng)?;
        let critic = DiscreteQNetwork::new(&config.critic, observation_size, things, device, &mut rng)?;
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
        match (action_space.bounded_size(), action_space.choices()) {
            (0, &[things]) => {
                Self::discrete(config, observation_size, things, device, seed)?.with_rows(rows)
            }
            _ => Err(Error::Config {
                field: "Environment::action_space",
                value: format!("{action_space:?}"),
                accepted: "a single choice, ActionSpace::discrete",
            }),
        }
    }
}
