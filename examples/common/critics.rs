//! The choice of several critics on the command line.

use mpo::networks::{Combine, Ensemble};
use mpo::{Device, GaussianActor, MpoAgent, MpoConfig, QNetwork, Result, Rng, Stream, VectorEnvironment};

/// How many critics there are.
#[derive(clap::Args)]
pub struct Critics {
    /// How many critics learn, of actions that are numbers; the value is their mean.
    #[arg(long, default_value_t = 1)]
    pub critics: usize,
    /// Takes the least of their values in place of the mean.
    #[arg(long, requires = "critics")]
    pub least: bool,
}

impl Critics {
    /// An agent with all of them.
    pub fn agent<E: VectorEnvironment>(
        &self,
        config: MpoConfig,
        environment: &E,
        device: &Device,
        seed: u64,
    ) -> Result<MpoAgent<GaussianActor, Ensemble<QNetwork>>> {
        let layout = environment.layout();
        let sizes = [layout.observation_size, layout.action_space.size()];
        let mut rng = Rng::stream(seed, Stream::Weights);
        let actor = GaussianActor::new(&config.actor, sizes[0], sizes[1], device, &mut rng)?;
        let critic = || QNetwork::new(&config.critic, sizes[0], sizes[1], device, &mut rng);
        let critics = std::iter::repeat_with(critic).take(self.critics).collect::<Result<_>>()?;
        let combine = if self.least { Combine::Minimum } else { Combine::Mean };
        let agent = MpoAgent::with_networks(config, actor, Ensemble::new(critics, combine)?, seed)?;
        agent.with_action_space(layout.action_space)?.with_rows(layout.rows)
    }
}
