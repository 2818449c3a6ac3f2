//! What a trainer is made of, to look at and to take back.

use std::fmt;

use super::{Trainer, TrainerConfig};
use crate::agent::MpoAgent;
use crate::experience::checked::Checked;
use crate::experience::replay::ReplayBuffer;
use crate::experience::vector::VectorEnvironment;
use crate::networks::{Actor, Critic};
use crate::run::observer::Evaluation;

impl<E: VectorEnvironment, A: Actor, C: Critic> Trainer<E, A, C> {
    /// The settings.
    pub fn config(&self) -> &TrainerConfig {
        &self.run.config
    }

    /// The agent.
    pub fn agent(&self) -> &MpoAgent<A, C> {
        &self.run.agent
    }

    /// The agent alone, for acting without a trainer.
    pub fn into_agent(self) -> MpoAgent<A, C> {
        self.run.agent
    }

    /// The agent, the environment that was trained in, that of the evaluations if it was another one, and the
    /// replay.
    pub fn into_parts(self) -> (MpoAgent<A, C>, E, Option<E>, ReplayBuffer) {
        let evaluation = self.evaluation.map(Checked::into_environment);
        (self.run.agent, self.environment.into_environment(), evaluation, self.run.replay)
    }

    /// The replay.
    pub fn replay(&self) -> &ReplayBuffer {
        &self.run.replay
    }

    /// The environment that is trained in.
    pub fn environment(&self) -> &E {
        self.environment.environment()
    }

    /// The environment that is trained in, as for making its task harder between two runs. The episodes under
    /// way are left, and the next run begins new ones; what was stored of them stays.
    pub fn environment_mut(&mut self) -> &mut E {
        self.leave_episodes();
        self.environment.environment_mut()
    }

    /// The environment to [evaluate in](Trainer::evaluate_in), if it is another one.
    pub fn evaluation_environment(&self) -> Option<&E> {
        self.evaluation.as_ref().map(Checked::environment)
    }

    /// The environment to [evaluate in](Trainer::evaluate_in), if it is another one; between two runs no
    /// episode is under way there.
    pub fn evaluation_environment_mut(&mut self) -> Option<&mut E> {
        self.evaluation.as_mut().map(Checked::environment_mut)
    }

    /// The environment steps made in all rows, those before the run was resumed included.
    pub fn steps(&self) -> u64 {
        self.run.state.counts.environment_steps
    }

    /// The updates made in this run; the agent may have [made more](MpoAgent::updates) before it.
    pub fn updates(&self) -> u64 {
        self.run.state.counts.updates
    }

    /// The run's evaluations, with the environment steps made by then.
    pub fn evaluations(&self) -> &[(u64, Evaluation)] {
        &self.run.state.evaluations
    }
}

impl<E: VectorEnvironment, A: Actor, C: Critic> fmt::Debug for Trainer<E, A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (config, counts) = (&self.run.config, &self.run.state.counts);
        f.debug_struct("Trainer").field("config", config).field("counts", counts).finish_non_exhaustive()
    }
}
