//! The thread that sends parts and fetches policies, and what stands between it and acting.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::building::Piece;
use super::{CollectorConfig, CollectorSummary, Make, check_fits};
use crate::distributed::ANSWER;
use crate::distributed::message::{self, FORMAT, Go, Question, Receipt, Refused, Snapshot};
use crate::distributed::network::{Answer, Connection, EXPERIENCE, Network, POLICY, Token};
use crate::distributed::part::{About, Form, Part};
use crate::error::{Error, Result};
use crate::exploration::Exploration;
use crate::networks::Actor;
use crate::policy::Policy;

/// A policy from the learner.
pub(super) struct Fetched<A: Actor> {
    pub policy: Policy<A>,
    pub exploration: Exploration,
    pub informed: f64,
    pub version: u64,
}

/// A part, until the learner has taken it.
struct Kept {
    piece: Arc<Piece>,
    sequence: u64,
}

/// What acting leaves to sending, and the other way round. Whoever holds the lock gives it back at once.
pub(super) struct Outbox<A: Actor> {
    state: Mutex<State<A>>,
    changed: Condvar,
    kept_parts: usize,
}

struct State<A: Actor> {
    parts: VecDeque<Kept>,
    /// Whether the first of them was sent: it may be stored, though no receipt came.
    tried: bool,
    /// Of the next part.
    sequence: u64,
    policy: Option<Fetched<A>>,
    /// Whether acting asks for a newer policy.
    asked: bool,
    /// Of the newest policy fetched.
    fetched: u64,
    receipt: Option<Receipt>,
    /// Acting has ended.
    ended: bool,
    /// Sending has ended.
    over: bool,
    lost: (u64, u64),
}

impl<A: Actor> Outbox<A> {
    pub fn new(config: &CollectorConfig) -> Self {
        let state = State {
            parts: VecDeque::new(),
            tried: false,
            sequence: 0,
            policy: None,
            asked: false,
            fetched: 0,
            receipt: None,
            ended: false,
            over: false,
            lost: (0, 0),
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), kept_parts: config.kept_parts }
    }

    fn state(&self) -> MutexGuard<'_, State<A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a part away; the oldest that was not sent yet is lost if there are too many.
    pub fn push(&self, piece: Option<Piece>) {
        let Some(piece) = piece else { return };
        let mut state = self.state();
        let sequence = state.sequence;
        state.sequence += 1;
        state.parts.push_back(Kept { piece: Arc::new(piece), sequence });
        if state.parts.len() > self.kept_parts {
            let oldest = usize::from(state.tried);
            if let Some(lost) = state.parts.remove(oldest) {
                state.lost = (state.lost.0 + 1, state.lost.1 + lost.piece.steps);
            }
        }
        self.changed.notify_all();
    }

    /// Whether the learner or an error has ended it all.
    pub fn is_over(&self) -> bool {
        let state = self.state();
        state.over || state.receipt.is_some_and(|receipt| receipt.go == Go::Stop)
    }

    /// Whether no episode is to begin for now.
    pub fn has_to_wait(&self) -> bool {
        self.state().receipt.is_some_and(|receipt| receipt.go == Go::Wait)
    }

    /// The newest policy, if acting does not have it.
    pub fn take_policy(&self) -> Option<Fetched<A>> {
        self.state().policy.take()
    }

    pub fn ask_for_policy(&self) {
        self.state().asked = true;
        self.changed.notify_all();
    }

    /// Waits a moment for something to change.
    pub fn wait(&self) {
        let state = self.state();
        drop(self.changed.wait_timeout(state, Duration::from_millis(20)));
    }

    /// Waits until all that was done is learnt from, and the policy that came of it is here.
    pub fn wait_for_learning(&self) {
        let mut state = self.state();
        loop {
            let stop = state.over || state.receipt.is_some_and(|receipt| receipt.go == Go::Stop);
            let on =
                state.receipt.is_some_and(|receipt| receipt.go == Go::On && receipt.version <= state.fetched);
            if stop || (on && state.parts.is_empty()) {
                return;
            }
            let waited = self.changed.wait_timeout(state, Duration::from_millis(100));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Says that acting has ended, when it is dropped.
    pub fn ends_when_dropped(&self) -> Ends<'_, A> {
        Ends(self)
    }
}

pub(super) struct Ends<'a, A: Actor>(&'a Outbox<A>);

impl<A: Actor> Drop for Ends<'_, A> {
    fn drop(&mut self) {
        self.0.state().ended = true;
        self.0.changed.notify_all();
    }
}

/// Says that sending has ended, when it is dropped.
struct Over<'a, A: Actor>(&'a Outbox<A>);

impl<A: Actor> Drop for Over<'_, A> {
    fn drop(&mut self) {
        self.0.state().over = true;
        self.0.changed.notify_all();
    }
}

/// The way to the learner, and the sign that somebody is there.
struct Link {
    // It ends first.
    _alive: Token,
    connection: Connection,
}

impl Link {
    fn open(network: &Network, name: &str) -> Result<Self> {
        let connection = network.open()?;
        Ok(Self { _alive: connection.alive(name)?, connection })
    }
}

/// The side that talks to the learner.
pub(super) struct Sender<'a, A: Actor> {
    config: &'a CollectorConfig,
    network: &'a Network,
    link: Mutex<Link>,
    form: &'a Form,
    outbox: &'a Outbox<A>,
    make: Make<A>,
    instance: u64,
}

/// The next thing to do.
enum Job {
    Send(Arc<Piece>, u64),
    Ask,
    End,
}

/// For how long nobody has answered.
struct Patience {
    since: Option<Instant>,
    /// When the network was last opened anew meanwhile.
    opened: Option<Instant>,
    pause: Duration,
}

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);
/// After so long a silence the network is opened anew.
const ANEW: Duration = Duration::from_secs(10);

impl Patience {
    fn new() -> Self {
        Self { since: None, opened: None, pause: SHORTEST }
    }

    /// Somebody has answered.
    fn renew(&mut self) {
        *self = Self::new();
    }
}

impl<'a, A: Actor> Sender<'a, A> {
    pub fn new(
        config: &'a CollectorConfig,
        network: &'a Network,
        form: &'a Form,
        outbox: &'a Outbox<A>,
        make: Make<A>,
        instance: u64,
    ) -> Result<Self> {
        let link = Mutex::new(Link::open(network, &config.name)?);
        Ok(Self { config, network, link, form, outbox, make, instance })
    }

    /// Asks the learner.
    fn ask(&self, what: &str, question: Vec<u8>) -> Answer {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        link.connection.ask(what, &self.config.name, question, ANSWER)
    }

    /// The learner's run and its policy, once it has one; none if the run is over, or somebody here says
    /// stop.
    pub fn first_policy(&self, stop: &AtomicBool) -> Result<Option<(u64, Fetched<A>)>> {
        let mut patience = Patience::new();
        while !stop.load(Ordering::Relaxed) {
            match self.ask_policy(None, None)? {
                Some((receipt, _)) if receipt.go == Go::Stop => return Ok(None),
                Some((receipt, Some(fetched))) => {
                    check_fits(&fetched.policy, self.form)?;
                    let mut state = self.outbox.state();
                    (state.receipt, state.fetched) = (Some(receipt), fetched.version);
                    return Ok(Some((receipt.run, fetched)));
                }
                // It has none yet.
                Some((_, None)) => patience.renew(),
                None => self.spend(&mut patience)?,
            }
            std::thread::sleep(patience.pause);
        }
        Ok(None)
    }

    /// Takes a silence, which may have been one too many.
    fn spend(&self, patience: &mut Patience) -> Result<()> {
        let since = *patience.since.get_or_insert_with(Instant::now);
        if since.elapsed().as_secs_f64() <= self.config.patience {
            patience.pause = (2 * patience.pause).min(LONGEST);
            if patience.opened.get_or_insert(since).elapsed() > ANEW {
                patience.opened = Some(Instant::now());
                self.open_anew();
            }
            return Ok(());
        }
        Err(Error::Network {
            place: self.network.place(),
            reason: format!(
                "no learner has answered for {:.1} s (CollectorConfig::patience). Either none is there, or it does not \
                 let this one in: look at the address, the name of the run (Network::fleet), the user and password, \
                 the certificates, and whether the learner's Network::only has the name {}",
                since.elapsed().as_secs_f64(),
                self.config.name
            ),
        })
    }

    /// Opens the network anew: what was said on the way in may have been damaged there, and is not said
    /// again.
    fn open_anew(&self) {
        match Link::open(self.network, &self.config.name) {
            Ok(link) => {
                let earlier =
                    std::mem::replace(&mut *self.link.lock().unwrap_or_else(PoisonError::into_inner), link);
                drop(earlier);
            }
            Err(error) => tracing::warn!(%error, "the network could not be opened anew"),
        }
    }

    /// Asks for a newer policy than that of `version`; none if nobody answers.
    fn ask_policy(
        &self,
        version: Option<u64>,
        earlier: Option<&Policy<A>>,
    ) -> Result<Option<(Receipt, Option<Fetched<A>>)>> {
        let question = message::to_bytes(&Question { format: FORMAT, version });
        let bytes = match self.ask(POLICY, question) {
            Answer::Reply(bytes) => bytes,
            Answer::Refusal(words) => return self.refused(&words).map(|()| None),
            Answer::Silence(reason) => {
                tracing::debug!(reason, "no answer to a question for the policy");
                return Ok(None);
            }
        };
        let taken = Snapshot::of_bytes(&bytes).and_then(|(Snapshot { receipt, exploring }, bytes)| {
            let fetched = exploring.map(|exploring| {
                let policy = (self.make)(&bytes, earlier).map_err(Refused::of)?;
                let (exploration, informed) = (exploring.exploration, exploring.informed);
                Ok(Fetched { policy, exploration, informed, version: receipt.version })
            });
            Ok((receipt, fetched.transpose()?))
        });
        match taken {
            Ok(taken) => Ok(Some(taken)),
            // Damaged on its way: the next one will do.
            Err(Refused { again: true, reason }) => {
                tracing::warn!(reason, "a policy was not taken");
                Ok(None)
            }
            Err(Refused { reason, .. }) => {
                Err(Error::Network { place: self.network.place(), reason: format!("a policy: {reason}") })
            }
        }
    }

    /// What a refusal comes to: another try, or the end.
    fn refused(&self, words: &[u8]) -> Result<()> {
        let Refused { reason, again } = message::of_bytes(words).unwrap_or_else(|refused| refused);
        if again {
            tracing::warn!(reason, "a message was damaged on its way");
            return Ok(());
        }
        Err(Error::Refused { name: self.config.name.clone(), reason })
    }

    /// Sends and fetches until acting has ended and all is sent, or the learner says stop.
    pub fn send_all(&self, run: u64, mut latest: Policy<A>) -> Result<CollectorSummary> {
        let _over = Over(self.outbox);
        let mut patience = Patience::new();
        let mut summary = CollectorSummary { policies: 1, ..CollectorSummary::default() };
        let mut times = Vec::new();
        let mut postponed = self.pause();
        loop {
            let (job, fetched) = self.next_job();
            let receipt = match job {
                Job::End => break,
                Job::Send(piece, sequence) => {
                    let begun = Instant::now();
                    let bytes = self.part(run, &piece, sequence);
                    let size = bytes.len() as u64;
                    let receipt = self.send(bytes)?;
                    let mut state = self.outbox.state();
                    if receipt.is_some_and(|receipt| receipt.next > sequence) {
                        state.parts.pop_front();
                        state.tried = false;
                        drop(state);
                        postponed = self.pause();
                        times.push(begun.elapsed().as_secs_f64());
                        summary.bytes += size;
                    } else {
                        drop(state);
                        summary.repeated += 1;
                        if receipt.is_some_and(|receipt| receipt.go != Go::Stop) {
                            std::thread::sleep(postponed);
                            postponed = (2 * postponed).min(Duration::from_millis(500));
                        }
                    }
                    receipt
                }
                Job::Ask => self.ask_policy(Some(fetched), Some(&latest))?.map(|(receipt, fetched)| {
                    if let Some(fetched) = fetched {
                        let mut state = self.outbox.state();
                        state.asked = false;
                        latest = fetched.policy.clone();
                        state.fetched = fetched.version;
                        state.policy = Some(fetched);
                        summary.policies += 1;
                    }
                    receipt
                }),
            };
            let Some(receipt) = receipt else {
                self.spend(&mut patience)?;
                std::thread::sleep(patience.pause);
                continue;
            };
            patience.renew();
            if receipt.run != run {
                return Err(Error::Refused {
                    name: self.config.name.clone(),
                    reason: "the learner has begun another run since: start the collector anew".into(),
                });
            }
            self.outbox.state().receipt = Some(receipt);
            self.outbox.changed.notify_all();
            if receipt.go == Go::Stop {
                summary.stopped = true;
                break;
            }
        }
        let state = self.outbox.state();
        let left = state.parts.iter().map(|kept| kept.piece.steps);
        (summary.lost_parts, summary.lost_steps) =
            (state.lost.0 + state.parts.len() as u64, state.lost.1 + left.sum::<u64>());
        times.sort_by(f64::total_cmp);
        let share = |share: f64| times.get((share * times.len() as f64) as usize).or(times.last()).copied();
        summary.receipt_p50 = share(0.5).unwrap_or(0.0);
        summary.receipt_p99 = share(0.99).unwrap_or(0.0);
        Ok(summary)
    }

    /// Between two tries, while the learner wants to be asked later.
    fn pause(&self) -> Duration {
        if self.config.lock_step { Duration::from_micros(200) } else { Duration::from_millis(20) }
    }

    /// Waits for something to do; and the version of the newest policy there is here.
    fn next_job(&self) -> (Job, u64) {
        let begun = Instant::now();
        let mut state = self.outbox.state();
        loop {
            let newer = state.receipt.is_some_and(|receipt| receipt.version != state.fetched);
            if state.asked && newer {
                return (Job::Ask, state.fetched);
            }
            if let Some(kept) = state.parts.front() {
                let job = Job::Send(kept.piece.clone(), kept.sequence);
                state.tried = true;
                return (job, state.fetched);
            }
            if state.ended {
                return (Job::End, state.fetched);
            }
            // Whether to go on, or a sign of life.
            let waiting = state.receipt.is_some_and(|receipt| receipt.go == Go::Wait);
            let due = if waiting { self.pause() } else { Duration::from_secs(1) };
            let Some(left) = due.checked_sub(begun.elapsed()) else { return (Job::Ask, state.fetched) };
            let waited = self.outbox.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The bytes of a part.
    fn part(&self, run: u64, piece: &Piece, sequence: u64) -> Vec<u8> {
        let about = About {
            run,
            collector: self.config.name.clone(),
            instance: self.instance,
            sequence,
            version: piece.version,
            steps_before: piece.steps_before,
            late_steps: piece.late_steps,
            age_seconds: 0.0,
            rows: piece.rows,
        };
        Part::bytes(&about, &piece.continued, &piece.happened, self.form, piece.since.elapsed().as_secs_f64())
    }

    /// Sends a part; none if nobody answers, or it was damaged on its way.
    fn send(&self, bytes: Vec<u8>) -> Result<Option<Receipt>> {
        match self.ask(EXPERIENCE, bytes) {
            Answer::Reply(bytes) => Ok(message::of_bytes(&bytes).ok()),
            Answer::Refusal(words) => self.refused(&words).map(|()| None),
            Answer::Silence(reason) => {
                tracing::debug!(reason, "no receipt");
                Ok(None)
            }
        }
    }
}
