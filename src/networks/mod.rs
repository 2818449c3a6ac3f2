//! Policies and critics: the traits [`Actor`] and [`Critic`], and the default networks.

mod actor;
mod critic;
mod layers;
mod optimizer;

pub use actor::{Actor, Covariance, GaussianActor, GaussianActorConfig};
pub use critic::{Critic, QNetwork, sampled_values};
pub use layers::{Activation, NetworkConfig, linear};
pub use optimizer::{Optimizer, OptimizerConfig};
