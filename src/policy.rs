//! A policy by itself: what is evaluated, saved and deployed.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, check_finite, check_size};
use crate::gaussian::Gaussian;
use crate::host::{tensor, to_host};
use crate::networks::{Actor, GaussianActor, GaussianActorConfig, parameters, with_parameters};
use crate::rng::{Rng, Stream};

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

    /// Its network.
    pub fn actor(&self) -> &A {
        &self.actor
    }

    /// The distribution over actions for one observation, `[1, action]`.
    ///
    /// # Errors
    /// Where the observation has the wrong size or is not finite.
    pub fn at(&self, observation: &[f32]) -> Result<Gaussian> {
        check_size("observation", observation.len(), self.actor.observation_size())?;
        check_finite("observation", observation)?;
        let device = self.actor.devices().swap_remove(0);
        Ok(self.actor.policy(tensor(observation.to_vec(), [1, observation.len()], &device)))
    }

    /// The mean action for one observation; it may reach beyond [-1, 1], to which the environment's is clipped (see
    /// [`ActionBounds::to_environment`](crate::ActionBounds::to_environment)).
    ///
    /// # Errors
    /// Where the observation has the wrong size or is not finite, or the action is not.
    pub fn mean_action(&self, observation: &[f32]) -> Result<Vec<f32>> {
        let mean = to_host(self.at(observation)?.mean.inner());
        check_finite("the policy's action", &mean)?;
        Ok(mean)
    }
}

/// What stands in a policy's file before its parameters.
#[derive(Serialize, Deserialize)]
struct Header {
    crate_version: String,
    observation_size: usize,
    action_size: usize,
    actor: GaussianActorConfig,
}

/// The first bytes of a policy's file: a name, then the version of the format.
const MAGIC: &[u8] = b"mpo policy";
const FORMAT_VERSION: u32 = 1;

impl Policy {
    /// Writes the policy to a file of its own: a few bytes more than four a parameter. What stood there before is replaced
    /// at once, or not at all.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let failed = |source| Error::File { path: path.to_owned(), source };
        let header = Header {
            crate_version: env!("CARGO_PKG_VERSION").into(),
            observation_size: self.actor.observation_size(),
            action_size: self.actor.action_size(),
            actor: self.actor.config().clone(),
        };
        let header = serde_json::to_vec(&header).map_err(|error| failed(error.into()))?;
        let mut bytes = [MAGIC, &FORMAT_VERSION.to_le_bytes(), &(header.len() as u64).to_le_bytes()].concat();
        bytes.extend(header);
        bytes.extend(parameters(&self.actor).into_iter().flat_map(f32::to_le_bytes));
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        let mut beside = path.as_os_str().to_owned();
        beside.push(".part");
        let write = || {
            let mut file = File::create(&beside)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&beside, path)
        };
        write().map_err(|source| {
            // Nothing half-written is left; that it cannot be removed is no news after what failed.
            let _ = std::fs::remove_file(&beside);
            failed(source)
        })
    }

    /// Reads a policy from its file, onto `device`.
    ///
    /// # Errors
    /// Where the file cannot be read, is not a policy's, is damaged, or has another version of the format.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        Self::from_bytes(&bytes, device).map_err(|found| Error::Format {
            path: path.to_owned(),
            found,
            accepted: "a policy file of format version 1, which mpo 0.1 writes and reads",
        })
    }

    /// The policy of a file with these contents, or what is wrong with them.
    fn from_bytes(bytes: &[u8], device: &Device) -> std::result::Result<Self, String> {
        let content = bytes.strip_prefix(MAGIC).ok_or("not a policy file")?;
        let (version, _) = content.split_first_chunk().ok_or("cut short")?;
        let version = u32::from_le_bytes(*version);
        if version != FORMAT_VERSION {
            return Err(format!("of format version {version}"));
        }
        let damaged = || "damaged: its checksum does not fit".to_owned();
        let (checked, checksum) = bytes.split_last_chunk().ok_or_else(damaged)?;
        if crc32fast::hash(checked) != u32::from_le_bytes(*checksum) {
            return Err(damaged());
        }
        let content = checked.get(MAGIC.len() + 4..).ok_or_else(damaged)?;
        let (length, content) = content.split_first_chunk().ok_or_else(damaged)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| damaged())?;
        let (header, numbers) = content.split_at_checked(length).ok_or_else(damaged)?;
        let header: Header = serde_json::from_slice(header).map_err(|error| format!("damaged: {error}"))?;
        let (numbers, rest) = numbers.as_chunks();
        let numbers: Vec<f32> = numbers.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        let Header { observation_size, action_size, actor, .. } = header;
        // Before a network of that size is made.
        let expected = actor.parameter_count(observation_size, action_size);
        if expected != Some(numbers.len()) || !rest.is_empty() {
            return Err(format!("damaged: {} parameters of {expected:?}", numbers.len()));
        }
        check_finite("a parameter", &numbers).map_err(|error| error.to_string())?;
        let mut rng = Rng::stream(0, Stream::Weights);
        let untrained = GaussianActor::new(&actor, observation_size, action_size, device, &mut rng)
            .map_err(|error| error.to_string())?;
        Ok(Self::new(with_parameters(untrained.valid(), &numbers)))
    }
}
