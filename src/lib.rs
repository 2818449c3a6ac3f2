#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod action;
mod action_cost;
mod agent;
mod batch;
mod behaviour;
mod checkpoints;
mod config;
mod critic_step;
pub mod devices;
mod distribution;
pub mod dual;
mod e_step;
mod environment;
#[cfg(feature = "envs")]
pub mod envs;
mod error;
mod exploration;
mod file;
mod gaussian;
mod host;
mod learner;
mod m_step;
mod memory;
mod metrics;
pub mod networks;
mod observer;
pub mod observers;
mod policy;
mod replay;
mod rng;
mod target_networks;
pub mod targets;
mod tensor_file;
mod trainer;
mod worker;

pub use burn;
pub use burn::tensor::Device;

pub use action::Action;
pub use action_cost::{ActionCost, ActionPenalty, action_penalty};
pub use agent::MpoAgent;
pub use batch::{Batch, Improved};
pub use behaviour::Behaviour;
pub use config::{ImproveAt, MpoConfig};
pub use critic_step::{CriticStep, PolicyEvaluation};
pub use devices::device;
pub use distribution::{Constraint, DecoupledKl, Distribution, Multipliers};
pub use e_step::{EStep, EStepConfig, EStepSolution, TemperatureSolver};
pub use environment::{ActionBounds, Environment, Step};
pub use error::{BoxedError, Error, Result};
pub use exploration::{Excursions, Exploration, NoiseColour};
pub use gaussian::{Gaussian, PolicyGradient, Scale, Scatter, Statistics, policy_gradient};
pub use learner::Learner;
pub use m_step::{MStep, MStepConfig, MStepReport, MultiplierConfig};
pub use metrics::Metrics;
pub use networks::actor::{Actor, GaussianActor};
pub use networks::critic::Critic;
pub use networks::q_network::QNetwork;
pub use observer::{Counts, DeployedPolicy, Evaluation, Event, Observer, Progress, StopReason};
pub use policy::Policy;
pub use replay::{EpisodeWriter, ReplayBuffer};
pub use rng::{Rng, Stream};
pub use target_networks::{SampledActions, TargetNetworks};
pub use trainer::{Resumed, Summary, Trainer, TrainerConfig};
pub use worker::{Worker, WorkerError};
