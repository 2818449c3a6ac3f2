//! The replay buffer: episodes in, transitions and sequences out.

mod memory;
mod saved;

use std::collections::VecDeque;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::batch::{Sequences, Transitions};
use crate::error::{Error, Result, check, check_count, check_finite, check_size};
use crate::host::tensor;
use crate::rng::Rng;

/// One step as it is stored: the action taken, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Experience<'a> {
    /// The action as the policy sampled it (before it was clipped to [-1, 1]), `[action]`.
    pub action: &'a [f32],
    /// log b(a|s) of the behaviour policy that sampled it.
    pub log_probability: f32,
    /// The reward.
    pub reward: f32,
    /// The observation after the action, `[observation]`, also at the episode's end.
    pub next_observation: &'a [f32],
    /// The task ended: nothing is bootstrapped from the next observation.
    pub terminated: bool,
    /// The episode was cut off: the next observation's value still counts.
    pub truncated: bool,
}

/// What leaves a stored observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A step to the next observation.
    Step,
    /// A step that ended the task.
    Terminated,
    /// Nothing: the episode's last observation, or the latest of the episode under way.
    Last,
}

/// One episode held, or what is left of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Episode {
    /// The sum of its rewards, also of those evicted.
    sum: f64,
    /// Whether it came to its end, rather than being under way or broken off.
    complete: bool,
}

/// Stores episodes, each observation once, and evicts the oldest steps when full.
///
/// Sampling is uniform over all steps held, those of the episode under way included. An episode of T steps takes
/// T + 1 of the capacity, one for each observation, of 4 (observation + action) + 9 bytes each; memory grows with what
/// is stored, up to the capacity ([`bytes_at_capacity`](Self::bytes_at_capacity)).
#[derive(Debug, Clone)]
pub struct ReplayBuffer {
    capacity: usize,
    observation_size: usize,
    action_size: usize,
    // A ring over the observations: number i stands at i % capacity.
    observations: Vec<f32>,
    actions: Vec<f32>,
    rewards: Vec<f32>,
    log_probabilities: Vec<f32>,
    kinds: Vec<Kind>,
    /// The number of the oldest observation held.
    oldest: usize,
    /// The number that the next observation gets.
    next: usize,
    episodes: VecDeque<Episode>,
    steps: usize,
}

impl ReplayBuffer {
    /// An empty buffer for `capacity` observations of these sizes.
    ///
    /// # Errors
    /// If the capacity is below 2 or a size is 0, or the buffer would not fit into the machine's memory once
    /// it is full.
    pub fn new(capacity: usize, observation_size: usize, action_size: usize) -> Result<Self> {
        check("ReplayBuffer::capacity", capacity, |&capacity| capacity >= 2, "at least 2")?;
        check_count("observation_size", observation_size, 1)?;
        check_count("action_size", action_size, 1)?;
        memory::fits(capacity, observation_size, action_size).map_err(|value| Error::Config {
            field: "ReplayBuffer::capacity",
            value,
            accepted: memory::ACCEPTED,
        })?;
        Ok(Self {
            capacity,
            observation_size,
            action_size,
            observations: Vec::new(),
            actions: Vec::new(),
            rewards: Vec::new(),
            log_probabilities: Vec::new(),
            kinds: Vec::new(),
            oldest: 0,
            next: 0,
            episodes: VecDeque::new(),
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

    /// The mean return (sum of rewards) of the complete episodes of which something is still held; none where there is
    /// no such episode. The paper's measure of progress.
    pub fn mean_return(&self) -> Option<f64> {
        let complete = self.episodes.iter().filter(|episode| episode.complete);
        let (count, sum) = complete.fold((0, 0.0), |(count, sum), episode| (count + 1, sum + episode.sum));
        (count > 0).then(|| sum / f64::from(count))
    }

    /// The mean reward of the steps held; none where the buffer is empty.
    pub fn mean_reward(&self) -> Option<f64> {
        // Added up anew: what large rewards round away from a running sum stays away when they are evicted.
        let held = (self.oldest..self.next).filter(|&position| self.kind(position) != Kind::Last);
        let sum: f64 = held.map(|position| f64::from(self.rewards[position % self.capacity])).sum();
        (self.steps > 0).then(|| sum / self.steps as f64)
    }

    /// The latest `steps` steps, oldest first, each as the observation it left and the action taken, then the latest
    /// observation with an action that means nothing; none where they are not all held, or not of one episode.
    pub(crate) fn latest(&self, steps: usize) -> Option<impl Iterator<Item = (&[f32], &[f32])>> {
        let last = self.next.checked_sub(1)?;
        let first = last.checked_sub(steps).filter(|&first| first >= self.oldest)?;
        let row = move |position: usize| {
            let place = position % self.capacity;
            let observation = &self.observations[place * self.observation_size..][..self.observation_size];
            (observation, &self.actions[place * self.action_size..][..self.action_size])
        };
        (first..last).all(|position| self.kind(position) == Kind::Step).then(|| (first..=last).map(row))
    }

    /// Starts an episode with its first observation. An episode that was under way stays as far as it went.
    ///
    /// # Errors
    /// Where the observation has the wrong size or is not finite; nothing is stored then.
    pub fn begin_episode(&mut self, observation: &[f32]) -> Result<()> {
        check_size("observation", observation.len(), self.observation_size)?;
        check_finite("observation", observation)?;
        self.append(observation);
        self.episodes.push_back(Episode { sum: 0.0, complete: false });
        Ok(())
    }

    /// Adds a step to the episode under way, and ends that episode where the step did.
    ///
    /// # Errors
    /// Where no episode is under way, a size is wrong or a number is not finite; nothing is stored then.
    pub fn push(&mut self, step: Experience) -> Result<()> {
        check_size("action", step.action.len(), self.action_size)?;
        check_size("observation", step.next_observation.len(), self.observation_size)?;
        check_finite("action", step.action)?;
        check_finite("log_probability", &[step.log_probability])?;
        check_finite("reward", &[step.reward])?;
        check_finite("observation", step.next_observation)?;
        let Some(episode) = self.episodes.back_mut().filter(|episode| !episode.complete) else {
            return Err(Error::Order {
                place: "ReplayBuffer::push",
                expected: "begin_episode has to come first",
            });
        };
        episode.sum += f64::from(step.reward);
        episode.complete = step.terminated || step.truncated;
        let latest = (self.next - 1) % self.capacity;
        self.actions[latest * self.action_size..][..self.action_size].copy_from_slice(step.action);
        self.rewards[latest] = step.reward;
        self.log_probabilities[latest] = step.log_probability;
        self.kinds[latest] = if step.terminated { Kind::Terminated } else { Kind::Step };
        self.steps += 1;
        self.append(step.next_observation);
        Ok(())
    }

    /// Samples `count` steps uniformly, each with the return over up to `steps` steps from it at this `discount` γ.
    /// Where the episode ends sooner, the return is the shorter one.
    ///
    /// # Errors
    /// Where `count` or `steps` is 0, the discount lies outside [0, 1], or no step is held.
    pub fn sample_transitions(
        &self,
        count: usize,
        steps: usize,
        discount: f64,
        rng: &mut Rng,
        device: &Device,
    ) -> Result<Transitions> {
        check("steps", steps, |&steps| steps > 0, "at least 1")?;
        let starts = self.sample_starts(count, 1, discount, rng)?;
        let mut ends = Vec::with_capacity(count);
        let mut rewards = Vec::with_capacity(count);
        let mut discounts = Vec::with_capacity(count);
        for &start in &starts {
            let (mut position, end) = (start, start.saturating_add(steps));
            let (mut sum, mut factor) = (0.0, 1.0);
            while position < end && self.kind(position) != Kind::Last {
                sum += factor * f64::from(self.rewards[position % self.capacity]);
                factor *= self.discount_after(position, discount);
                position += 1;
            }
            ends.push(position);
            rewards.push(sum as f32);
            discounts.push(factor as f32);
        }
        let [observation, action] = [self.observation_size, self.action_size];
        Ok(Transitions {
            observations: tensor(
                self.gather(&self.observations, observation, starts.iter().copied()),
                [count, observation],
                device,
            ),
            actions: tensor(
                self.gather(&self.actions, action, starts.iter().copied()),
                [count, action],
                device,
            ),
            rewards: tensor(rewards, [count], device),
            discounts: tensor(discounts, [count], device),
            next_observations: tensor(
                self.gather(&self.observations, observation, ends.into_iter()),
                [count, observation],
                device,
            ),
        })
    }

    /// Samples `count` sequences of exactly `steps` steps, uniformly over all that lie inside one episode.
    ///
    /// # Errors
    /// Where `count` or `steps` is 0, the discount lies outside [0, 1], or no episode has that many steps left.
    pub fn sample_sequences(
        &self,
        count: usize,
        steps: usize,
        discount: f64,
        rng: &mut Rng,
        device: &Device,
    ) -> Result<Sequences> {
        check("steps", steps, |&steps| steps > 0, "at least 1")?;
        let starts = self.sample_starts(count, steps, discount, rng)?;
        let [observation, action] = [self.observation_size, self.action_size];
        let each = |extra: usize| starts.iter().flat_map(move |&start| start..start + steps + extra);
        let discounts = each(0).map(|position| self.discount_after(position, discount) as f32).collect();
        Ok(Sequences {
            observations: tensor(
                self.gather(&self.observations, observation, each(1)),
                [count, steps + 1, observation],
                device,
            ),
            actions: tensor(self.gather(&self.actions, action, each(0)), [count, steps, action], device),
            rewards: tensor(self.gather(&self.rewards, 1, each(0)), [count, steps], device),
            discounts: tensor(discounts, [count, steps], device),
            log_probabilities: tensor(
                self.gather(&self.log_probabilities, 1, each(0)),
                [count, steps],
                device,
            ),
        })
    }

    /// The numbers of `count` observations that `steps` steps follow.
    fn sample_starts(&self, count: usize, steps: usize, discount: f64, rng: &mut Rng) -> Result<Vec<usize>> {
        check_count("count", count, 1)?;
        check("discount", discount, |discount| (0.0..=1.0).contains(discount), "0 to 1")?;
        // Nearly every draw fits while episodes are long. Where they are short, the starts are listed instead.
        let held = self.next - self.oldest;
        let fits = |&start: &usize| {
            start.saturating_add(steps) < self.next
                && (start..start + steps).all(|position| self.kind(position) != Kind::Last)
        };
        let mut starts = Vec::with_capacity(count);
        for _ in 0..if held > 0 { 4 * count } else { 0 } {
            starts.extend(Some(self.oldest + rng.index(held)).filter(fits));
            if starts.len() == count {
                return Ok(starts);
            }
        }
        let all: Vec<usize> = (self.oldest..self.next).filter(fits).collect();
        if all.is_empty() {
            return Err(Error::ReplayTooSmall {
                what: "steps in a row",
                held: self.longest(),
                needed: steps,
            });
        }
        while starts.len() < count {
            starts.push(all[rng.index(all.len())]);
        }
        Ok(starts)
    }

    /// The longest run of steps held of any one episode.
    fn longest(&self) -> usize {
        let run = |(longest, run): (usize, usize), position| match self.kind(position) {
            Kind::Last => (longest, 0),
            _ => (longest.max(run + 1), run + 1),
        };
        (self.oldest..self.next).fold((0, 0), run).0
    }

    fn kind(&self, position: usize) -> Kind {
        self.kinds[position % self.capacity]
    }

    fn discount_after(&self, position: usize, discount: f64) -> f64 {
        if self.kind(position) == Kind::Terminated { 0.0 } else { discount }
    }

    fn gather(&self, values: &[f32], width: usize, positions: impl Iterator<Item = usize>) -> Vec<f32> {
        let mut rows = Vec::with_capacity(positions.size_hint().0 * width);
        for position in positions {
            rows.extend_from_slice(&values[position % self.capacity * width..][..width]);
        }
        rows
    }

    /// Adds an observation that nothing leaves yet, in the place of the oldest where the buffer is full.
    fn append(&mut self, observation: &[f32]) {
        if self.next - self.oldest == self.capacity {
            self.evict_oldest();
        }
        let place = self.next % self.capacity;
        if place == self.kinds.len() {
            self.observations.extend_from_slice(observation);
            self.actions.resize(self.actions.len() + self.action_size, 0.0);
            self.rewards.push(0.0);
            self.log_probabilities.push(0.0);
            self.kinds.push(Kind::Last);
        } else {
            self.observations[place * self.observation_size..][..self.observation_size]
                .copy_from_slice(observation);
            self.kinds[place] = Kind::Last;
        }
        self.next += 1;
    }

    fn evict_oldest(&mut self) {
        if self.kind(self.oldest) == Kind::Last {
            self.episodes.pop_front();
        } else {
            self.steps -= 1;
        }
        self.oldest += 1;
    }
}
