//! What the control tasks report when they are used wrongly.

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
