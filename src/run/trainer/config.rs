//! The settings of a training run.

use serde::{Deserialize, Serialize};

use crate::checks::{check, check_any, check_not_negative};
use crate::error::Result;

/// The settings of a [`Trainer`](crate::Trainer). Of those read from a file, a missing one is the default's,
/// and an unknown one is refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainerConfig {
    /// How many environment steps [`Trainer::run`](crate::Trainer::run) collects in all, those of all rows
    /// together.
    pub environment_steps: u64,
    /// How many observations the replay holds. Accepted: at least 2. As many as memory allows: forgetting
    /// rarely helps.
    pub replay_capacity: usize,
    /// The environment steps before the first update. Accepted: at least 1. Enough for a first idea of the
    /// rewards.
    pub warm_up_steps: u64,
    /// Updates for each environment step after the warm-up. Accepted: 0 or more. The more, the fewer steps it
    /// takes to learn, and the longer by the clock: lower it where steps are cheap, raise it where they are a
    /// robot's.
    pub updates_per_step: f64,
    /// The environment steps between two evaluations. Accepted: at least 1. In the environment that is
    /// trained in, an evaluation waits for the end of an episode.
    pub evaluation_period: u64,
    /// The episodes of an evaluation; with 0 there is none. With the defaults, evaluations take at most
    /// half as many steps as training does, if no episode has more than 1,000. One that has not ended after
    /// a million steps is an error.
    pub evaluation_episodes: usize,
    /// The environment steps between two reports of the metrics, which are means over the updates since the
    /// last. What is left at the end of a run is reported there. Accepted: at least 1.
    pub metrics_period: u64,
    /// How many episodes in a row the environment may fail in: by an error, a panic, a number that is not
    /// finite. Such an episode is left, a new one begun, and what was stored of it stays; a step that failed
    /// is never stored. Training's and evaluation's episodes are counted apart: neither makes up for the
    /// other. With 0 the first failure ends the run.
    pub tolerated_failed_episodes: u32,
    /// How many updates in a row may be refused because a value, the loss, a gradient or a parameter is not
    /// finite. A refused update changes nothing, and another batch is drawn in its place. With 0 the first
    /// one ends the run.
    pub tolerated_refused_updates: u32,
    /// The environment steps between two checkpoints, if [`Trainer::save_into`](crate::Trainer::save_into)
    /// names a folder for them. Accepted: at least 1.
    pub checkpoint_period: u64,
    /// How many checkpoints in a row may fail to be written, as on a full disk, before the run ends. The next
    /// is tried after another period; older ones stay as they are. With 0 the first failure ends the run, as
    /// one at its end always does.
    pub tolerated_failed_saves: u32,
    /// How many checkpoints are kept, the newest. Accepted: at least 1; with 2 or more a damaged one loses no
    /// more than a period.
    pub checkpoints_kept: usize,
    /// Stops as soon as the mean return of an evaluation reaches this, of those every
    /// [`evaluation_period`](Self::evaluation_period) steps.
    pub stop_at_return: Option<f64>,
    /// The seed of the episodes, the replay's samples and the evaluations.
    pub seed: u64,
}

impl Default for TrainerConfig {
    fn default() -> Self {
        Self {
            environment_steps: 100_000,
            replay_capacity: 1_000_000,
            warm_up_steps: 1_000,
            updates_per_step: 1.5,
            evaluation_period: 10_000,
            evaluation_episodes: 5,
            metrics_period: 1_000,
            tolerated_failed_episodes: 0,
            tolerated_refused_updates: 10,
            checkpoint_period: 10_000,
            tolerated_failed_saves: 3,
            checkpoints_kept: 2,
            stop_at_return: None,
            seed: 0,
        }
    }
}

impl TrainerConfig {
    pub(super) fn validate(&self) -> Result<()> {
        check_any("TrainerConfig::warm_up_steps", self.warm_up_steps)?;
        check_any("TrainerConfig::evaluation_period", self.evaluation_period)?;
        check_any("TrainerConfig::checkpoint_period", self.checkpoint_period)?;
        check_any("TrainerConfig::checkpoints_kept", self.checkpoints_kept as u64)?;
        check_any("TrainerConfig::metrics_period", self.metrics_period)?;
        check_not_negative("TrainerConfig::updates_per_step", self.updates_per_step)?;
        check(
            "TrainerConfig::stop_at_return",
            self.stop_at_return,
            |goal| goal.is_none_or(|goal| !goal.is_nan() && self.evaluation_episodes > 0),
            "none, or a number with TrainerConfig::evaluation_episodes above 0",
        )
    }
}
