//! Learning from what collectors send, in place of acting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Trainer;
use super::run::Run;
use super::state::{Episode, Row};
use crate::acting::Happening;
use crate::checks::check;
use crate::distributed::arrivals::Sums;
use crate::distributed::hub::{Hub, Member, Ratio, Received};
use crate::distributed::message;
use crate::distributed::network::{Connection, EXPERIENCE, Network, POLICY, Service, Watch};
use crate::distributed::part::{Continued, Form};
use crate::distributed::unique;
use crate::error::{Error, Result};
use crate::experience::replay::STREAMS;
use crate::experience::vector::VectorEnvironment;
use crate::networks::{Actor, Critic};
use crate::run::observer::{Event, StopReason};

/// How a run learns [from collectors](Trainer::from_collectors).
#[derive(Debug, Clone, PartialEq)]
pub struct Fleet {
    /// Collectors begin no episode while the updates of more steps than this are still to be made; in the
    /// midst of an episode only [simulations](crate::CollectorConfig::pausable) wait. None is for robots,
    /// which begin when they can: what learning cannot keep up with is learnt from all the same, with fewer
    /// updates a step.
    pub steps_ahead: Option<u64>,
    /// How many collectors there may be, by their names, in the course of the run. Accepted: 1 to 4096.
    pub collectors: usize,
    /// How many parts wait to be stored, at most. What comes while the queue is full, as during a long
    /// checkpoint, is sent again later. Accepted: 1 to 1,000,000.
    pub queue: usize,
    /// The updates between two policies that collectors get to see, while there are more updates due.
    /// Accepted: at least 1.
    pub policy_period: u64,
}

impl Default for Fleet {
    fn default() -> Self {
        Self { steps_ahead: Some(1_000), collectors: 1_000, queue: 1_000, policy_period: 10 }
    }
}

/// What is saved of a run that learns from collectors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Collected {
    /// No other run's.
    run: u64,
    /// By the streams of the replay.
    pub rows: Vec<Row>,
    members: BTreeMap<String, Member>,
    /// The streams of each collector's rows.
    streams: BTreeMap<String, Vec<usize>>,
    /// Of the whole run.
    pub sums: Sums,
}

impl Collected {
    fn new() -> Self {
        Self {
            run: unique(),
            rows: Vec::new(),
            members: BTreeMap::new(),
            streams: BTreeMap::new(),
            sums: Sums::default(),
        }
    }

    /// Whether it could be that of a run.
    pub fn is_sound(&self) -> bool {
        let mut all: Vec<usize> = self.streams.values().flatten().copied().collect();
        all.sort_unstable();
        self.rows.len() <= STREAMS
            && all.windows(2).all(|pair| pair[0] != pair[1])
            && all.last().is_none_or(|&last| last < self.rows.len())
            && self.members.keys().eq(self.streams.keys())
            && self.members.values().all(Member::is_sound)
            && self.members.iter().all(|(name, member)| self.streams[name].len() == member.rows)
    }

    /// Leaves the episodes under way.
    pub fn leave_episodes(&mut self) {
        self.rows.iter_mut().for_each(|row| row.episode = None);
    }

    /// The streams of a collector with so many rows.
    fn streams_of(&mut self, name: &str, rows: usize) -> Vec<usize> {
        if let Some(own) = self.streams.get(name).filter(|own| own.len() == rows) {
            return own.clone();
        }
        let mut own = self.streams.remove(name).unwrap_or_default();
        for stream in own.drain(rows.min(own.len())..) {
            self.rows[stream] = Row::default();
        }
        let taken: BTreeSet<usize> = self.streams.values().flatten().copied().collect();
        let mut free = (0..).filter(|stream| !taken.contains(stream));
        while own.len() < rows {
            let next = free.by_ref().find(|stream| !own.contains(stream));
            own.extend(next);
        }
        let count = own.iter().map(|stream| stream + 1).max().unwrap_or(0);
        self.rows.resize_with(self.rows.len().max(count), Row::default);
        self.streams.insert(name.into(), own.clone());
        own
    }
}

/// A trainer's network and what goes through it.
pub(super) struct Collecting {
    network: Network,
    settings: Fleet,
    open: Option<Open>,
}

/// The receiving side, while there is one.
struct Open {
    hub: Arc<Hub>,
    queue: Receiver<Received>,
    /// Taken from the queue already.
    waiting: Option<Received>,
    // In this order they end: first nobody asks any more.
    _services: [Service; 2],
    _watch: Watch,
    _connection: Connection,
}

impl Collecting {
    /// Closes the network, until the next run opens it.
    pub fn close(&mut self) {
        self.open = None;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.hub.end(Duration::from_secs(2));
    }
}

impl<E: VectorEnvironment, A: Actor, C: Critic> Trainer<E, A, C> {
    /// Learns from now on from what [collectors](crate::Collector) on this network send, be it in this
    /// process or on other machines, and acts no more itself: its environment is for evaluations. Where there
    /// is no simulation to evaluate in, set
    /// [`evaluation_episodes`](crate::TrainerConfig::evaluation_episodes) to 0; the environment then only
    /// says what observations and actions are like.
    ///
    /// The network is opened by the next run. Collectors may come and go at any time, also before it and
    /// between two runs, when they wait at the end of their episodes; when this trainer is dropped they are
    /// told to stop. Learning waits for experience as long as it takes, or until an observer says stop.
    ///
    /// Updates, evaluations, reports, checkpoints and observers are as otherwise. How much comes from
    /// collectors, how old it is and what was lost is told as [`Event::Arrivals`], with the metrics, and by
    /// the [`Summary`](crate::Summary). A run that is resumed takes what its collectors have kept for it.
    ///
    /// One collector in [lock-step](crate::CollectorConfig::lock_step), with `steps_ahead` of 0 and the seed
    /// of agent and trainer, makes the run that the trainer alone would make, bit for bit. With several, and
    /// without lock-step, what is learnt from when depends on the clock.
    ///
    /// # Errors
    /// If a setting lies outside its accepted range.
    pub fn from_collectors(mut self, network: &Network, settings: Fleet) -> Result<Self> {
        let range = |most: usize| move |count: &usize| (1..=most).contains(count);
        check("Fleet::collectors", settings.collectors, range(STREAMS), "1 to 4096")?;
        check("Fleet::queue", settings.queue, range(1_000_000), "1 to 1000000")?;
        check("Fleet::policy_period", settings.policy_period, |&period| period > 0, "at least 1")?;
        self.leave_episodes();
        self.run.collected_here = true;
        self.fleet = Some(Collecting { network: network.clone(), settings, open: None });
        Ok(self)
    }

    /// Learns until the run is at its end.
    pub(super) fn learn_from(&mut self, fleet: &mut Collecting) -> Result<StopReason> {
        // First, so that collectors of a run that is at its end hear so.
        let open = match &mut fleet.open {
            Some(open) => open,
            none => none.insert(self.open(&fleet.network, &fleet.settings)?),
        };
        self.run.report_steps()?;
        self.run.save_if_due()?;
        if let Some(reason) = self.run.end() {
            return Ok(reason);
        }
        self.publish(open, fleet.network.longest())?;
        open.hub.go_on(self.run.steps(), self.run.goal.until);
        let learnt = self.learn_until_end(open, &fleet.settings, fleet.network.longest());
        // From now on nothing is taken; what was taken is stored, whatever else failed.
        open.hub.pause();
        let mut left = Ok(());
        while let Some(received) = open.waiting.take().or_else(|| open.queue.try_recv().ok()) {
            left = left.and(self.run.take_part(received));
        }
        let reason = learnt?;
        left?;
        self.note_arrivals(open);
        self.run.report_steps()?;
        Ok(reason)
    }

    /// Opens the network for this run.
    fn open(&mut self, network: &Network, settings: &Fleet) -> Result<Open> {
        let connection = network.open()?;
        let collected = self.run.state.collected.get_or_insert_with(Collected::new);
        let form = Form {
            observation_size: self.environment.observation_size(),
            space: self.environment.action_space().clone(),
        };
        let config = &self.run.config;
        let ratio = Ratio {
            warm_up_steps: config.warm_up_steps,
            updates_per_step: config.updates_per_step,
            steps_ahead: settings.steps_ahead,
        };
        let rows = STREAMS.min(self.run.replay.capacity() / 2);
        let (parts, queue) = sync_channel(settings.queue);
        let members = collected.members.clone();
        let hub = Hub::new(collected.run, form, ratio, [settings.collectors, rows], parts, members);
        let hub = Arc::new(hub);
        let refused = |refused| message::to_bytes(&refused);
        let watch = {
            let hub = hub.clone();
            connection.watch(move |name, alive| hub.heard_of(name, alive))?
        };
        let policy = {
            let hub = hub.clone();
            connection.serve(POLICY, move |name, bytes| hub.policy(name, bytes).map_err(refused))?
        };
        let experience = {
            let hub = hub.clone();
            connection.serve(EXPERIENCE, move |name, bytes| {
                hub.experience(name, bytes).map(|receipt| message::to_bytes(&receipt)).map_err(refused)
            })?
        };
        Ok(Open {
            hub,
            queue,
            waiting: None,
            _services: [policy, experience],
            _watch: watch,
            _connection: connection,
        })
    }

    fn learn_until_end(&mut self, open: &mut Open, settings: &Fleet, longest: usize) -> Result<StopReason> {
        // Of the updates, the one that collectors have seen the policy of.
        let mut published = self.run.state.counts.updates;
        loop {
            let received = match open.waiting.take() {
                Some(received) => Some(received),
                None => open.queue.try_recv().ok(),
            };
            let arrived = received.is_some();
            if arrived {
                self.run.waiting_told = None;
            }
            if let Some(received) = received {
                self.run.take_part(received)?;
            }
            // All updates due, unless more has come meanwhile, so that a run that keeps up makes those of a
            // step before it goes on to the next.
            let mut updated = false;
            while self.run.is_behind() {
                match open.queue.try_recv() {
                    Ok(received) => open.waiting = Some(received),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
                }
                if open.waiting.is_some() || (updated && settings.steps_ahead.is_none()) {
                    break;
                }
                self.run.update()?;
                updated = true;
                let made = self.run.state.counts.updates;
                if !self.run.is_behind() || made >= published + settings.policy_period {
                    self.publish(open, longest)?;
                    published = made;
                }
                open.hub.updated(made);
            }
            self.note_arrivals(open);
            self.run.report_steps()?;
            self.run.save_if_due()?;
            self.evaluate_if_due()?;
            if let Some(reason) = self.run.end() {
                return Ok(reason);
            }
            if !arrived && !updated && open.waiting.is_none() {
                match open.queue.recv_timeout(Duration::from_millis(20)) {
                    Ok(received) => open.waiting = Some(received),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
                }
                if open.waiting.is_none() {
                    self.run.wait()?;
                }
            }
        }
    }

    /// Lets collectors have the latest policy.
    fn publish(&self, open: &Open, longest: usize) -> Result<()> {
        let learner = self.run.agent.learner();
        let bytes = learner.latest_policy().to_bytes()?;
        if bytes.len() + (1 << 12) > longest {
            return Err(Error::Config {
                field: "Network::longest_message",
                value: longest.to_string(),
                accepted: "more than a policy's file has, and 4 KiB",
            });
        }
        let exploration = learner.config().exploration.clone();
        open.hub.publish(learner.updates(), exploration, learner.informed(), bytes);
        open.hub.updated(self.run.state.counts.updates);
        Ok(())
    }

    /// Takes note of who came and went, and what was refused.
    fn note_arrivals(&mut self, open: &Open) {
        for (name, alive) in open.hub.changes() {
            tracing::info!(name, alive, "a collector");
            self.run.push(if alive {
                Event::CollectorJoined { name }
            } else {
                Event::CollectorGone { name }
            });
        }
        let rejected = open.hub.rejected();
        self.run.collectors = open.hub.collectors();
        self.run.sums().for_each(|sums| sums.reject(rejected));
    }
}

impl<A: Actor, C: Critic> Run<A, C> {
    /// The sums since the last report, and those of the whole run.
    fn sums(&mut self) -> impl Iterator<Item = &mut Sums> {
        [&mut self.arrivals].into_iter().chain(self.state.collected.as_mut().map(|all| &mut all.sums))
    }

    /// Whether there are updates to be made.
    fn is_behind(&self) -> bool {
        self.state.counts.updates < self.updates_due()
    }

    /// Stores a part, and takes note of what was lost before it.
    fn take_part(&mut self, Received { part, bytes, at }: Received) -> Result<()> {
        let steps = part.steps();
        let lag = self.agent.updates().saturating_sub(part.about.version);
        let age = part.about.age_seconds + at.elapsed().as_secs_f64();
        let Some(collected) = &mut self.state.collected else { return Ok(()) };
        let name = part.about.collector.as_str();
        let member = collected.members.entry(name.into()).or_insert_with(|| Member::of(&part.about));
        let gap = member.take(&part.about, steps);
        let streams = collected.streams_of(name, part.about.rows);
        if gap.anew || gap.parts > 0 {
            // What is known of the episodes under way ends here.
            streams.iter().for_each(|&stream| collected.rows[stream].episode = None);
            tracing::debug!(name, gap.parts, gap.steps, gap.anew, "parts are missing");
        }
        for sums in self.sums() {
            sums.add(steps, bytes, lag, age, part.about.late_steps);
            sums.lose(gap.parts, gap.steps);
        }
        for Continued { row, sum, observation } in part.continued {
            let stream = streams[row];
            let going_on =
                self.state.collected.as_ref().is_some_and(|all| all.rows[stream].episode.is_some());
            if !going_on {
                self.replay.stream(stream)?.continue_episode(&observation, sum)?;
                if let Some(collected) = &mut self.state.collected {
                    collected.rows[stream].episode = Some(Episode { seed: 0, steps: 0, sum });
                }
            }
        }
        let in_streams = part.happened.into_iter().map(|event| match event {
            Happening::Began { row, seed, observation } => {
                Happening::Began { row: streams[row], seed, observation }
            }
            Happening::Stepped { row, action, step } => {
                Happening::Stepped { row: streams[row], action, step }
            }
            Happening::Failed { row, error } => Happening::Failed { row: streams[row], error },
        });
        self.take_all(in_streams.collect())
    }
}
