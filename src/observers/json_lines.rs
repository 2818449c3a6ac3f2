//! Every event as a line of JSON, for other programs to follow.

use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Event, Observer, Progress};
use crate::error::{Error, Result};

/// Writes an object a line for every [event](Event) but single steps: `event` and what belongs to it, with
/// `environment_steps`, `updates`, `iterations` and `seconds`.
pub struct JsonLines {
    path: PathBuf,
    file: File,
}

#[derive(Serialize)]
struct Line<'a> {
    environment_steps: u64,
    updates: u64,
    iterations: u64,
    seconds: f64,
    #[serde(flatten)]
    event: &'a Event,
}

impl JsonLines {
    /// Starts a new file, in the place of one that is there.
    ///
    /// # Errors
    /// Where the file cannot be created.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        match File::create(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(Error::File { path, source }),
        }
    }
}

impl Observer for JsonLines {
    fn notify(&mut self, event: &Event, progress: &Progress<'_>) -> Result<ControlFlow<()>> {
        if *event != Event::Step {
            let line = Line {
                environment_steps: progress.environment_steps,
                updates: progress.updates,
                iterations: progress.iterations,
                seconds: progress.seconds,
                event,
            };
            let text = serde_json::to_string(&line).map_err(std::io::Error::from);
            text.and_then(|text| writeln!(self.file, "{text}"))
                .map_err(|source| Error::File { path: self.path.clone(), source })?;
        }
        Ok(ControlFlow::Continue(()))
    }
}
