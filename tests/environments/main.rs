//! The control tasks, and an environment in a thread of its own.

mod parity;
mod tasks;
mod worker;
