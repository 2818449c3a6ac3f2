//! What goes wrong with an environment in Python.

use std::ffi::OsString;
use std::process::ExitStatus;
use std::time::Duration;

/// Everything that can go wrong with a [`Gymnasium`](super::Gymnasium) environment. Its Python process is
/// ended after all but [`Action`](Self::Action) and [`NoEpisode`](Self::NoEpisode); the next reset then
/// begins with a new one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GymnasiumError {
    /// Python could not be started.
    #[error(
        "Python could not be started as {}: {source}; install Python 3.10 or newer, activate a virtual \
         environment, or name an interpreter in MPO_PYTHON",
        interpreter.display()
    )]
    NoPython {
        /// What was started.
        interpreter: OsString,
        /// What the system said.
        source: std::io::Error,
    },

    /// The environment, or making it, raised an exception.
    #[error("{exception}{}\n{traceback}", advice.as_ref().map(|advice| format!("\n{advice}")).unwrap_or_default())]
    Exception {
        /// The exception's type and message.
        exception: String,
        /// What helps, where that is known, such as a package to install.
        advice: Option<String>,
        /// Python's own traceback.
        traceback: String,
    },

    /// The environment is of a kind that is not served.
    #[error("{what} is {found}, accepted: {accepted}")]
    Refused {
        /// What of it.
        what: String,
        /// What that is.
        found: String,
        /// What is accepted.
        accepted: String,
    },

    /// The Python process ended: it crashed, was killed, or ended itself.
    #[error("the Python process ended ({status}){}", said(stderr))]
    Ended {
        /// Its exit status.
        status: ExitStatus,
        /// The last it wrote to standard error.
        stderr: String,
    },

    /// There was no answer within the limit; the Python process was killed.
    #[error("no answer within {limit:?}, the Python process was killed{}", said(stderr))]
    Late {
        /// The limit.
        limit: Duration,
        /// The last it wrote to standard error, mostly where it hung.
        stderr: String,
    },

    /// Something else than an answer came, as from an environment that writes where answers are written.
    #[error(
        "the Python process sent {found}, expected an answer: does something else write there?{}",
        said(stderr)
    )]
    Stream {
        /// What came.
        found: String,
        /// The last it wrote to standard error.
        stderr: String,
    },

    /// An action has the wrong number of components, one that is not finite, or a choice that there
    /// is not.
    #[error(
        "the action is {action:?}, accepted: {size} finite numbers, for a discrete action the index of an alternative"
    )]
    Action {
        /// The action.
        action: Vec<f32>,
        /// How many components are accepted.
        size: usize,
    },

    /// A step was asked for before the first reset, after an episode's end or after an error.
    #[error("no episode is running, accepted: step after reset")]
    NoEpisode,

    /// The system refused a pipe, a thread or the process's status.
    #[error("the Python process could not be dealt with: {0}")]
    System(
        /// What the system said.
        #[from]
        std::io::Error,
    ),
}

/// What the process wrote, behind the message.
fn said(stderr: &str) -> String {
    match stderr.trim() {
        "" => String::new(),
        lines => format!("; the last it wrote:\n{lines}"),
    }
}
