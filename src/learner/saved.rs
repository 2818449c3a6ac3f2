//! A learner in a file, by itself or among an agent's: all that its next step depends on.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Learner;
use crate::action_space::ActionSpace;
use crate::error::Result;
use crate::files::file::{Kind, Refusal, check_same};
use crate::files::tensor_file::{self, Tensors};
use crate::host::{tensor, to_host};
use crate::learner::config::MpoConfig;
use crate::learner::e_step::EStep;
use crate::learner::target_networks::TargetNetworks;
use crate::mathematics::distribution::Multipliers;
use crate::networks::{Actor, Critic, Optimizer};
use crate::policy::Policy;
use crate::rng::Rng;

const FILE: Kind = Kind {
    name: "mpo learner",
    version: 1,
    accepted: "a learner's file of format version 1, which mpo 0.2 writes and reads",
};

/// What stands beside the tensors.
#[derive(Serialize, Deserialize)]
pub(crate) struct Header {
    config: MpoConfig,
    observation_size: usize,
    action_size: usize,
    action_low: Vec<f32>,
    action_high: Vec<f32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    action_choices: Vec<usize>,
    updates: u64,
    informed: f64,
    /// Steps of the critic's and the policy's optimizer.
    optimizer_steps: [u64; 2],
    e_step: EStep,
    action_samples: Rng,
}

impl<A: Actor, C: Critic> Learner<A, C> {
    /// Writes the learner to a file: networks and targets, the optimizers' averages, temperatures,
    /// multipliers, random generators and settings, whatever its next step depends on. What stood there
    /// before is replaced at once, or not at all. An agent saves its learner [with
    /// itself](crate::MpoAgent::save); this is for a [`Chief`](crate::Chief), and for loops of one's own.
    ///
    /// # Errors
    /// If the file cannot be written, or two parameters of a network have the same name.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut tensors = Tensors::default();
        let header = self.save_to(&mut tensors)?;
        tensor_file::write(path.as_ref(), &FILE, &header, &tensors)
    }

    /// Makes this learner the one in a file, bit for bit, on its own device.
    ///
    /// # Errors
    /// If the file cannot be read, is damaged, has another version of the format, or was saved with other
    /// settings or networks. The learner then stays as it was.
    pub fn restore(&mut self, path: impl AsRef<Path>) -> Result<()> {
        *self = tensor_file::read(path.as_ref(), &FILE, |header, tensors| self.restored(header, tensors))?;
        Ok(())
    }

    /// Adds its tensors to those of a file, and returns the rest.
    pub(crate) fn save_to(&self, tensors: &mut Tensors) -> Result<Header> {
        tensors.add_module("actor", &self.actor)?;
        tensors.add_module("critic", &self.critic)?;
        tensors.add_module("average", self.average.actor())?;
        tensors.add_module("target_actor", &self.target.actor)?;
        tensors.add_module("target_critic", &self.target.critic)?;
        let Multipliers { mean, covariance } = self.m_step.multipliers();
        tensors.add_vector("m_step.multiplier_mean", to_host("the multipliers", mean.clone())?)?;
        tensors
            .add_vector("m_step.multiplier_covariance", to_host("the multipliers", covariance.clone())?)?;
        tensors.add_vector("m_step.optimizer.averages", self.m_step.optimizer().averages()?)?;
        tensors.add_vector("critic_optimizer.averages", self.critic_step.optimizer().averages()?)?;
        Ok(Header {
            config: self.config.clone(),
            observation_size: self.actor.observation_size(),
            action_size: self.actor.action_size(),
            action_low: self.average.action_space().low().to_vec(),
            action_high: self.average.action_space().high().to_vec(),
            action_choices: self.average.action_space().choices().to_vec(),
            updates: self.updates,
            informed: self.informed,
            optimizer_steps: [self.critic_step.optimizer().steps(), self.m_step.optimizer().steps()],
            e_step: self.e_step.clone(),
            action_samples: self.action_samples.clone(),
        })
    }

    /// The learner of a file, on this one's device.
    pub(crate) fn restored(&self, header: Header, tensors: &mut Tensors) -> Result<Self, Refusal> {
        let sizes = |observation, action| json!({ "observation_size": observation, "action_size": action });
        check_same(&header.config, &self.config)?;
        check_same(
            &sizes(header.observation_size, header.action_size),
            &sizes(self.actor.observation_size(), self.actor.action_size()),
        )?;
        if *header.e_step.config() != self.config.e_step {
            return Err("an E-step of other settings".into());
        }
        if !(0.0..=1.0).contains(&header.informed) {
            return Err(format!("a share of informed E-steps of {}", header.informed).into());
        }
        let space = ActionSpace::of_parts(header.action_low, header.action_high, header.action_choices);
        let space = space.map_err(|error| error.to_string())?;
        let [critic_steps, policy_steps] = header.optimizer_steps;
        let actor = tensors.take_module("actor", self.actor.clone())?;
        let critic = tensors.take_module("critic", self.critic.clone())?;
        let average = tensors.take_module("average", self.average.actor().clone())?;
        let target = TargetNetworks {
            actor: tensors.take_module("target_actor", self.target.actor.clone())?,
            critic: tensors.take_module("target_critic", self.target.critic.clone())?,
            begun: header.updates > 0,
        };
        let constraints = self.m_step.multipliers().mean.dims()[0];
        let mut multipliers = |name: &str| {
            Ok::<_, Refusal>(tensor(tensors.take_vector(name, constraints)?, [constraints], &self.device))
        };
        let multipliers = Multipliers {
            mean: multipliers("m_step.multiplier_mean")?,
            covariance: multipliers("m_step.multiplier_covariance")?,
        };
        let mut optimizer = |name: &str, optimizer: &Optimizer, steps: u64, parameters: usize| {
            let size = if steps > 0 { 2 * parameters } else { 0 };
            let averages = tensors.take_vector(name, size)?;
            Ok::<_, Refusal>(optimizer.clone().with_history(steps, &averages, &self.device))
        };
        let of_policy = optimizer(
            "m_step.optimizer.averages",
            self.m_step.optimizer(),
            policy_steps,
            actor.num_params(),
        )?;
        let of_critic = optimizer(
            "critic_optimizer.averages",
            self.critic_step.optimizer(),
            critic_steps,
            critic.num_params(),
        )?;
        Ok(Self {
            config: header.config,
            device: self.device.clone(),
            average: Policy::new(average).with_action_space(space).map_err(|error| error.to_string())?,
            actor,
            critic,
            target,
            critic_step: self.critic_step.clone().with_optimizer(of_critic),
            e_step: header.e_step,
            m_step: self.m_step.clone().with_state(multipliers, of_policy),
            action_samples: header.action_samples,
            updates: header.updates,
            informed: header.informed,
        })
    }
}
