//! The training loop: collect, update, report, save, evaluate.

mod config;
mod evaluation;
mod events;
mod failures;
#[cfg(feature = "distributed")]
mod fleet;
#[cfg(feature = "distributed")]
mod follow;
mod parts;
mod real_time;
mod run;
mod saved;
mod state;
mod summary;

use std::path::PathBuf;
use std::time::Instant;

use crate::acting::Acting;
use crate::agent::MpoAgent;
use crate::checks::{check, check_size};
#[cfg(feature = "distributed")]
use crate::distributed::arrivals::Sums;
use crate::error::Result;
use crate::experience::checked::Checked;
use crate::experience::replay::ReplayBuffer;
use crate::experience::vector::VectorEnvironment;
use crate::networks::{Actor, Critic, GaussianActor, QNetwork};
use crate::run::checkpoints::Checkpoints;
use crate::run::observer::{Evaluation, Event, Observer, StopReason};

pub use config::TrainerConfig;
use events::Events;
use failures::InARow;
#[cfg(feature = "distributed")]
pub use fleet::Fleet;
pub use real_time::RealTime;
use run::{Goal, Run};
pub use saved::Resumed;
use state::State;
pub use summary::Summary;

/// Trains an agent in an environment, or in several at once: collects experience with the sampled action,
/// updates at a stated ratio, evaluates with the mean action, and reports to observers.
///
/// An [`Environment`](crate::Environment) is trained in a step at a time. Of a [`VectorEnvironment`], such as
/// [`Environments`](crate::Environments), every row makes a step at a time, with actions that are computed in
/// one pass; then come the updates for all those steps. A row has its own exploration, its own seeds and its
/// own failures. What goes by steps, such as the length of a run or the evaluations, comes with the first
/// steps that reach it: with N rows up to N - 1 steps later.
///
/// It evaluates in the environment that it trains in, between two episodes, unless there is
/// [another one](Trainer::evaluate_in) for that.
///
/// If [`run`](Trainer::run) or [`run_for`](Trainer::run_for) returns an error, everything learnt is still
/// there, and the next one goes on where it failed: with what the observers have not heard of yet, the
/// updates that are due, the evaluation; and, if the environment or the policy's action failed, with a new
/// episode. A run that [saves](Trainer::save_into) checkpoints can be [resumed](Trainer::resume) by another
/// process.
///
/// A trainer is [`Send`] if its environment is.
pub struct Trainer<E: VectorEnvironment, A: Actor = GaussianActor, C: Critic = QNetwork> {
    run: Run<A, C>,
    environment: Checked<E>,
    /// If it is another one.
    evaluation: Option<Checked<E>>,
    /// The latest of each row of the environment; none between episodes.
    observations: Vec<Option<Vec<f32>>>,
    /// How it trains, if not in turns.
    real_time: Option<(RealTime, Training<Self>)>,
    /// What its experience comes from, if it is collectors that act.
    #[cfg(feature = "distributed")]
    fleet: Option<fleet::Collecting>,
}

/// What trains a trainer up to the end of a run.
type Training<T> = fn(&mut T) -> Result<StopReason>;

impl<E: VectorEnvironment, A: Actor, C: Critic> Trainer<E, A, C> {
    /// A trainer of `agent` in `environment`. The agent's policies get the environment's actions.
    ///
    /// # Errors
    /// If a setting lies outside its accepted range, or the environment does not fit the agent.
    pub fn new(config: TrainerConfig, agent: MpoAgent<A, C>, environment: E) -> Result<Self> {
        config.validate()?;
        let environment = Checked::new(environment)?;
        check_fits(&environment, agent.actor())?;
        let (size, bounds, rows) =
            (environment.observation_size(), environment.action_space().clone(), environment.rows());
        let mut replay = ReplayBuffer::new(config.replay_capacity, size, bounds.size())?;
        replay.stream(rows - 1)?;
        let agent = agent.with_action_space(bounds)?.with_rows(rows)?;
        let mut state = State::new(config.seed, rows);
        state.counts.iterations = agent.iterations();
        let run = Run {
            agent,
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
            reactions: None,
            #[cfg(feature = "distributed")]
            arrivals: Sums::default(),
            #[cfg(feature = "distributed")]
            collectors: 0,
            #[cfg(feature = "distributed")]
            collected_here: false,
            #[cfg(feature = "distributed")]
            following: None,
            chief_ended: false,
            #[cfg(feature = "distributed")]
            waiting_told: None,
            config,
        };
        Ok(Self {
            run,
            environment,
            evaluation: None,
            observations: vec![None; rows],
            real_time: None,
            #[cfg(feature = "distributed")]
            fleet: None,
        })
    }

    /// Evaluates in this environment, in the midst of training episodes: one of the same kind, which may have
    /// another number of rows. As many episodes as it has rows are played at a time.
    ///
    /// # Errors
    /// If the environment does not fit the agent.
    pub fn evaluate_in(mut self, environment: E) -> Result<Self> {
        let environment = Checked::new(environment)?;
        check_fits(&environment, self.run.agent.actor())?;
        let bounds = environment.action_space();
        let same = |bounds: &&_| *bounds == self.environment.action_space();
        check("the evaluation environment's actions", bounds, same, "those of the one trained in")?;
        self.evaluation = Some(environment);
        Ok(self)
    }

    /// Starts from what this replay holds, such as [recorded episodes](ReplayBuffer::read_episodes) or an
    /// earlier run, in place of none: updates learn from it as from the run's own steps, and it makes room
    /// for these when it is full. A lower [`warm-up`](TrainerConfig::warm_up_steps) goes with it.
    ///
    /// # Errors
    /// If its capacity is not [`TrainerConfig::replay_capacity`], or its sizes are not those of the
    /// environment.
    pub fn start_from(mut self, replay: ReplayBuffer) -> Result<Self> {
        let own = &self.run.replay;
        let same = |capacity: &usize| *capacity == own.capacity();
        check("the replay's capacity", replay.capacity(), same, "TrainerConfig::replay_capacity")?;
        check_size("the replay's observation", replay.observation_size(), own.observation_size())?;
        check_size("the replay's action", replay.action_size(), own.action_size())?;
        self.run.replay = replay;
        self.leave_episodes();
        #[cfg(feature = "distributed")]
        if let Some(collected) = &mut self.run.state.collected {
            collected.leave_episodes();
        }
        Ok(self)
    }

    /// Adds an observer, which hears of everything from then on.
    pub fn observe(mut self, observer: impl Observer + 'static) -> Self {
        self.run.events.observe(observer);
        self
    }

    /// Saves a checkpoint of the whole run into this folder every [`TrainerConfig::checkpoint_period`] steps
    /// and at the end of a run, and keeps the newest ones. The folder is for one run: one that holds
    /// another's checkpoints is refused, unless that is [resumed](Trainer::resume), and so is one that
    /// another trainer is using, in this process or another.
    pub fn save_into(mut self, folder: impl Into<PathBuf>) -> Self {
        self.run.checkpoints = Some(Checkpoints::new(folder.into(), self.run.config.checkpoints_kept));
        (self.run.saved, self.run.save_tried) = (None, 0);
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
        self.run_to(Goal { after: 0, until: self.run.config.environment_steps })
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
    /// If [`run`](Trainer::run) would fail.
    pub fn run_for(&mut self, steps: u64) -> Result<Summary> {
        if self.run.ended.is_some() {
            // The end of an earlier run, which an observer has not heard of.
            self.run_to(self.run.goal)?;
        }
        let after = self.steps();
        self.run_to(Goal { after, until: after.saturating_add(steps) })
    }

    fn run_to(&mut self, goal: Goal) -> Result<Summary> {
        self.run.claim_folder()?;
        (self.run.goal, self.run.chief_ended) = (goal, false);
        self.run.counted_until = Some(Instant::now());
        let summary = self.run_to_its_end();
        #[cfg(feature = "distributed")]
        if let Some(following) = &mut self.run.following {
            following.leave(self.run.agent.learner());
        }
        self.run.count_seconds();
        self.run.counted_until = None;
        summary
    }

    fn run_to_its_end(&mut self) -> Result<Summary> {
        self.run.tell()?;
        let (reason, evaluation) = match self.run.ended {
            Some(ended) => ended,
            None => self.train()?,
        };
        self.run.tell()?;
        self.run.ended = None;
        self.run.events.stop = false;
        self.run.count_seconds();
        Ok(Summary {
            reason,
            evaluation,
            counts: self.run.state.counts,
            timing: self.run.timing(),
            #[cfg(feature = "distributed")]
            arrivals: self.run.arrivals(),
        })
    }

    /// Trains on to the run's end; why it is one, and the evaluation there.
    fn train(&mut self) -> Result<(StopReason, Option<Evaluation>)> {
        let reason = self.learn()?;
        // Before the last reports too: a resumed run makes them when its own are due.
        self.run.save_at_end()?;
        self.run.report_metrics()?;
        let evaluation = match self.run.latest_evaluation() {
            None if self.evaluates_at_end(reason) => Some(self.evaluate_at_end()?),
            latest => latest,
        };
        self.run.ended = Some((reason, evaluation));
        self.run.push(Event::Finished { reason });
        Ok((reason, evaluation))
    }

    /// Learns from what happens in the environment, here or elsewhere; why it came to an end.
    fn learn(&mut self) -> Result<StopReason> {
        #[cfg(feature = "distributed")]
        if let Some(mut fleet) = self.fleet.take() {
            let learnt = self.learn_from(&mut fleet);
            self.fleet = Some(fleet);
            return learnt;
        }
        match self.real_time {
            Some((_, beside_acting)) => beside_acting(self),
            None => self.in_turns(),
        }
    }

    /// A step in each row and the updates due after it, in turns.
    fn in_turns(&mut self) -> Result<StopReason> {
        loop {
            // All that is due after the latest steps, then the next ones: a run that failed goes on with what
            // is left.
            self.run.learn()?;
            self.run.report_steps()?;
            // Before the evaluation, so that a resumed run makes it as this one does.
            self.run.save_if_due()?;
            self.evaluate_if_due()?;
            if let Some(reason) = self.run.end() {
                return Ok(reason);
            }
            self.collect()?;
        }
    }

    /// One step of the behaviour policy in each row that can make one, past the episodes that the environment
    /// fails in.
    fn collect(&mut self) -> Result<()> {
        let before = self.run.steps();
        while self.run.steps() == before {
            let mut happened = Vec::new();
            let made = Acting {
                environment: &mut self.environment,
                behaviour: self.run.agent.behaviour_mut(),
                seeds: &mut self.run.state.episode_seeds,
                observations: &mut self.observations,
            }
            .round(&mut happened);
            let taken = self.run.take_all(happened);
            if made.is_err() {
                self.leave_episodes();
            }
            taken.and(made)?;
        }
        Ok(())
    }

    /// Leaves the episodes under way; what was stored of them stays, and new ones begin.
    fn leave_episodes(&mut self) {
        self.observations.fill(None);
        self.run.leave_episodes();
    }
}

/// Checks that an environment is one for this policy.
fn check_fits<E: VectorEnvironment>(environment: &Checked<E>, actor: &impl Actor) -> Result<()> {
    let (observation, action) = (environment.observation_size(), environment.action_space().size());
    check_size("the environment's observation", observation, actor.observation_size())?;
    check_size("the environment's action", action, actor.action_size())
}
