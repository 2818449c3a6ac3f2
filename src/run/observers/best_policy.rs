//! The best policy so far, in a file.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::lines::occupied;
use crate::error::Result;
use crate::run::observer::{Event, Observer, Progress};

/// Saves the policy whenever an evaluation's mean return is the highest of the run so far, as
/// [`Policy::save`](crate::Policy::save) does: the file is always that of the best evaluation in the
/// [evaluations' table](super::EvaluationTable), the first of equal ones.
pub struct BestPolicy(PathBuf);

impl BestPolicy {
    /// Saves into this file, from the first evaluation on.
    ///
    /// # Errors
    /// If there is a file already.
    pub fn save_to(path: impl AsRef<Path>) -> Result<Self> {
        match path.as_ref().exists() {
            true => Err(occupied(path.as_ref())),
            false => Ok(Self::resume(path)),
        }
    }

    /// Goes on with the file of a run that was resumed: an evaluation better than all before its checkpoint
    /// takes the place of it.
    pub fn resume(path: impl AsRef<Path>) -> Self {
        Self(path.as_ref().to_path_buf())
    }
}

impl Observer for BestPolicy {
    fn notify(&mut self, event: &Event, progress: &Progress<'_>) -> Result<ControlFlow<()>> {
        if let Event::Evaluation(evaluation) = event {
            let before = progress.evaluations.iter().filter(|at| at.0 < progress.counts.environment_steps);
            if before.map(|(_, before)| before.mean_return).all(|best| best < evaluation.mean_return) {
                progress.policy.save(&self.0)?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
