//! Control tasks in pure Rust: nothing to install, and the same numbers on every run.
//!
//! [`Cartpole`] has the `balance` and `swingup` tasks of the DeepMind Control Suite. Simulation, observations,
//! rewards and start states follow dm_control and MuJoCo: from any recorded state one control step agrees with
//! theirs to within rounding, which `tests/parity.rs` checks.
//!
//! Every task is an [`Environment`](crate::Environment) with actions in [-1, 1] and episodes of 1000 steps that
//! are cut off, never terminated. All units are SI, all angles in radians.
//!
//! # Credits
//! The tasks and their constants come from the models of
//! [dm_control](https://github.com/google-deepmind/dm_control) (Tassa et al., "DeepMind Control Suite", 2018), the
//! equations of motion and the soft limits from [MuJoCo](https://github.com/google-deepmind/mujoco) (Todorov et
//! al., 2012). Both are the work of DeepMind Technologies Limited and their authors, licensed under Apache-2.0.

mod cartpole;
mod dynamics;
mod error;
mod reward;
mod step;

pub use cartpole::Cartpole;
pub use dynamics::JointState;
pub use error::ControlError;
pub use step::ControlStep;

/// The control steps after which every episode is cut off.
const EPISODE_STEPS: usize = 1000;
