//! Policies and critics: the traits [`Actor`] and [`Critic`], the default networks, and what trains them.

pub(crate) mod actor;
mod average;
mod backward;
pub(crate) mod categorical_actor;

pub(crate) mod critic;
pub(crate) mod discrete_q_network;
mod ensemble;
pub(crate) mod independent_actors;
mod layers;
mod made_of_settings;
pub(crate) mod moments;
mod names;
mod normalised;
mod on_host;
mod optimizer;
mod output_on_host;
mod parameters;
pub(crate) mod q_network;
mod rows;
mod trunk;
mod value_head;
mod value_units;

pub use crate::mathematics::bins::{BinTarget, ValueDistribution};
pub(crate) use actor::{Actor, GaussianActor};
pub use actor::{Covariance, GaussianActorConfig};
pub use average::follow;
pub use backward::Backward;
pub(crate) use categorical_actor::CategoricalActor;
pub use categorical_actor::CategoricalActorConfig;
pub(crate) use critic::Critic;
pub use critic::{CriticLoss, sampled_values};
pub(crate) use discrete_q_network::DiscreteQNetwork;
pub use ensemble::{Combine, Ensemble};
pub(crate) use independent_actors::HybridActor;
pub use layers::{Activation, NetworkConfig, linear};
pub use made_of_settings::MadeOfSettings;
pub(crate) use names::names;
pub use normalised::{Normalised, PopArt, Rescale};
pub use optimizer::{Optimizer, OptimizerConfig};
pub use parameters::with_own_gradients;
pub(crate) use parameters::{device_of, is_trainable, parameter_sum, parameters, with_parameters};
pub(crate) use q_network::QNetwork;
pub use q_network::QNetworkConfig;
pub use value_units::rescaled;
