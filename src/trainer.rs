//! The training loop: collect, update, report, save, evaluate.

mod config;
mod failures;
mod saved;
mod summary;

use std::path::PathBuf;
use std::time::Instant;

use crate::agent::MpoAgent;
use crate::checkpoints::Checkpoints;
use crate::environment::{Checked, Environment};
use crate::error::{Error, Result, check, check_size};
use crate::metrics::MeanMetrics;
use crate::networks::{Actor, Critic, GaussianActor, QNetwork};
use crate::observers::{Evaluation, Event, Observer, Progress, StopReason};
use crate::replay::{Experience, ReplayBuffer};
use crate::rng::{Rng, Stream};

pub use config::TrainerConfig;
use failures::Failures;
pub use saved::Resumed;
pub use summary::Summary;

/// Trains an agent in an environment: collects experience with the sampled action, updates at a stated ratio,
/// evaluates with the mean action, and reports to observers.
///
/// Where [`run`](Trainer::run) returns an error, everything learnt is still there, and another `run` goes on: from a new
/// episode where the environment or the policy's action failed, else within the episode under way. A run that
/// [saves](Trainer::save_into) checkpoints can be [resumed](Trainer::resume) by another process.
pub struct Trainer<E: Environment, A: Actor = GaussianActor, C: Critic = QNetwork> {
    config: TrainerConfig,
    agent: MpoAgent<A, C>,
    environment: Checked<E>,
    evaluation_environment: Checked<E>,
    replay: ReplayBuffer,
    observers: Vec<Box<dyn Observer>>,
    checkpoints: Option<Checkpoints>,
    episode_seeds: Rng,
    replay_samples: Rng,
    evaluation_seeds: Rng,
    /// The episode under way.
    episode: Option<Episode>,
    /// The return of the episode that the latest step ended, until the observers are told of it.
    episode_return: Option<f64>,
    steps: u64,
    updates: u64,
    failed_episodes: Failures,
    refused_updates: Failures,
    /// Events that the observers have not heard of yet.
    unheard: Vec<Event>,
    metrics: MeanMetrics,
    evaluations: Vec<(u64, Evaluation)>,
    /// The step of the latest checkpoint, this run's or the one it was resumed from.
    saved: Option<u64>,
    /// Wall-clock seconds of the run before [`run`](Trainer::run) was called.
    seconds_before: f64,
    started: Option<Instant>,
}

/// An episode under way.
struct Episode {
    /// The seed it was begun with.
    seed: u64,
    observation: Vec<f32>,
    steps: usize,
    sum: f64,
}

impl<E: Environment, A: Actor, C: Critic> Trainer<E, A, C> {
    /// A trainer of `agent` in `environment`, evaluating it in another one of the same kind.
    ///
    /// # Errors
    /// Where a setting lies outside its accepted range, or the environments do not fit the agent.
    pub fn new(
        config: TrainerConfig,
        agent: MpoAgent<A, C>,
        environment: E,
        evaluation_environment: E,
    ) -> Result<Self> {
        config.validate()?;
        let environment = Checked::new(environment)?;
        let evaluation_environment = Checked::new(evaluation_environment)?;
        for environment in [&environment, &evaluation_environment] {
            let actor = agent.actor();
            check_size(
                "the environment's observation",
                environment.observation_size(),
                actor.observation_size(),
            )?;
            check_size("the environment's action", environment.bounds().size(), actor.action_size())?;
        }
        let replay = ReplayBuffer::new(
            config.replay_capacity,
            environment.observation_size(),
            environment.bounds().size(),
        )?;
        Ok(Self {
            agent,
            environment,
            evaluation_environment,
            replay,
            observers: Vec::new(),
            checkpoints: None,
            episode_seeds: Rng::stream(config.seed, Stream::Episodes),
            replay_samples: Rng::stream(config.seed, Stream::Replay),
            evaluation_seeds: Rng::stream(config.seed, Stream::Evaluation),
            episode: None,
            episode_return: None,
            steps: 0,
            updates: 0,
            failed_episodes: Failures::default(),
            refused_updates: Failures::default(),
            unheard: Vec::new(),
            metrics: MeanMetrics::default(),
            evaluations: Vec::new(),
            saved: None,
            seconds_before: 0.0,
            started: None,
            config,
        })
    }

    /// Adds an observer, which hears of everything from then on.
    pub fn observe(mut self, observer: impl Observer + 'static) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Saves a checkpoint of the whole run into this folder every [`TrainerConfig::checkpoint_period`] steps and at the end
    /// of a run, and keeps the newest ones. The folder is for one run: one that holds another's checkpoints is refused,
    /// unless that is [resumed](Trainer::resume).
    pub fn save_into(mut self, folder: impl Into<PathBuf>) -> Self {
        self.checkpoints = Some(Checkpoints::new(folder.into(), self.config.checkpoints_kept));
        self.saved = None;
        self
    }

    /// The agent.
    pub fn agent(&self) -> &MpoAgent<A, C> {
        &self.agent
    }

    /// The agent alone, for acting without a trainer.
    pub fn into_agent(self) -> MpoAgent<A, C> {
        self.agent
    }

    /// The replay.
    pub fn replay(&self) -> &ReplayBuffer {
        &self.replay
    }

    /// Trains until the steps are made, the return is reached, or an observer says stop.
    ///
    /// # Errors
    /// Where the environment fails or gives what is not finite or of the wrong size, or an update does, more often in a
    /// row than the settings tolerate, or where an observer fails or a checkpoint cannot be written.
    pub fn run(&mut self) -> Result<Summary> {
        self.check_folder()?;
        self.started = Some(Instant::now());
        let summary = self.run_to_its_end();
        self.seconds_before = self.seconds();
        self.started = None;
        summary
    }

    fn run_to_its_end(&mut self) -> Result<Summary> {
        let mut stop = false;
        let reason = loop {
            let due = self.steps > 0 && self.steps.is_multiple_of(self.config.evaluation_period);
            if due && self.latest_evaluation().is_none() {
                stop |= self.report_evaluation()?.1;
            }
            let reached = |latest: Evaluation| {
                self.config.stop_at_return.is_some_and(|goal| latest.mean_return >= goal)
            };
            if due && self.latest_evaluation().is_some_and(reached) {
                break StopReason::Return;
            }
            if stop {
                break StopReason::Observer;
            }
            if self.steps >= self.config.environment_steps {
                break StopReason::Steps;
            }
            self.collect()?;
            self.learn()?;
            stop = self.report_step()?;
            // Before the evaluation, so that a resumed run makes it as this one does.
            // One that failed is due again after the next step.
            let period = self.config.checkpoint_period;
            stop |= self.save_if(stop || self.steps / period > self.saved.unwrap_or(0) / period)?;
        };
        self.save_if(true)?;
        let evaluation = match self.latest_evaluation() {
            Some(evaluation) => evaluation,
            None => self.report_evaluation()?.0,
        };
        self.notify(&[Event::Finished { reason }])?;
        Ok(Summary {
            reason,
            evaluation,
            environment_steps: self.steps,
            updates: self.updates,
            refused_updates: self.refused_updates.count,
            failed_episodes: self.failed_episodes.count,
            seconds: self.seconds(),
        })
    }

    /// The evaluation made after the latest step, if there was one.
    fn latest_evaluation(&self) -> Option<Evaluation> {
        self.evaluations.last().and_then(|&(steps, evaluation)| (steps == self.steps).then_some(evaluation))
    }

    /// Evaluates the policy and tells the observers; whether one of them wants to stop.
    fn report_evaluation(&mut self) -> Result<(Evaluation, bool)> {
        let latest = self.evaluate(self.config.evaluation_episodes)?;
        self.evaluations.push((self.steps, latest));
        let told = self.notify(&[Event::Evaluation(latest)]);
        if told.is_err() {
            self.evaluations.pop();
        }
        Ok((latest, told?))
    }

    /// Tells the observers of the latest step; whether one of them wants to stop.
    fn report_step(&mut self) -> Result<bool> {
        let mut events = vec![Event::Step];
        events.extend(self.episode_return.take().map(|episode_return| Event::Episode { episode_return }));
        if self.steps.is_multiple_of(self.config.metrics_period) {
            events.extend(self.metrics.take().map(Event::Metrics));
        }
        self.notify(&events)
    }

    /// Wall-clock seconds of the run.
    fn seconds(&self) -> f64 {
        self.seconds_before + self.started.map_or(0.0, |started| started.elapsed().as_secs_f64())
    }

    /// Plays `episodes` with the mean action, without learning from them.
    ///
    /// # Errors
    /// Where `episodes` is 0, the policy's action is not finite, or the environment fails more often in a row than the
    /// settings tolerate.
    pub fn evaluate(&mut self, episodes: usize) -> Result<Evaluation> {
        check("episodes", episodes, |&count| count > 0, "at least 1")?;
        let mut returns = Vec::with_capacity(episodes);
        while returns.len() < episodes {
            match self.evaluation_episode()? {
                Ok(sum) => {
                    self.failed_episodes.in_a_row = 0;
                    returns.push(sum);
                }
                Err(failure) => self.leave_episode(failure)?,
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

    /// One step of the behaviour policy, past the episodes that the environment fails in.
    fn collect(&mut self) -> Result<()> {
        loop {
            match self.environment_step()? {
                Ok(()) => return Ok(()),
                Err(failure) => self.leave_episode(failure)?,
            }
        }
    }

    /// Counts an episode that the environment failed in; its error, where that is one too many.
    fn leave_episode(&mut self, failure: Error) -> Result<()> {
        self.unheard.push(Event::EpisodeFailed);
        self.failed_episodes.add(failure, self.config.tolerated_failed_episodes)
    }

    /// One step of the behaviour policy in the environment, into the replay, or what the environment failed with.
    fn environment_step(&mut self) -> Result<Result<()>> {
        // Until the step is stored, an error leaves no episode under way: the next call starts a new one.
        let mut episode = match self.episode.take() {
            Some(episode) => episode,
            None => {
                let seed = self.episode_seeds.next_seed();
                let observation = match self.environment.reset(seed) {
                    Ok(observation) => observation,
                    Err(failure) => return Ok(Err(failure)),
                };
                self.replay.begin_episode(&observation)?;
                Episode { seed, observation, steps: 0, sum: 0.0 }
            }
        };
        let action = self.agent.act(&episode.observation)?;
        let step = match self.environment.step(&action.action) {
            Ok(step) => step,
            Err(failure) => return Ok(Err(failure)),
        };
        self.replay.push(Experience {
            action: &action.action,
            log_probability: action.log_probability,
            reward: step.reward,
            next_observation: &step.observation,
            terminated: step.terminated,
            truncated: step.truncated,
        })?;
        self.steps += 1;
        episode.steps += 1;
        episode.sum += f64::from(step.reward);
        if step.is_last() {
            self.failed_episodes.in_a_row = 0;
            self.episode_return = Some(episode.sum);
        } else {
            self.episode = Some(Episode { observation: step.observation, ..episode });
        }
        Ok(Ok(()))
    }

    /// As many updates as are due after the latest step.
    fn learn(&mut self) -> Result<()> {
        let steps = self.steps.saturating_sub(self.config.warm_up_steps);
        let due = (steps as f64 * self.config.updates_per_step) as u64;
        while self.updates < due {
            let batch = self.agent.sample(&self.replay, &mut self.replay_samples)?;
            match self.agent.update(&batch) {
                Ok(metrics) => {
                    self.metrics.add(&metrics);
                    self.updates += 1;
                    self.refused_updates.in_a_row = 0;
                }
                Err(error) => {
                    let Error::NonFinite { place, .. } = error else { return Err(error) };
                    self.unheard.push(Event::UpdateRefused { cause: place });
                    self.refused_updates.add(error, self.config.tolerated_refused_updates)?;
                }
            }
        }
        Ok(())
    }

    /// Tells every observer, of what they have not heard of first; whether one of them wants to stop.
    fn notify(&mut self, events: &[Event]) -> Result<bool> {
        let progress = Progress {
            environment_steps: self.steps,
            total_environment_steps: self.config.environment_steps,
            updates: self.updates,
            refused_updates: self.refused_updates.count,
            failed_episodes: self.failed_episodes.count,
            iterations: self.agent.iterations(),
            seconds: self.seconds(),
            replay: &self.replay,
            evaluations: &self.evaluations,
        };
        let mut stop = false;
        for event in std::mem::take(&mut self.unheard).iter().chain(events) {
            match event {
                Event::Step => {}
                Event::Evaluation(_) | Event::Finished { .. } => tracing::info!(steps = self.steps, ?event),
                _ => tracing::debug!(steps = self.steps, ?event),
            }
            for observer in &mut self.observers {
                stop |= observer.notify(event, &progress)?.is_break();
            }
        }
        Ok(stop)
    }
}
