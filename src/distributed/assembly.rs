//! Who takes part in a round of an update, and what they have said in it: nothing here waits, nor knows of a
//! network.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::exchanged::{Standing, Taken, Wanted, contribution_of};
use super::is_name;
use super::message::{self, FORMAT, Go, Refused};
use crate::learner::exchange::{Contribution, SharedParameters};
use crate::learner::metrics::Metrics;
use crate::learner::rounds::{Round, Rounds};

/// What the workers of a run are asked for, and what they answer.
pub(crate) struct Assembly {
    run: u64,
    /// The checksum of the settings that all have to share.
    settings: u32,
    rounds: Rounds,
    /// How many an update waits for, and how many there may be.
    workers: [usize; 2],
    /// How long a round waits for those who have not spoken.
    patience: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    over: bool,
    version: u64,
    changes: Arc<SharedParameters>,
    complete: Arc<SharedParameters>,
    metrics: Option<Metrics>,
    /// Those who are there, and ask and speak in time.
    workers: BTreeMap<String, Present>,
    /// In this round, also by those who have gone since.
    said: BTreeMap<String, Contribution>,
    /// Since when the others are waited for.
    since: Option<Instant>,
    comings: VecDeque<(String, bool)>,
    counts: Exchanges,
}

/// A worker that is there.
struct Present {
    /// Tells it from others of its name.
    instance: u64,
    /// Whether it has a part in the update under way.
    member: bool,
    /// Whether it has spoken in this round.
    spoken: bool,
    /// Whether it knows that all is over.
    told: bool,
}

impl Present {
    fn new(instance: u64) -> Self {
        Self { instance, member: false, spoken: false, told: false }
    }
}

/// What went over the network.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Exchanges {
    pub refused: u64,
    pub received: u64,
    pub sent: u64,
}

/// How a round stands.
#[derive(Debug, PartialEq)]
pub(crate) enum Gathered {
    /// All have spoken who take part in it.
    All(Vec<Contribution>),
    /// Nobody is left of those who began the update.
    Nobody,
    /// Some have still to speak.
    NotYet,
}

/// Nobody looks at more than this.
const MOST_COMINGS: usize = 1000;

impl Assembly {
    pub fn new(
        [run, version]: [u64; 2],
        settings: u32,
        rounds: Rounds,
        workers: [usize; 2],
        patience: Duration,
        complete: SharedParameters,
    ) -> Self {
        let complete = Arc::new(complete);
        let state = State {
            over: false,
            version,
            changes: complete.clone(),
            complete,
            metrics: None,
            workers: BTreeMap::new(),
            said: BTreeMap::new(),
            since: None,
            comings: VecDeque::new(),
            counts: Exchanges::default(),
        };
        Self { run, settings, rounds, workers, patience, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is done while it is held is done at once: a panic leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a question for parameters.
    pub fn parameters(&self, name: &str, bytes: &[u8]) -> Result<Vec<u8>, Refused> {
        let wanted = message::of_bytes(bytes).and_then(|wanted: Wanted| self.check(wanted));
        let mut state = self.state();
        if let Ok(Wanted { leaves: true, instance, .. }) = wanted {
            if state.workers.get(name).is_some_and(|worker| worker.instance == instance) {
                state.leave(name);
                self.changed.notify_all();
            }
            return Ok(Vec::new());
        }
        let entered = wanted.and_then(|wanted| self.enter(&mut state, name, wanted));
        let version = entered.inspect_err(|_| state.counts.refused += 1)?;
        let go = state.go();
        let newer = match version {
            Some(version) if version == state.version => None,
            Some(version) if state.changes.base() == Some(version) => Some(state.changes.clone()),
            _ => Some(state.complete.clone()),
        };
        if let Some(worker) = state.workers.get_mut(name) {
            worker.told = go == Go::Stop && newer.is_none();
        }
        let standing = Standing { run: self.run, go, metrics: state.metrics };
        self.changed.notify_all();
        drop(state);
        // What takes time, while nobody has to wait for it.
        let bytes = standing.to_bytes(newer.as_deref());
        self.state().counts.sent += bytes.len() as u64;
        Ok(bytes)
    }

    /// Lets in who asks; the version that it has of this run.
    fn enter(&self, state: &mut State, name: &str, wanted: Wanted) -> Result<Option<u64>, Refused> {
        let Wanted { has, instance, .. } = wanted;
        if !is_name(name) {
            return Err(Refused::new("a worker without a proper name (FollowConfig::name)"));
        }
        let version = has.filter(|(run, _)| *run == self.run).map(|(_, version)| version);
        let current = version == Some(state.version);
        let count = state.workers.len();
        match state.workers.get_mut(name) {
            None if count >= self.workers[1] => {
                let most = self.workers[1];
                let refused =
                    Refused::new(format!("there are {most} workers already (LeadConfig::most_workers)"));
                // There may be room later.
                return Err(Refused { again: true, ..refused });
            }
            None => {
                state.workers.insert(name.into(), Present::new(instance));
                state.note(name, true);
            }
            Some(worker) if worker.instance == instance && version.is_some() => {
                // It would have spoken before it asked: it has nothing to say to this update any more.
                worker.member &= worker.spoken || !current;
            }
            Some(_) if version.is_some() => {
                return Err(Refused::new(
                    "another worker of this name has started since: each has to have a name of its own",
                ));
            }
            Some(worker) => {
                // It begins anew, and knows nothing of an update under way.
                *worker = Present::new(instance);
                state.said.remove(name);
            }
        }
        Ok(version)
    }

    fn check(&self, wanted: Wanted) -> Result<Wanted, Refused> {
        if wanted.format != FORMAT {
            return Err(Refused::new(format!(
                "messages of format {}, accepted: {FORMAT}, which mpo {} speaks: let all run the same version",
                wanted.format,
                env!("CARGO_PKG_VERSION")
            )));
        }
        if wanted.settings != self.settings {
            return Err(Refused::new(
                "the worker's settings or networks are not the chief's: all have to have the same, but for \
                 MpoConfig::batch_size and MpoConfig::exploration",
            ));
        }
        Ok(wanted)
    }

    /// Answers a contribution.
    pub fn contribution(&self, name: &str, bytes: &[u8]) -> Result<Vec<u8>, Refused> {
        let contribution = contribution_of(bytes, self.run, name);
        let mut state = self.state();
        let taken = contribution.and_then(|(instance, contribution)| {
            // One of an earlier round comes late, or a second time: no fault, and no use.
            if contribution.version() == state.version {
                self.take(&mut state, name, instance, contribution)?;
            }
            Ok(Taken { go: state.go() })
        });
        match &taken {
            Ok(_) => state.counts.received += bytes.len() as u64,
            Err(Refused { reason, .. }) => {
                tracing::debug!(name, reason, "a contribution was refused");
                state.counts.refused += 1;
            }
        }
        taken.map(|taken| message::to_bytes(&taken))
    }

    fn take(
        &self,
        state: &mut State,
        name: &str,
        instance: u64,
        contribution: Contribution,
    ) -> Result<(), Refused> {
        let words = |error: crate::error::Error| Refused::new(error.to_string());
        self.rounds.vectors(state.version, &contribution).map_err(words)?;
        let begins = self.rounds.at(state.version) == Round::Batches;
        let State { workers, said, since, over, .. } = state;
        // One that is not there any more has to ask first.
        let Some(worker) = workers.get_mut(name) else { return Ok(()) };
        if worker.instance != instance {
            return Err(Refused::new("a contribution of another worker of this name"));
        }
        if *over || worker.spoken || !(begins || worker.member) {
            return Ok(());
        }
        worker.spoken = true;
        said.insert(name.into(), contribution);
        since.get_or_insert_with(Instant::now);
        self.changed.notify_all();
        Ok(())
    }

    /// Takes note that a worker has gone. What it has said in this round counts all the same.
    pub fn gone(&self, name: &str) {
        self.state().leave(name);
        self.changed.notify_all();
    }

    /// Waits up to so long for all who take part in the round.
    pub fn gather(&self, timeout: Duration) -> Gathered {
        let until = Instant::now() + timeout;
        let mut state = self.state();
        loop {
            match self.look(&mut state) {
                Gathered::NotYet => {}
                gathered => return gathered,
            }
            let Some(left) = until.checked_duration_since(Instant::now()) else { return Gathered::NotYet };
            // Patience may end meanwhile.
            let left = left.min(Duration::from_millis(10));
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn look(&self, state: &mut State) -> Gathered {
        let begins = self.rounds.at(state.version) == Round::Batches;
        let late = state.since.is_some_and(|since| since.elapsed() >= self.patience);
        let taking_part = |worker: &Present| begins || worker.member;
        let missing: Vec<String> = state
            .workers
            .iter()
            .filter(|(_, worker)| taking_part(worker) && !worker.spoken)
            .map(|(name, _)| name.clone())
            .collect();
        let enough = state.said.len() >= if begins { self.workers[0] } else { 1 };
        let waits = if enough { !missing.is_empty() } else { begins || !missing.is_empty() };
        if waits && !(late && (enough || !begins)) {
            return Gathered::NotYet;
        }
        // Nobody waits for them any more, until they ask again.
        missing.iter().for_each(|name| state.leave(name));
        if !enough {
            return Gathered::Nobody;
        }
        state.workers.values_mut().for_each(|worker| worker.member = worker.spoken);
        Gathered::All(std::mem::take(&mut state.said).into_values().collect())
    }

    /// Goes on with the next round: with these changes of the last one, and all parameters.
    pub fn go_on(&self, changes: SharedParameters, complete: SharedParameters, metrics: Option<Metrics>) {
        let mut state = self.state();
        state.version = complete.version();
        (state.changes, state.complete) = (Arc::new(changes), Arc::new(complete));
        if metrics.is_some() {
            state.metrics = metrics;
        }
        let begins = self.rounds.at(state.version) == Round::Batches;
        for worker in state.workers.values_mut() {
            (worker.member, worker.spoken) = (worker.member && !begins, false);
        }
        state.said.clear();
        // An update waits for whoever begins it, and its other rounds for those who have.
        state.since = (!begins).then(Instant::now);
    }

    /// Tells everybody that the run is over, and waits for a while until they have heard it.
    pub fn end(&self, patience: Duration) {
        let begun = Instant::now();
        self.state().over = true;
        let know = |state: &State| state.workers.values().all(|worker| worker.told);
        while begun.elapsed() < patience && !know(&self.state()) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Who came and went since somebody looked.
    pub fn comings(&self) -> VecDeque<(String, bool)> {
        std::mem::take(&mut self.state().comings)
    }

    pub fn counts(&self) -> Exchanges {
        self.state().counts
    }
}

impl State {
    fn go(&self) -> Go {
        if self.over { Go::Stop } else { Go::On }
    }

    fn leave(&mut self, name: &str) {
        if self.workers.remove(name).is_some() {
            self.note(name, false);
        }
    }

    fn note(&mut self, name: &str, came: bool) {
        if self.comings.len() < MOST_COMINGS {
            self.comings.push_back((name.into(), came));
        }
    }
}

#[cfg(test)]
mod tests;
