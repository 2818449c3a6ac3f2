//! The learners that are timed.

use clap::ValueEnum;
use mpo::MpoConfig;

#[derive(Clone, Copy, ValueEnum)]
pub enum Workload {
    /// The replication paper's learner: 64 sampled actions, full covariance, five turns of the M-step.
    W1,
    /// A modern learner: 20 sampled actions, diagonal covariance, a constraint for each dimension, one turn.
    W2,
    /// W2 at the size of a GPU: 4096 states, 64 sampled actions, networks of 1024-1024.
    Large,
    /// The default preset: W2 with normalised networks, the action penalty and an averaged policy.
    Default,
}

impl Workload {
    pub fn config(self) -> MpoConfig {
        let paper = MpoConfig::paper();
        let mut modern = MpoConfig::default();
        match self {
            Self::W1 => paper,
            Self::W2 | Self::Large => {
                modern.critic.network.layer_norm = false;
                modern.actor.network.layer_norm = false;
                if let Self::Large = self {
                    modern.critic.network.hidden = vec![1024, 1024];
                    modern.actor.network.hidden = vec![1024, 1024];
                    (modern.batch_size, modern.sampled_actions) = (4096, 64);
                }
                MpoConfig { action_penalty: None, average_rate: 1.0, evaluation: paper.evaluation, ..modern }
            }
            Self::Default => modern,
        }
    }
}
