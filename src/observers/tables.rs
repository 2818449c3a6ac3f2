//! CSV files of evaluations and metrics, written as the run goes.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use csv::Writer;
use serde::Serialize;

use super::{Event, Observer, Progress};
use crate::error::{Error, Result};

/// A CSV file that is flushed after every row.
struct Table {
    path: PathBuf,
    writer: Writer<File>,
}

impl Table {
    fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        match Writer::from_path(&path) {
            Ok(writer) => Ok(Self { path, writer }),
            Err(error) => Err(Error::File { path, source: error.into() }),
        }
    }

    fn write(&mut self, row: impl Serialize) -> Result<ControlFlow<()>> {
        self.writer
            .serialize(row)
            .map_err(std::io::Error::from)
            .and_then(|()| self.writer.flush())
            .map_err(|source| Error::File { path: self.path.clone(), source })?;
        Ok(ControlFlow::Continue(()))
    }
}

/// Writes `env_steps,updates,mean_return,min_return,max_return,seconds`, a row an evaluation: returns are sums of
/// rewards of whole episodes played with the mean action, seconds those of the run.
pub struct EvaluationTable(Table);

impl EvaluationTable {
    /// Starts a new file, in the place of one that is there.
    ///
    /// # Errors
    /// Where the file cannot be created.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Table::create(path).map(Self)
    }
}

#[derive(Serialize)]
struct EvaluationRow {
    env_steps: u64,
    updates: u64,
    mean_return: f64,
    min_return: f64,
    max_return: f64,
    seconds: f64,
}

impl Observer for EvaluationTable {
    fn notify(&mut self, event: &Event, progress: &Progress<'_>) -> Result<ControlFlow<()>> {
        let Event::Evaluation(evaluation) = event else {
            return Ok(ControlFlow::Continue(()));
        };
        self.0.write(EvaluationRow {
            env_steps: progress.environment_steps,
            updates: progress.updates,
            mean_return: evaluation.mean_return,
            min_return: evaluation.min_return,
            max_return: evaluation.max_return,
            seconds: (progress.seconds * 1e3).round() / 1e3,
        })
    }
}

/// Writes the [`Metrics`](crate::Metrics), a row a period, after the environment steps, updates and iterations made
/// and the replay's mean return and mean reward.
pub struct MetricsTable(Table);

impl MetricsTable {
    /// Starts a new file, in the place of one that is there.
    ///
    /// # Errors
    /// Where the file cannot be created.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Table::create(path).map(Self)
    }
}

#[derive(Serialize)]
struct ProgressRow {
    env_steps: u64,
    updates: u64,
    iterations: u64,
    replay_mean_return: Option<f64>,
    replay_mean_reward: Option<f64>,
}

impl Observer for MetricsTable {
    fn notify(&mut self, event: &Event, progress: &Progress<'_>) -> Result<ControlFlow<()>> {
        let Event::Metrics(metrics) = event else {
            return Ok(ControlFlow::Continue(()));
        };
        let row = ProgressRow {
            env_steps: progress.environment_steps,
            updates: progress.updates,
            iterations: progress.iterations,
            replay_mean_return: progress.replay.mean_return(),
            replay_mean_reward: progress.replay.mean_reward(),
        };
        self.0.write((row, metrics))
    }
}
