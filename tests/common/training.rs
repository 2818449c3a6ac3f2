//! Learning without an environment.

use mpo::networks::{Activation, NetworkConfig};
use mpo::{Actor, Critic, Metrics, MpoAgent, MpoConfig, ReplayBuffer};

use super::presets::small;
use super::replays::rng;

/// The default preset, small and quick on tasks of one step.
pub fn quick() -> MpoConfig {
    let mut config = small(MpoConfig::default());
    let network = NetworkConfig {
        hidden: vec![32],
        activation: Activation::Tanh,
        layer_norm: false,
        normalise_observations: false,
    };
    config.critic.network = network.clone();
    config.actor.network = network;
    config.critic_optimizer.learning_rate = 5e-3;
    config.m_step.optimizer.learning_rate = 5e-3;
    config.m_step.epsilon_mean = 0.05;
    config.m_step.epsilon_covariance = 1e-6;
    // Narrow enough that actions beyond [-1, 1], which are worth as much as those at its ends, do not matter.
    config.actor.initial_standard_deviation = 0.2;
    config.target_period = 10;
    config.average_rate = 1.0;
    config.discount = 0.99;
    config
}

/// Updates from the replay; the metrics of each.
pub fn train<A: Actor, C: Critic>(
    agent: &mut MpoAgent<A, C>,
    replay: &ReplayBuffer,
    updates: usize,
) -> Vec<Metrics> {
    let mut rng = rng(1);
    let mut update = || {
        let batch = agent.sample(replay, &mut rng)?;
        agent.update(&batch)
    };
    (0..updates).map(|_| update().unwrap()).collect()
}
