//! CSV files of evaluations and metrics, written as the run goes.

use std::ops::ControlFlow;
use std::path::Path;

use csv::WriterBuilder;
use serde::Serialize;

use super::lines::Lines;
use crate::error::{Error, Result};
use crate::learner::metrics::Metrics;
use crate::run::observer::{Evaluation, Event, Observer, Progress};
use crate::run::trainer::Resumed;

/// A CSV file whose first column is the environment steps.
struct Table {
    name: &'static str,
    lines: Lines,
}

impl Table {
    fn create(name: &'static str, path: &Path) -> Result<Self> {
        Ok(Self { name, lines: Lines::create(path)? })
    }

    /// Goes on with the rows up to this step; without any, with an empty file.
    fn resume(name: &'static str, path: &Path, last: Option<u64>) -> Result<Self> {
        let steps =
            |row: &[u8]| str::from_utf8(row.split(|&byte| byte == b',').next()?).ok()?.parse::<u64>().ok();
        let lines = Lines::resume(path, |rows| match last {
            None => rows.clear(),
            Some(last) => {
                let mut header = true;
                rows.retain(|row| {
                    std::mem::take(&mut header) || steps(row).is_some_and(|steps| steps <= last)
                });
            }
        })?;
        Ok(Self { name, lines })
    }

    /// Writes a row, the first one below the columns' names.
    fn write(&mut self, names: &[&str], row: impl Serialize) -> Result<ControlFlow<()>> {
        let failed = |error: csv::Error| Error::Observer { name: self.name, source: error.into() };
        let mut writer = WriterBuilder::new().has_headers(false).from_writer(Vec::new());
        if self.lines.is_empty() {
            writer.write_record(names).map_err(failed)?;
        }
        writer.serialize(row).map_err(failed)?;
        let text = writer.into_inner().map_err(|error| failed(error.into_error().into()))?;
        self.lines.append(&text)?;
        Ok(ControlFlow::Continue(()))
    }
}

/// Writes `env_steps,updates,mean_return,min_return,max_return,seconds`, a row an evaluation: returns are
/// sums of rewards of whole episodes played with the mean action, seconds those of the run.
pub struct EvaluationTable(Table);

impl EvaluationTable {
    /// Starts a new file.
    ///
    /// # Errors
    /// If there is a file already, or it cannot be created.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Table::create("EvaluationTable", path.as_ref()).map(Self)
    }

    /// Goes on with the file of a run that was resumed: what it did after its checkpoint is taken out, to be
    /// written anew.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn resume(path: impl AsRef<Path>, resumed: &Resumed) -> Result<Self> {
        Table::resume("EvaluationTable", path.as_ref(), resumed.evaluated_steps).map(Self)
    }
}

impl Observer for EvaluationTable {
    fn notify(&mut self, event: &Event, progress: &Progress<'_>) -> Result<ControlFlow<()>> {
        let Event::Evaluation(evaluation) = event else {
            return Ok(ControlFlow::Continue(()));
        };
        let (counts, seconds) = (progress.counts, (progress.counts.seconds * 1e3).round() / 1e3);
        let Evaluation { mean_return, min_return, max_return, .. } = evaluation;
        self.0.write(
            &["env_steps", "updates", "mean_return", "min_return", "max_return", "seconds"],
            (counts.environment_steps, counts.updates, mean_return, min_return, max_return, seconds),
        )
    }
}

/// Writes the [`Metrics`], a row a period, after the environment steps, updates and
/// iterations made and the replay's mean return and mean reward.
pub struct MetricsTable(Table);

impl MetricsTable {
    /// Starts a new file.
    ///
    /// # Errors
    /// If there is a file already, or it cannot be created.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Table::create("MetricsTable", path.as_ref()).map(Self)
    }

    /// Goes on with the file of a run that was resumed: what it did after its checkpoint is taken out, to be
    /// written anew.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn resume(path: impl AsRef<Path>, resumed: &Resumed) -> Result<Self> {
        Table::resume("MetricsTable", path.as_ref(), resumed.reported_steps).map(Self)
    }
}

impl Observer for MetricsTable {
    fn notify(&mut self, event: &Event, progress: &Progress<'_>) -> Result<ControlFlow<()>> {
        let Event::Metrics(metrics) = event else {
            return Ok(ControlFlow::Continue(()));
        };
        let (counts, replay) = (progress.counts, progress.replay);
        let names = ["env_steps", "updates", "iterations", "replay_mean_return", "replay_mean_reward"];
        let made = (counts.environment_steps, counts.updates, counts.iterations);
        let names = [names.as_slice(), &Metrics::NAMES].concat();
        self.0.write(&names, (made, replay.mean_return(), replay.mean_reward(), metrics))
    }
}
