#![forbid(unsafe_code)]
#![warn(missing_docs)]
//! x

pub mod dual;
mod environment;
#[cfg(feature = "envs")]
pub mod envs;
mod error;
mod estep;
mod gaussian;
mod mstep;
pub mod networks;
mod rng;
pub mod targets;

pub use environment::{ActionBounds, Environment, Step};
pub use error::{BoxedError, Error, Result};
pub use estep::{EStep, EStepConfig, EStepSolution, TemperatureSolver, action_penalty};
pub use gaussian::{DecoupledKl, Gaussian, Scale};
pub use mstep::{
    Constraint, MStep, MStepConfig, MStepReport, MultiplierConfig, PolicyGradient, Scatter, Statistics,
    policy_gradient,
};
pub use rng::{Rng, Stream};
