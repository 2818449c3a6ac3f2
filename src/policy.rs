//! A policy by itself: what is evaluated, saved and deployed.

mod onnx;
mod pytorch;

use std::path::Path;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action_space::ActionSpace;
use crate::checks::{check_any, check_finite, check_size};
use crate::error::Result;
use crate::files::file::{Kind, Refusal, check_same};
use crate::files::tensor_file::{self, Tensors};
use crate::host::{tensor, to_host};
use crate::mathematics::distribution::Distribution;
use crate::networks::{Actor, GaussianActor, MadeOfSettings, device_of};
pub use onnx::OnnxOptions;

/// What errors of a policy's action call it.
pub(crate) const ACTION: &str = "the policy's action";

/// A policy without critic, optimizer or trainer, and the actions it is for.
///
/// ```
/// use burn::tensor::Device;
/// use mpo::{ActionSpace, MpoAgent, MpoConfig, Policy};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("policy.mpo");
/// let agent = MpoAgent::new(MpoConfig::default(), 5, 1, &Device::flex(), 1)?;
/// let bounds = ActionSpace::bounded(vec![0.0], vec![12.0])?;
/// agent.policy().clone().with_action_space(bounds)?.save(&file)?;
///
/// // On the robot:
/// let policy = Policy::load(&file, &Device::flex())?;
/// let volts = policy.act(&[0.1; 5])?;
/// assert!((0.0..=12.0).contains(&volts[0]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Policy<A: Actor = GaussianActor> {
    actor: A,
    action_space: ActionSpace,
}

impl<A: Actor> Policy<A> {
    /// The policy of this network, for its [own actions](Actor::action_space): those inside [-1, 1].
    pub fn new(actor: A) -> Self {
        Self { action_space: actor.action_space(), actor }
    }

    /// The same policy for actions in other units: those of the
    /// [environment](crate::Environment::action_space).
    ///
    /// # Errors
    /// If they are not of as many components as the policy's, or not of the same choices.
    pub fn with_action_space(self, action_space: ActionSpace) -> Result<Self> {
        action_space.check_like(&self.actor.action_space())?;
        Ok(Self { action_space, ..self })
    }

    /// The policy of another network for the same actions.
    pub(crate) fn with_actor(&self, actor: A) -> Self {
        Self { actor, action_space: self.action_space.clone() }
    }

    /// Its network.
    pub fn actor(&self) -> &A {
        &self.actor
    }

    /// How many numbers an observation has.
    pub fn observation_size(&self) -> usize {
        self.actor.observation_size()
    }

    /// Its actions, in the environment's units.
    pub fn action_space(&self) -> &ActionSpace {
        &self.action_space
    }

    /// The action to take at one observation, the policy's mean, of a discrete action the likeliest
    /// alternative: in the
    /// environment's units, and inside its [bounds](Self::action_space).
    ///
    /// # Errors
    /// If the observation has the wrong size or is not finite, or the action is not.
    pub fn act(&self, observation: &[f32]) -> Result<Vec<f32>> {
        self.action_space.to_environment(&self.mean_action(observation)?)
    }

    /// The distribution over actions for one observation, `[1, action]`.
    ///
    /// # Errors
    /// If the observation has the wrong size or is not finite, or the network has no parameters.
    pub fn at(&self, observation: &[f32]) -> Result<A::Distribution> {
        self.at_each(&[observation])
    }

    /// The distribution over actions for each of several observations, in one pass, `[observations, action]`.
    ///
    /// # Errors
    /// If there is no observation, one has the wrong size or is not finite, or the network has no parameters.
    pub fn at_each(&self, observations: &[&[f32]]) -> Result<A::Distribution> {
        check_any("observations", observations.len() as u64)?;
        let size = self.actor.observation_size();
        for observation in observations {
            check_size("observation", observation.len(), size)?;
            check_finite("observation", observation)?;
        }
        let device = device_of(&self.actor)?;
        Ok(self.actor.policy(tensor(observations.concat(), [observations.len(), size], &device)))
    }

    /// The mean action for one observation in the policy's units, which are not the environment's: [-1, 1]
    /// stands for its bounds, and the mean may reach beyond. See [`act`](Self::act).
    ///
    /// # Errors
    /// If the observation has the wrong size or is not finite, or the action is not.
    pub fn mean_action(&self, observation: &[f32]) -> Result<Vec<f32>> {
        self.mean_of_each(&[observation])
    }

    /// The [mean action](Self::mean_action) for each of several observations, in one pass.
    ///
    /// # Errors
    /// If there is no observation, one has the wrong size or is not finite, or an action is not.
    pub fn mean_actions(&self, observations: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
        let means = self.mean_of_each(observations)?;
        Ok(means.chunks(self.actor.action_size()).map(<[f32]>::to_vec).collect())
    }

    /// One after another.
    fn mean_of_each(&self, observations: &[&[f32]]) -> Result<Vec<f32>> {
        let means = to_host(ACTION, self.at_each(observations)?.mode().inner())?;
        check_finite(ACTION, &means)?;
        Ok(means)
    }
}

const FILE: Kind = Kind {
    name: "mpo policy",
    version: 2,
    accepted: "a policy file of format version 2, which mpo 0.2 writes and reads",
};

/// What stands in a policy's file beside its parameters.
#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(flatten)]
    network: Network,
    action_low: Vec<f32>,
    action_high: Vec<f32>,
    /// See [`ActionSpace::choices`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    action_choices: Vec<usize>,
}

impl Header {
    fn space(&self) -> Result<ActionSpace, Refusal> {
        let Self { action_low, action_high, action_choices, .. } = self;
        ActionSpace::of_parts(action_low.clone(), action_high.clone(), action_choices.clone())
            .map_err(|error| error.to_string().into())
    }
}

/// What a network has to be in order to take the parameters.
#[derive(Serialize, Deserialize)]
struct Network {
    observation_size: usize,
    action_size: usize,
    /// See [`Actor::settings`].
    actor: Value,
}

impl<A: Actor> Policy<A> {
    /// Writes the policy to a file of its own: its parameters with their names and shapes, which PyTorch and
    /// NumPy read too (`docs/checkpoints.md`), its network's settings and its bounds. What stood there before
    /// is replaced at once, or not at all.
    ///
    /// # Errors
    /// If the file cannot be written, or two parameters of the network have the same name.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let (header, tensors) = self.parts()?;
        tensor_file::write(path.as_ref(), &FILE, &header, &tensors)
    }

    fn parts(&self) -> Result<(Header, Tensors)> {
        let space = &self.action_space;
        let (action_low, action_high) = (space.low().to_vec(), space.high().to_vec());
        let action_choices = space.choices().to_vec();
        let mut tensors = Tensors::default();
        tensors.add_module("", &self.actor)?;
        Ok((Header { network: self.network(), action_low, action_high, action_choices }, tensors))
    }

    /// What its file consists of.
    #[cfg(feature = "distributed")]
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let (header, tensors) = self.parts()?;
        let failed = |source| crate::error::Error::File { path: "a policy in memory".into(), source };
        tensor_file::contents(&FILE, &header, &tensors).map_err(failed)
    }

    /// The policy whose file consists of this, of the same network as this one.
    #[cfg(feature = "distributed")]
    pub(crate) fn of_bytes(&self, bytes: &[u8]) -> Result<Self, Refusal> {
        tensor_file::parse(bytes, &FILE, |header: Header, tensors| {
            check_same(&header.network, &self.network())?;
            Self::of_file(self.actor.clone(), header, tensors)
        })
    }

    /// Makes this policy the one in a file, with its bounds, on this policy's own device: for networks of the
    /// caller's own, which [`load`](Policy::load) cannot make.
    ///
    /// # Errors
    /// If the file cannot be read, is not a policy's, is damaged or has another version of the format, or its
    /// network has other sizes, settings or parameters: one that is missing, too many or of another shape is
    /// named. The policy then stays as it was.
    pub fn restore(&mut self, path: impl AsRef<Path>) -> Result<()> {
        *self = tensor_file::read(path.as_ref(), &FILE, |header: Header, tensors| {
            check_same(&header.network, &self.network())?;
            Self::of_file(self.actor.clone(), header, tensors)
        })?;
        Ok(())
    }

    fn network(&self) -> Network {
        Network {
            observation_size: self.actor.observation_size(),
            action_size: self.actor.action_size(),
            actor: self.actor.settings(),
        }
    }

    fn of_file(actor: A, header: Header, tensors: &mut Tensors) -> Result<Self, Refusal> {
        let actor = tensors.take_module("", actor)?;
        Self::new(actor).with_action_space(header.space()?).map_err(|error| error.to_string().into())
    }
}

impl Policy {
    /// Reads a policy from its file, onto `device`.
    ///
    /// # Errors
    /// If the file cannot be read, is not a policy's, is damaged, has another version of the format, or is of
    /// another network than a [`GaussianActor`] (see [`restore`](Self::restore)).
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Self::load_as(path, device)
    }
}

impl<A: MadeOfSettings> Policy<A> {
    /// Reads a policy of another of the library's networks from its file, onto `device`: of choices
    /// `Policy::<CategoricalActor>::load_as`, of numbers and choices `Policy::<HybridActor>::load_as`.
    ///
    /// # Errors
    /// If the file cannot be read, is not a policy's, is damaged, has another version of the format, or is of
    /// another network (see [`restore`](Self::restore)).
    pub fn load_as(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        tensor_file::read(path.as_ref(), &FILE, |header, tensors| Self::made(header, tensors, device))
    }

    /// The policy whose file consists of this, on `device`.
    #[cfg(feature = "distributed")]
    pub(crate) fn made_of_bytes(bytes: &[u8], device: &Device) -> Result<Self, Refusal> {
        tensor_file::parse(bytes, &FILE, |header, tensors| Self::made(header, tensors, device))
    }

    fn made(header: Header, tensors: &mut Tensors, device: &Device) -> Result<Self, Refusal> {
        let Network { observation_size, action_size, actor } = &header.network;
        let found = || format!("of a network with the settings {actor}");
        let settings = A::Settings::deserialize(actor).map_err(|_| Refusal::Other(found(), A::ACCEPTED))?;
        let (observation_size, space) = (*observation_size, header.space()?);
        if space.size() != *action_size {
            return Err(format!("{} components of an action of {action_size}", space.size()).into());
        }
        // Before a network of that size is made.
        let (count, held) = (A::parameter_count(&settings, observation_size, &space), tensors.count());
        if count != Some(held) {
            return Err(format!("{held} numbers for a network of other sizes").into());
        }
        let untrained = A::untrained(&settings, observation_size, &space, device);
        Self::of_file(untrained.map_err(|error| error.to_string())?.valid(), header, tensors)
    }
}
