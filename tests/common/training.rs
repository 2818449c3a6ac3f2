//! Replays to learn from, without an environment.

use mpo::networks::{Activation, NetworkConfig};
use mpo::{Actor, Critic, Experience, Metrics, MpoAgent, MpoConfig, ReplayBuffer, Rng, Stream};

use super::agents::small;

/// The default preset, small and quick on tasks of one step.
pub fn quick() -> MpoConfig {
    let mut config = small(MpoConfig::default());
    let network = NetworkConfig { hidden: vec![32], activation: Activation::Tanh, layer_norm: false };
    config.critic = network.clone();
    config.actor.network = network;
    config.critic_optimizer.learning_rate = 5e-3;
    config.m_step.optimizer.learning_rate = 5e-3;
    // Narrow enough that actions beyond [-1, 1], which are worth as much as those at its ends, do not matter.
    config.actor.initial_standard_deviation = 0.2;
    config.target_period = 10;
    config.average_rate = 1.0;
    config.discount = 0.99;
    config
}

pub fn rng(seed: u64) -> Rng {
    Rng::stream(seed, Stream::Replay)
}

/// `episodes` of `steps` steps each with random observations and actions.
pub fn random_replay(
    episodes: usize,
    steps: usize,
    observation_size: usize,
    action_size: usize,
) -> ReplayBuffer {
    let mut rng = rng(0);
    let mut replay = ReplayBuffer::new(episodes * (steps + 1), observation_size, action_size).unwrap();
    for episode in 0..episodes {
        replay.begin_episode(&rng.normals(observation_size)).unwrap();
        for step in 1..=steps {
            let action = rng.normals(action_size);
            let last = step == steps;
            let experience = Experience {
                action: &action,
                log_probability: -action.iter().map(|a| 0.5 * a * a + 0.919).sum::<f32>(),
                reward: (action[0] - 0.5).abs().min(2.0),
                next_observation: &rng.normals(observation_size),
                terminated: last && episode % 2 == 0,
                truncated: last && episode % 2 == 1,
            };
            replay.push(experience).unwrap();
        }
    }
    replay
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
