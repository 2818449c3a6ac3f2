//! What a run came to.

use crate::run::observer::{Counts, Evaluation, StopReason};

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// Why it ended.
    pub reason: StopReason,
    /// The last evaluation, made at the end of the run.
    pub evaluation: Evaluation,
    /// How far the run is, what was made before it was resumed included.
    pub counts: Counts,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "evaluation: mean return {:.1} over {} episodes after {} environment steps, {} updates, {:.1} s",
            self.evaluation.mean_return,
            self.evaluation.episodes,
            self.counts.environment_steps,
            self.counts.updates,
            self.counts.seconds
        )
    }
}
