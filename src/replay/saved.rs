//! A replay in a file, row for row where it stood in memory.

use std::collections::VecDeque;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Episode, Kind, ReplayBuffer, memory};
use crate::error::Result;
use crate::file::{self, Input, Refusal};

const FILE: file::Kind = file::Kind {
    name: "mpo replay",
    version: 1,
    accepted: "a replay's file of format version 1, which mpo 0.1 writes and reads",
};

/// What stands before the rows: all observations, actions, rewards, log-probabilities and kinds.
#[derive(Serialize, Deserialize)]
struct Header {
    capacity: usize,
    observation_size: usize,
    action_size: usize,
    oldest: usize,
    next: usize,
    episodes: VecDeque<Episode>,
}

impl ReplayBuffer {
    /// Writes all that is held to a file, about as large as the memory it takes, without a second copy in memory. What
    /// stood there before is replaced at once, or not at all.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let header = Header {
            capacity: self.capacity,
            observation_size: self.observation_size,
            action_size: self.action_size,
            oldest: self.oldest,
            next: self.next,
            episodes: self.episodes.clone(),
        };
        file::write(path.as_ref(), &FILE, &header, |file| {
            file.floats(&self.observations)?;
            file.floats(&self.actions)?;
            file.floats(&self.rewards)?;
            file.floats(&self.log_probabilities)?;
            let kinds: Vec<u8> = self.kinds.iter().map(|&kind| kind as u8).collect();
            file.bytes(&kinds)
        })
    }

    /// Reads a replay from its file: with the same generator it samples what the one that was saved would have.
    ///
    /// # Errors
    /// If the file cannot be read, is not a replay's, is damaged, has another version of the format, or the
    /// replay would not fit into this machine's memory once it is full.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        file::read(path.as_ref(), &FILE, Self::from_file)
    }

    fn from_file(header: Header, file: &mut Input<'_>) -> Result<Self, Refusal> {
        let Header { capacity, observation_size, action_size, oldest, next, episodes } = header;
        memory::fits(capacity, observation_size, action_size)
            .map_err(|lack| Refusal::Other(format!("a replay of capacity {lack}"), memory::ACCEPTED))?;
        let empty = Self::new(capacity, observation_size, action_size).map_err(|error| error.to_string())?;
        let rows = next.min(capacity);
        if next > usize::MAX / 2 || next.checked_sub(oldest).is_none_or(|held| held > rows) {
            return Err(format!("observations {oldest} to {next} in a replay of {capacity}").into());
        }
        let numbers = |width: usize| rows.checked_mul(width).ok_or("rows beyond all numbers");
        let replay = Self {
            observations: file.floats(numbers(observation_size)?)?,
            actions: file.floats(numbers(action_size)?)?,
            rewards: file.floats(rows)?,
            log_probabilities: file.floats(rows)?,
            kinds: file.bytes(rows)?.into_iter().map(Kind::from_number).collect::<Result<_, _>>()?,
            oldest,
            next,
            episodes,
            ..empty
        };
        let ends = (oldest..next).filter(|&position| replay.kind(position) == Kind::Last).count();
        let begun = next > oldest && replay.kind(next - 1) != Kind::Last;
        if begun || ends != replay.episodes.len() {
            return Err(format!("{ends} ends of {} episodes", replay.episodes.len()).into());
        }
        Ok(Self { steps: next - oldest - ends, ..replay })
    }
}

impl Kind {
    fn from_number(number: u8) -> Result<Self, String> {
        let kinds = [Self::Step, Self::Terminated, Self::Last];
        kinds.into_iter().find(|&kind| kind as u8 == number).ok_or_else(|| format!("a step of kind {number}"))
    }
}
