//! The receiving side: what comes from the network is checked here, and taken, refused or sent back for
//! later. All of it is quick and none of it waits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::message::{self, Exploring, FORMAT, Go, Question, Receipt, Refused, Snapshot};
use super::part::{About, Form, Part};
use crate::acting::updates_due;
use crate::error::Result;
use crate::exploration::Exploration;

/// What the learner knows of a collector: which of its parts it has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub instance: u64,
    /// Earlier instances, whose late messages are no longer taken.
    pub past: VecDeque<u64>,
    /// The sequence expected next.
    pub next: u64,
    /// The steps that the instance had made up to there.
    pub steps: u64,
    pub rows: usize,
}

/// How many earlier instances are remembered.
const PAST: usize = 16;

impl Member {
    /// Another instance takes the place of this one.
    fn follow(&mut self, instance: u64, rows: usize) {
        self.past.push_back(self.instance);
        while self.past.len() > PAST {
            self.past.pop_front();
        }
        (self.instance, self.next, self.steps, self.rows) = (instance, 0, 0, rows);
    }

    /// That it could be one.
    pub fn is_sound(&self) -> bool {
        self.past.len() <= PAST && self.next.max(self.steps) < 1 << 53 && self.rows > 0
    }

    /// Takes note of a part, and says what was lost before it: parts and steps.
    pub fn take(&mut self, about: &About, steps: u64) -> Gap {
        let anew = about.instance != self.instance;
        if anew {
            self.follow(about.instance, about.rows);
        }
        let gap = Gap {
            anew,
            parts: about.sequence.saturating_sub(self.next),
            steps: about.steps_before.saturating_sub(self.steps),
        };
        self.next = about.sequence + 1;
        self.steps = about.steps_before + steps;
        gap
    }

    /// Of an instance that is heard of first by this part.
    pub fn of(about: &About) -> Self {
        Self { instance: about.instance, past: VecDeque::new(), next: 0, steps: 0, rows: about.rows }
    }
}

/// What was lost before a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The collector has started anew.
    pub anew: bool,
    pub parts: u64,
    pub steps: u64,
}

/// A part on its way to whoever stores it.
pub(crate) struct Received {
    pub part: Part,
    pub bytes: usize,
    pub at: Instant,
}

/// When collectors are to wait for learning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ratio {
    pub warm_up_steps: u64,
    pub updates_per_step: f64,
    /// How far acting may be ahead; none is as far as it goes.
    pub steps_ahead: Option<u64>,
}

/// What is received, for whom, and what is answered.
pub(crate) struct Hub {
    run: u64,
    form: Form,
    ratio: Ratio,
    /// At most so many collectors, and rows of theirs.
    most: [usize; 2],
    queue: SyncSender<Received>,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    members: BTreeMap<String, Member>,
    /// Those who are there now.
    alive: BTreeSet<String>,
    /// Who came and went, until somebody looks.
    changes: VecDeque<(String, bool)>,
    /// Those who were told that the run is over.
    told: BTreeSet<String>,
    /// The steps taken in all, those in the queue included.
    steps: u64,
    /// The updates made.
    updates: u64,
    policy: Published,
    rejected: [u64; 3],
}

/// Whether experience is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Up to so many steps.
    Until(u64),
    Paused,
    Over,
}

struct Published {
    version: u64,
    /// All that is answered to whoever has an older one but how things stand: exploration and bytes.
    exploration: Exploration,
    informed: f64,
    bytes: std::sync::Arc<[u8]>,
}

const DUPLICATE: usize = 0;
const REFUSED: usize = 1;
const POSTPONED: usize = 2;

/// Nobody looks at more than this.
const MOST_CHANGES: usize = 1000;

impl Hub {
    pub fn new(
        run: u64,
        form: Form,
        ratio: Ratio,
        most: [usize; 2],
        queue: SyncSender<Received>,
        members: BTreeMap<String, Member>,
    ) -> Self {
        let policy =
            Published { version: 0, exploration: Exploration::default(), informed: 0.0, bytes: [].into() };
        let state = State {
            phase: Phase::Paused,
            members,
            alive: BTreeSet::new(),
            changes: VecDeque::new(),
            told: BTreeSet::new(),
            steps: 0,
            updates: 0,
            policy,
            rejected: [0; 3],
        };
        Self { run, form, ratio, most, queue, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is done while it is held is done at once: a panic leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes experience from now on, up to so many steps in all, of which there are `steps`.
    pub fn go_on(&self, steps: u64, until: u64) {
        let mut state = self.state();
        (state.phase, state.steps) = (Phase::Until(until), steps);
    }

    /// Takes no experience for now.
    pub fn pause(&self) {
        self.state().phase = Phase::Paused;
    }

    /// Tells everybody that the run is over, and waits for a while until they have heard it.
    pub fn end(&self, patience: Duration) {
        self.state().phase = Phase::Over;
        let begun = Instant::now();
        while begun.elapsed() < patience && !self.all_know() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn all_know(&self) -> bool {
        let state = self.state();
        state.alive.iter().all(|name| state.told.contains(name))
    }

    /// Publishes a policy.
    pub fn publish(&self, version: u64, exploration: Exploration, informed: f64, bytes: Vec<u8>) {
        let published = Published { version, exploration, informed, bytes: bytes.into() };
        self.state().policy = published;
    }

    /// Says how many updates were made, of which the latest policy published is the last or nearly.
    pub fn updated(&self, updates: u64) {
        self.state().updates = updates;
    }

    /// Takes note that a collector is there, or no longer is.
    pub fn heard_of(&self, name: &str, alive: bool) {
        let mut state = self.state();
        let changed = match alive {
            true => state.alive.len() < self.most[0] && state.alive.insert(name.into()),
            false => state.alive.remove(name),
        };
        if changed && state.changes.len() < MOST_CHANGES {
            state.changes.push_back((name.into(), alive));
        }
    }

    /// Who came and went since somebody looked.
    pub fn changes(&self) -> VecDeque<(String, bool)> {
        std::mem::take(&mut self.state().changes)
    }

    pub fn collectors(&self) -> usize {
        self.state().alive.len()
    }

    /// What was not taken since somebody looked: duplicates, refusals, postponements.
    pub fn rejected(&self) -> [u64; 3] {
        std::mem::take(&mut self.state().rejected)
    }

    /// Answers experience.
    pub fn experience(&self, name: &str, bytes: &[u8]) -> Result<Receipt, Refused> {
        // What takes time, before anybody else has to wait.
        let part = Part::of_bytes(bytes, self.run, &self.form);
        let mut state = self.state();
        let answered = part.and_then(|part| self.take(&mut state, name, part, bytes.len()));
        answered.inspect_err(|refused| {
            tracing::debug!(name, refused.reason, "a part was refused");
            state.rejected[REFUSED] += 1;
        })
    }

    fn take(&self, state: &mut State, name: &str, part: Part, bytes: usize) -> Result<Receipt, Refused> {
        let about = &part.about;
        let (instance, sequence) = (about.instance, about.sequence);
        if about.collector != name {
            // The address has no checksum: it was damaged, or this is not the part's sender.
            let refused = Refused::new(format!("a part of {} in the name of {name}", about.collector));
            return Err(Refused { again: true, ..refused });
        }
        let mut expected = (0, 0);
        match state.members.get(name) {
            Some(member) if member.instance == instance => expected = (member.next, member.steps),
            Some(member) if member.past.contains(&instance) => {
                return Err(Refused::new(
                    "another collector of this name has started since: each has to have a name of its own",
                ));
            }
            Some(_) => {}
            None if state.members.len() >= self.most[0] => {
                return Err(Refused::new(format!(
                    "there were {} collectors of other names already (Fleet::collectors)",
                    self.most[0]
                )));
            }
            None => {}
        }
        if sequence < expected.0 {
            state.rejected[DUPLICATE] += 1;
            return Ok(self.receipt(state, expected.0, name));
        }
        if about.steps_before < expected.1 {
            return Err(Refused::new("a part of steps that were made before those of an earlier part"));
        }
        let others = state.members.iter().filter(|(other, _)| *other != name);
        let rows: usize = others.map(|(_, member)| member.rows).sum();
        if rows + about.rows > self.most[1] {
            return Err(Refused::new(format!(
                "{rows} rows of other collectors and {} of this one, accepted: up to {} in all, half of the \
                 replay's capacity at most",
                about.rows, self.most[1]
            )));
        }
        let (about, steps) = (about.clone(), part.steps());
        let open = matches!(state.phase, Phase::Until(until) if state.steps < until);
        if !open || self.queue.try_send(Received { part, bytes, at: Instant::now() }).is_err() {
            state.rejected[POSTPONED] += 1;
            let receipt = self.receipt(state, expected.0, name);
            let go = if receipt.go == Go::On { Go::Wait } else { receipt.go };
            return Ok(Receipt { go, ..receipt });
        }
        state.steps += steps;
        let member = state.members.entry(name.into()).or_insert_with(|| Member::of(&about));
        member.take(&about, steps);
        let next = member.next;
        Ok(self.receipt(state, next, name))
    }

    fn receipt(&self, state: &mut State, next: u64, name: &str) -> Receipt {
        let go = match state.phase {
            Phase::Over => {
                if state.alive.contains(name) {
                    state.told.insert(name.into());
                }
                Go::Stop
            }
            Phase::Paused => Go::Wait,
            Phase::Until(until) => {
                let Ratio { warm_up_steps, updates_per_step, steps_ahead } = self.ratio;
                let behind = |ahead| {
                    updates_due(state.steps.saturating_sub(ahead), warm_up_steps, updates_per_step)
                        > state.updates
                };
                if state.steps >= until || steps_ahead.is_some_and(behind) { Go::Wait } else { Go::On }
            }
        };
        Receipt { run: self.run, next, version: state.policy.version, go }
    }

    /// Answers a question for the policy.
    pub fn policy(&self, name: &str, bytes: &[u8]) -> Result<Vec<u8>, Refused> {
        let question = message::of_bytes(bytes).and_then(|question: Question| match question.format {
            FORMAT => Ok(question),
            format => Err(Refused::new(format!(
                "messages of format {format}, accepted: {FORMAT}, which mpo {} speaks: let all run the same \
                 version",
                env!("CARGO_PKG_VERSION")
            ))),
        });
        let mut state = self.state();
        let Question { version, .. } = question.inspect_err(|_| state.rejected[REFUSED] += 1)?;
        let next = state.members.get(name).map_or(0, |member| member.next);
        let receipt = self.receipt(&mut state, next, name);
        let Published { version: newest, exploration, informed, bytes } = &state.policy;
        let newer = !bytes.is_empty() && version.is_none_or(|version| version != *newest);
        let (exploring, bytes) = if newer {
            let (exploration, bytes) = (exploration.clone(), bytes.clone());
            (Some(Exploring { exploration, informed: *informed, bytes: bytes.len() }), bytes)
        } else {
            (None, [].into())
        };
        drop(state);
        let snapshot = Snapshot { receipt, exploring };
        snapshot.to_bytes(&bytes).map_err(|error| Refused::new(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
