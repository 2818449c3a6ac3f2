//! What a run came to.

#[cfg(feature = "distributed")]
use crate::distributed::arrivals::Arrivals;
use crate::run::observer::{Counts, Evaluation, StopReason};
use crate::run::timing::Timing;

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// Why it ended.
    pub reason: StopReason,
    /// The last evaluation, made at the end of the run: none if the settings leave it out, or an observer
    /// stopped a run that is evaluated in the environment that it trains in.
    pub evaluation: Option<Evaluation>,
    /// How far the run is, what was made before it was resumed included.
    pub counts: Counts,
    /// How this run kept up with the clock, if it was [in real time](crate::Trainer::in_real_time).
    pub timing: Option<Timing>,
    /// What the run has had from its collectors, before it was resumed too, if it learns
    /// [from collectors](crate::Trainer::from_collectors).
    #[cfg(feature = "distributed")]
    pub arrivals: Option<Arrivals>,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.evaluation {
            Some(Evaluation { mean_return, episodes, .. }) => {
                write!(f, "evaluation: mean return {mean_return:.1} over {episodes} episodes")?;
            }
            None => write!(f, "no evaluation")?,
        }
        let Counts { environment_steps, updates, seconds, .. } = self.counts;
        write!(f, " after {environment_steps} environment steps, {updates} updates, {seconds:.1} s")
    }
}
