//! An agent in a file: all that its next update and its next action depend on.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::MpoAgent;
use crate::error::Result;
use crate::exploration::Explorer;
use crate::files::file::Kind;
use crate::files::tensor_file::{self, Tensors};
use crate::learner;
use crate::networks::{Actor, Critic};

const FILE: Kind = Kind {
    name: "mpo agent",
    version: 2,
    accepted: "an agent's file of format version 2, which mpo 0.2 writes and reads",
};

/// What stands in the file beside its tensors.
#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(flatten)]
    learner: learner::Header,
    explorer: Explorer,
    /// Of the other rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    explorers: Vec<Explorer>,
}

impl<A: Actor, C: Critic> MpoAgent<A, C> {
    /// Writes the agent to a file: networks and targets, the optimizers' averages, temperatures, multipliers,
    /// random generators and settings, whatever its next update depends on. Parameters are saved in single
    /// precision. What stood there before is replaced at once, or not at all.
    ///
    /// To deploy a policy, save it alone: [`Policy::save`](crate::Policy::save).
    ///
    /// # Errors
    /// If the file cannot be written, or two parameters of a network have the same name.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut tensors = Tensors::default();
        let learner = self.learner.save_to(&mut tensors)?;
        let (explorer, explorers) = (self.behaviour.explorers()[0].clone(), &self.behaviour.explorers()[1..]);
        let header = Header { learner, explorer, explorers: explorers.to_vec() };
        tensor_file::write(path.as_ref(), &FILE, &header, &tensors)
    }

    /// Makes this agent the one in a file, bit for bit, on this agent's own device, which may be another
    /// one than that of the agent saved. Settings and networks have to be the same; it acts in as many rows
    /// as the agent saved.
    ///
    /// # Errors
    /// If the file cannot be read, is damaged, has another version of the format, or was saved with other
    /// settings or networks: a parameter that is missing, too many or of another shape is named. The agent
    /// then stays as it was.
    pub fn restore(&mut self, path: impl AsRef<Path>) -> Result<()> {
        *self = self.restored(path.as_ref())?;
        Ok(())
    }

    /// The agent of a file.
    pub(crate) fn restored(&self, path: &Path) -> Result<Self> {
        tensor_file::read(path, &FILE, |Header { learner, explorer, explorers }, tensors| {
            let explorers = [vec![explorer], explorers].concat();
            let fits =
                |explorer: &Explorer| explorer.fits(&self.config().exploration, &self.actor().action_space());
            if !explorers.iter().all(fits) {
                return Err("exploration by other settings or of actions of another size".into());
            }
            let learner = self.learner.restored(learner, tensors)?;
            let mut behaviour = self.behaviour.clone();
            behaviour.set_explorers(explorers);
            behaviour.follow(&learner);
            Ok(Self { learner, behaviour })
        })
    }
}
