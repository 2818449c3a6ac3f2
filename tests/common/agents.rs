//! Small agents.

use burn::tensor::Device;
use mpo::{MpoAgent, MpoConfig};

pub fn agent(config: &MpoConfig, observation_size: usize, action_size: usize, seed: u64) -> MpoAgent {
    MpoAgent::new(config.clone(), observation_size, action_size, &Device::flex(), seed).unwrap()
}
