//! The learners that are timed.

use clap::ValueEnum;
use mpo::MpoConfig;
use mpo::networks::{Covariance, GaussianActorConfig};

#[derive(Clone, Copy, ValueEnum)]
pub enum Workload {
    /// The replication paper's learner: 64 sampled actions, full covariance, five turns of the M-step.
    W1,
    /// A modern learner: 20 sampled actions, diagonal covariance, a constraint for each dimension, one turn.
    W2,
    /// W2 at the size of a GPU: 4096 states, 64 sampled actions, networks of 1024-1024.
    Large,
    /// The default preset: W2 with networks, observations and values normalised, the action penalty and an
    /// averaged policy.
    Default,
}

impl Workload {
    pub fn config(self) -> MpoConfig {
        let (paper, modern) = (MpoConfig::paper(), MpoConfig::default());
        let mut plain = MpoConfig {
            critic: paper.critic.clone(),
            actor: GaussianActorConfig { covariance: Covariance::Diagonal, ..paper.actor.clone() },
            evaluation: paper.evaluation,
            e_step: paper.e_step.clone(),
            action_penalty: None,
            average_rate: 1.0,
            ..modern.clone()
        };
        plain.critic.loss = modern.critic.loss;
        match self {
            Self::W1 => paper,
            Self::W2 => plain,
            Self::Large => {
                plain.critic.network.hidden = vec![1024, 1024];
                plain.actor.network.hidden = vec![1024, 1024];
                MpoConfig { batch_size: 4096, sampled_actions: 64, ..plain }
            }
            Self::Default => modern,
        }
    }
}
