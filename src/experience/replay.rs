//! The replay buffer: episodes in, batches out.

mod memory;
mod sampling;
mod saved;
mod stream;

use std::collections::BTreeMap;
use std::iter::successors;

use serde::{Deserialize, Serialize};

use crate::checks::{check, check_count};
use crate::error::{Error, Result};
use crate::experience::action::Action;
use crate::experience::environment::Step;

pub use stream::EpisodeWriter;
pub(crate) use stream::STREAMS;

/// What leaves a stored observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A step to the next observation.
    Step,
    /// A step that ended the task.
    Terminated,
    /// Nothing: the episode's last observation, or the latest of one under way.
    Last,
}

/// An episode of which something is held.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Episode {
    /// The number of its last observation.
    last: usize,
    /// The sum of its rewards, also of those evicted, once it came to its end, rather than being under way or
    /// broken off.
    complete: Option<f64>,
}

/// The episode under way in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct UnderWay {
    /// The number of its latest observation, which may be evicted.
    latest: usize,
    /// The sum of its rewards.
    sum: f64,
}

/// Stores episodes, each observation once, and evicts the oldest observations when full. Several episodes may
/// be under way, each in a [`stream`](Self::stream) of its own.
///
/// Sampling is uniform over all steps held, those of episodes under way included. An episode of T steps takes
/// T + 1 of the capacity, one for each observation, of 4 (observation + action) + 13 bytes each; memory grows
/// with what is stored, up to the capacity ([`bytes_at_capacity`](Self::bytes_at_capacity)).
#[derive(Debug, Clone)]
pub struct ReplayBuffer {
    capacity: usize,
    observation_size: usize,
    action_size: usize,
    // A ring over the observations, in the order they came: number i stands at i % capacity.
    observations: Vec<f32>,
    actions: Vec<f32>,
    rewards: Vec<f32>,
    log_probabilities: Vec<f32>,
    kinds: Vec<Kind>,
    /// The episode as a circle: how far ahead its next observation is, and from its last one how far back the
    /// first one held is.
    links: Vec<u32>,
    /// The number of the oldest observation held.
    oldest: usize,
    /// The number that the next observation gets.
    next: usize,
    /// By the number of the first observation held.
    episodes: BTreeMap<usize, Episode>,
    /// By stream.
    under_way: Vec<Option<UnderWay>>,
    steps: usize,
}

impl ReplayBuffer {
    /// An empty buffer for `capacity` observations of these sizes.
    ///
    /// # Errors
    /// If the capacity is below 2 or beyond 4,294,967,295, a size is 0, or the buffer would not fit into the
    /// machine's memory once it is full.
    pub fn new(capacity: usize, observation_size: usize, action_size: usize) -> Result<Self> {
        check("ReplayBuffer::capacity", capacity, |&capacity| capacity >= 2, "at least 2")?;
        check_count("observation_size", observation_size, 1)?;
        check_count("action_size", action_size, 1)?;
        memory::fits(capacity, observation_size, action_size).map_err(|value| Error::Config {
            field: "ReplayBuffer::capacity",
            value,
            accepted: memory::ACCEPTED,
        })?;
        let linked = |&capacity: &usize| u32::try_from(capacity).is_ok();
        check("ReplayBuffer::capacity", capacity, linked, "at most 4294967295")?;
        Ok(Self {
            capacity,
            observation_size,
            action_size,
            observations: Vec::new(),
            actions: Vec::new(),
            rewards: Vec::new(),
            log_probabilities: Vec::new(),
            kinds: Vec::new(),
            links: Vec::new(),
            oldest: 0,
            next: 0,
            episodes: BTreeMap::new(),
            under_way: Vec::new(),
            steps: 0,
        })
    }

    /// How many steps (transitions) are held.
    pub fn len(&self) -> usize {
        self.steps
    }

    /// Whether no step is held.
    pub fn is_empty(&self) -> bool {
        self.steps == 0
    }

    /// How many observations it was given, those evicted included.
    pub(crate) fn given(&self) -> usize {
        self.next
    }

    /// How many observations fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many numbers an observation has.
    pub fn observation_size(&self) -> usize {
        self.observation_size
    }

    /// How many components an action has.
    pub fn action_size(&self) -> usize {
        self.action_size
    }

    /// The mean return (sum of rewards) of the complete episodes of which something is still held; none if
    /// there is no such episode. The paper's measure of progress.
    pub fn mean_return(&self) -> Option<f64> {
        let complete = self.episodes.values().filter_map(|episode| episode.complete);
        let (count, sum) = complete.fold((0, 0.0), |(count, sum), of_episode| (count + 1, sum + of_episode));
        (count > 0).then(|| sum / f64::from(count))
    }

    /// The mean reward of the steps held; none if the buffer is empty.
    pub fn mean_reward(&self) -> Option<f64> {
        // Added up anew: what large rewards round away from a running sum stays away when they are evicted.
        let held = (self.oldest..self.next).filter(|&position| self.kind(position) != Kind::Last);
        let sum: f64 = held.map(|position| f64::from(self.rewards[position % self.capacity])).sum();
        (self.steps > 0).then(|| sum / self.steps as f64)
    }

    /// Starts an episode with its first observation, in stream 0. An episode that was under way there stays
    /// as far as it went.
    ///
    /// # Errors
    /// If the observation has the wrong size or is not finite; nothing is stored then.
    pub fn begin_episode(&mut self, observation: &[f32]) -> Result<()> {
        self.stream(0)?.begin_episode(observation)
    }

    /// Adds a step to the episode under way in stream 0, and ends that episode if the step did: the action as
    /// the policy sampled it (not clipped to [-1, 1]), and what came of it.
    ///
    /// # Errors
    /// If no episode is under way, a size is wrong, a number is not finite, or the reward lies beyond ±1e12;
    /// nothing is stored then.
    pub fn push(&mut self, action: &Action, step: &Step) -> Result<()> {
        self.stream(0)?.push(action, step)
    }

    /// The episode under way in a stream, oldest step first, each as the observation it left and the action
    /// taken, then the latest observation with an action that means nothing; none if it has not this number
    /// of steps, or they are not all held.
    pub(crate) fn latest(
        &self,
        stream: usize,
        steps: usize,
    ) -> Option<impl ExactSizeIterator<Item = (&[f32], &[f32])>> {
        let UnderWay { latest, .. } = self.under_way.get(stream).copied().flatten()?;
        let first = (latest >= self.oldest).then(|| self.following(latest))?;
        let following = |&position: &usize| (position != latest).then(|| self.following(position));
        let positions: Vec<usize> = successors(Some(first), following).collect();
        (positions.len() - 1 == steps).then(|| {
            positions.into_iter().map(|position| {
                let place = position % self.capacity;
                let observation = &self.observations[place * self.observation_size..];
                let action = &self.actions[place * self.action_size..];
                (&observation[..self.observation_size], &action[..self.action_size])
            })
        })
    }

    fn kind(&self, position: usize) -> Kind {
        self.kinds[position % self.capacity]
    }

    /// The observation that follows in its episode, the first one held on the last one.
    fn following(&self, position: usize) -> usize {
        let link = self.links[position % self.capacity] as usize;
        if self.kind(position) == Kind::Last { position - link } else { position + link }
    }

    /// Adds an observation that nothing leaves yet, of an episode of its own, in the place of the oldest if
    /// the buffer is full. Its number.
    fn append(&mut self, observation: &[f32]) -> usize {
        if self.next - self.oldest == self.capacity {
            self.evict_oldest();
        }
        let (position, place) = (self.next, self.next % self.capacity);
        if place == self.kinds.len() {
            self.observations.extend_from_slice(observation);
            self.actions.resize(self.actions.len() + self.action_size, 0.0);
            self.rewards.push(0.0);
            self.log_probabilities.push(0.0);
            self.kinds.push(Kind::Last);
            self.links.push(0);
        } else {
            self.observations[place * self.observation_size..][..self.observation_size]
                .copy_from_slice(observation);
            self.kinds[place] = Kind::Last;
            self.links[place] = 0;
        }
        self.next += 1;
        position
    }

    /// Makes a circle of the episode that is held from `first` on.
    fn close_circle(&mut self, first: usize, episode: Episode) {
        // Below the capacity, which fits.
        self.links[episode.last % self.capacity] = (episode.last - first) as u32;
        self.episodes.insert(first, episode);
    }

    fn evict_oldest(&mut self) {
        let oldest = self.oldest;
        // Whatever came before it in its episode is evicted already.
        if let Some(episode) = self.episodes.remove(&oldest).filter(|episode| episode.last != oldest) {
            self.steps -= 1;
            self.close_circle(self.following(oldest), episode);
        }
        self.oldest += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a resumed run plays again.
    #[test]
    fn the_latest_steps_are_those_of_a_stream() {
        let mut replay = ReplayBuffer::new(9, 1, 1).unwrap();
        let push = |replay: &mut ReplayBuffer, stream: usize, number: f32, truncated: bool| {
            let action = Action { values: vec![-number], log_probability: 0.0 };
            let step = Step { observation: vec![number], reward: 0.0, terminated: false, truncated };
            replay.stream(stream).unwrap().push(&action, &step).unwrap();
        };
        let latest = |replay: &ReplayBuffer, stream, steps| -> Option<Vec<f32>> {
            let rows = replay.latest(stream, steps)?;
            Some(rows.flat_map(|(observation, action)| [observation[0], action[0]]).collect())
        };
        assert_eq!(latest(&replay, 0, 0), None);
        for stream in [0, 2] {
            replay.stream(stream).unwrap().begin_episode(&[stream as f32]).unwrap();
        }
        for number in 3..6 {
            push(&mut replay, 2, number as f32, false);
            push(&mut replay, 0, 10.0 * number as f32, number == 5);
        }
        assert_eq!(latest(&replay, 2, 3), Some(vec![2.0, -3.0, 3.0, -4.0, 4.0, -5.0, 5.0, 0.0]));
        assert_eq!(latest(&replay, 2, 2), None, "it has three steps");
        assert_eq!([latest(&replay, 1, 0), latest(&replay, 7, 0)], [None, None], "never begun");
        assert_eq!(latest(&replay, 0, 3), None, "it is over");
        push(&mut replay, 2, 6.0, false);
        assert!(latest(&replay, 2, 4).is_some());
        push(&mut replay, 2, 7.0, false);
        push(&mut replay, 2, 8.0, false);
        assert_eq!(latest(&replay, 2, 6), None, "its first observation is evicted");
    }
}
