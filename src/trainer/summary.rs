//! What a run came to.

use crate::observers::{Evaluation, StopReason};

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Why it ended.
    pub reason: StopReason,
    /// The last evaluation, made at the end of the run.
    pub evaluation: Evaluation,
    /// Environment steps made.
    pub environment_steps: u64,
    /// Updates made.
    pub updates: u64,
    /// Updates refused, because of a number that was not finite.
    pub refused_updates: u64,
    /// Episodes that the environment failed in, those of training and of evaluation together.
    pub failed_episodes: u64,
    /// Wall-clock seconds of the run, before it was resumed included.
    pub seconds: f64,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "evaluation: mean return {:.1} over {} episodes after {} environment steps, {} updates, {:.1} s",
            self.evaluation.mean_return,
            self.evaluation.episodes,
            self.environment_steps,
            self.updates,
            self.seconds
        )
    }
}
