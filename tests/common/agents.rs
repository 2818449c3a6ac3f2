//! Small agents.

use burn::tensor::Device;
use mpo::{MpoAgent, MpoConfig};

/// A preset with small networks and batches.
pub fn small(mut config: MpoConfig) -> MpoConfig {
    config.critic.hidden = vec![32, 32];
    config.actor.network.hidden = vec![32, 32];
    config.batch_size = 64;
    config
}

pub fn agent(config: &MpoConfig, observation_size: usize, action_size: usize, seed: u64) -> MpoAgent {
    MpoAgent::new(config.clone(), observation_size, action_size, &Device::flex(), seed).unwrap()
}
