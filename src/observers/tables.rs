//! CSV files of evaluations and metrics, written as the run goes.

use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use csv::{Writer, WriterBuilder};
use serde::Serialize;

use super::{Event, Observer, Progress};
use crate::error::{Error, Result};
use crate::file::rename;
use crate::trainer::Resumed;

/// A CSV file that is on the disk after every row.
struct Table {
    path: PathBuf,
    writer: Writer<File>,
}

impl Table {
    /// Goes on with the file as it was when this many environment steps had been made; without any, starts a new one.
    fn resume(path: &Path, environment_steps: u64) -> Result<Self> {
        let open = || {
            let earlier =
                if environment_steps > 0 { kept_rows(path, environment_steps)? } else { Vec::new() };
            let beside = path.with_extension("csv.part");
            let mut file = File::create(&beside)?;
            file.write_all(&earlier)?;
            file.sync_all()?;
            rename(&beside, path)?;
            Ok(WriterBuilder::new().has_headers(earlier.is_empty()).from_writer(file))
        };
        match open() {
            Ok(writer) => Ok(Self { path: path.to_owned(), writer }),
            Err(source) => Err(Error::File { path: path.to_owned(), source }),
        }
    }

    fn write(&mut self, row: impl Serialize) -> Result<ControlFlow<()>> {
        self.writer
            .serialize(row)
            .map_err(std::io::Error::from)
            .and_then(|()| self.writer.flush())
            .and_then(|()| self.writer.get_ref().sync_data())
            .map_err(|source| Error::File { path: self.path.clone(), source })?;
        Ok(ControlFlow::Continue(()))
    }
}

/// The header and the whole rows whose first column is at most this; none where there is no such file.
fn kept_rows(path: &Path, environment_steps: u64) -> std::io::Result<Vec<u8>> {
    let text = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let steps =
        |row: &[u8]| str::from_utf8(row.split(|&byte| byte == b',').next()?).ok()?.parse::<u64>().ok();
    let rows = text.split_inclusive(|&byte| byte == b'\n').enumerate();
    let kept = rows.filter(|(index, row)| {
        row.ends_with(b"\n") && (*index == 0 || steps(row).is_some_and(|steps| steps <= environment_steps))
    });
    Ok(kept.flat_map(|(_, row)| row).copied().collect())
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
        Self::resume(path, &Resumed::default())
    }

    /// Goes on with the file of a run that was resumed: what it did after its checkpoint is taken out, to be written anew.
    ///
    /// # Errors
    /// Where the file cannot be read or written.
    pub fn resume(path: impl AsRef<Path>, resumed: &Resumed) -> Result<Self> {
        Table::resume(path.as_ref(), resumed.evaluated_steps).map(Self)
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
        Self::resume(path, &Resumed::default())
    }

    /// Goes on with the file of a run that was resumed: what it did after its checkpoint is taken out, to be written anew.
    ///
    /// # Errors
    /// Where the file cannot be read or written.
    pub fn resume(path: impl AsRef<Path>, resumed: &Resumed) -> Result<Self> {
        Table::resume(path.as_ref(), resumed.environment_steps).map(Self)
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
