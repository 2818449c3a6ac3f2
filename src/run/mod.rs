//! A training run: collect, learn, evaluate, report, save.

pub(crate) mod checkpoints;
pub(crate) mod observer;
pub mod observers;
pub(crate) mod timing;
pub(crate) mod trainer;
