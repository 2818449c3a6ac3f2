//! The folder of a run: nothing of an earlier one is lost unasked.

use std::error::Error;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// What a run of these examples writes, beside its checkpoints.
const FILES: [&str; 7] = [
    "evaluations.csv",
    "metrics.csv",
    "learning_curve.svg",
    "policy.mpo",
    "policy.onnx",
    "best_policy.mpo",
    "policy.gif",
];
const CHECKPOINTS: &str = "checkpoints";
/// The folder of TensorBoard's event files.
pub const BOARD: &str = "board";

/// Makes the folder for a new run. One that holds an earlier run is refused, or cleared if that is asked for.
pub fn prepare(folder: &Path, overwrite: bool) -> Result<(), Box<dyn Error>> {
    let failed = |error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    if overwrite {
        return clear(folder).map_err(failed).map_err(Into::into);
    }
    let mut found: Vec<&str> = FILES.into_iter().filter(|name| folder.join(name).exists()).collect();
    if !checkpoints(folder).map_err(failed)?.is_empty() {
        found.push(CHECKPOINTS);
    }
    if !events(folder).map_err(failed)?.is_empty() {
        found.push(BOARD);
    }
    if found.is_empty() {
        return Ok(());
    }
    let name = folder.display();
    Err(format!(
        "{name} holds an earlier run ({}): go on with it by --resume {name}, name another folder by --out, or remove it by \
         --overwrite",
        found.join(", ")
    )
    .into())
}

/// Removes what a run has written, and nothing else.
fn clear(folder: &Path) -> std::io::Result<()> {
    // Held until all is removed, and while a run is under way by that run.
    let lock = File::open(folder.join(CHECKPOINTS).join("lock"));
    if let Ok(Err(TryLockError::WouldBlock)) = lock.as_ref().map(File::try_lock) {
        return Err(std::io::Error::other("a run is under way there"));
    }
    for name in checkpoints(folder)? {
        fs::remove_dir_all(folder.join(CHECKPOINTS).join(name))?;
    }
    let files = FILES.map(|name| folder.join(name)).into_iter().filter(|path| path.exists());
    files.chain(events(folder)?).try_for_each(fs::remove_file)
}

/// TensorBoard's event files of this run.
fn events(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let folder = folder.join(BOARD);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let ours = |path: &PathBuf| name(path).is_some_and(|name| name.starts_with("events.out.tfevents."));
    Ok(paths.into_iter().filter(ours).collect())
}

/// The names of the folders of all checkpoints, whole or not.
fn checkpoints(folder: &Path) -> std::io::Result<Vec<String>> {
    let folder = folder.join(CHECKPOINTS);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let folders = entries.into_iter().filter(|entry| entry.path().is_dir());
    let names = folders.filter_map(|entry| entry.file_name().into_string().ok());
    let steps = |name: &String| {
        let steps = name.strip_prefix("step-").and_then(|rest| rest.split('.').next());
        steps.is_some_and(|steps| steps.parse::<u64>().is_ok())
    };
    Ok(names.filter(steps).collect())
}
