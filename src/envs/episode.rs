//! What every control task does alike around its simulation: counting an episode's steps, checking actions.

use super::error::{ControlError, check_action};

/// The control steps after which every episode is cut off.
pub(super) const EPISODE_STEPS: usize = 1000;

/// How far the running episode is; by default none is running.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Episode {
    steps_left: usize,
}

impl Episode {
    /// An episode of full length.
    pub(super) fn begun() -> Self {
        Self { steps_left: EPISODE_STEPS }
    }

    /// Checks that a step can be made with this action.
    pub(super) fn check(&self, action: &[f64]) -> Result<(), ControlError> {
        check_action(action)?;
        if self.steps_left == 0 {
            return Err(ControlError::NoEpisode { steps: EPISODE_STEPS });
        }
        Ok(())
    }

    /// Counts a step and tells whether it was the last.
    pub(super) fn advance(&mut self) -> bool {
        self.steps_left -= 1;
        self.steps_left == 0
    }
}

/// A learner's action in the simulation's precision.
pub(super) fn widened<const N: usize>(action: &[f32]) -> Result<[f64; N], ControlError> {
    let action: [f32; N] =
        action.try_into().map_err(|_| ControlError::ActionSize { size: action.len(), expected: N })?;
    Ok(action.map(f64::from))
}
