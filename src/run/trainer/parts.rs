//! What a trainer is made of, to look at and to take back.

use std::fmt;

use super::{Trainer, TrainerConfig};
use crate::agent::MpoAgent;
use crate::experience::environment::{Checked, Environment};
use crate::experience::replay::ReplayBuffer;
use crate::networks::{Actor, Critic};
use crate::run::observer::Evaluation;

impl<E: Environment, A: Actor, C: Critic> Trainer<E, A, C> {
    /// The settings.
    pub fn config(&self) -> &TrainerConfig {
        &self.config
    }

    /// The agent.
    pub fn agent(&self) -> &MpoAgent<A, C> {
        &self.agent
    }

    /// The agent alone, for acting without a trainer.
    pub fn into_agent(self) -> MpoAgent<A, C> {
        self.agent
    }

    /// The agent, the environments of training and of evaluation, and the replay.
    pub fn into_parts(self) -> (MpoAgent<A, C>, [E; 2], ReplayBuffer) {
        let environments = [self.environment, self.evaluation_environment].map(Checked::into_environment);
        (self.agent, environments, self.replay)
    }

    /// The replay.
    pub fn replay(&self) -> &ReplayBuffer {
        &self.replay
    }

    /// The environment that is trained in.
    pub fn environment(&self) -> &E {
        self.environment.environment()
    }

    /// The environment that is trained in, as for making its task harder between two runs. The episode under
    /// way is left, and the next run begins a new one; what was stored of it stays.
    pub fn environment_mut(&mut self) -> &mut E {
        self.state.episode = None;
        self.environment.environment_mut()
    }

    /// The environment that is evaluated in.
    pub fn evaluation_environment(&self) -> &E {
        self.evaluation_environment.environment()
    }

    /// The environment that is evaluated in; between two runs no episode is under way there.
    pub fn evaluation_environment_mut(&mut self) -> &mut E {
        self.evaluation_environment.environment_mut()
    }

    /// The environment steps made, those before the run was resumed included.
    pub fn steps(&self) -> u64 {
        self.state.counts.environment_steps
    }

    /// The updates made in this run; the agent may have [made more](MpoAgent::updates) before it.
    pub fn updates(&self) -> u64 {
        self.state.counts.updates
    }

    /// The run's evaluations, with the environment steps made by then.
    pub fn evaluations(&self) -> &[(u64, Evaluation)] {
        &self.state.evaluations
    }
}

impl<E: Environment, A: Actor, C: Critic> fmt::Debug for Trainer<E, A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (config, counts) = (&self.config, &self.state.counts);
        f.debug_struct("Trainer").field("config", config).field("counts", counts).finish_non_exhaustive()
    }
}
