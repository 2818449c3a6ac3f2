//! Who takes part in a round of an update, and what they have said in it: nothing here waits, nor knows of a
//! network.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::exchanged::{Standing, Taken, Wanted, contribution_of};
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
    /// Those who ask and speak in time.
    present: BTreeSet<String>,
    /// By name, the latest who has begun under it.
    instances: BTreeMap<String, u64>,
    /// In the midst of an update, those who have begun it and are still there.
    members: BTreeSet<String>,
    said: BTreeMap<String, Contribution>,
    /// When the first of the round spoke.
    begun: Option<Instant>,
    told: BTreeSet<String>,
    comings: VecDeque<(String, bool)>,
    counts: Exchanges,
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
            present: BTreeSet::new(),
            instances: BTreeMap::new(),
            members: BTreeSet::new(),
            said: BTreeMap::new(),
            begun: None,
            told: BTreeSet::new(),
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
        let entered = wanted.and_then(|wanted| self.enter(&mut state, name, wanted));
        let version = entered.inspect_err(|_| state.counts.refused += 1)?;
        let go = state.go();
        let newer = match version {
            Some(version) if version == state.version => None,
            Some(version) if state.changes.base() == Some(version) => Some(state.changes.clone()),
            _ => Some(state.complete.clone()),
        };
        if state.over && newer.is_none() {
            state.told.insert(name.into());
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
        let version = has.filter(|(run, _)| *run == self.run).map(|(_, version)| version);
        let other = state.instances.get(name).is_some_and(|&latest| latest != instance);
        if version.is_some() && other {
            return Err(Refused::new(
                "another worker of this name has started since: each has to have a name of its own",
            ));
        }
        state.let_in(name, self.workers[1])?;
        if version.is_none() {
            // It begins anew, and knows nothing of an update under way.
            state.members.remove(name);
            state.instances.insert(name.into(), instance);
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
        let taken = contribution.and_then(|contribution| {
            // One of an earlier round comes late, or a second time: no fault, and no use.
            if contribution.version() == state.version {
                self.take(&mut state, name, contribution)?;
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

    fn take(&self, state: &mut State, name: &str, contribution: Contribution) -> Result<(), Refused> {
        let words = |error: crate::error::Error| Refused::new(error.to_string());
        self.rounds.vectors(state.version, &contribution).map_err(words)?;
        state.let_in(name, self.workers[1])?;
        let begins = self.rounds.at(state.version) == Round::Batches;
        if state.over || !(begins || state.members.contains(name)) || state.said.contains_key(name) {
            return Ok(());
        }
        state.said.insert(name.into(), contribution);
        state.begun.get_or_insert_with(Instant::now);
        self.changed.notify_all();
        Ok(())
    }

    /// Takes note that a worker has gone.
    pub fn gone(&self, name: &str) {
        let mut state = self.state();
        state.members.remove(name);
        state.instances.remove(name);
        // What it has said counts: the round is made of it all the same.
        if state.present.remove(name) {
            state.note(name, false);
        }
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
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn look(&self, state: &mut State) -> Gathered {
        let begins = self.rounds.at(state.version) == Round::Batches;
        let late = state.begun.is_some_and(|begun| begun.elapsed() >= self.patience);
        let expected = if begins { &state.present } else { &state.members };
        let missing: Vec<_> =
            expected.iter().filter(|name| !state.said.contains_key(*name)).cloned().collect();
        let enough = if begins { self.workers[0] } else { 1 };
        if state.said.len() < enough {
            let nobody = !begins && state.members.is_empty();
            return if nobody { Gathered::Nobody } else { Gathered::NotYet };
        }
        if !missing.is_empty() && !late {
            return Gathered::NotYet;
        }
        for name in missing {
            // Nobody waits for it any more, until it speaks again.
            state.present.remove(&name);
            state.note(&name, false);
        }
        // Of those who have gone since they spoke it counts, and nothing more is expected.
        state.members = state.said.keys().filter(|name| state.present.contains(*name)).cloned().collect();
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
        if self.rounds.at(state.version) == Round::Batches {
            state.members.clear();
        }
        state.said.clear();
        state.begun = None;
    }

    /// Tells everybody that the run is over, and waits for a while until they have heard it.
    pub fn end(&self, patience: Duration) {
        let begun = Instant::now();
        self.state().over = true;
        let know = |state: &State| state.present.iter().all(|name| state.told.contains(name));
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

    /// Takes note that a worker is there, if there is room for it.
    fn let_in(&mut self, name: &str, most: usize) -> Result<(), Refused> {
        if self.present.contains(name) {
            return Ok(());
        }
        if self.present.len() >= most {
            return Err(Refused::new(format!("there are {most} workers already (LeadConfig::most_workers)")));
        }
        self.present.insert(name.into());
        self.note(name, true);
        Ok(())
    }

    fn note(&mut self, name: &str, came: bool) {
        if self.comings.len() < MOST_COMINGS {
            self.comings.push_back((name.into(), came));
        }
    }
}

#[cfg(test)]
mod tests;
