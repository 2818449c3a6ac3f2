//! The control tasks, and environments around environments.

mod parity;
mod tasks;
mod worker;
mod wrappers;
