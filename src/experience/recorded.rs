//! Recorded episodes: a file of them, and their way into a replay.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::action_space::ActionSpace;
use crate::checks::{check_finite, check_reward, check_size};
use crate::error::{Error, Result};
use crate::experience::action::Action;
use crate::experience::environment::Step;
use crate::experience::replay::ReplayBuffer;

/// An episode that was recorded: by a person, another controller, an earlier run.
///
/// A file of them is text, an episode a line, in JSON with these fields ([JSON
/// Lines](https://jsonlines.org)):
///
/// ```json
/// {"observations": [[0.1, 0.0], [0.1, 0.2], [0.2, 0.1]], "actions": [[1.5], [-0.5]], "rewards": [0.0, 1.0], "terminated": false}
/// ```
///
/// ```
/// use mpo::{ActionSpace, RecordedEpisode, ReplayBuffer};
///
/// # fn main() -> mpo::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("episodes.jsonl");
/// let mut episode = RecordedEpisode::new(vec![0.1, 0.0]);
/// episode.push(vec![1.5], 0.0, vec![0.1, 0.2]);
/// episode.push(vec![-0.5], 1.0, vec![0.2, 0.1]);
/// episode.append_to(&path)?;
///
/// let mut replay = ReplayBuffer::new(1_000_000, 2, 1)?;
/// let read = replay.read_episodes(&path, &ActionSpace::bounded(vec![-2.0], vec![2.0])?)?;
/// assert_eq!((read, replay.len()), (1, 2));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedEpisode {
    /// The first observation, and that after each step: one more than there are steps.
    pub observations: Vec<Vec<f32>>,
    /// The action of each step, in the environment's units.
    pub actions: Vec<Vec<f32>>,
    /// The reward of each step.
    pub rewards: Vec<f32>,
    /// Whether the task itself ended with the last step. Otherwise the episode was cut off there: see
    /// [`Step::truncated`].
    #[serde(default)]
    pub terminated: bool,
}

impl RecordedEpisode {
    /// An episode that has only begun.
    pub fn new(observation: Vec<f32>) -> Self {
        let (actions, rewards) = (Vec::new(), Vec::new());
        Self { observations: vec![observation], actions, rewards, terminated: false }
    }

    /// Adds a step: the action, in the environment's units, the reward and the observation that came of it.
    pub fn push(&mut self, action: Vec<f32>, reward: f32, observation: Vec<f32>) {
        self.actions.push(action);
        self.rewards.push(reward);
        self.observations.push(observation);
    }

    /// Adds the episode to a file, which is made if there is none.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append_to(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let failed = |source| Error::File { path: path.to_owned(), source };
        let mut line = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        let mut file = File::options().create(true).append(true).open(path).map_err(failed)?;
        file.write_all(&line).map_err(failed)
    }
}

impl ReplayBuffer {
    /// Adds a recorded episode, whose actions lie inside these bounds.
    ///
    /// # Errors
    /// If it has another number of rewards than of actions, or not one observation more, or a size is wrong,
    /// a number not finite, a reward beyond ±1e12 or an action outside the bounds; nothing is stored then.
    pub fn add_episode(&mut self, episode: &RecordedEpisode, bounds: &ActionSpace) -> Result<()> {
        let steps = self.steps_of(episode, bounds)?;
        self.add(&episode.observations[0], &steps)
    }

    fn add(&mut self, first: &[f32], steps: &[(Action, Step)]) -> Result<()> {
        self.begin_episode(first)?;
        steps.iter().try_for_each(|(action, step)| self.push(action, step))
    }

    /// The steps of an episode that fits.
    fn steps_of(&self, episode: &RecordedEpisode, bounds: &ActionSpace) -> Result<Vec<(Action, Step)>> {
        let RecordedEpisode { observations, actions, rewards, terminated } = episode;
        check_size("the action bounds", bounds.size(), self.action_size())?;
        check_size("the episode's rewards", rewards.len(), actions.len())?;
        check_size("the episode's observations", observations.len(), actions.len() + 1)?;
        for observation in observations {
            check_size("observation", observation.len(), self.observation_size())?;
            check_finite("observation", observation)?;
        }
        let steps = actions.iter().zip(rewards).zip(&observations[1..]).enumerate();
        steps
            .map(|(index, ((action, &reward), observation))| {
                check_reward(reward)?;
                let last = index + 1 == actions.len();
                // Whoever acted has not said how likely that was: Retrace cuts its traces there, as it does
                // at excursions.
                let action = Action { values: bounds.to_policy(action)?, log_probability: f32::MAX };
                let (terminated, truncated) = (last && *terminated, last && !*terminated);
                Ok((action, Step { observation: observation.clone(), reward, terminated, truncated }))
            })
            .collect()
    }

    /// Adds the episodes of a file, whose actions lie inside these bounds: see [`RecordedEpisode`]. How many
    /// there were.
    ///
    /// # Errors
    /// If the file cannot be read, or a line is not an episode of these sizes and bounds, which is then
    /// named; nothing is stored then.
    pub fn read_episodes(&mut self, path: impl AsRef<Path>, bounds: &ActionSpace) -> Result<usize> {
        let path = path.as_ref();
        let failed = |source| Error::File { path: path.to_owned(), source };
        // All are looked at before one is stored.
        let mut episodes = Vec::new();
        for (number, line) in (1..).zip(BufReader::new(File::open(path).map_err(failed)?).lines()) {
            let line = line.map_err(failed)?;
            if line.trim().is_empty() {
                continue;
            }
            let parsed: Result<RecordedEpisode, String> =
                serde_json::from_str(&line).map_err(|error| error.to_string());
            let fits = parsed.and_then(|mut episode| {
                let steps = self.steps_of(&episode, bounds).map_err(|error| error.to_string())?;
                Ok((episode.observations.swap_remove(0), steps))
            });
            episodes.push(fits.map_err(|damage| Error::Damaged {
                path: path.to_owned(),
                damage: format!("line {number}: {damage}"),
            })?);
        }
        episodes.iter().try_for_each(|(first, steps)| self.add(first, steps))?;
        Ok(episodes.len())
    }
}
