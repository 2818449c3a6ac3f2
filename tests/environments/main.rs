//! The control tasks, and an environment in a thread of its own.
#![cfg(feature = "envs")]

mod parity;
mod tasks;
mod worker;
