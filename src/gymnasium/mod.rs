//! Environments in Python: every task of [Gymnasium](https://gymnasium.farama.org) and
//! [dm_control](https://github.com/google-deepmind/dm_control), and whatever else has Gymnasium's interface.
//!
//! ```no_run
//! use mpo::gymnasium::{DmControl, Gymnasium};
//!
//! let half_cheetah = Gymnasium::make("HalfCheetah-v5")?;
//! let walker = DmControl::load("walker", "walk")?;
//! let robot = Gymnasium::from_module("my_robot:make_env")?;
//! # Ok::<(), mpo::gymnasium::GymnasiumError>(())
//! ```
//!
//! They need Python 3.10 or newer and what a task needs there: `pip install "gymnasium[mujoco]"`, or `pip
//! install dm_control "mujoco<4"`. Nothing is linked, and nothing is needed to build.
//!
//! Each environment is a Python process of its own, which runs a script that is compiled into this library
//! and talks to it through pipes; it ends with the environment, and with this process. What it prints goes
//! into the errors and, as `tracing` events of the level `DEBUG`, to whoever asks for the target
//! `mpo::gymnasium`.

mod error;
mod options;
#[cfg(feature = "gif")]
mod picture;
mod process;
mod protocol;

pub use error::GymnasiumError;
pub use options::{DmControl, GymnasiumOptions};

use std::sync::Arc;

use self::options::Source;
use self::process::{Answers, Process};
use self::protocol::{Actions, Ask, Description, array, frame, numbers};
use crate::action_space::ActionSpace;
use crate::experience::environment::{Environment, Step};

/// An environment in a Python process of its own.
///
/// Its observation is flattened, as Gymnasium flattens it: dictionaries and tuples in the order of their
/// parts, what is discrete as one number for each choice. Actions are those of a `Box` with finite bounds, of
/// `Discrete`, `MultiDiscrete` and `MultiBinary`, or of a `Tuple` or `Dict` of these: as an [`ActionSpace`]
/// has them, with the numbers of all boxes first. The task's own end is told apart from its time limit.
/// Rewards and observations come as single-precision numbers, as all of the library's.
///
/// [`repeatable`](Environment::repeatable) says yes for the kinds of tasks of which it was seen that the same
/// seed gives the same bits: Gymnasium's own classic control and MuJoCo tasks, its lunar lander (not its
/// bipedal walker), and dm_control's suite. Which tasks were tried stands in `docs/gymnasium.md`.
///
/// A clone is another environment of the same kind, whose process starts with its first reset. After an error
/// a new process starts with the next reset, so that with
/// [`TrainerConfig::tolerated_failed_episodes`](crate::TrainerConfig::tolerated_failed_episodes) above 0 a
/// training goes on past crashes and hangs.
#[derive(Debug)]
pub struct Gymnasium {
    options: Arc<GymnasiumOptions>,
    description: Description,
    space: ActionSpace,
    process: Option<Process>,
    /// Between a reset and the episode's end.
    playing: bool,
}

/// A picture of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// Red, green and blue of each pixel, row by row from the top left.
    pub rgb: Vec<[u8; 3]>,
}

impl Gymnasium {
    /// The environment with this id, as `gymnasium.make` makes it. For an id that another package registers,
    /// name its module: `"gymnasium_robotics:FetchReach-v4"`.
    ///
    /// # Errors
    /// If [`GymnasiumOptions::make`] would fail.
    pub fn make(id: &str) -> Result<Self, GymnasiumError> {
        Self::options(id).make()
    }

    /// The environment with this id, with options.
    pub fn options(id: &str) -> GymnasiumOptions {
        GymnasiumOptions::new(Source::Gymnasium { id: id.into() })
    }

    /// The environment that a callable of a Python module returns, as `"module:callable"`: a class or a
    /// function. Python finds the module in the working directory, in `PYTHONPATH`, or among its packages.
    /// The environment has to end its episodes, or to be given a [time limit](GymnasiumOptions::time_limit).
    ///
    /// # Errors
    /// If [`GymnasiumOptions::make`] would fail.
    pub fn from_module(path: &str) -> Result<Self, GymnasiumError> {
        Self::module_options(path).make()
    }

    /// The environment that a callable of a Python module returns, with options.
    pub fn module_options(path: &str) -> GymnasiumOptions {
        GymnasiumOptions::new(Source::Module { path: path.into() })
    }

    /// The steps after which episodes are cut off, as far as that is known.
    pub fn time_limit(&self) -> Option<u64> {
        self.description.time_limit
    }

    /// The system's number of the Python process, if one is running.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// A picture of the current state, of an environment made with [`GymnasiumOptions::render`].
    ///
    /// # Errors
    /// If no episode was begun, or the environment cannot draw.
    pub fn render(&mut self) -> Result<Frame, GymnasiumError> {
        if self.process.is_none() {
            return Err(GymnasiumError::NoEpisode);
        }
        self.ask(Ask::Picture, frame)
    }

    fn start(options: GymnasiumOptions) -> Result<Self, GymnasiumError> {
        let (process, description) = Process::start(&options)?;
        let refused = |found: String| GymnasiumError::Refused {
            what: "the action space".into(),
            found,
            accepted: protocol::ACTIONS.into(),
        };
        let Actions { low, high, choices } = description.action.clone();
        let space = ActionSpace::of_parts(low, high, choices).map_err(|error| refused(error.to_string()))?;
        let options = Arc::new(options);
        Ok(Self { options, description, space, process: Some(process), playing: false })
    }

    /// What the process answers, which is ended by any error.
    fn ask<T>(
        &mut self,
        ask: Ask<'_>,
        read: impl FnOnce(&mut Answers) -> std::io::Result<T>,
    ) -> Result<T, GymnasiumError> {
        let Some(process) = &mut self.process else { return Err(GymnasiumError::NoEpisode) };
        let answer = process.ask(ask, read);
        if answer.is_err() {
            self.process = None;
            self.playing = false;
        }
        answer
    }

    fn ask_for_step(&mut self, ask: Ask<'_>) -> Result<Step, GymnasiumError> {
        let size = self.description.observation_size;
        self.ask(ask, |answers| {
            let observation = numbers(answers, size)?;
            let reward = f64::from_le_bytes(array(answers)?) as f32;
            let [flags] = array(answers)?;
            Ok(Step { observation, reward, terminated: flags & 1 != 0, truncated: flags & 2 != 0 })
        })
    }
}

impl Clone for Gymnasium {
    fn clone(&self) -> Self {
        let Self { options, description, space, .. } = self;
        let (options, description, space) = (options.clone(), description.clone(), space.clone());
        Self { options, description, space, process: None, playing: false }
    }
}

impl Environment for Gymnasium {
    type Error = GymnasiumError;

    fn observation_size(&self) -> usize {
        self.description.observation_size
    }

    fn action_space(&self) -> ActionSpace {
        self.space.clone()
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>, GymnasiumError> {
        self.playing = false;
        if self.process.is_none() {
            let (process, description) = Process::start(&self.options)?;
            if description != self.description {
                return Err(GymnasiumError::Refused {
                    what: "the environment made anew".into(),
                    found: format!("{description:?}"),
                    accepted: format!("what it was before, {:?}", self.description),
                });
            }
            self.process = Some(process);
        }
        let step = self.ask_for_step(Ask::Reset(seed))?;
        self.playing = true;
        Ok(step.observation)
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, GymnasiumError> {
        if !self.playing {
            return Err(GymnasiumError::NoEpisode);
        }
        let size = self.space.size();
        if self.space.split(action).is_err() {
            return Err(GymnasiumError::Action { action: action.to_vec(), size });
        }
        let step = self.ask_for_step(Ask::Step(action))?;
        self.playing = !step.is_last();
        Ok(step)
    }

    fn repeatable(&self) -> bool {
        self.options.is_repeatable().unwrap_or(self.description.repeatable)
    }
}
