//! Presets that are quick.

use mpo::MpoConfig;

/// A preset with small networks and batches.
pub fn small(mut config: MpoConfig) -> MpoConfig {
    config.critic.network.hidden = vec![32, 32];
    config.actor.network.hidden = vec![32, 32];
    config.batch_size = 64;
    config
}
