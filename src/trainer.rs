//! The training loop: collect, update, report, save, evaluate.

mod config;
mod evaluation;
mod events;
mod failures;
mod saved;
mod summary;

use std::path::PathBuf;
use std::time::Instant;

use crate::agent::MpoAgent;
use crate::checkpoints::Checkpoints;
use crate::environment::{Checked, Environment};
use crate::error::{Error, Result, check_size};
use crate::metrics::MeanMetrics;
use crate::networks::{Actor, Critic, GaussianActor, QNetwork};
use crate::observers::{Evaluation, Event, Observer, StopReason};
use crate::replay::ReplayBuffer;
use crate::rng::{Rng, Stream};

pub use config::TrainerConfig;
use events::{Counts, Events};
use failures::Failures;
pub use saved::Resumed;
pub use summary::Summary;

/// Trains an agent in an environment: collects experience with the sampled action, updates at a stated ratio,
/// evaluates with the mean action, and reports to observers.
///
/// If [`run`](Trainer::run) returns an error, everything learnt is still there, and another `run` goes on
/// where it failed: with what the observers have not heard of yet, the updates that are due, the evaluation;
/// and, if the environment or the policy's action failed, with a new episode. A run that
/// [saves](Trainer::save_into) checkpoints can be [resumed](Trainer::resume) by another process.
pub struct Trainer<E: Environment, A: Actor = GaussianActor, C: Critic = QNetwork> {
    config: TrainerConfig,
    agent: MpoAgent<A, C>,
    environment: Checked<E>,
    evaluation_environment: Checked<E>,
    replay: ReplayBuffer,
    events: Events,
    checkpoints: Option<Checkpoints>,
    episode_seeds: Rng,
    replay_samples: Rng,
    evaluation_seeds: Rng,
    /// The episode under way.
    episode: Option<Episode>,
    /// The return of the episode that the latest step ended, until it is reported.
    episode_return: Option<f64>,
    steps: u64,
    updates: u64,
    /// Whether the latest step was reported, after the updates due.
    reported: bool,
    /// Training's episodes that failed; evaluation's are counted by themselves, since one environment may
    /// work while the other does not.
    failed_episodes: Failures,
    failed_evaluation_episodes: Failures,
    refused_updates: Failures,
    failed_saves: Failures,
    /// Of the updates since the last report.
    metrics: MeanMetrics,
    /// The step of the last report of metrics.
    metrics_reported: Option<u64>,
    evaluations: Vec<(u64, Evaluation)>,
    /// How the run has ended, until the observers and the caller are told.
    ended: Option<(StopReason, Evaluation)>,
    /// The step of the latest checkpoint, this run's or the one it was resumed from.
    saved: Option<u64>,
    /// The step at which a checkpoint was last tried.
    save_tried: u64,
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
    /// If a setting lies outside its accepted range, or the environments do not fit the agent.
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
            events: Events::default(),
            checkpoints: None,
            episode_seeds: Rng::stream(config.seed, Stream::Episodes),
            replay_samples: Rng::stream(config.seed, Stream::Replay),
            evaluation_seeds: Rng::stream(config.seed, Stream::Evaluation),
            episode: None,
            episode_return: None,
            steps: 0,
            updates: 0,
            reported: true,
            failed_episodes: Failures::default(),
            failed_evaluation_episodes: Failures::default(),
            refused_updates: Failures::default(),
            failed_saves: Failures::default(),
            metrics: MeanMetrics::default(),
            metrics_reported: None,
            evaluations: Vec::new(),
            ended: None,
            saved: None,
            save_tried: 0,
            seconds_before: 0.0,
            started: None,
            config,
        })
    }

    /// Adds an observer, which hears of everything from then on.
    pub fn observe(mut self, observer: impl Observer + 'static) -> Self {
        self.events.observe(observer);
        self
    }

    /// Saves a checkpoint of the whole run into this folder every [`TrainerConfig::checkpoint_period`] steps
    /// and at the end of a run, and keeps the newest ones. The folder is for one run: one that holds
    /// another's checkpoints is refused, unless that is [resumed](Trainer::resume), and so is one that
    /// another trainer is using, in this process or another.
    pub fn save_into(mut self, folder: impl Into<PathBuf>) -> Self {
        self.checkpoints = Some(Checkpoints::new(folder.into(), self.config.checkpoints_kept));
        (self.saved, self.save_tried) = (None, 0);
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
    /// If the environment fails or gives what is not finite or of the wrong size, or an update does, or a
    /// checkpoint cannot be written, more often in a row than the settings tolerate; if an observer fails,
    /// the folder for checkpoints is not to be had, or the last checkpoint cannot be written.
    pub fn run(&mut self) -> Result<Summary> {
        self.claim_folder()?;
        self.started = Some(Instant::now());
        let summary = self.run_to_its_end();
        self.seconds_before = self.seconds();
        self.started = None;
        summary
    }

    fn run_to_its_end(&mut self) -> Result<Summary> {
        self.tell()?;
        let (reason, evaluation) = match self.ended {
            Some(ended) => ended,
            None => self.train()?,
        };
        self.tell()?;
        self.ended = None;
        self.events.stop = false;
        Ok(Summary {
            reason,
            evaluation,
            environment_steps: self.steps,
            updates: self.updates,
            refused_updates: self.refused_updates.count,
            failed_episodes: self.all_failed_episodes(),
            seconds: self.seconds(),
        })
    }

    /// Trains on to the run's end; why it is one, and the evaluation there.
    fn train(&mut self) -> Result<(StopReason, Evaluation)> {
        let reason = loop {
            // All that is due after the latest step, then the next one: a run that failed goes on with what
            // is left.
            self.learn()?;
            self.report_step()?;
            // Before the evaluation, so that a resumed run makes it as this one does.
            self.save_if_due()?;
            if let Some(reason) = self.end()? {
                break reason;
            }
            self.collect()?;
        };
        // Before the last reports too: a resumed run makes them when its own are due.
        self.save_at_end()?;
        self.report_metrics()?;
        let evaluation = match self.latest_evaluation() {
            Some(evaluation) => evaluation,
            None => self.report_evaluation()?,
        };
        self.ended = Some((reason, evaluation));
        self.push(Event::Finished { reason });
        Ok((reason, evaluation))
    }

    /// Evaluates if that is due, and says whether the run is at its end.
    fn end(&mut self) -> Result<Option<StopReason>> {
        let due = self.steps > 0 && self.steps.is_multiple_of(self.config.evaluation_period);
        if due && self.latest_evaluation().is_none() {
            self.report_evaluation()?;
        }
        let goal = self.config.stop_at_return.filter(|_| due);
        let latest = self.latest_evaluation().map(|latest| latest.mean_return);
        Ok(if goal.zip(latest).is_some_and(|(goal, latest)| latest >= goal) {
            Some(StopReason::Return)
        } else if self.events.stop {
            Some(StopReason::Observer)
        } else if self.steps >= self.config.environment_steps {
            Some(StopReason::Steps)
        } else {
            None
        })
    }

    /// Tells the observers of the latest step, once.
    fn report_step(&mut self) -> Result<()> {
        if !self.reported {
            self.reported = true;
            self.push(Event::Step);
            if let Some(episode_return) = self.episode_return.take() {
                self.push(Event::Episode { episode_return });
            }
            if self.steps.is_multiple_of(self.config.metrics_period) {
                self.report_metrics()?;
            }
        }
        self.tell()
    }

    /// Tells the observers of the metrics of the updates since the last report, if there were any.
    fn report_metrics(&mut self) -> Result<()> {
        if let Some(metrics) = self.metrics.take() {
            self.metrics_reported = Some(self.steps);
            self.push(Event::Metrics(metrics));
        }
        self.tell()
    }

    /// Takes note of an event for the observers.
    fn push(&mut self, event: Event) {
        let counts = Counts {
            environment_steps: self.steps,
            total_environment_steps: self.config.environment_steps,
            updates: self.updates,
            refused_updates: self.refused_updates.count,
            failed_episodes: self.all_failed_episodes(),
            iterations: self.agent.iterations(),
            seconds: self.seconds(),
        };
        self.events.push(event, counts);
    }

    /// Tells the observers what they have not heard of.
    fn tell(&mut self) -> Result<()> {
        self.events.tell(&self.replay, &self.evaluations)
    }

    /// The episodes of training and evaluation that the environment failed in.
    fn all_failed_episodes(&self) -> u64 {
        self.failed_episodes.count.saturating_add(self.failed_evaluation_episodes.count)
    }

    /// Wall-clock seconds of the run.
    fn seconds(&self) -> f64 {
        self.seconds_before + self.started.map_or(0.0, |started| started.elapsed().as_secs_f64())
    }

    /// One step of the behaviour policy, past the episodes that the environment fails in.
    fn collect(&mut self) -> Result<()> {
        while let Err(failure) = self.environment_step()? {
            let counted = self.failed_episodes.add(failure, self.config.tolerated_failed_episodes);
            self.push(Event::EpisodeFailed);
            counted?;
        }
        Ok(())
    }

    /// One step of the behaviour policy in the environment, into the replay, or what the environment failed
    /// with.
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
        let step = match self.environment.step(&action.values) {
            Ok(step) => step,
            Err(failure) => return Ok(Err(failure)),
        };
        self.replay.push(&action, &step)?;
        self.steps += 1;
        self.reported = false;
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
            // Beside the trainer, so that after an error the same batch is drawn.
            let mut samples = self.replay_samples.clone();
            let batch = self.agent.sample(&self.replay, &mut samples)?;
            match self.agent.update(&batch) {
                Ok(metrics) => {
                    self.replay_samples = samples;
                    self.metrics.add(&metrics);
                    self.updates += 1;
                    self.refused_updates.in_a_row = 0;
                }
                Err(error) => {
                    let Error::NonFinite { place, .. } = error else { return Err(error) };
                    self.replay_samples = samples;
                    let counted = self.refused_updates.add(error, self.config.tolerated_refused_updates);
                    self.push(Event::UpdateRefused { cause: place });
                    counted?;
                }
            }
        }
        Ok(())
    }
}
