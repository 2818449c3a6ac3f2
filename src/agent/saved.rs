//! An agent in a file: all that its next update depends on.

use std::path::Path;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::MpoAgent;
use crate::config::MpoConfig;
use crate::error::Result;
use crate::estep::EStep;
use crate::exploration::Explorer;
use crate::file::{self, Input, Kind, Refusal, check_same};
use crate::networks::{Actor, Critic, parameters, with_parameters};
use crate::policy::Policy;
use crate::rng::Rng;

const FILE: Kind = Kind {
    name: "mpo agent",
    version: 1,
    accepted: "an agent's file of format version 1, which mpo 0.1 writes and reads",
};

/// What stands before the numbers: the parameters of actor, critic, average and targets, the multipliers, and
/// the averages of the critic's and the policy's optimizer.
#[derive(Serialize, Deserialize)]
struct Header {
    config: MpoConfig,
    observation_size: usize,
    action_size: usize,
    /// Of actor and critic.
    parameters: [usize; 2],
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
    /// If the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let (actor, critic) = (parameters(&self.actor)?, parameters(&self.critic)?);
        let average = parameters(self.average.actor())?;
        let (target_actor, target_critic) =
            (parameters(&self.target_actor)?, parameters(&self.target_critic)?);
        let [of_mean, of_covariance] = self.m_step.multipliers()?;
        let (critic_steps, critic_averages) = self.critic_optimizer.history()?;
        let (policy_steps, policy_averages) = self.m_step.optimizer().history()?;
        let header = Header {
            config: self.config.clone(),
            observation_size: self.actor.observation_size(),
            action_size: self.actor.action_size(),
            parameters: [actor.len(), critic.len()],
            updates: self.updates,
            optimizer_steps: [critic_steps, policy_steps],
            e_step: self.e_step.clone(),
            explorer: self.explorer.clone(),
            action_samples: self.action_samples.clone(),
        };
        file::write(path.as_ref(), &FILE, &header, |file| {
            [
                actor,
                critic,
                average,
                target_actor,
                target_critic,
                of_mean,
                of_covariance,
                critic_averages,
                policy_averages,
            ]
            .iter()
            .try_for_each(|numbers| file.floats(numbers))
        })
    }

    /// Makes this agent the one in a file, bit for bit, on this agent's own device, which may be another one
    /// than that of the agent saved. Settings and networks have to be the same.
    ///
    /// # Errors
    /// If the file cannot be read, is damaged, has another version of the format, or was saved with other
    /// settings or networks. The agent then stays as it was.
    pub fn restore(&mut self, path: impl AsRef<Path>) -> Result<()> {
        *self = self.restored(path.as_ref())?;
        Ok(())
    }

    /// The agent of a file.
    pub(crate) fn restored(&self, path: &Path) -> Result<Self> {
        file::read(path, &FILE, |header, file| self.with_state(header, file))
    }

    fn with_state(&self, header: Header, file: &mut Input<'_>) -> Result<Self, Refusal> {
        let count = [self.actor.num_params(), self.critic.num_params()];
        check_same(&header.config, &self.config)?;
        let sizes = |observation, action, parameters: [usize; 2]| serde_json::json!({ "observation_size": observation, "action_size": action, "parameters": parameters });
        check_same(
            &sizes(header.observation_size, header.action_size, header.parameters),
            &sizes(self.actor.observation_size(), self.actor.action_size(), count),
        )?;
        if *header.e_step.config() != self.config.e_step {
            return Err("an E-step of other settings".into());
        }
        if !header.explorer.fits(&self.config.exploration, self.actor.action_size()) {
            return Err("exploration by other settings or of actions of another size".into());
        }
        let [actor_count, critic_count] = count;
        let [critic_steps, policy_steps] = header.optimizer_steps;
        let averages = |steps, parameters: usize| if steps > 0 { 2 * parameters } else { 0 };

        let actor = with_parameters(self.actor.clone(), file.floats(actor_count)?);
        let critic = with_parameters(self.critic.clone(), file.floats(critic_count)?);
        let average = with_parameters(self.target_actor.clone(), file.floats(actor_count)?);
        let target_actor = with_parameters(self.target_actor.clone(), file.floats(actor_count)?);
        let target_critic = with_parameters(self.target_critic.clone(), file.floats(critic_count)?);
        let constraints = self.m_step.constraints();
        let multipliers = [file.floats(constraints)?, file.floats(constraints)?];
        let device: &Device = &self.device;
        let critic_averages = file.floats(averages(critic_steps, critic_count))?;
        let policy_averages = file.floats(averages(policy_steps, actor_count))?;
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
