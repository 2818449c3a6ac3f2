#![forbid(unsafe_code)]
#![warn(missing_docs)]
//! x

mod environment;
#[cfg(feature = "envs")]
pub mod envs;
mod error;
mod rng;

pub use environment::{ActionBounds, Environment, Step};
pub use error::{BoxedError, Error, Result};
pub use rng::{Rng, Stream};
