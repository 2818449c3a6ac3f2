//! A policy by itself: what is evaluated, saved and deployed.

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::distribution::Distribution;
use crate::error::{Result, check_finite, check_size};
use crate::file::{self, Kind};
use crate::host::{tensor, to_host};
use crate::networks::{Actor, GaussianActor, GaussianActorConfig, device_of, parameters, with_parameters};
use crate::rng::{Rng, Stream};

/// What errors of a policy's action call it.
pub(crate) const ACTION: &str = "the policy's action";

/// A policy without critic, optimizer or trainer.
///
/// ```
/// use burn::tensor::Device;
/// use mpo::{MpoAgent, MpoConfig, Policy};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("policy.mpo");
/// let agent = MpoAgent::new(MpoConfig::default(), 5, 1, &Device::flex(), 1)?;
/// agent.policy().save(&file)?;
///
/// // On the robot:
/// let policy = Policy::load(&file, &Device::flex())?;
/// assert_eq!(policy.mean_action(&[0.1; 5])?, agent.mean_action(&[0.1; 5])?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Policy<A: Actor = GaussianActor> {
    actor: A,
}

impl<A: Actor> Policy<A> {
    /// The policy of this network.
    pub fn new(actor: A) -> Self {
        Self { actor }
    }

    pub fn with_bounds(self, _bounds: crate::environment::ActionBounds) -> Result<Self> {
        Ok(self)
    }

    pub(crate) fn with_actor(&self, actor: A) -> Self {
        Self { actor }
    }

    /// Its network.
    pub fn actor(&self) -> &A {
        &self.actor
    }

    /// The distribution over actions for one observation, `[1, action]`.
    ///
    /// # Errors
    /// If the observation has the wrong size or is not finite, or the network has no parameters.
    pub fn at(&self, observation: &[f32]) -> Result<A::Distribution> {
        check_size("observation", observation.len(), self.actor.observation_size())?;
        check_finite("observation", observation)?;
        let device = device_of(&self.actor)?;
        Ok(self.actor.policy(tensor(observation.to_vec(), [1, observation.len()], &device)))
    }

    /// The mean action for one observation; it may reach beyond [-1, 1], to which the environment's is
    /// clipped (see [`ActionBounds::to_environment`](crate::ActionBounds::to_environment)).
    ///
    /// # Errors
    /// If the observation has the wrong size or is not finite, or the action is not.
    pub fn mean_action(&self, observation: &[f32]) -> Result<Vec<f32>> {
        let mean = to_host(ACTION, self.at(observation)?.mode().inner())?;
        check_finite(ACTION, &mean)?;
        Ok(mean)
    }
}

/// What stands in a policy's file before its parameters.
#[derive(Serialize, Deserialize)]
struct Header {
    observation_size: usize,
    action_size: usize,
    actor: GaussianActorConfig,
}

const FILE: Kind = Kind {
    name: "mpo policy",
    version: 1,
    accepted: "a policy file of format version 1, which mpo 0.1 writes and reads",
};

impl Policy {
    /// Writes the policy to a file of its own: a few bytes more than four a parameter. What stood there
    /// before is replaced at once, or not at all.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let header = Header {
            observation_size: self.actor.observation_size(),
            action_size: self.actor.action_size(),
            actor: self.actor.config().clone(),
        };
        let parameters = parameters(&self.actor)?;
        file::write(path.as_ref(), &FILE, &header, |file| file.floats(&parameters))
    }

    /// Reads a policy from its file, onto `device`.
    ///
    /// # Errors
    /// If the file cannot be read, is not a policy's, is damaged, or has another version of the format.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        file::read(path.as_ref(), &FILE, |header: Header, file| {
            let Header { observation_size, action_size, actor } = header;
            // Before a network of that size is made.
            let count = actor.parameter_count(observation_size, action_size);
            let numbers = file.floats(count.ok_or("a network beyond all numbers")?)?;
            let mut rng = Rng::stream(0, Stream::Weights);
            let untrained = GaussianActor::new(&actor, observation_size, action_size, device, &mut rng)
                .map_err(|error| error.to_string())?;
            Ok(Self::new(with_parameters(untrained.valid(), numbers)))
        })
    }
}
