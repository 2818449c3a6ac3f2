//! The crate's one error type.

use std::path::PathBuf;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the environment's author, as the library carries it on.
pub type BoxedError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Everything that can go wrong, each with the field or place, the value and what is accepted.
///
/// After an error nothing is lost: the object that returned it holds what it held before the call, or, where
/// its function says so, also what was done before the error, and stays usable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting lies outside its accepted range.
    #[error("{field} is {value}, accepted: {accepted}")]
    Config {
        /// The setting, as `Type::field` or `field`.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is accepted.
        accepted: &'static str,
    },

    /// There is no such device.
    #[error("backend {name}: {reason}")]
    Backend {
        /// What was asked for, as `backend` or `backend:index`.
        name: String,
        /// Why it is not to be had, and what is.
        reason: String,
    },

    /// The device could not compute something, mostly for want of memory.
    #[error("the device could not compute {place}: {reason}")]
    Device {
        /// What was asked of it.
        place: &'static str,
        /// What it said.
        reason: String,
    },

    /// A vector has the wrong length.
    #[error("{place} has {size} values, expected {expected}")]
    Size {
        /// What was measured.
        place: &'static str,
        /// Its length.
        size: usize,
        /// The accepted length.
        expected: usize,
    },

    /// A tensor has the wrong shape.
    #[error("{place} has shape {shape:?}, expected {expected}")]
    Shape {
        /// The tensor.
        place: &'static str,
        /// Its shape.
        shape: Vec<usize>,
        /// What is accepted, in words.
        expected: String,
    },

    /// A number is infinite or not a number.
    #[error("{place} is {value} at index {index}, expected finite numbers")]
    NonFinite {
        /// What holds the number.
        place: &'static str,
        /// Where in it.
        index: usize,
        /// The number.
        value: f64,
    },

    /// A reward, or a component of an action, lies outside its accepted range.
    #[error("{place} is {value}, accepted: {accepted}")]
    Range {
        /// What it is.
        place: &'static str,
        /// The number.
        value: f64,
        /// What is accepted.
        accepted: &'static str,
    },

    /// The replay holds too little for what was asked of it.
    #[error("the replay holds {held} {what}, at least {needed} needed")]
    ReplayTooSmall {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        held: usize,
        /// How many it takes.
        needed: usize,
    },

    /// Functions were called in an order that has no meaning, such as a step before the first reset.
    #[error("{place}: {expected}")]
    Order {
        /// The function called.
        place: &'static str,
        /// What has to come first.
        expected: &'static str,
    },

    /// The environment reported an error of its own, or panicked.
    #[error("the environment failed in {place}: {source}")]
    Environment {
        /// `reset`, `step` or `draw`.
        place: &'static str,
        /// The environment's error.
        source: BoxedError,
    },

    /// The system gave no thread.
    #[error("no thread for {name}: {source}")]
    Thread {
        /// What it was for.
        name: &'static str,
        /// What the system said.
        source: std::io::Error,
    },

    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// A file is not as it was written.
    #[error("{} is damaged: {damage}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        damage: String,
    },

    /// A file or folder is not what it should be.
    #[error("{} is {found}, accepted: {accepted}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: String,
        /// What can be read.
        accepted: &'static str,
    },

    /// The network could not be opened, or nobody answered.
    #[cfg(feature = "distributed")]
    #[error("the network at {place}: {reason}")]
    Network {
        /// Its endpoint, or where else it is.
        place: String,
        /// What happened, and what to do about it.
        reason: String,
    },

    /// The learner does not take what a collector sends, or the chief what a worker does.
    #[cfg(feature = "distributed")]
    #[error("{name} was refused: {reason}")]
    Refused {
        /// The collector's or worker's name.
        name: String,
        /// The learner's or chief's words.
        reason: String,
    },

    /// An observer could not do its work, such as drawing a curve.
    #[error("the observer {name} failed: {source}")]
    Observer {
        /// The observer.
        name: &'static str,
        /// Its error.
        source: BoxedError,
    },
}
