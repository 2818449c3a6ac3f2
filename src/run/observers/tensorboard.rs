//! The run's curves for TensorBoard.

use std::fs::create_dir_all;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::lines::{Lines, occupied};
use crate::error::{Error, Result};
use crate::files::protobuf::Message;
use crate::files::records::record;
use crate::run::observer::{Event, Observer, Progress};
use crate::run::trainer::Resumed;

/// Writes an event file for [TensorBoard](https://www.tensorflow.org/tensorboard), over environment steps:
/// `evaluation/` mean, lowest and highest return, `metrics/` the [`Metrics`](crate::Metrics),
/// `episode/return` of each training episode, `replay/` mean return and reward, and `run/` updates, and
/// those refused. `tensorboard --logdir FOLDER` shows the run, or each run in a folder of runs, while it
/// goes on.
pub struct TensorBoard {
    events: Lines,
    /// Of episodes: written with what comes next, so that short ones do not wait for the disk.
    pending: Vec<u8>,
}

/// In the name of every event file: TensorBoard knows them by it.
const PREFIX: &str = "events.out.tfevents.";

impl TensorBoard {
    /// Starts a file in this folder, which is made where there is none.
    ///
    /// # Errors
    /// If the folder holds an event file already, or one cannot be created.
    pub fn create(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        match earlier(folder)? {
            Some((_, path)) => Err(occupied(&path)),
            None => Self::start(folder, 0, None),
        }
    }

    /// Goes on with a run that was resumed, in a file of its own: TensorBoard passes over what the earlier
    /// ones say of steps after the checkpoint.
    ///
    /// # Errors
    /// If the folder cannot be read, or a file cannot be created.
    pub fn resume(folder: impl AsRef<Path>, resumed: &Resumed) -> Result<Self> {
        let folder = folder.as_ref();
        match earlier(folder)? {
            Some((number, _)) => Self::start(folder, number + 1, Some(resumed.environment_steps + 1)),
            None => Self::start(folder, 0, None),
        }
    }

    /// `first_step` is the first to count again.
    fn start(folder: &Path, least: u64, first_step: Option<u64>) -> Result<Self> {
        create_dir_all(folder).map_err(|source| Error::File { path: folder.to_owned(), source })?;
        // Read in the order of their names.
        let number = since_1970().as_secs().max(least);
        let mut events = Lines::create(&folder.join(format!("{PREFIX}{number:010}.mpo")))?;
        let mut start = record(&event(0).text(3, "brain.Event:2").into_bytes());
        if let Some(step) = first_step {
            // A session's log, whose status says that it starts here.
            start.extend(record(&event(step).message(7, &Message::default().integer(1, 1)).into_bytes()));
        }
        events.append(&start)?;
        Ok(Self { events, pending: Vec::new() })
    }
}

/// The last event file in a folder, by its number.
fn earlier(folder: &Path) -> Result<Option<(u64, PathBuf)>> {
    let failed = |source| Error::File { path: folder.to_owned(), source };
    if !folder.exists() {
        return Ok(None);
    }
    let mut last = None;
    for entry in folder.read_dir().map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(rest) = name.and_then(|name| name.strip_prefix(PREFIX)) {
            let number = rest.split('.').next().and_then(|number| number.parse().ok());
            last = last.max(Some((number.unwrap_or(0), path)));
        }
    }
    Ok(last)
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn event(step: u64) -> Message {
    Message::default().double(1, since_1970().as_secs_f64()).integer(2, step as i64)
}

/// A record of several numbers at one step.
fn scalars(step: u64, numbers: &[(String, f64)]) -> Vec<u8> {
    let value = |(tag, number): &(String, f64)| Message::default().text(1, tag).float(2, *number as f32);
    let summary = Message::default().messages(1, numbers.iter().map(value));
    record(&event(step).message(5, &summary).into_bytes())
}

/// What is drawn of an event.
fn numbers(event: &Event, progress: &Progress<'_>) -> Vec<(String, f64)> {
    let named = |numbers: &[(&str, f64)]| -> Vec<(String, f64)> {
        numbers.iter().map(|&(tag, number)| (tag.to_owned(), number)).collect()
    };
    match event {
        Event::Episode { episode_return } => named(&[("episode/return", *episode_return)]),
        Event::Evaluation(evaluation) => named(&[
            ("evaluation/mean_return", evaluation.mean_return),
            ("evaluation/min_return", evaluation.min_return),
            ("evaluation/max_return", evaluation.max_return),
        ]),
        Event::Metrics(metrics) => {
            let (counts, replay) = (progress.counts, progress.replay);
            let mut numbers = named(&[
                ("run/updates", counts.updates as f64),
                ("run/refused_updates", counts.refused_updates as f64),
            ]);
            let held = [("mean_return", replay.mean_return()), ("mean_reward", replay.mean_reward())];
            numbers.extend(held.into_iter().filter_map(|(of, mean)| Some((format!("replay/{of}"), mean?))));
            if let Ok(Value::Object(metrics)) = serde_json::to_value(metrics) {
                let of = |(name, value): (String, Value)| Some((format!("metrics/{name}"), value.as_f64()?));
                numbers.extend(metrics.into_iter().filter_map(of));
            }
            numbers
        }
        _ => Vec::new(),
    }
}

impl Observer for TensorBoard {
    fn notify(&mut self, event: &Event, progress: &Progress<'_>) -> Result<ControlFlow<()>> {
        let numbers = numbers(event, progress);
        let step = progress.counts.environment_steps;
        match event {
            Event::Episode { .. } => self.pending.extend(scalars(step, &numbers)),
            Event::Saved | Event::Finished { .. } if !self.pending.is_empty() => {
                self.events.append(&self.pending)?;
                self.pending.clear();
            }
            _ if !numbers.is_empty() => {
                self.events.append(&[self.pending.as_slice(), &scalars(step, &numbers)].concat())?;
                self.pending.clear();
            }
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }
}
