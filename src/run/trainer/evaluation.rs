//! Whole episodes played with the mean action.

use super::Trainer;
use super::run::Run;
use super::state::State;
use crate::checks::check;
use crate::error::{Error, Result};
use crate::experience::checked::Checked;
use crate::experience::vector::VectorEnvironment;
use crate::networks::{Actor, Critic};
use crate::policy::Policy;
use crate::run::observer::{Evaluation, StopReason};

impl<E: VectorEnvironment, A: Actor, C: Critic> Trainer<E, A, C> {
    /// Plays `episodes` with the mean action, without learning from them. The run's own evaluations stay as
    /// they would be without it.
    ///
    /// Without an environment to [evaluate in](Trainer::evaluate_in) it is the one that is trained in: the
    /// episodes under way there are left, and the next run begins new ones.
    ///
    /// # Errors
    /// If `episodes` is 0, the policy's action is not finite, or the environment fails more often in a row
    /// than the settings tolerate.
    pub fn evaluate(&mut self, episodes: usize) -> Result<Evaluation> {
        check("episodes", episodes, |&count| count > 0, "at least 1")?;
        self.clear_the_way();
        self.play(episodes, |state| {
            let due = &state.evaluation_seeds;
            state.other_evaluation_seeds.get_or_insert_with(|| due.clone()).next_seed()
        })
    }

    /// Makes the evaluation that is due, if there is a row to play it in.
    pub(super) fn evaluate_if_due(&mut self) -> Result<()> {
        let free = self.evaluation.is_some() || self.observations.iter().any(Option::is_none);
        if self.run.state.evaluation_due && free { self.report_evaluation().map(|_| ()) } else { Ok(()) }
    }

    /// Makes the evaluation at the end of a run, whatever is under way.
    pub(super) fn evaluate_at_end(&mut self) -> Result<Evaluation> {
        self.clear_the_way();
        self.report_evaluation()
    }

    /// Whether a run that ends for this reason is evaluated. Whoever stops it may not want the robot to go
    /// on.
    pub(super) fn evaluates_at_end(&self, reason: StopReason) -> bool {
        let stopped = matches!(reason, StopReason::Observer | StopReason::Chief);
        let may_go_on = !stopped || self.evaluation.is_some();
        self.run.config.evaluation_episodes > 0 && may_go_on
    }

    /// Leaves the episodes under way, if it is there that is evaluated.
    fn clear_the_way(&mut self) {
        if self.evaluation.is_none() {
            self.leave_episodes();
        }
    }

    /// Evaluates the policy and tells the observers.
    fn report_evaluation(&mut self) -> Result<Evaluation> {
        let episodes = self.run.config.evaluation_episodes;
        let latest = if self.run.state.evaluation_due {
            self.run.state.other_evaluation_seeds = None;
            self.play(episodes, |state| state.evaluation_seeds.next_seed())?
        } else {
            self.evaluate(episodes)?
        };
        self.run.report_evaluation(latest)?;
        Ok(latest)
    }

    /// Plays in the environment to evaluate in, or in the rows of the other one that are between episodes.
    fn play(&mut self, episodes: usize, seed: impl Fn(&mut State) -> u64) -> Result<Evaluation> {
        let Self { run, environment, evaluation, observations, .. } = self;
        match evaluation {
            Some(environment) => {
                let rows = (0..environment.rows()).collect();
                play(run, environment, rows, episodes, seed)
            }
            None => {
                let rows = (0..observations.len()).filter(|&row| observations[row].is_none()).collect();
                play(run, environment, rows, episodes, seed)
            }
        }
    }
}

/// Plays episodes in these rows, at least one, past those that the environment fails in.
pub(super) fn play<E: VectorEnvironment, A: Actor, C: Critic>(
    run: &mut Run<A, C>,
    environment: &mut Checked<E>,
    rows: Vec<usize>,
    episodes: usize,
    seed: impl Fn(&mut State) -> u64,
) -> Result<Evaluation> {
    let mut evaluating = Evaluating::new(rows, episodes);
    let policy = run.agent.policy().clone();
    loop {
        for played in evaluating.round(environment, &policy, || seed(&mut run.state))? {
            match played {
                Ok(()) => run.state.failed_evaluation_episodes.end(),
                Err(error) => run.tolerate(error, |state| &mut state.failed_evaluation_episodes)?,
            }
        }
        if let Some(evaluation) = evaluating.result() {
            return Ok(evaluation);
        }
    }
}

/// An evaluation under way, in some rows of an environment.
pub(super) struct Evaluating {
    rows: Vec<Playing>,
    episodes: usize,
    returns: Vec<f64>,
    /// The steps after which an episode is taken for one without end.
    longest: u64,
}

/// No task is known that takes so long.
const LONGEST: u64 = 1_000_000;

struct Playing {
    row: usize,
    /// If it plays one.
    episode: Option<Episode>,
}

struct Episode {
    observation: Vec<f32>,
    sum: f64,
    steps: u64,
}

impl Evaluating {
    /// Of so many episodes.
    pub fn new(mut rows: Vec<usize>, episodes: usize) -> Self {
        rows.truncate(episodes);
        let rows = rows.into_iter().map(|row| Playing { row, episode: None }).collect();
        Self { rows, episodes, returns: Vec::with_capacity(episodes), longest: LONGEST }
    }

    /// What was found, once all episodes are played.
    pub fn result(&self) -> Option<Evaluation> {
        (self.returns.len() >= self.episodes).then(|| Evaluation::from_returns(&self.returns))
    }

    /// Begins the episodes that are left, as far as there are rows, and makes a step in each row that plays
    /// one: the episodes that came to their end, or failed, and are to be played again.
    pub fn round<E: VectorEnvironment, A: Actor>(
        &mut self,
        environment: &mut Checked<E>,
        policy: &Policy<A>,
        mut seed: impl FnMut() -> u64,
    ) -> Result<Vec<Result<()>>> {
        let playing = self.rows.iter().filter(|playing| playing.episode.is_some()).count();
        let left = self.episodes - self.returns.len() - playing;
        let mut played = Vec::new();
        let free = self.rows.iter_mut().filter(|playing| playing.episode.is_none()).take(left);
        let free: Vec<_> = free.map(|playing| ((playing.row, seed()), &mut playing.episode)).collect();
        if !free.is_empty() {
            let seeds: Vec<_> = free.iter().map(|&(seed, _)| seed).collect();
            for ((_, episode), began) in free.into_iter().zip(environment.reset(&seeds)) {
                match began {
                    Ok(observation) => *episode = Some(Episode { observation, sum: 0.0, steps: 0 }),
                    Err(error) => played.push(Err(error)),
                }
            }
        }
        let under_way =
            |playing: &'_ Playing| Some((playing.row, playing.episode.as_ref()?.observation.clone()));
        let observations: Vec<_> = self.rows.iter().filter_map(under_way).collect();
        if observations.is_empty() {
            return Ok(played);
        }
        let seen: Vec<_> = observations.iter().map(|(_, seen)| seen.as_slice()).collect();
        let actions = policy.mean_actions(&seen)?;
        let rows = observations.iter().map(|&(row, _)| row);
        let asked: Vec<_> = rows.zip(actions.iter().map(Vec::as_slice)).collect();
        let steps = environment.step(&asked)?;
        let episodes = self.rows.iter_mut().map(|playing| &mut playing.episode);
        for (episode, step) in episodes.filter(|episode| episode.is_some()).zip(steps) {
            let (sum, steps) = episode.take().map_or((0.0, 0), |episode| (episode.sum, episode.steps));
            match step {
                Ok(step) => {
                    let (sum, steps) = (sum + f64::from(step.reward), steps + 1);
                    if step.is_last() {
                        self.returns.push(sum);
                        played.push(Ok(()));
                    } else if steps == self.longest {
                        return Err(endless(steps));
                    } else {
                        *episode = Some(Episode { observation: step.observation, sum, steps });
                    }
                }
                Err(error) => played.push(Err(error)),
            }
        }
        Ok(played)
    }
}

fn endless(steps: u64) -> Error {
    let why = format!(
        "an episode has not ended after {steps} steps: let it say `truncated` at a time limit, as the wrapper \
         TimeLimit does"
    );
    Error::Environment { place: "an evaluation", source: why.into() }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use burn::tensor::Device;

    use super::*;
    use crate::action_space::ActionSpace;
    use crate::agent::MpoAgent;
    use crate::experience::environment::{Environment, Step};
    use crate::learner::config::MpoConfig;

    /// Never says that an episode ends.
    struct Endless;

    impl Environment for Endless {
        type Error = Infallible;

        fn observation_size(&self) -> usize {
            1
        }

        fn action_space(&self) -> ActionSpace {
            ActionSpace::symmetric(1)
        }

        fn reset(&mut self, _: u64) -> Result<Vec<f32>, Infallible> {
            Ok(vec![0.0])
        }

        fn step(&mut self, _: &[f32]) -> Result<Step, Infallible> {
            Ok(Step { observation: vec![0.0], reward: 1.0, terminated: false, truncated: false })
        }
    }

    #[test]
    fn an_episode_without_end_is_an_error() {
        let agent = MpoAgent::new(MpoConfig::default(), 1, 1, &Device::flex(), 1).unwrap();
        let mut environment = Checked::new(Endless).unwrap();
        let mut evaluating = Evaluating { longest: 10, ..Evaluating::new(vec![0], 1) };
        let mut round = || evaluating.round(&mut environment, agent.policy(), || 1);
        for _ in 0..9 {
            assert!(round().unwrap().is_empty());
        }
        let error = round().unwrap_err().to_string();
        assert!(error.contains("not ended after 10 steps") && error.contains("TimeLimit"), "{error}");
    }
}
