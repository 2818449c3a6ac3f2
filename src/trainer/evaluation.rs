//! Whole episodes played with the mean action, beside the training.

use super::Trainer;
use crate::environment::Environment;
use crate::error::{Result, check};
use crate::networks::{Actor, Critic};
use crate::observers::{Evaluation, Event};

impl<E: Environment, A: Actor, C: Critic> Trainer<E, A, C> {
    /// Plays `episodes` with the mean action, without learning from them.
    ///
    /// # Errors
    /// If `episodes` is 0, the policy's action is not finite, or the environment fails more often in a row
    /// than the settings tolerate.
    pub fn evaluate(&mut self, episodes: usize) -> Result<Evaluation> {
        check("episodes", episodes, |&count| count > 0, "at least 1")?;
        let mut returns = Vec::with_capacity(episodes);
        while returns.len() < episodes {
            match self.evaluation_episode()? {
                Ok(sum) => {
                    self.failed_evaluation_episodes.in_a_row = 0;
                    returns.push(sum);
                }
                Err(failure) => {
                    let counted =
                        self.failed_evaluation_episodes.add(failure, self.config.tolerated_failed_episodes);
                    self.push(Event::EpisodeFailed);
                    counted?;
                }
            }
        }
        Ok(Evaluation::from_returns(&returns))
    }

    /// The return of an episode played with the mean action, or what the environment failed with.
    fn evaluation_episode(&mut self) -> Result<Result<f64>> {
        let mut observation = match self.evaluation_environment.reset(self.evaluation_seeds.next_seed()) {
            Ok(observation) => observation,
            Err(failure) => return Ok(Err(failure)),
        };
        let mut sum = 0.0;
        loop {
            let action = self.agent.mean_action(&observation)?;
            let step = match self.evaluation_environment.step(&action) {
                Ok(step) => step,
                Err(failure) => return Ok(Err(failure)),
            };
            sum += f64::from(step.reward);
            if step.is_last() {
                return Ok(Ok(sum));
            }
            observation = step.observation;
        }
    }

    /// The evaluation made after the latest step, if there was one.
    pub(super) fn latest_evaluation(&self) -> Option<Evaluation> {
        self.evaluations.last().and_then(|&(steps, evaluation)| (steps == self.steps).then_some(evaluation))
    }

    /// Evaluates the policy and tells the observers.
    pub(super) fn report_evaluation(&mut self) -> Result<Evaluation> {
        let latest = self.evaluate(self.config.evaluation_episodes)?;
        self.evaluations.push((self.steps, latest));
        self.push(Event::Evaluation(latest));
        self.tell()?;
        Ok(latest)
    }
}
