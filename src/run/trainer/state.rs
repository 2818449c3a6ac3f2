//! What a run is beside its agent and its replay: all of it is saved, and a resumed run takes all of it over.

use serde::{Deserialize, Serialize};

use super::failures::InARow;
#[cfg(feature = "distributed")]
use super::fleet::Collected;
use crate::acting::episode_seeds;
use crate::learner::metrics::MeanMetrics;
use crate::rng::{Rng, Stream};
use crate::run::observer::{Counts, Evaluation};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    pub counts: Counts,
    /// Of the episodes of each row.
    pub episode_seeds: Vec<Rng>,
    pub rows: Vec<Row>,
    pub replay_samples: Rng,
    /// Of the evaluations every period.
    pub evaluation_seeds: Rng,
    /// Of those besides, as at the end of a run: from where the period's are, so that these stay the same.
    pub other_evaluation_seeds: Option<Rng>,
    /// The returns of the episodes that the latest steps ended, until they are reported.
    pub returns: Vec<f64>,
    /// The steps that were reported, after the updates due.
    pub reported: u64,
    /// Whether a period has gone by since the last evaluation of those every period.
    pub evaluation_due: bool,
    /// The step of the last evaluation of those every period.
    pub evaluated: u64,
    /// Evaluation's episodes that failed; training's are counted by themselves, since one environment may
    /// work while the other does not.
    pub failed_evaluation_episodes: InARow,
    pub refused_updates: InARow,
    /// Of the updates since the last report.
    pub metrics: MeanMetrics,
    /// The step of the last report of metrics.
    pub metrics_reported: Option<u64>,
    pub evaluations: Vec<(u64, Evaluation)>,
    /// What collectors have sent, if it is they that act.
    #[cfg(feature = "distributed")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collected: Option<Collected>,
}

/// An environment of those that are trained in.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Row {
    /// The episode under way.
    pub episode: Option<Episode>,
    pub failed_episodes: InARow,
}

/// An episode under way.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Episode {
    /// The seed it was begun with.
    pub seed: u64,
    pub steps: usize,
    pub sum: f64,
}

impl State {
    /// At the beginning of a run in so many rows.
    pub fn new(seed: u64, rows: usize) -> Self {
        Self {
            counts: Counts::default(),
            episode_seeds: episode_seeds(seed, rows),
            rows: vec![Row::default(); rows],
            replay_samples: Rng::stream(seed, Stream::Replay),
            evaluation_seeds: Rng::stream(seed, Stream::Evaluation),
            other_evaluation_seeds: None,
            returns: Vec::new(),
            reported: 0,
            evaluation_due: false,
            evaluated: 0,
            failed_evaluation_episodes: InARow::default(),
            refused_updates: InARow::default(),
            metrics: MeanMetrics::default(),
            metrics_reported: None,
            evaluations: Vec::new(),
            #[cfg(feature = "distributed")]
            collected: None,
        }
    }

    /// Whether it could be that of a run in so many rows.
    pub fn fits(&self, rows: usize) -> bool {
        let Counts { environment_steps, updates, .. } = self.counts;
        #[cfg(feature = "distributed")]
        if !self.collected.as_ref().is_none_or(Collected::is_sound) {
            return false;
        }
        [self.episode_seeds.len(), self.rows.len()] == [rows; 2]
            && environment_steps.max(updates) < 1 << 53
            && self.reported.max(self.evaluated) <= environment_steps
            && self.evaluations.is_sorted_by_key(|&(steps, _)| steps)
    }
}
