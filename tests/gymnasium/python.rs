//! What the tests have of Python.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use mpo::gymnasium::{Gymnasium, GymnasiumError, GymnasiumOptions};

/// A folder of the fixtures.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/python").join(name)
}

/// The interpreter itself, where `python3` may be a script.
static INTERPRETER: LazyLock<Option<String>> = LazyLock::new(|| {
    let python = std::env::var_os("MPO_PYTHON").unwrap_or_else(|| "python3".into());
    let asked = Command::new(python).args(["-c", "import sys; print(sys.executable)"]).output().ok()?;
    asked.status.success().then(|| String::from_utf8(asked.stdout).unwrap().trim().into())
});

/// Whether there is a Python to test with; the test says so where there is not.
pub fn there() -> bool {
    if INTERPRETER.is_none() {
        println!("NOT RUN: there is no Python here");
    }
    INTERPRETER.is_some()
}

/// The interpreter, where there is one.
pub fn interpreter() -> &'static str {
    INTERPRETER.as_deref().unwrap()
}

/// With the modules of these folders before all others.
pub fn with_folders(options: GymnasiumOptions, folders: &[&str]) -> GymnasiumOptions {
    let folders = std::env::join_paths(folders.iter().map(|name| folder(name))).unwrap();
    let options = options.interpreter(interpreter());
    options.variable("PYTHONPATH", folders).variable("PYTHONDONTWRITEBYTECODE", "1")
}

/// An environment of `troubles.py`, which needs nothing but Python.
pub fn troubles(callable: &str) -> GymnasiumOptions {
    let options = Gymnasium::module_options(&format!("troubles:{callable}"));
    with_folders(options, &["", "stand_ins"])
}

/// One that goes wrong in its process's n-th step.
pub fn troubled(trouble: &str, at: u32) -> GymnasiumOptions {
    troubles("Troubled").argument("trouble", trouble).argument("at", at)
}

/// That it is an error with all these words.
pub fn says<T: std::fmt::Debug>(result: Result<T, GymnasiumError>, words: &[&str]) -> GymnasiumError {
    let error = result.unwrap_err();
    let message = error.to_string();
    assert!(words.iter().all(|word| message.contains(word)), "{words:?} are not all in: {message}");
    error
}

/// Whether a process ends within a time; its parent need not have taken notice.
pub fn ends_within(process: u32, limit: Duration) -> bool {
    let begun = Instant::now();
    let runs = || {
        let state =
            Command::new("ps").args(["-o", "stat=", "-p", &process.to_string()]).output().unwrap().stdout;
        !state.is_empty() && !state.starts_with(b"Z")
    };
    while runs() {
        if begun.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}
