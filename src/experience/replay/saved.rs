//! A replay in a file, row for row where it stood in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Episode, Kind, ReplayBuffer, UnderWay, memory};
use crate::error::Result;
use crate::files::file::{self, Input, Refusal};

const FILE: file::Kind = file::Kind {
    name: "mpo replay",
    version: 2,
    accepted: "a replay's file of format version 2, which mpo 0.2 writes and reads; version 1 was that of its \
               development",
};

/// What stands before the rows: all observations, actions, rewards, log-probabilities, kinds and links.
#[derive(Serialize, Deserialize)]
struct Header {
    capacity: usize,
    observation_size: usize,
    action_size: usize,
    oldest: usize,
    next: usize,
    /// The returns of the complete episodes, in the order of the first observations held.
    complete: Vec<Option<f64>>,
    under_way: Vec<Option<UnderWay>>,
}

impl ReplayBuffer {
    /// Writes all that is held to a file, about as large as the memory it takes, without a second copy in
    /// memory. What stood there before is replaced at once, or not at all.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let header = Header {
            capacity: self.capacity,
            observation_size: self.observation_size,
            action_size: self.action_size,
            oldest: self.oldest,
            next: self.next,
            complete: self.episodes.values().map(|episode| episode.complete).collect(),
            under_way: self.under_way.clone(),
        };
        file::write(path.as_ref(), &FILE, &header, |file| {
            file.floats(&self.observations)?;
            file.floats(&self.actions)?;
            file.floats(&self.rewards)?;
            file.floats(&self.log_probabilities)?;
            let kinds: Vec<u8> = self.kinds.iter().map(|&kind| kind as u8).collect();
            file.bytes(&kinds)?;
            let mut pieces = self.links.chunks(1 << 14);
            pieces.try_for_each(|links| {
                let bytes: Vec<u8> = links.iter().flat_map(|link| link.to_le_bytes()).collect();
                file.bytes(&bytes)
            })
        })
    }

    /// Reads a replay from its file: with the same generator it samples what the one that was saved would
    /// have.
    ///
    /// # Errors
    /// If the file cannot be read, is not a replay's, is damaged, has another version of the format, or the
    /// replay would not fit into this machine's memory once it is full.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        file::read(path.as_ref(), &FILE, Self::from_file)
    }

    fn from_file(header: Header, file: &mut Input<'_>) -> Result<Self, Refusal> {
        let Header { capacity, observation_size, action_size, oldest, next, complete, under_way } = header;
        memory::fits(capacity, observation_size, action_size)
            .map_err(|lack| Refusal::Other(format!("a replay of capacity {lack}"), memory::ACCEPTED))?;
        let mut empty =
            Self::new(capacity, observation_size, action_size).map_err(|error| error.to_string())?;
        empty.stream(under_way.len().saturating_sub(1)).map_err(|error| error.to_string())?;
        let rows = next.min(capacity);
        if next > usize::MAX / 2 || next.checked_sub(oldest).is_none_or(|held| held > rows) {
            return Err(format!("observations {oldest} to {next} in a replay of {capacity}").into());
        }
        let numbers = |width: usize| rows.checked_mul(width).ok_or("rows beyond all numbers");
        let link = |&bytes: &[u8; 4]| u32::from_le_bytes(bytes);
        let mut replay = Self {
            observations: file.floats(numbers(observation_size)?)?,
            actions: file.floats(numbers(action_size)?)?,
            rewards: file.floats(rows)?,
            log_probabilities: file.floats(rows)?,
            kinds: file.bytes(rows)?.into_iter().map(Kind::from_number).collect::<Result<_, _>>()?,
            links: file.bytes(numbers(4)?)?.as_chunks().0.iter().map(link).collect(),
            oldest,
            next,
            under_way,
            ..empty
        };
        replay.episodes = replay.linked(&complete)?;
        replay.steps = next - oldest - complete.len();
        replay.check_under_way()?;
        Ok(replay)
    }

    /// The episodes that the links make, which have to be as many as these, each of them a circle.
    fn linked(&self, complete: &[Option<f64>]) -> Result<BTreeMap<usize, Episode>, String> {
        let mut ends = BTreeMap::new();
        // By the number of an observation that a step leads to, the first one of its episode.
        let mut firsts = BTreeMap::new();
        for position in self.oldest..self.next {
            let first = firsts.remove(&position).unwrap_or(position);
            let link = self.links[position % self.capacity] as usize;
            let fits = match self.kind(position) {
                Kind::Last => {
                    ends.insert(first, position);
                    link == position - first
                }
                Kind::Step | Kind::Terminated => {
                    let next = position.saturating_add(link);
                    link > 0 && next < self.next && firsts.insert(next, first).is_none()
                }
            };
            if !fits {
                return Err(format!("observation {position} with a link to another episode, or to none"));
            }
        }
        if ends.len() != complete.len() {
            return Err(format!("{} ends of {} episodes", ends.len(), complete.len()));
        }
        let episode = |((first, last), &complete)| (first, Episode { last, complete });
        Ok(ends.into_iter().zip(complete).map(episode).collect())
    }

    /// Checks that each stream goes on with an episode of its own, or one that is evicted.
    fn check_under_way(&self) -> Result<(), String> {
        let open = self.episodes.values().filter(|episode| episode.complete.is_none());
        let mut open: BTreeSet<usize> = open.map(|episode| episode.last).collect();
        for (stream, under_way) in self.under_way.iter().enumerate() {
            if under_way.is_some_and(|UnderWay { latest, .. }| latest >= self.oldest && !open.remove(&latest))
            {
                return Err(format!("stream {stream} with an episode under way that is none"));
            }
        }
        Ok(())
    }
}

impl Kind {
    fn from_number(number: u8) -> Result<Self, String> {
        let kinds = [Self::Step, Self::Terminated, Self::Last];
        kinds.into_iter().find(|&kind| kind as u8 == number).ok_or_else(|| format!("a step of kind {number}"))
    }
}
