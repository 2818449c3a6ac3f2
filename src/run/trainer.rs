//! The training loop: collect, update, report, save, evaluate.

mod config;
mod evaluation;
mod events;
mod failures;
mod parts;
mod saved;
mod state;
mod summary;

use std::path::PathBuf;
use std::time::Instant;

use crate::agent::MpoAgent;
use crate::checks::check_size;
use crate::error::{Error, Result};
use crate::experience::environment::{Checked, Environment};
use crate::experience::replay::ReplayBuffer;
use crate::networks::{Actor, Critic, GaussianActor, QNetwork};
use crate::run::checkpoints::Checkpoints;
use crate::run::observer::{Evaluation, Event, Observer, Progress, StopReason};

pub use config::TrainerConfig;
use events::Events;
use failures::{Broken, InARow};
pub use saved::Resumed;
use state::{Episode, State};
pub use summary::Summary;

/// Trains an agent in an environment: collects experience with the sampled action, updates at a stated ratio,
/// evaluates with the mean action, and reports to observers.
///
/// If [`run`](Trainer::run) or [`run_for`](Trainer::run_for) returns an error, everything learnt is still
/// there, and the next one goes on where it failed: with what the observers have not heard of yet, the
/// updates that are due, the evaluation; and, if the environment or the policy's action failed, with a new
/// episode. A run that [saves](Trainer::save_into) checkpoints can be [resumed](Trainer::resume) by another
/// process.
///
/// A trainer is [`Send`] if its environment is.
pub struct Trainer<E: Environment, A: Actor = GaussianActor, C: Critic = QNetwork> {
    config: TrainerConfig,
    agent: MpoAgent<A, C>,
    environment: Checked<E>,
    evaluation_environment: Checked<E>,
    replay: ReplayBuffer,
    /// All else that is saved.
    state: State,
    goal: Goal,
    events: Events,
    /// How the run has ended, until the observers and the caller are told.
    ended: Option<(StopReason, Evaluation)>,
    checkpoints: Option<Checkpoints>,
    /// The step of the latest checkpoint, this run's or the one it was resumed from.
    saved: Option<u64>,
    /// The step at which a checkpoint was last tried.
    save_tried: u64,
    failed_saves: InARow,
    /// While it runs, up to when its seconds are counted.
    counted_until: Option<Instant>,
}

/// How far a run goes.
#[derive(Clone, Copy)]
struct Goal {
    /// Evaluations up to this step do not end it: whoever asks for more steps knows of them.
    after: u64,
    until: u64,
}

impl<E: Environment, A: Actor, C: Critic> Trainer<E, A, C> {
    /// A trainer of `agent` in `environment`, evaluating it in another one of the same kind. The agent's
    /// policies get the environment's action bounds.
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
        let agent = agent.with_bounds(environment.bounds().clone())?;
        let mut state = State::new(config.seed);
        state.counts.iterations = agent.iterations();
        Ok(Self {
            agent,
            environment,
            evaluation_environment,
            replay,
            state,
            goal: Goal { after: 0, until: config.environment_steps },
            events: Events::default(),
            ended: None,
            checkpoints: None,
            saved: None,
            save_tried: 0,
            failed_saves: InARow::default(),
            counted_until: None,
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

    /// Trains until [`TrainerConfig::environment_steps`] are made in all, the return is reached, or an
    /// observer says stop. A run that is at its end already only evaluates, if it has not after its latest
    /// step.
    ///
    /// At its end the run is saved, if it has a [folder](Trainer::save_into); the rest of a period's metrics
    /// is reported, the policy is evaluated, and observers hear of [`Event::Finished`]. If an observer failed
    /// at that, the next `run` tells it and returns the same summary.
    ///
    /// # Errors
    /// If the environment fails or gives what is not finite or of the wrong size, or an update does, or a
    /// checkpoint cannot be written, more often in a row than the settings tolerate; if an observer fails,
    /// the folder for checkpoints is not to be had, or the last checkpoint cannot be written.
    pub fn run(&mut self) -> Result<Summary> {
        self.run_to(Goal { after: 0, until: self.config.environment_steps })
    }

    /// Trains for `steps` more environment steps than were made so far, whatever
    /// [`TrainerConfig::environment_steps`] says, with an end like that of [`run`](Trainer::run), and again
    /// as often as it is called.
    ///
    /// Several calls learn what one call for all their steps learns, to the last bit, and evaluate alike
    /// every [`TrainerConfig::evaluation_period`] steps. Beside that each call ends with a checkpoint, an
    /// evaluation and a report of metrics, also between two periods.
    ///
    /// It ends before if an observer says stop or an evaluation of this call, at a multiple of the evaluation
    /// period, reaches [`TrainerConfig::stop_at_return`]. One that an earlier call ended with is no reason
    /// not to train on.
    ///
    /// After an error, and after [`resume`](Trainer::resume), `steps` are counted from those
    /// [made](Trainer::steps) by then. For a number of steps in all, use `run`.
    ///
    /// # Errors
    /// As [`run`](Trainer::run).
    pub fn run_for(&mut self, steps: u64) -> Result<Summary> {
        if self.ended.is_some() {
            // The end of an earlier run, which an observer has not heard of.
            self.run_to(self.goal)?;
        }
        let after = self.steps();
        self.run_to(Goal { after, until: after.saturating_add(steps) })
    }

    fn run_to(&mut self, goal: Goal) -> Result<Summary> {
        self.claim_folder()?;
        self.goal = goal;
        self.counted_until = Some(Instant::now());
        let summary = self.run_to_its_end();
        self.count_seconds();
        self.counted_until = None;
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
        self.count_seconds();
        Ok(Summary { reason, evaluation, counts: self.state.counts })
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
        let due = self.evaluation_due();
        if due && self.latest_evaluation().is_none() {
            self.report_evaluation()?;
        }
        let goal = self.config.stop_at_return.filter(|_| due && self.steps() > self.goal.after);
        let latest = self.latest_evaluation().map(|latest| latest.mean_return);
        Ok(if goal.zip(latest).is_some_and(|(goal, latest)| latest >= goal) {
            Some(StopReason::Return)
        } else if self.events.stop {
            Some(StopReason::Observer)
        } else if self.steps() >= self.goal.until {
            Some(StopReason::Steps)
        } else {
            None
        })
    }

    /// Tells the observers of the latest step, once.
    fn report_step(&mut self) -> Result<()> {
        if !self.state.reported {
            self.state.reported = true;
            self.push(Event::Step);
            if let Some(episode_return) = self.state.episode_return.take() {
                self.push(Event::Episode { episode_return });
            }
            if self.steps().is_multiple_of(self.config.metrics_period) {
                self.report_metrics()?;
            }
        }
        self.tell()
    }

    /// Tells the observers of the metrics of the updates since the last report, if there were any.
    fn report_metrics(&mut self) -> Result<()> {
        if let Some(metrics) = self.state.metrics.take() {
            self.state.metrics_reported = Some(self.steps());
            self.push(Event::Metrics(metrics));
        }
        self.tell()
    }

    /// Takes note of an event for the observers.
    fn push(&mut self, event: Event) {
        self.count_seconds();
        self.events.push(event, self.state.counts);
    }

    /// Tells the observers what they have not heard of.
    fn tell(&mut self) -> Result<()> {
        self.events.tell(|counts| Progress {
            counts,
            total_environment_steps: self.goal.until,
            replay: &self.replay,
            evaluations: &self.state.evaluations,
            policy: self.agent.policy(),
        })
    }

    /// Brings the seconds up to now, while it runs.
    fn count_seconds(&mut self) {
        if let Some(until) = &mut self.counted_until {
            let now = Instant::now();
            self.state.counts.seconds += (now - std::mem::replace(until, now)).as_secs_f64();
        }
    }

    /// One step of the behaviour policy, past the episodes that the environment fails in.
    fn collect(&mut self) -> Result<()> {
        while let Err(broken) = self.environment_step() {
            self.tolerate(broken, |state| &mut state.failed_episodes)?;
        }
        Ok(())
    }

    /// Takes note of an episode that the environment failed in, unless that is one too many in a row, or
    /// something else failed.
    fn tolerate(&mut self, broken: Broken, in_a_row: impl Fn(&mut State) -> &mut InARow) -> Result<()> {
        let failure = match broken {
            Broken::Environment(failure) => failure,
            Broken::Otherwise(error) => return Err(error),
        };
        self.state.counts.failed_episodes = self.state.counts.failed_episodes.saturating_add(1);
        let tolerated = self.config.tolerated_failed_episodes;
        let counted = in_a_row(&mut self.state).add(failure, tolerated);
        self.push(Event::EpisodeFailed);
        counted
    }

    /// One step of the behaviour policy in the environment, into the replay.
    fn environment_step(&mut self) -> Result<(), Broken> {
        // Until the step is stored, an error leaves no episode under way: the next call starts a new one.
        let mut episode = match self.state.episode.take() {
            Some(episode) => episode,
            None => {
                let seed = self.state.episode_seeds.next_seed();
                let observation = self.environment.reset(seed).map_err(Broken::Environment)?;
                self.replay.begin_episode(&observation)?;
                self.agent.begin_episode();
                Episode { seed, observation, steps: 0, sum: 0.0 }
            }
        };
        let action = self.agent.act(&episode.observation)?;
        let step = self.environment.step(&action.values).map_err(Broken::Environment)?;
        self.replay.push(&action, &step)?;
        self.state.counts.environment_steps += 1;
        self.state.reported = false;
        episode.steps += 1;
        episode.sum += f64::from(step.reward);
        if step.is_last() {
            self.state.failed_episodes.end();
            self.state.episode_return = Some(episode.sum);
        } else {
            self.state.episode = Some(Episode { observation: step.observation, ..episode });
        }
        Ok(())
    }

    /// As many updates as are due after the latest step.
    fn learn(&mut self) -> Result<()> {
        let steps = self.steps().saturating_sub(self.config.warm_up_steps);
        let due = (steps as f64 * self.config.updates_per_step) as u64;
        while self.updates() < due {
            // Beside the trainer, so that after an error the same batch is drawn.
            let mut samples = self.state.replay_samples.clone();
            let batch = self.agent.sample(&self.replay, &mut samples)?;
            match self.agent.update(&batch) {
                Ok(metrics) => {
                    self.state.replay_samples = samples;
                    self.state.metrics.add(&metrics);
                    self.state.counts.updates += 1;
                    self.state.counts.iterations = self.agent.iterations();
                    self.state.refused_updates.end();
                }
                Err(error) => {
                    let Error::NonFinite { place, .. } = error else { return Err(error) };
                    self.state.replay_samples = samples;
                    let refused = &mut self.state.counts.refused_updates;
                    *refused = refused.saturating_add(1);
                    let tolerated = self.config.tolerated_refused_updates;
                    let counted = self.state.refused_updates.add(error, tolerated);
                    self.push(Event::UpdateRefused { cause: place });
                    counted?;
                }
            }
        }
        Ok(())
    }
}
