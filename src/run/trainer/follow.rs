//! Learning together with other trainers, under a chief.

use super::Trainer;
use crate::distributed::following::{FollowConfig, Following};
use crate::distributed::network::Network;
use crate::error::Result;
use crate::experience::vector::VectorEnvironment;
use crate::networks::{Actor, Critic};

impl<E: VectorEnvironment, A: Actor, C: Critic> Trainer<E, A, C> {
    /// Makes its updates from now on together with other trainers: as a worker of a chief that
    /// [leads](crate::Chief::lead) on this network. It acts and stores what happens as before; where an
    /// update is due, it draws a batch of its own, contributes what that says to the chief's next update,
    /// and goes on with the chief's parameters. So a worker waits for the others, and how many updates it
    /// asks for in a step ([`TrainerConfig::updates_per_step`](crate::TrainerConfig::updates_per_step))
    /// should be the same for all.
    ///
    /// Agents of all workers have the chief's settings and networks, but for the size of the batch and
    /// exploration; their parameters come from the chief. Each has to have a seed of its own, else all do the
    /// same. Metrics are the chief's, of the whole batch. What it deploys and evaluates is the average of the
    /// policies since it joined.
    ///
    /// When the chief says that it ends, the run ends with [`StopReason::Chief`](crate::StopReason::Chief).
    /// Observers may stop it while it waits. The only worker of a chief with its own agent's learner makes
    /// the run that it would make alone, bit for bit.
    ///
    /// # Errors
    /// If a setting lies outside its accepted range.
    pub fn follow(mut self, network: &Network, config: FollowConfig) -> Result<Self> {
        self.run.following = Some(Following::new(network, config)?);
        Ok(self)
    }
}
