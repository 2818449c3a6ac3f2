//! Several episodes under way, each written by itself.

use super::{Episode, Kind, ReplayBuffer, UnderWay};
use crate::checks::{check, check_finite, check_reward, check_size};
use crate::error::{Error, Result};
use crate::experience::action::Action;
use crate::experience::environment::Step;

/// More environments than these step on more machines than one.
pub(crate) const STREAMS: usize = 4096;

/// Writes the episodes of one environment into a replay ([`ReplayBuffer::stream`]), at most one of them under
/// way.
#[derive(Debug)]
pub struct EpisodeWriter<'a> {
    replay: &'a mut ReplayBuffer,
    stream: usize,
}

impl ReplayBuffer {
    /// The writer for the episodes of environment number `index`, to be asked for again for each step: steps
    /// of several environments may come in any order. [`begin_episode`](Self::begin_episode) and
    /// [`push`](Self::push) of the buffer itself are those of stream 0.
    ///
    /// ```
    /// # fn main() -> mpo::Result<()> {
    /// use mpo::{Action, ReplayBuffer, Step};
    ///
    /// let mut replay = ReplayBuffer::new(1000, 2, 1)?;
    /// for environment in 0..3 {
    ///     replay.stream(environment)?.begin_episode(&[0.0, environment as f32])?;
    /// }
    /// let action = Action { values: vec![0.5], log_probability: -0.9 };
    /// let step = Step { observation: vec![1.0, 1.0], reward: 2.0, terminated: false, truncated: false };
    /// replay.stream(1)?.push(&action, &step)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the index is not below 4096, or not below half of the capacity: the episodes under way would evict
    /// each other.
    pub fn stream(&mut self, index: usize) -> Result<EpisodeWriter<'_>> {
        let most = STREAMS.min(self.capacity / 2);
        check("stream", index, |&index| index < most, "below 4096 and below half of the capacity")?;
        Ok(EpisodeWriter { replay: self, stream: index })
    }
}

impl EpisodeWriter<'_> {
    /// Starts an episode with its first observation. An episode of this stream that was under way stays as
    /// far as it went.
    ///
    /// # Errors
    /// If the observation has the wrong size or is not finite; nothing is stored then.
    pub fn begin_episode(&mut self, observation: &[f32]) -> Result<()> {
        self.continue_episode(observation, 0.0)
    }

    /// Starts what is held of an episode whose rewards had this sum before.
    pub(crate) fn continue_episode(&mut self, observation: &[f32], sum: f64) -> Result<()> {
        let replay = &mut *self.replay;
        check_size("observation", observation.len(), replay.observation_size)?;
        check_finite("observation", observation)?;
        let latest = replay.append(observation);
        replay.close_circle(latest, Episode { last: latest, complete: None });
        let streams = replay.under_way.len().max(self.stream + 1);
        replay.under_way.resize(streams, None);
        replay.under_way[self.stream] = Some(UnderWay { latest, sum });
        Ok(())
    }

    /// Adds a step to the episode under way in this stream, and ends that episode if the step did: the
    /// action as the policy sampled it (not clipped to [-1, 1]), and what came of it. If the observation
    /// that it left was evicted meanwhile, so is the step.
    ///
    /// # Errors
    /// If no episode is under way, a size is wrong, a number is not finite, or the reward lies beyond ±1e12;
    /// nothing is stored then.
    pub fn push(&mut self, action: &Action, step: &Step) -> Result<()> {
        let replay = &mut *self.replay;
        check_size("action", action.values.len(), replay.action_size)?;
        check_size("observation", step.observation.len(), replay.observation_size)?;
        check_finite("action", &action.values)?;
        check_finite("log_probability", &[action.log_probability])?;
        check_reward(step.reward)?;
        check_finite("observation", &step.observation)?;
        let Some(UnderWay { latest, sum }) = replay.under_way.get(self.stream).copied().flatten() else {
            return Err(Error::Order {
                place: "ReplayBuffer::push",
                expected: "begin_episode has to come first",
            });
        };
        let sum = sum + f64::from(step.reward);
        let position = replay.append(&step.observation);
        let mut first = position;
        if latest >= replay.oldest {
            first = replay.following(latest);
            let place = latest % replay.capacity;
            replay.actions[place * replay.action_size..][..replay.action_size]
                .copy_from_slice(&action.values);
            replay.rewards[place] = step.reward;
            replay.log_probabilities[place] = action.log_probability;
            replay.kinds[place] = if step.terminated { Kind::Terminated } else { Kind::Step };
            // Below the capacity, which fits.
            replay.links[place] = (position - latest) as u32;
            replay.steps += 1;
        }
        let complete = step.is_last().then_some(sum);
        replay.close_circle(first, Episode { last: position, complete });
        replay.under_way[self.stream] = complete.is_none().then_some(UnderWay { latest: position, sum });
        Ok(())
    }
}
