//! A file that grows by whole lines and is on the disk after each.

use std::fs::File;
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::file::replace;

pub(super) struct Lines {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Lines {
    /// Starts a file where none is, and the folder that it is to lie in.
    pub fn create(path: &Path) -> Result<Self> {
        let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        folder.map_err(|source| Error::File { path: path.to_owned(), source })?;
        match File::create_new(path) {
            Ok(file) => Ok(Self { path: path.to_owned(), file, length: 0 }),
            Err(source) if source.kind() == ErrorKind::AlreadyExists => Err(occupied(path)),
            Err(source) => Err(Error::File { path: path.to_owned(), source }),
        }
    }

    /// Goes on with those of a file's whole lines that `keep` leaves; starts a new one if there is none.
    pub fn resume(path: &Path, keep: impl FnOnce(&mut Vec<&[u8]>)) -> Result<Self> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        let earlier = match std::fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            text => text.map_err(failed)?,
        };
        let lines = earlier.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
        let mut lines = lines.collect();
        keep(&mut lines);
        let kept = lines.concat();
        replace(path, |mut file| {
            file.write_all(&kept).and_then(|()| file.sync_all()).map_err(failed)?;
            Ok(Self { path: path.to_owned(), file, length: kept.len() as u64 })
        })
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Adds lines, all of them or none.
    pub fn append(&mut self, lines: &[u8]) -> Result<()> {
        let written = self.file.write_all(lines).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.length += lines.len() as u64,
            // Half a line would be the beginning of the next.
            Err(_) => {
                let end = self.file.set_len(self.length);
                let _ = end.and_then(|()| self.file.seek(SeekFrom::Start(self.length)));
            }
        }
        written.map_err(|source| Error::File { path: self.path.clone(), source })
    }
}

/// What is said of a file that is in the way of a new one.
pub(super) fn occupied(path: &Path) -> Error {
    Error::Format {
        path: path.to_owned(),
        found: "a file that is there already".into(),
        accepted: "a path without a file, or `resume`, which goes on with this one",
    }
}
