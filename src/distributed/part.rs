//! Experience on its way: a [`Part`] of what happened in a collector's environment.

use std::io::Cursor;

use serde::{Deserialize, Serialize};

use super::is_name;
use super::message::{FORMAT, Refused};
use crate::acting::Happening;
use crate::action_space::ActionSpace;
use crate::checks::check_reward;
use crate::error::Error;
use crate::experience::action::Action;
use crate::experience::environment::Step;
use crate::experience::replay::STREAMS;
use crate::files::file::{self, Input, Kind, Refusal};

/// What a part is of: its sizes and bounds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Form {
    pub observation_size: usize,
    pub space: ActionSpace,
}

impl Form {
    /// A number that other bounds do not have.
    fn bounds(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        for number in self.space.low().iter().chain(self.space.high()) {
            hasher.update(&number.to_le_bytes());
        }
        for &count in self.space.choices() {
            hasher.update(&(count as u64).to_le_bytes());
        }
        hasher.finalize()
    }

    /// The most bytes that a part has.
    pub fn longest(&self) -> usize {
        let event = 3 + 4 * (self.observation_size + self.space.size() + 2);
        (MOST_EVENTS + STREAMS) * event + LONGEST_HEADER
    }
}

/// No part has more events.
pub(crate) const MOST_EVENTS: usize = 1 << 14;
const LONGEST_HEADER: usize = 1 << 20;
/// The most letters of what an environment says when it fails.
const LONGEST_FAILURE: usize = 200;

/// What happened in all rows of a collector's environment for a while, in the order in which it happened.
#[derive(Debug)]
pub(crate) struct Part {
    pub about: About,
    /// The episodes that were under way before: with what is known of them, so that a part can be stored
    /// though the one before it was lost.
    pub continued: Vec<Continued>,
    pub happened: Vec<Happening>,
}

/// An episode that was under way.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Continued {
    pub row: usize,
    /// Of its rewards.
    pub sum: f64,
    /// Its latest.
    pub observation: Vec<f32>,
}

/// Which part it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct About {
    pub run: u64,
    pub collector: String,
    /// New whenever a collector starts.
    pub instance: u64,
    /// From 0 on, one more in each part of an instance.
    pub sequence: u64,
    /// Of the policy that was acted by.
    pub version: u64,
    /// The steps that this instance had made before.
    pub steps_before: u64,
    /// Steps of this part whose action came late.
    pub late_steps: u64,
    /// From the first of these steps to when it was sent.
    pub age_seconds: f64,
    pub rows: usize,
}

const PART: Kind = Kind {
    name: "mpo experience",
    version: FORMAT,
    accepted: "experience of format version 1, which mpo 0.2 sends and takes: let all run the same version",
};

/// What stands before the numbers.
#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(flatten)]
    about: About,
    observation_size: usize,
    action_size: usize,
    bounds: u32,
    continued: Vec<(usize, f64)>,
    events: usize,
    failures: Vec<String>,
}

/// What happened, in a byte.
const BEGAN: u8 = 0;
const FAILED: u8 = 1;
/// With `TERMINATED` and `TRUNCATED` added.
const STEP: u8 = 2;
const TERMINATED: u8 = 1;
const TRUNCATED: u8 = 2;

impl Part {
    /// How many steps were made.
    pub fn steps(&self) -> u64 {
        self.happened.iter().filter(|event| matches!(event, Happening::Stepped { .. })).count() as u64
    }

    /// The bytes of the part that consists of these, sent at this age.
    pub fn bytes(
        about: &About,
        continued: &[Continued],
        happened: &[Happening],
        form: &Form,
        age_seconds: f64,
    ) -> Vec<u8> {
        let failures = happened.iter().filter_map(|event| match event {
            Happening::Failed { error, .. } => {
                Some(error.to_string().chars().take(LONGEST_FAILURE).collect())
            }
            _ => None,
        });
        let header = Header {
            about: About { age_seconds, ..about.clone() },
            observation_size: form.observation_size,
            action_size: form.space.size(),
            bounds: form.bounds(),
            continued: continued.iter().map(|of| (of.row, of.sum)).collect(),
            events: happened.len(),
            failures: failures.collect(),
        };
        let mut kinds = Vec::with_capacity(3 * happened.len());
        let mut numbers: Vec<f32> = continued.iter().flat_map(|of| of.observation.clone()).collect();
        for event in happened {
            let (kind, row) = match event {
                Happening::Began { row, observation, .. } => {
                    numbers.extend(observation);
                    (BEGAN, row)
                }
                Happening::Stepped { row, action, step } => {
                    numbers.extend(&action.values);
                    numbers.extend([action.log_probability, step.reward]);
                    numbers.extend(&step.observation);
                    let ends = u8::from(step.terminated) * TERMINATED + u8::from(step.truncated) * TRUNCATED;
                    (STEP + ends, row)
                }
                Happening::Failed { row, .. } => (FAILED, row),
            };
            kinds.push(kind);
            // Fewer than 4096.
            kinds.extend((*row as u16).to_le_bytes());
        }
        let mut bytes = Vec::with_capacity(1024 + kinds.len() + 4 * numbers.len());
        // Writing to memory does not fail.
        let _ = file::write_to(&mut bytes, &PART, &header, |output| {
            output.bytes(&kinds)?;
            output.floats(&numbers)
        });
        bytes
    }

    /// The part of these bytes, if it is one of `run` and of this form: whole, finite, in an order that can
    /// be.
    pub fn of_bytes(bytes: &[u8], run: u64, form: &Form) -> Result<Self, Refused> {
        if bytes.len() > form.longest() {
            let longest = form.longest();
            return Err(Refused::new(format!("a part of {} bytes, accepted: up to {longest}", bytes.len())));
        }
        let parsed = file::parse(&mut Cursor::new(bytes), &PART, |header: Header, input| {
            read(header, input, run, form)
        });
        parsed.map_err(Refused::of)
    }
}

/// Checks a header.
fn check(header: &Header, run: u64, form: &Form) -> Result<(), Refusal> {
    let Header { about, observation_size, action_size, bounds, continued, events, .. } = header;
    let other = |found: String, accepted| Err(Refusal::Other(found, accepted));
    if about.run != run {
        return other(format!("experience of the run {:x}", about.run), "that of the run under way");
    }
    if !is_name(&about.collector) {
        return other("a collector without a proper name".into(), "see CollectorConfig::name");
    }
    if [*observation_size, *action_size] != [form.observation_size, form.space.size()] {
        let found =
            format!("experience of observations of {observation_size} and actions of {action_size} numbers");
        return other(found, "the sizes of the run's own");
    }
    if *bounds != form.bounds() {
        return other("experience of actions of other bounds or choices".into(), "those of the run's own");
    }
    if !(1..=STREAMS).contains(&about.rows) {
        return other(format!("experience of {} rows", about.rows), "1 to 4096");
    }
    if *events > MOST_EVENTS || continued.len() > about.rows {
        return other(format!("a part of {events} events"), "up to 16384, in the rows that there are");
    }
    let counts = [about.sequence, about.version, about.steps_before, about.late_steps];
    if counts.iter().any(|&count| count >= 1 << 53) || !(0.0..1e9).contains(&about.age_seconds) {
        return other("a part with a count beyond all that can be".into(), "counts below 2^53");
    }
    Ok(())
}

/// Reads the numbers behind a header.
fn read(header: Header, input: &mut Input<'_>, run: u64, form: &Form) -> Result<Part, Refusal> {
    check(&header, run, form)?;
    let Header { about, continued, events, failures, .. } = header;
    let refused = |found: String| Refusal::Other(found, "what can happen in an environment");
    let kinds = input.bytes(3 * events)?;
    let (kinds, _) = kinds.as_chunks::<3>();
    let (n, size) = (form.observation_size, form.space.size());
    let mut under_way = vec![false; about.rows];
    let mut read = Part { about, continued: Vec::new(), happened: Vec::with_capacity(events) };
    for (row, sum) in continued {
        match under_way.get_mut(row) {
            Some(under_way) if !*under_way && sum.is_finite() => *under_way = true,
            _ => return Err(refused(format!("an episode that goes on in row {row}"))),
        }
        read.continued.push(Continued { row, sum, observation: input.floats(n)? });
    }
    let mut failures = failures.into_iter();
    for &[kind, low, high] in kinds {
        let row = usize::from(u16::from_le_bytes([low, high]));
        let Some(under_way) = under_way.get_mut(row) else {
            return Err(refused(format!("an event in row {row}")));
        };
        read.happened.push(match kind {
            BEGAN => {
                *under_way = true;
                Happening::Began { row, seed: 0, observation: input.floats(n)? }
            }
            FAILED => {
                *under_way = false;
                let text = failures.next().filter(|text| text.chars().count() <= LONGEST_FAILURE);
                let text =
                    text.ok_or_else(|| refused("a failure without a word, or with too many".into()))?;
                Happening::Failed {
                    row,
                    error: Error::Environment { place: "a collector", source: text.into() },
                }
            }
            STEP..=5 if *under_way => {
                let mut numbers = input.floats(size + 2 + n)?;
                let observation = numbers.split_off(size + 2);
                let (log_probability, reward) = (numbers[size], numbers[size + 1]);
                numbers.truncate(size);
                let words = |error: Error| refused(error.to_string());
                form.space.to_environment(&numbers).map_err(words)?;
                check_reward(reward).map_err(words)?;
                let ends = kind - STEP;
                let (terminated, truncated) = (ends & TERMINATED > 0, ends & TRUNCATED > 0);
                *under_way = ends == 0;
                let step = Step { observation, reward, terminated, truncated };
                Happening::Stepped { row, action: Action { values: numbers, log_probability }, step }
            }
            STEP..=5 => return Err(refused(format!("a step in row {row}, where no episode is under way"))),
            _ => return Err(refused(format!("an event of the kind {kind}"))),
        });
    }
    if failures.next().is_some() {
        return Err(refused("words on a failure that there was not".into()));
    }
    if read.about.late_steps > read.steps() {
        return Err(refused("more late steps than steps".into()));
    }
    Ok(read)
}
