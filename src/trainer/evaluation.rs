//! Whole episodes played with the mean action, beside the training.

use super::Trainer;
use super::failures::Broken;
use crate::environment::Environment;
use crate::error::{Result, check};
use crate::networks::{Actor, Critic};
use crate::observer::{Evaluation, Event};

impl<E: Environment, A: Actor + 'static, C: Critic> Trainer<E, A, C> {
    /// Plays `episodes` with the mean action, without learning from them.
    ///
    /// # Errors
    /// If `episodes` is 0, the policy's action is not finite, or the environment fails more often in a row
    /// than the settings tolerate.
    pub fn evaluate(&mut self, episodes: usize) -> Result<Evaluation> {
        check("episodes", episodes, |&count| count > 0, "at least 1")?;
        let mut returns = Vec::with_capacity(episodes);
        while returns.len() < episodes {
            match self.evaluation_episode() {
                Ok(sum) => {
                    self.state.failed_evaluation_episodes.end();
                    returns.push(sum);
                }
                Err(broken) => self.tolerate(broken, |state| &mut state.failed_evaluation_episodes)?,
            }
        }
        Ok(Evaluation::from_returns(&returns))
    }

    /// The return of an episode played with the mean action.
    fn evaluation_episode(&mut self) -> Result<f64, Broken> {
        let (environment, mut sum) = (&mut self.evaluation_environment, 0.0);
        let seed = self.state.evaluation_seeds.next_seed();
        let mut observation = environment.reset(seed).map_err(Broken::Environment)?;
        loop {
            let action = self.agent.mean_action(&observation)?;
            let step = environment.step(&action).map_err(Broken::Environment)?;
            sum += f64::from(step.reward);
            if step.is_last() {
                return Ok(sum);
            }
            observation = step.observation;
        }
    }

    /// The evaluation made after the latest step, if there was one.
    pub(super) fn latest_evaluation(&self) -> Option<Evaluation> {
        let latest = self.state.evaluations.last().filter(|latest| latest.0 == self.steps());
        latest.map(|&(_, evaluation)| evaluation)
    }

    /// Evaluates the policy and tells the observers.
    pub(super) fn report_evaluation(&mut self) -> Result<Evaluation> {
        let seeds = self.state.evaluation_seeds.clone();
        let latest = self.evaluate(self.config.evaluation_episodes)?;
        if !self.evaluation_due() {
            // The one at the end of a run: those of a longer run stay as they are.
            self.state.evaluation_seeds = seeds;
        }
        self.state.evaluations.push((self.steps(), latest));
        self.push(Event::Evaluation(latest));
        self.tell()?;
        Ok(latest)
    }

    /// Whether the policy is to be evaluated after the latest step, wherever the run ends.
    pub(super) fn evaluation_due(&self) -> bool {
        self.steps() > 0 && self.steps().is_multiple_of(self.config.evaluation_period)
    }
}
