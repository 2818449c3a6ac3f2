//! Whoever wants to know how the training goes: [`Observer`], and what it is told.

use std::fmt::Debug;
use std::ops::ControlFlow;
use std::path::Path;

use serde::{Deserialize, Serialize};

#[cfg(feature = "distributed")]
use crate::distributed::arrivals::Arrivals;
use crate::error::Result;
use crate::experience::replay::ReplayBuffer;
use crate::learner::metrics::Metrics;
use crate::networks::Actor;
use crate::policy::Policy;
use crate::run::timing::Timing;

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counts {
    /// Environment steps made.
    pub environment_steps: u64,
    /// Updates made.
    pub updates: u64,
    /// Iterations i of the paper's Algorithm 1: how often the targets were copied.
    pub iterations: u64,
    /// Updates refused, because of a number that was not finite.
    pub refused_updates: u64,
    /// Episodes that the environment failed in, those of training and of evaluation together.
    pub failed_episodes: u64,
    /// Wall-clock seconds of training, those before the run was resumed included.
    pub seconds: f64,
}

/// What an evaluation found: the sums of rewards of whole episodes played with the mean action.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// How many episodes were played.
    pub episodes: usize,
    /// The mean return.
    pub mean_return: f64,
    /// The lowest return.
    pub min_return: f64,
    /// The highest return.
    pub max_return: f64,
}

impl Evaluation {
    pub(crate) fn from_returns(returns: &[f64]) -> Self {
        Self {
            episodes: returns.len(),
            mean_return: returns.iter().sum::<f64>() / returns.len() as f64,
            min_return: returns.iter().copied().fold(f64::INFINITY, f64::min),
            max_return: returns.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

/// What observers see of the run besides the event.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// How far the run was when the event happened, also if it is heard late, as after an error; the rest is
    /// as it is now.
    pub counts: Counts,
    /// The environment steps that the run goes up to.
    pub total_environment_steps: u64,
    /// The replay, for measures such as its mean return and reward.
    pub replay: &'a ReplayBuffer,
    /// All evaluations of the run so far, with the environment steps made by then.
    pub evaluations: &'a [(u64, Evaluation)],
    /// The policy that is evaluated and deployed.
    pub policy: &'a dyn DeployedPolicy,
}

/// The policy to deploy, whatever its network: what observers see of a [`Policy`].
pub trait DeployedPolicy: Debug {
    /// The action to take at one observation, in the environment's units: see [`Policy::act`].
    ///
    /// # Errors
    /// If the observation has the wrong size or is not finite, or the action is not.
    fn act(&self, observation: &[f32]) -> Result<Vec<f32>>;

    /// Writes the policy to a file of its own: see [`Policy::save`].
    ///
    /// # Errors
    /// If the file cannot be written, or two parameters of the network have the same name.
    fn save(&self, path: &Path) -> Result<()>;
}

impl<A: Actor> DeployedPolicy for Policy<A> {
    fn act(&self, observation: &[f32]) -> Result<Vec<f32>> {
        self.act(observation)
    }

    fn save(&self, path: &Path) -> Result<()> {
        self.save(path)
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A step was made in the environment, or one in each row of it, with the updates due after it. In
    /// [real time](crate::Trainer::in_real_time): some steps were.
    Step,
    /// A training episode ended.
    Episode {
        /// The sum of its rewards.
        episode_return: f64,
    },
    /// The environment failed in an episode, which was left (see
    /// [`TrainerConfig::tolerated_failed_episodes`](crate::TrainerConfig::tolerated_failed_episodes)).
    EpisodeFailed,
    /// An update was refused (see
    /// [`TrainerConfig::tolerated_refused_updates`](crate::TrainerConfig::tolerated_refused_updates)).
    UpdateRefused {
        /// What was not finite.
        cause: &'static str,
    },
    /// A period of updates went by, or the rest of one at the end of the run.
    Metrics(
        /// The means over the updates since the last of these events.
        Metrics,
    ),
    /// How the run kept up with the clock since the last of these events, if it is
    /// [in real time](crate::Trainer::in_real_time).
    Timing(
        /// Of the steps since.
        Timing,
    ),
    /// What came from collectors since the last of these events, if the run learns
    /// [from collectors](crate::Trainer::from_collectors).
    #[cfg(feature = "distributed")]
    Arrivals(
        /// Since then.
        Arrivals,
    ),
    /// A collector is there.
    #[cfg(feature = "distributed")]
    CollectorJoined {
        /// Its name.
        name: String,
    },
    /// A collector is no longer there: it has ended, or the network to it is cut. Its episode is left as far
    /// as it came, and goes on if the collector does.
    #[cfg(feature = "distributed")]
    CollectorGone {
        /// Its name.
        name: String,
    },
    /// A second went by in which nothing came that learning could go on from: experience of collectors, or
    /// what a chief's other workers contribute.
    #[cfg(feature = "distributed")]
    Waiting,
    /// The policy was evaluated.
    Evaluation(Evaluation),
    /// A checkpoint of the run was saved.
    Saved,
    /// A checkpoint could not be written (see
    /// [`TrainerConfig::tolerated_failed_saves`](crate::TrainerConfig::tolerated_failed_saves)).
    SaveFailed {
        /// The error.
        cause: String,
    },
    /// The run ended: one of each [`run`](crate::Trainer::run) and [`run_for`](crate::Trainer::run_for).
    Finished {
        /// Why.
        reason: StopReason,
    },
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// All environment steps were made.
    Steps,
    /// An evaluation reached the return asked for.
    Return,
    /// An observer asked for it.
    Observer,
    /// The chief that the run follows (`Trainer::follow`) has ended.
    Chief,
}

/// Hears of every event of a run, each once and in order, and may stop it.
///
/// Closures `FnMut(&Event, &Progress) -> ControlFlow<()>` are observers:
///
/// ```
/// use std::ops::ControlFlow;
/// use mpo::{Event, Observer, Progress};
///
/// fn stop_after_a_minute() -> impl Observer {
///     |_: &Event, progress: &Progress<'_>| {
///         if progress.counts.seconds < 60.0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
///     }
/// }
/// ```
pub trait Observer: Send {
    /// Takes note of an event; [`ControlFlow::Break`] stops the run after this step.
    ///
    /// # Errors
    /// If the observer cannot do its work; the run then ends with this error. It has not heard of the event
    /// then: the next [`run`](crate::Trainer::run) begins by telling it again.
    fn notify(&mut self, event: &Event, progress: &Progress<'_>) -> Result<ControlFlow<()>>;
}

impl<F: FnMut(&Event, &Progress<'_>) -> ControlFlow<()> + Send> Observer for F {
    fn notify(&mut self, event: &Event, progress: &Progress<'_>) -> Result<ControlFlow<()>> {
        Ok(self(event, progress))
    }
}
