//! The training loop: collect, update, evaluate, report.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::agent::MpoAgent;
use crate::environment::{Checked, Environment, Step};
use crate::error::{Error, Result, check, check_size};
use crate::metrics::MeanMetrics;
use crate::networks::{Actor, Critic, GaussianActor, QNetwork};
use crate::observers::{Evaluation, Event, Observer, Progress, StopReason};
use crate::replay::{Experience, ReplayBuffer};
use crate::rng::{Rng, Stream};

/// The settings of a [`Trainer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainerConfig {
    /// How many environment steps to collect in all.
    pub environment_steps: u64,
    /// How many observations the replay holds. Accepted: at least 2. As many as memory allows: forgetting rarely helps.
    pub replay_capacity: usize,
    /// The environment steps before the first update. Accepted: at least 1. Enough for a first idea of the rewards.
    pub warm_up_steps: u64,
    /// Updates for each environment step after the warm-up. Accepted: 0 or more. The more, the fewer steps it takes to
    /// learn, and the longer by the clock: lower it where steps are cheap, raise it where they are a robot's.
    pub updates_per_step: f64,
    /// The environment steps between two evaluations. Accepted: at least 1.
    pub evaluation_period: u64,
    /// The episodes of an evaluation. Accepted: at least 1.
    pub evaluation_episodes: usize,
    /// The environment steps between two reports of the metrics, which are means over what lies between. Accepted: at
    /// least 1.
    pub metrics_period: u64,
    /// How many episodes in a row the environment may fail in: by an error, a panic, a number that is not finite. Such an
    /// episode is left, a new one begun, and what was stored of it stays; a step that failed is never stored. With 0 the
    /// first failure ends the run.
    pub tolerated_failed_episodes: u32,
    /// How many updates in a row may be refused because a value, the loss, a gradient or a parameter is not finite. A
    /// refused update changes nothing, and another batch is drawn in its place. With 0 the first one ends the run.
    pub tolerated_refused_updates: u32,
    /// Stops as soon as an evaluation's mean return reaches this.
    pub stop_at_return: Option<f64>,
    /// The seed of the episodes, the replay's samples and the evaluations.
    pub seed: u64,
}

impl Default for TrainerConfig {
    fn default() -> Self {
        Self {
            environment_steps: 100_000,
            replay_capacity: 1_000_000,
            warm_up_steps: 1_000,
            updates_per_step: 1.5,
            evaluation_period: 1_000,
            evaluation_episodes: 10,
            metrics_period: 1_000,
            tolerated_failed_episodes: 0,
            tolerated_refused_updates: 10,
            stop_at_return: None,
            seed: 0,
        }
    }
}

impl TrainerConfig {
    fn validate(&self) -> Result<()> {
        let at_least_one = |&count: &u64| count > 0;
        check("TrainerConfig::warm_up_steps", self.warm_up_steps, at_least_one, "at least 1")?;
        check("TrainerConfig::evaluation_period", self.evaluation_period, at_least_one, "at least 1")?;
        check("TrainerConfig::metrics_period", self.metrics_period, at_least_one, "at least 1")?;
        check(
            "TrainerConfig::evaluation_episodes",
            self.evaluation_episodes,
            |&count| count > 0,
            "at least 1",
        )?;
        check(
            "TrainerConfig::updates_per_step",
            self.updates_per_step,
            |&ratio| ratio >= 0.0 && ratio.is_finite(),
            "0 or more, finite",
        )?;
        check(
            "TrainerConfig::stop_at_return",
            self.stop_at_return,
            |goal| goal.is_none_or(|goal| !goal.is_nan()),
            "a number, or none",
        )
    }
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Why it ended.
    pub reason: StopReason,
    /// The last evaluation, made at the end of the run.
    pub evaluation: Evaluation,
    /// Environment steps made.
    pub environment_steps: u64,
    /// Updates made.
    pub updates: u64,
    /// Updates refused, because of a number that was not finite.
    pub refused_updates: u64,
    /// Episodes that the environment failed in.
    pub failed_episodes: u64,
    /// Wall-clock seconds of the run.
    pub seconds: f64,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "evaluation: mean return {:.1} over {} episodes after {} environment steps, {} updates, {:.1} s",
            self.evaluation.mean_return,
            self.evaluation.episodes,
            self.environment_steps,
            self.updates,
            self.seconds
        )
    }
}

/// Trains an agent in an environment: collects experience with the sampled action, updates at a stated ratio,
/// evaluates with the mean action, and reports to observers.
///
/// Where [`run`](Trainer::run) returns an error, everything learnt is still there, and another `run` goes on from a new
/// episode.
pub struct Trainer<E: Environment, A: Actor = GaussianActor, C: Critic = QNetwork> {
    config: TrainerConfig,
    agent: MpoAgent<A, C>,
    environment: Checked<E>,
    evaluation_environment: Checked<E>,
    replay: ReplayBuffer,
    observers: Vec<Box<dyn Observer>>,
    episode_seeds: Rng,
    replay_samples: Rng,
    evaluation_seeds: Rng,
    /// The observation of the episode under way.
    observation: Option<Vec<f32>>,
    episode_return: f64,
    steps: u64,
    updates: u64,
    failed_episodes: Failures,
    refused_updates: Failures,
    /// Events that the observers have not heard of yet.
    unheard: Vec<Event>,
    metrics: MeanMetrics,
    started: Instant,
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
            episode_seeds: Rng::stream(config.seed, Stream::Episodes),
            replay_samples: Rng::stream(config.seed, Stream::Replay),
            evaluation_seeds: Rng::stream(config.seed, Stream::Evaluation),
            observation: None,
            episode_return: 0.0,
            steps: 0,
            updates: 0,
            failed_episodes: Failures::default(),
            refused_updates: Failures::default(),
            unheard: Vec::new(),
            metrics: MeanMetrics::default(),
            started: Instant::now(),
            config,
        })
    }

    /// Adds an observer, which hears of everything from then on.
    pub fn observe(mut self, observer: impl Observer + 'static) -> Self {
        self.observers.push(Box::new(observer));
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
    /// row than the settings tolerate, or where an observer fails.
    pub fn run(&mut self) -> Result<Summary> {
        self.started = Instant::now();
        let mut evaluation = None;
        let reason = loop {
            if self.steps >= self.config.environment_steps {
                break StopReason::Steps;
            }
            let step = self.collect()?;
            self.learn()?;
            let mut events = vec![Event::Step];
            if step.is_last() {
                events.push(Event::Episode { episode_return: self.episode_return });
            }
            if self.steps.is_multiple_of(self.config.metrics_period) {
                events.extend(self.metrics.take().map(Event::Metrics));
            }
            let mut stop = self.notify(&events)?;
            evaluation = None;
            if self.steps.is_multiple_of(self.config.evaluation_period) {
                let latest = self.evaluate(self.config.evaluation_episodes)?;
                stop |= self.notify(&[Event::Evaluation(latest)])?;
                evaluation = Some(latest);
            }
            let goal = self.config.stop_at_return;
            if evaluation.zip(goal).is_some_and(|(latest, goal)| latest.mean_return >= goal) {
                break StopReason::Return;
            }
            if stop {
                break StopReason::Observer;
            }
        };
        let evaluation = match evaluation {
            Some(evaluation) => evaluation,
            None => {
                let latest = self.evaluate(self.config.evaluation_episodes)?;
                self.notify(&[Event::Evaluation(latest)])?;
                latest
            }
        };
        self.notify(&[Event::Finished { reason }])?;
        Ok(Summary {
            reason,
            evaluation,
            environment_steps: self.steps,
            updates: self.updates,
            refused_updates: self.refused_updates.count,
            failed_episodes: self.failed_episodes.count,
            seconds: self.started.elapsed().as_secs_f64(),
        })
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
    fn collect(&mut self) -> Result<Step> {
        loop {
            match self.environment_step()? {
                Ok(step) => return Ok(step),
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
    fn environment_step(&mut self) -> Result<Result<Step>> {
        // Until the step is stored, an error leaves no episode under way: the next call starts a new one.
        let observation = match self.observation.take() {
            Some(observation) => observation,
            None => {
                let observation = match self.environment.reset(self.episode_seeds.next_seed()) {
                    Ok(observation) => observation,
                    Err(failure) => return Ok(Err(failure)),
                };
                self.replay.begin_episode(&observation)?;
                self.episode_return = 0.0;
                observation
            }
        };
        let action = self.agent.act(&observation)?;
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
        self.episode_return += f64::from(step.reward);
        if step.is_last() {
            self.failed_episodes.in_a_row = 0;
        } else {
            self.observation = Some(step.observation.clone());
        }
        Ok(Ok(step))
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
            seconds: self.started.elapsed().as_secs_f64(),
            replay: &self.replay,
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

/// What failed and was passed over.
#[derive(Debug, Clone, Copy, Default)]
struct Failures {
    count: u64,
    in_a_row: u32,
}

impl Failures {
    /// Counts a failure, and gives it back where it is one more in a row than `tolerated`.
    fn add(&mut self, failure: Error, tolerated: u32) -> Result<()> {
        tracing::warn!(%failure, in_a_row = self.in_a_row + 1);
        self.count += 1;
        if self.in_a_row == tolerated {
            // Who calls again begins to count anew.
            self.in_a_row = 0;
            return Err(failure);
        }
        self.in_a_row += 1;
        Ok(())
    }
}
