//! Policies and critics: the traits [`Actor`] and [`Critic`], and the default networks.

mod actor;
mod average;
mod checks;
mod critic;
mod layers;
mod moments;
mod names;
mod optimizer;
mod parameters;
mod precision;

pub use actor::{Actor, Covariance, GaussianActor, GaussianActorConfig};
pub use average::follow;
pub(crate) use checks::{device_of, parameter_sum, shared_device};
pub use critic::{Critic, QNetwork, QNetworkConfig, sampled_values};
pub use layers::{Activation, NetworkConfig, linear};
pub(crate) use names::names;
pub(crate) use optimizer::flat_gradient;
pub use optimizer::{Optimizer, OptimizerConfig};
pub use parameters::with_own_gradients;
pub(crate) use parameters::{parameters, with_parameters};
pub use precision::{Precision, in_precision};
