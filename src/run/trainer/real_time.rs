//! Acting in one thread, learning in another: acting waits for nothing but its environment.

mod acting;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder};

use self::acting::{Evaluated, Limits, Message, act};
use super::Trainer;
use super::evaluation::play;
use super::run::Run;
use crate::checks::check;
use crate::error::{Error, Result};
use crate::experience::checked::Checked;
use crate::experience::vector::VectorEnvironment;
use crate::networks::{Actor, Critic};
use crate::policy::Policy;
use crate::rng::Rng;
use crate::run::observer::StopReason;

/// How a run in [real time](Trainer::in_real_time) is made.
#[derive(Debug, Clone, PartialEq)]
pub struct RealTime {
    /// From when on an action is late: the time after its observation.
    pub late: Duration,
    /// How many steps wait for the learner, at most; what comes while the queue is full is lost to learning.
    /// Accepted: 1 to 1,000,000. Enough for the longest that a checkpoint or an observer takes.
    pub queue: usize,
    /// The threads that updates are computed in; 0 are as many as there are cores, less one for acting.
    pub learner_threads: usize,
}

impl Default for RealTime {
    fn default() -> Self {
        Self { late: Duration::from_millis(1), queue: 10_000, learner_threads: 0 }
    }
}

/// What learning tells acting.
struct Shared<A: Actor> {
    orders: Mutex<Orders<A>>,
    stop: AtomicBool,
    /// How many updates the learner has made.
    updates: AtomicU64,
}

struct Orders<A: Actor> {
    /// To be acted by from now on.
    policy: Option<Snapshot<A>>,
    /// To be evaluated, once a row is between episodes.
    evaluate: Option<Evaluation<A>>,
}

struct Snapshot<A: Actor> {
    policy: Policy<A>,
    informed: f64,
    updates: u64,
    made: Instant,
}

struct Evaluation<A: Actor> {
    policy: Policy<A>,
    episodes: usize,
    seeds: Rng,
}

impl<E: VectorEnvironment, A: Actor, C: Critic> Trainer<E, A, C> {
    /// Acts in a thread of its own from now on, while it learns, for robots and whatever else does not wait.
    /// The environment sets the pace: its `step` returns when the next action is due, as that of
    /// [`Paced`](crate::Paced) does.
    ///
    /// Acting goes by the learner's latest policy and waits neither for updates nor for checkpoints nor for
    /// observers. [Updates a step](crate::TrainerConfig::updates_per_step) are made as far as the machine
    /// can; what is left of them at the end is made by the next run, or at once by `run_for(0)` of a trainer
    /// that is not in real time. How well both kept up is told as [`Event::Timing`](crate::Event::Timing),
    /// with the metrics, and by the [`Summary`](crate::Summary).
    ///
    /// Observers, failures, checkpoints and evaluations are as otherwise. An environment of its own is
    /// [evaluated in](Trainer::evaluate_in) while acting goes on and learning does not. Episodes under way at
    /// the beginning and the end of a run are left, since the world has moved on.
    ///
    /// Which policy an action comes from depends on the clock: such a run cannot be repeated bit for bit. One
    /// that hangs in `step` has no end: make it a [`Worker`](crate::Worker).
    ///
    /// # Errors
    /// If a setting lies outside its accepted range.
    pub fn in_real_time(mut self, settings: RealTime) -> Result<Self>
    where
        E: Send,
    {
        let accepted = |steps: &usize| (1..=1_000_000).contains(steps);
        check("RealTime::queue", settings.queue, accepted, "1 to 1000000")?;
        self.real_time = Some((settings, Self::beside_acting));
        Ok(self)
    }

    /// Learns beside a thread that acts.
    fn beside_acting(&mut self) -> Result<StopReason>
    where
        E: Send,
    {
        self.run.report_steps()?;
        self.run.save_if_due()?;
        if let Some(reason) = self.run.end() {
            return Ok(reason);
        }
        self.leave_episodes();
        let settings = self.real_time.as_ref().map(|(settings, _)| settings.clone()).unwrap_or_default();
        let learners = learners(settings.learner_threads);
        let (messages, queue) = sync_channel(settings.queue);
        let Self { run, environment, evaluation, .. } = self;
        run.begin_timing(settings.late);
        let limits = Limits {
            steps: run.goal.until - run.steps(),
            tolerated: run.config.tolerated_failed_episodes,
            failed: run.state.rows.iter().map(|row| row.failed_episodes).collect(),
            failed_evaluations: run.state.failed_evaluation_episodes,
        };
        let shared = Shared {
            orders: Mutex::new(Orders { policy: None, evaluate: None }),
            stop: AtomicBool::new(false),
            updates: AtomicU64::new(run.agent.updates()),
        };
        let (behaviour, seeds) = (run.agent.behaviour().clone(), run.state.episode_seeds.clone());
        let started = thread::scope(|scope| {
            let acting = thread::Builder::new().name("mpo-acting".into());
            let acting = acting.spawn_scoped(scope, || {
                // What it computes it computes here: to hand it to other threads is to wait for them.
                let _alone = ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
                act(environment, behaviour, seeds, limits, &shared, messages)
            })?;
            // Whatever panics: the scope waits for acting.
            let stop = Stop(&shared.stop);
            let mut learning = Learning { run, evaluation, queue, shared: &shared, ordered: false };
            let reason = learning.learn(learners.as_ref());
            drop(stop);
            // All that happened until acting has stopped.
            let mut left = Ok(());
            while let Ok(message) = learning.queue.recv() {
                left = left.and(learning.take(message).map(|_| ()));
            }
            let acted = acting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok(reason.and_then(|reason| left.and(acted).map(|()| reason)))
        });
        self.leave_episodes();
        let reason = started.map_err(|source: std::io::Error| Error::Thread { name: "acting", source })??;
        self.run.report_steps()?;
        Ok(reason)
    }
}

/// Stops acting when it is dropped.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The threads that updates are computed in; none if the system gives none, and those of the process do it.
fn learners(threads: usize) -> Option<ThreadPool> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = if threads == 0 { cores.saturating_sub(1).max(1) } else { threads };
    let pool = ThreadPoolBuilder::new().num_threads(threads).build();
    pool.inspect_err(|error| tracing::warn!(%error, "no threads for the learner alone")).ok()
}

/// The side that learns, while the other one acts.
struct Learning<'a, E, A: Actor, C: Critic> {
    run: &'a mut Run<A, C>,
    evaluation: &'a mut Option<Checked<E>>,
    queue: Receiver<Message>,
    shared: &'a Shared<A>,
    /// Whether acting was told to evaluate, and has not yet.
    ordered: bool,
}

impl<E: VectorEnvironment, A: Actor, C: Critic> Learning<'_, E, A, C> {
    /// Learns until the run is at its end.
    fn learn(&mut self, learners: Option<&ThreadPool>) -> Result<StopReason> {
        loop {
            let (arrived, acting_ended) = self.take_all()?;
            let due = self.run.state.counts.updates < self.run.updates_due();
            if due {
                match learners {
                    Some(learners) => learners.install(|| self.run.update())?,
                    None => self.run.update()?,
                }
                self.publish();
            }
            self.run.report_steps()?;
            self.run.save_if_due()?;
            self.evaluate_if_due()?;
            if let Some(reason) = self.run.end() {
                return Ok(reason);
            }
            if acting_ended {
                return Ok(StopReason::Steps);
            }
            if !arrived && !due {
                match self.queue.recv_timeout(Duration::from_millis(20)) {
                    Ok(message) => {
                        if self.take(message)?
                            && let Some(reason) = self.run.end()
                        {
                            return Ok(reason);
                        }
                    }
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
                }
                // So that an observer can stop a run in which nothing happens.
                self.run.tell()?;
            }
        }
    }

    /// Takes what waits, up to an evaluation, which may end the run: whether there was anything, and whether
    /// there is nothing more to come.
    fn take_all(&mut self) -> Result<(bool, bool)> {
        let mut arrived = false;
        loop {
            match self.queue.try_recv() {
                Ok(message) => {
                    arrived = true;
                    if self.take(message)? {
                        return Ok((arrived, false));
                    }
                }
                Err(TryRecvError::Empty) => return Ok((arrived, false)),
                Err(TryRecvError::Disconnected) => return Ok((arrived, true)),
            }
        }
    }

    /// Whether it was an evaluation.
    fn take(&mut self, message: Message) -> Result<bool> {
        match message {
            Message::Round { happened, reaction, lost, acting } => {
                if let Some(acting) = acting {
                    let (seeds, explorers) = *acting;
                    self.run.state.episode_seeds = seeds;
                    self.run.agent.set_explorers(explorers);
                }
                for reactions in self.run.reactions.iter_mut().flatten() {
                    reaction.into_iter().for_each(|reaction| reactions.add(reaction));
                    reactions.lose(lost);
                }
                self.run.take_all(happened)?;
                Ok(false)
            }
            Message::Evaluated(Evaluated { played, evaluation, seeds }) => {
                self.ordered = false;
                for played in played {
                    match played {
                        Ok(()) => self.run.state.failed_evaluation_episodes.end(),
                        Err(error) => {
                            self.run.tolerate(error, |state| &mut state.failed_evaluation_episodes)?;
                        }
                    }
                }
                if let Some(evaluation) = evaluation {
                    self.run.state.other_evaluation_seeds = None;
                    self.run.state.evaluation_seeds = seeds;
                    // What was done before is told before.
                    self.run.report_steps()?;
                    self.run.report_evaluation(evaluation)?;
                }
                Ok(true)
            }
        }
    }

    /// Gives acting the latest policy.
    fn publish(&self) {
        let learner = self.run.agent.learner();
        let (policy, informed) = (learner.latest_policy(), learner.informed());
        let snapshot = Snapshot { policy, informed, updates: learner.updates(), made: Instant::now() };
        // Dropped after the lock is given back.
        let earlier = match self.shared.orders.lock() {
            Ok(mut orders) => orders.policy.replace(snapshot),
            Err(_) => None,
        };
        drop(earlier);
        self.shared.updates.store(learner.updates(), Ordering::Relaxed);
    }

    /// Makes an evaluation that is due, or has acting make it.
    fn evaluate_if_due(&mut self) -> Result<()> {
        if !self.run.state.evaluation_due || self.ordered {
            return Ok(());
        }
        let episodes = self.run.config.evaluation_episodes;
        if let Some(environment) = self.evaluation {
            self.run.state.other_evaluation_seeds = None;
            let rows = (0..environment.rows()).collect();
            let evaluation =
                play(self.run, environment, rows, episodes, |state| state.evaluation_seeds.next_seed())?;
            return self.run.report_evaluation(evaluation);
        }
        let (policy, seeds) = (self.run.agent.policy().clone(), self.run.state.evaluation_seeds.clone());
        if let Ok(mut orders) = self.shared.orders.lock() {
            orders.evaluate = Some(Evaluation { policy, episodes, seeds });
            self.ordered = true;
        }
        Ok(())
    }
}
