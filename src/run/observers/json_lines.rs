//! Every event as a line of JSON, for other programs to follow.

use std::ops::ControlFlow;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::lines::Lines;
use crate::error::{Error, Result};
use crate::run::observer::{Counts, Event, Observer, Progress};
use crate::run::trainer::Resumed;

/// Writes an object a line for every [event](Event) but single steps and waiting: `event` and what belongs
/// to it, with the [`Counts`] of its time.
pub struct JsonLines(Lines);

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    counts: Counts,
    #[serde(flatten)]
    event: &'a Event,
}

/// What has to be known of a line that was written.
#[derive(Deserialize)]
struct Written {
    event: String,
    environment_steps: u64,
}

impl JsonLines {
    /// Starts a new file.
    ///
    /// # Errors
    /// If there is a file already, or it cannot be created.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Lines::create(path.as_ref()).map(Self)
    }

    /// Goes on with the file of a run that was resumed: what it did after its checkpoint is taken out, to be
    /// written anew.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn resume(path: impl AsRef<Path>, resumed: &Resumed) -> Result<Self> {
        let steps = resumed.environment_steps;
        Lines::resume(path.as_ref(), |lines| {
            let written = |line: &[u8]| serde_json::from_slice::<Written>(line).ok();
            let saved = |line: Written| line.event == "saved" && line.environment_steps == steps;
            match lines.iter().rposition(|line| written(line).is_some_and(saved)) {
                Some(checkpoint) => lines.truncate(checkpoint + 1),
                // The process ended before it could write of its checkpoint.
                None => lines.retain(|line| {
                    steps > 0 && written(line).is_some_and(|line| line.environment_steps <= steps)
                }),
            }
        })
        .map(Self)
    }
}

impl Observer for JsonLines {
    fn notify(&mut self, event: &Event, progress: &Progress<'_>) -> Result<ControlFlow<()>> {
        let passing = match event {
            Event::Step => true,
            #[cfg(feature = "distributed")]
            Event::Waiting => true,
            _ => false,
        };
        if !passing {
            let mut text = serde_json::to_vec(&Line { counts: progress.counts, event })
                .map_err(|error| Error::Observer { name: "JsonLines", source: error.into() })?;
            text.push(b'\n');
            self.0.append(&text)?;
        }
        Ok(ControlFlow::Continue(()))
    }
}
