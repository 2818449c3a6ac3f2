//! Control tasks in pure Rust: nothing to install, and the same numbers on every run.
//!
//! Tasks of the DeepMind Control Suite: [`Cartpole`] balance and swingup, [`Acrobot`] swingup, [`Hopper`]
//! stand and hop. Simulation, observations, rewards and start states follow dm_control and MuJoCo: from any
//! recorded state one control step agrees with theirs to within rounding, which
//! `tests/environments/parity.rs` checks.
//!
//! Every task is an [`Environment`](crate::Environment) with actions in [-1, 1] and episodes of 1000 steps
//! that are cut off, never terminated. All units are SI, all angles in radians.
//!
//! # Credits
//! The tasks and their constants come from the models of
//! [dm_control](https://github.com/google-deepmind/dm_control) (Tassa et al., "DeepMind Control Suite",
//! 2018), the equations of motion, the contacts and the soft limits from
//! [MuJoCo](https://github.com/google-deepmind/mujoco) (Todorov et al., 2012). Both are the work of DeepMind
//! Technologies Limited and their authors, licensed under Apache-2.0.

mod acrobot;
mod cartpole;
mod dynamics;
mod error;
mod hopper;
#[cfg(feature = "gif")]
mod picture;
#[cfg(feature = "gif")]
mod recording;
mod reward;
mod task;

pub use acrobot::Acrobot;
pub use cartpole::Cartpole;
pub use dynamics::JointState;
pub use error::ControlError;
pub use hopper::Hopper;
#[cfg(feature = "gif")]
pub use picture::Picture;
#[cfg(feature = "gif")]
pub use recording::{Draw, record_episode};
pub use task::{ControlStep, ControlTask};

/// The gravitational acceleration, downwards, in m/s^2.
const GRAVITY: f64 = 9.81;
