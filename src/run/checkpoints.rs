//! A folder of checkpoints, each whole or not there.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::file::{rename, sync_folder};

/// The checkpoints of one run: a folder for each, named by the environment steps made.
///
/// A name ends with a word while the folder is not, or no longer, a checkpoint: `.part` while it is written,
/// `.old` while it is removed, and `.damaged` if it could not be loaded.
pub(crate) struct Checkpoints {
    folder: PathBuf,
    kept: usize,
    /// Its lock ends with this value, and with the process however that ends.
    lock: Option<File>,
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        // Closing it is not enough while a child process, just being started, has it open too.
        if let Some(lock) = &self.lock {
            let _ = lock.unlock();
        }
    }
}

const PREFIX: &str = "step-";
const LOCK: &str = "lock";

impl Checkpoints {
    pub(crate) fn new(folder: PathBuf, kept: usize) -> Self {
        Self { folder, kept, lock: None }
    }

    /// Makes the folder, if it is not there, and keeps others out of it until this value is dropped.
    pub(crate) fn lock(&mut self) -> Result<()> {
        if self.lock.is_some() {
            return Ok(());
        }
        let file = self.on_files(|| {
            std::fs::create_dir_all(&self.folder)?;
            File::options().create(true).truncate(false).write(true).open(self.folder.join(LOCK))
        })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Format {
                    path: self.folder.clone(),
                    found: "a folder that another run is saving into".into(),
                    accepted: "a folder of its own for each run, or this one once that run has ended",
                });
            }
            // Some network file systems know no locks.
            Err(TryLockError::Error(error)) => {
                tracing::warn!(folder = %self.folder.display(), %error, "not locked against other runs");
            }
        }
        self.lock = Some(file);
        Ok(())
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The steps and folders of all checkpoints, the newest first.
    pub(crate) fn list(&self) -> Result<Vec<(u64, PathBuf)>> {
        self.bring_back()?;
        let mut found = Vec::new();
        for name in self.names()? {
            let steps = name.strip_prefix(PREFIX).and_then(|steps| steps.parse().ok());
            found.extend(steps.map(|steps| (steps, self.folder.join(&name))));
        }
        found.sort_unstable_by(|newer, older| older.cmp(newer));
        Ok(found)
    }

    /// Saves a checkpoint with the files that `write` puts into a folder: it appears at once, or not at all.
    /// Then the oldest are removed.
    pub(crate) fn save(&self, steps: u64, write: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let path = self.folder.join(format!("{PREFIX}{steps:012}"));
        let part = path.with_extension("part");
        self.on_files(|| std::fs::create_dir_all(&self.folder))?;
        self.bring_back()?;
        self.remove_leftovers()?;
        self.on_files(|| std::fs::create_dir(&part))?;
        let written = write(&part).and_then(|()| {
            self.on_files(|| {
                sync_folder(&part)?;
                if path.exists() {
                    rename(&path, &path.with_extension("old"))?;
                }
                rename(&part, &path)
            })
        });
        if let Err(error) = written {
            // On a full disk it is in the way; that it cannot be removed is no news after what failed.
            let _ = std::fs::remove_dir_all(&part);
            self.bring_back()?;
            return Err(error);
        }
        let older = self.list()?.into_iter().filter(|&(of, _)| of <= steps);
        for (_, path) in older.skip(self.kept) {
            self.on_files(|| rename(&path, &path.with_extension("old")))?;
        }
        self.remove_leftovers()?;
        Ok(path)
    }

    /// Puts a checkpoint that could not be loaded out of the way, for whoever wants to look at it.
    pub(crate) fn set_aside(&self, path: &Path) -> Result<()> {
        let mut aside = path.with_extension("damaged");
        for number in 2.. {
            if !aside.exists() {
                break;
            }
            aside = path.with_extension(format!("damaged-{number}"));
        }
        self.on_files(|| rename(path, &aside))
    }

    /// Gives back its name to a checkpoint that was moved away for a newer one of the same step, which never
    /// came.
    fn bring_back(&self) -> Result<()> {
        for name in self.names()? {
            let path = self.folder.join(&name);
            let whole = path.with_extension("");
            if name.starts_with(PREFIX)
                && name.ends_with(".old")
                && !whole.exists()
                && !self.is_outdated(&path)?
            {
                self.on_files(|| rename(&path, &whole))?;
            }
        }
        Ok(())
    }

    /// Whether a checkpoint that was moved away was one of the oldest, rather than one to be replaced.
    fn is_outdated(&self, path: &Path) -> Result<bool> {
        let steps = |name: &str| name.strip_prefix(PREFIX)?.parse::<u64>().ok();
        let own = path.file_stem().and_then(|stem| steps(stem.to_str()?));
        Ok(self
            .names()?
            .iter()
            .filter_map(|name| steps(name))
            .any(|newer| own.is_some_and(|own| newer > own)))
    }

    /// Removes what an interrupted process left half-written or half-removed.
    fn remove_leftovers(&self) -> Result<()> {
        let leftover =
            |name: &String| name.starts_with(PREFIX) && (name.ends_with(".part") || name.ends_with(".old"));
        self.names()?
            .iter()
            .filter(|name| leftover(name))
            .try_for_each(|name| self.on_files(|| std::fs::remove_dir_all(self.folder.join(name))))
    }

    /// The names in the folder; none where it does not exist.
    fn names(&self) -> Result<Vec<String>> {
        self.on_files(|| match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => {
                let name = |entry: io::Result<std::fs::DirEntry>| Ok(entry?.file_name().into_string().ok());
                entries?.filter_map(|entry| name(entry).transpose()).collect()
            }
        })
    }

    fn on_files<T>(&self, work: impl FnOnce() -> io::Result<T>) -> Result<T> {
        work().map_err(|source| Error::File { path: self.folder.clone(), source })
    }
}
