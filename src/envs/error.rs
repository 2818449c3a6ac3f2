//! What the control tasks report when they are used wrongly.

/// The largest magnitude of a coordinate or velocity: beyond it MuJoCo, too, calls a state bad.
pub(super) const STATE_LIMIT: f64 = 1e10;

/// Everything that can go wrong in a control task. After an error the task is in the state that it was in
/// before.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// An action has the wrong number of components.
    #[error("the action has {size} values, accepted: {expected}")]
    ActionSize {
        /// The length of the action.
        size: usize,
        /// The accepted length.
        expected: usize,
    },

    /// A component of an action is infinite or not a number.
    #[error("the action is {value} at index {index}, accepted: finite numbers")]
    Action {
        /// The component.
        index: usize,
        /// Its value.
        value: f64,
    },

    /// A state to start from is not one that can be simulated.
    #[error("{place} is {value} at index {index}, accepted: finite numbers of magnitude 1e10 at most")]
    State {
        /// `qpos` or `qvel`.
        place: &'static str,
        /// The coordinate.
        index: usize,
        /// Its value.
        value: f64,
    },

    /// A step was asked for before the first reset or after the end of the episode.
    #[error("no episode is running, accepted: step after reset or reset_to, {steps} times at most")]
    NoEpisode {
        /// The steps of an episode.
        steps: usize,
    },

    /// The next state would exceed a magnitude of 1e10: possible only from a start state that is far outside
    /// the task's own range, where a time step of the simulation is too coarse for the speeds.
    #[error("the simulation diverges from this state, accepted: start states closer to the task's own")]
    Diverged,
}

/// Checks that every component of an action is finite.
pub(super) fn check_action(action: &[f64]) -> Result<(), ControlError> {
    match action.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => Err(ControlError::Action { index, value: action[index] }),
    }
}

/// Checks that every coordinate (or velocity) of a state can be simulated.
pub(super) fn check_state(place: &'static str, values: &[f64]) -> Result<(), ControlError> {
    // NaN is within no limit.
    match values.iter().position(|value| !within_limit(*value)) {
        None => Ok(()),
        Some(index) => Err(ControlError::State { place, index, value: values[index] }),
    }
}

/// Whether a coordinate or velocity is a number that can be simulated.
pub(super) fn within_limit(value: f64) -> bool {
    value.abs() <= STATE_LIMIT
}
