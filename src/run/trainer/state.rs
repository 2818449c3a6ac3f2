//! What a run is beside its agent and its replay: all of it is saved, and a resumed run takes all of it over.

use serde::{Deserialize, Serialize};

use super::failures::InARow;
use crate::learner::metrics::MeanMetrics;
use crate::rng::{Rng, Stream};
use crate::run::observer::{Counts, Evaluation};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    pub counts: Counts,
    pub episode_seeds: Rng,
    pub replay_samples: Rng,
    /// Of the evaluations every period.
    pub evaluation_seeds: Rng,
    /// Of those besides, as at the end of a run: from where the period's are, so that these stay the same.
    pub other_evaluation_seeds: Option<Rng>,
    /// The episode under way.
    pub episode: Option<Episode>,
    /// The return of the episode that the latest step ended, until it is reported.
    pub episode_return: Option<f64>,
    /// Whether the latest step was reported, after the updates due.
    pub reported: bool,
    /// Training's episodes that failed; evaluation's are counted by themselves, since one environment may
    /// work while the other does not.
    pub failed_episodes: InARow,
    pub failed_evaluation_episodes: InARow,
    pub refused_updates: InARow,
    /// Of the updates since the last report.
    pub metrics: MeanMetrics,
    /// The step of the last report of metrics.
    pub metrics_reported: Option<u64>,
    pub evaluations: Vec<(u64, Evaluation)>,
}

/// An episode under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Episode {
    /// The seed it was begun with.
    pub seed: u64,
    /// The latest; saved with the replay.
    #[serde(skip)]
    pub observation: Vec<f32>,
    pub steps: usize,
    pub sum: f64,
}

impl State {
    /// At the beginning of a run.
    pub fn new(seed: u64) -> Self {
        Self {
            counts: Counts::default(),
            episode_seeds: Rng::stream(seed, Stream::Episodes),
            replay_samples: Rng::stream(seed, Stream::Replay),
            evaluation_seeds: Rng::stream(seed, Stream::Evaluation),
            other_evaluation_seeds: None,
            episode: None,
            episode_return: None,
            reported: true,
            failed_episodes: InARow::default(),
            failed_evaluation_episodes: InARow::default(),
            refused_updates: InARow::default(),
            metrics: MeanMetrics::default(),
            metrics_reported: None,
            evaluations: Vec::new(),
        }
    }
}
