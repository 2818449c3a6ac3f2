//! An agent in a file: all that its next update depends on.

use std::path::Path;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::MpoAgent;
use crate::config::MpoConfig;
use crate::error::Result;
use crate::estep::EStep;
use crate::exploration::Explorer;
use crate::file::{Kind, Refusal, check_same};
use crate::networks::{Actor, Critic};
use crate::policy::Policy;
use crate::rng::Rng;
use crate::tensor_file::{self, Tensors};

const FILE: Kind = Kind {
    name: "mpo agent",
    version: 2,
    accepted: "an agent's file of format version 2, which mpo 0.1 writes and reads",
};

/// What stands in the file beside its tensors.
#[derive(Serialize, Deserialize)]
struct Header {
    config: MpoConfig,
    observation_size: usize,
    action_size: usize,
    updates: u64,
    /// Steps of the critic's and the policy's optimizer.
    optimizer_steps: [u64; 2],
    e_step: EStep,
    explorer: Explorer,
    action_samples: Rng,
}

impl<A: Actor, C: Critic> MpoAgent<A, C> {
    /// Writes the agent to a file: networks and targets, the optimizers' averages, temperatures, multipliers,
    /// random generators and settings, whatever its next update depends on. Parameters are saved in single
    /// precision. What stood there before is replaced at once, or not at all.
    ///
    /// To deploy a policy, save it alone: [`Policy::save`].
    ///
    /// # Errors
    /// If the file cannot be written, or two parameters of a network have the same name.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let [of_mean, of_covariance] = self.m_step.multipliers()?;
        let (critic_steps, critic_averages) = self.critic_optimizer.history()?;
        let (policy_steps, policy_averages) = self.m_step.optimizer().history()?;
        let mut tensors = Tensors::default();
        tensors.add_module("actor", &self.actor)?;
        tensors.add_module("critic", &self.critic)?;
        tensors.add_module("average", self.average.actor())?;
        tensors.add_module("target_actor", &self.target_actor)?;
        tensors.add_module("target_critic", &self.target_critic)?;
        tensors.add_vector("m_step.multiplier_mean", of_mean)?;
        tensors.add_vector("m_step.multiplier_covariance", of_covariance)?;
        tensors.add_vector("m_step.optimizer.averages", policy_averages)?;
        tensors.add_vector("critic_optimizer.averages", critic_averages)?;
        let header = Header {
            config: self.config.clone(),
            observation_size: self.actor.observation_size(),
            action_size: self.actor.action_size(),
            updates: self.updates,
            optimizer_steps: [critic_steps, policy_steps],
            e_step: self.e_step.clone(),
            explorer: self.explorer.clone(),
            action_samples: self.action_samples.clone(),
        };
        tensor_file::write(path.as_ref(), &FILE, &header, &tensors)
    }

    /// Makes this agent the one in a file, bit for bit, on this agent's own device, which may be another one
    /// than that of the agent saved. Settings and networks have to be the same.
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
        tensor_file::read(path, &FILE, |header, tensors| self.with_state(header, tensors))
    }

    fn with_state(&self, header: Header, tensors: &mut Tensors) -> Result<Self, Refusal> {
        let sizes = |observation, action| serde_json::json!({ "observation_size": observation, "action_size": action });
        check_same(&header.config, &self.config)?;
        check_same(
            &sizes(header.observation_size, header.action_size),
            &sizes(self.actor.observation_size(), self.actor.action_size()),
        )?;
        if *header.e_step.config() != self.config.e_step {
            return Err("an E-step of other settings".into());
        }
        if !header.explorer.fits(&self.config.exploration, self.actor.action_size()) {
            return Err("exploration by other settings or of actions of another size".into());
        }
        let [critic_steps, policy_steps] = header.optimizer_steps;
        let averages = |steps, parameters: usize| if steps > 0 { 2 * parameters } else { 0 };

        let actor = tensors.take_module("actor", self.actor.clone())?;
        let critic = tensors.take_module("critic", self.critic.clone())?;
        let average = tensors.take_module("average", self.average.actor().clone())?;
        let target_actor = tensors.take_module("target_actor", self.target_actor.clone())?;
        let target_critic = tensors.take_module("target_critic", self.target_critic.clone())?;
        let constraints = self.m_step.constraints();
        let multipliers = [
            tensors.take_vector("m_step.multiplier_mean", constraints)?,
            tensors.take_vector("m_step.multiplier_covariance", constraints)?,
        ];
        let of_policy = averages(policy_steps, actor.num_params());
        let policy_averages = tensors.take_vector("m_step.optimizer.averages", of_policy)?;
        let of_critic = averages(critic_steps, critic.num_params());
        let critic_averages = tensors.take_vector("critic_optimizer.averages", of_critic)?;
        let device: &Device = &self.device;
        let policy_optimizer = self.m_step.optimizer().clone();
        Ok(Self {
            config: header.config,
            device: device.clone(),
            behaviour: Policy::new(actor.valid()),
            average: Policy::new(average),
            actor,
            critic,
            target_actor,
            target_critic,
            critic_optimizer: self.critic_optimizer.clone().with_history(
                critic_steps,
                &critic_averages,
                device,
            ),
            e_step: header.e_step,
            m_step: self.m_step.clone().with_state(
                multipliers,
                policy_optimizer.with_history(policy_steps, &policy_averages, device),
            ),
            explorer: header.explorer,
            action_samples: header.action_samples,
            updates: header.updates,
        })
    }
}
