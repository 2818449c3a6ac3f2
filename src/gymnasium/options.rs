//! What environment is made, and how.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Gymnasium, GymnasiumError};

/// How an environment in Python is made: from [`Gymnasium::options`], [`Gymnasium::module_options`] or
/// [`DmControl::options`].
///
/// ```no_run
/// use mpo::gymnasium::Gymnasium;
///
/// let ant = Gymnasium::options("Ant-v5").argument("healthy_reward", 0.5).time_limit(500).make()?;
/// # Ok::<(), mpo::gymnasium::GymnasiumError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GymnasiumOptions {
    source: Source,
    arguments: Map<String, Value>,
    time_limit: Option<u32>,
    answer_limit: Duration,
    render: bool,
    repeatable: Option<bool>,
    interpreter: Option<PathBuf>,
    variables: Vec<(OsString, OsString)>,
}

/// Where an environment comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Source {
    Gymnasium { id: String },
    DmControl { domain: String, task: String },
    Module { path: String },
}

/// What the child is told first.
#[derive(Serialize)]
struct Request<'a> {
    source: &'a Source,
    arguments: &'a Map<String, Value>,
    time_limit: Option<u32>,
    render: bool,
}

impl GymnasiumOptions {
    /// The time for starting Python, importing packages and making the environment, where no answer may take
    /// longer.
    const START: Duration = Duration::from_secs(60);
    const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            arguments: Map::new(),
            time_limit: None,
            answer_limit: Self::START,
            render: false,
            repeatable: None,
            interpreter: None,
            variables: Vec::new(),
        }
    }

    /// A keyword argument of the environment's constructor, of the module's callable or of dm_control's task.
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.arguments.insert(name.into(), value.into());
        self
    }

    /// Cuts episodes off after so many steps, in place of the environment's own limit. Accepted: at least 1.
    /// Needed where it has none.
    pub fn time_limit(mut self, steps: u32) -> Self {
        self.time_limit = Some(steps);
        self
    }

    /// How long an answer may take, 60 seconds where nobody says; what takes longer is killed. Accepted:
    /// above 0, up to 7 days. Making the environment has at least 60 seconds.
    pub fn answer_limit(mut self, limit: Duration) -> Self {
        self.answer_limit = limit;
        self
    }

    /// Makes an environment that can be drawn, by [`Gymnasium::render`] or as a GIF file.
    pub fn render(mut self) -> Self {
        self.render = true;
        self
    }

    /// Whether an episode can be played again ([`Environment::repeatable`](crate::Environment::repeatable)),
    /// where that is not known.
    pub fn repeatable(mut self, repeatable: bool) -> Self {
        self.repeatable = Some(repeatable);
        self
    }

    /// The Python interpreter. Where none is named it is that of the variable `MPO_PYTHON`, of the active
    /// virtual environment (`VIRTUAL_ENV`), or `python3`, in this order.
    pub fn interpreter(mut self, path: impl Into<PathBuf>) -> Self {
        self.interpreter = Some(path.into());
        self
    }

    /// A variable of the Python process's environment, such as `PYTHONPATH`, where a module lies, or
    /// `MUJOCO_GL`, what MuJoCo draws with.
    pub fn variable(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Starts Python and makes the environment.
    ///
    /// # Errors
    /// If there is no Python, a package is missing, there is no such environment, or it is of a kind that is
    /// not served: see [`GymnasiumError`].
    pub fn make(self) -> Result<Gymnasium, GymnasiumError> {
        let refused = |what: &str, found: String, accepted: &str| {
            Err(GymnasiumError::Refused { what: what.into(), found, accepted: accepted.into() })
        };
        if self.time_limit == Some(0) {
            return refused("GymnasiumOptions::time_limit", "0".into(), "at least 1");
        }
        if self.answer_limit.is_zero() || self.answer_limit > Self::LONGEST {
            let found = format!("{:?}", self.answer_limit);
            return refused("GymnasiumOptions::answer_limit", found, "above 0, up to 7 days");
        }
        Gymnasium::start(self)
    }

    pub(super) fn request(&self) -> String {
        let request = Request {
            source: &self.source,
            arguments: &self.arguments,
            time_limit: self.time_limit,
            render: self.render,
        };
        serde_json::to_string(&request).expect("names and numbers are JSON")
    }

    pub(super) fn limit(&self) -> Duration {
        self.answer_limit
    }

    pub(super) fn start_limit(&self) -> Duration {
        self.answer_limit.max(Self::START)
    }

    pub(super) fn is_repeatable(&self) -> Option<bool> {
        self.repeatable
    }

    /// The interpreter that is started.
    pub(super) fn python(&self) -> OsString {
        let in_virtual_environment = |folder: OsString| {
            let place = if cfg!(windows) { "Scripts/python.exe" } else { "bin/python3" };
            Path::new(&folder).join(place).into_os_string()
        };
        let named = |name| env::var_os(name).filter(|value| !value.is_empty());
        self.interpreter
            .clone()
            .map(PathBuf::into_os_string)
            .or_else(|| named("MPO_PYTHON"))
            .or_else(|| named("VIRTUAL_ENV").map(in_virtual_environment))
            .unwrap_or_else(|| if cfg!(windows) { "python" } else { "python3" }.into())
    }

    /// The variables that the process gets: the caller's, and one thread for each library, which would
    /// otherwise take a thread for every core in every environment.
    pub(super) fn variables(&self) -> impl Iterator<Item = (OsString, OsString)> {
        let threads = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"];
        let unset = threads.into_iter().filter(|name| env::var_os(name).is_none());
        unset.map(|name| (name.into(), "1".into())).chain(self.variables.clone())
    }
}

/// Tasks of the [DeepMind Control Suite](https://github.com/google-deepmind/dm_control) as it is in Python,
/// by domain and task; some are in [`mpo::envs`](crate::envs) without Python.
///
/// ```no_run
/// use mpo::gymnasium::DmControl;
///
/// let walker = DmControl::load("walker", "walk")?;
/// # Ok::<(), mpo::gymnasium::GymnasiumError>(())
/// ```
///
/// It needs `pip install dm_control "mujoco<4"`. Observations are all of the task's, one after another in its
/// order.
#[derive(Debug, Clone, Copy)]
pub enum DmControl {}

impl DmControl {
    /// A task as it is.
    ///
    /// # Errors
    /// If [`GymnasiumOptions::make`] would fail.
    pub fn load(domain: &str, task: &str) -> Result<Gymnasium, GymnasiumError> {
        Self::options(domain, task).make()
    }

    /// A task with options.
    pub fn options(domain: &str, task: &str) -> GymnasiumOptions {
        GymnasiumOptions::new(Source::DmControl { domain: domain.into(), task: task.into() })
    }
}
