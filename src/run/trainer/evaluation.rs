//! Whole episodes played with the mean action, beside the training.

use super::failures::Broken;
use super::{State, Trainer};
use crate::checks::check;
use crate::error::Result;
use crate::experience::environment::Environment;
use crate::networks::{Actor, Critic};
use crate::run::observer::{Evaluation, Event};

impl<E: Environment, A: Actor, C: Critic> Trainer<E, A, C> {
    /// Plays `episodes` with the mean action, without learning from them. The run's own evaluations stay as
    /// they would be without it.
    ///
    /// # Errors
    /// If `episodes` is 0, the policy's action is not finite, or the environment fails more often in a row
    /// than the settings tolerate.
    pub fn evaluate(&mut self, episodes: usize) -> Result<Evaluation> {
        check("episodes", episodes, |&count| count > 0, "at least 1")?;
        self.play(episodes, |state| {
            let due = &state.evaluation_seeds;
            state.other_evaluation_seeds.get_or_insert_with(|| due.clone()).next_seed()
        })
    }

    fn play(&mut self, episodes: usize, seed: impl Fn(&mut State) -> u64) -> Result<Evaluation> {
        let mut returns = Vec::with_capacity(episodes);
        while returns.len() < episodes {
            let seed = seed(&mut self.state);
            match self.evaluation_episode(seed) {
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
    fn evaluation_episode(&mut self, seed: u64) -> Result<f64, Broken> {
        let (environment, mut sum) = (&mut self.evaluation_environment, 0.0);
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
        let episodes = self.config.evaluation_episodes;
        let latest = if self.evaluation_due() {
            self.state.other_evaluation_seeds = None;
            self.play(episodes, |state| state.evaluation_seeds.next_seed())?
        } else {
            self.evaluate(episodes)?
        };
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
