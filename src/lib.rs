#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod action;
mod action_cost;
mod agent;
mod batch;
mod checkpoints;
mod config;
pub mod devices;
pub mod dual;
mod environment;
#[cfg(feature = "envs")]
pub mod envs;
mod error;
mod estep;
mod exploration;
mod file;
mod gaussian;
mod host;
mod memory;
mod metrics;
mod mstep;
pub mod networks;
mod observer;
pub mod observers;
mod policy;
mod replay;
mod rng;
pub mod targets;
mod tensor_file;
mod trainer;
mod worker;

pub use burn::tensor::Device;

pub use action::Action;
pub use action_cost::{ActionCost, ActionPenalty, action_penalty};
pub use agent::MpoAgent;
pub use batch::{Batch, Improved};
pub use config::{ImproveAt, MpoConfig, PolicyEvaluation};
pub use devices::device;
pub use environment::{ActionBounds, Environment, Step};
pub use error::{BoxedError, Error, Result};
pub use estep::{EStep, EStepConfig, EStepSolution, TemperatureSolver};
pub use exploration::{Excursions, Exploration, NoiseColour};
pub use gaussian::{DecoupledKl, Gaussian, Scale};
pub use metrics::Metrics;
pub use mstep::{
    Constraint, MStep, MStepConfig, MStepReport, MultiplierConfig, PolicyGradient, Scatter, Statistics,
    policy_gradient,
};
pub use networks::{Actor, Critic, GaussianActor, QNetwork};
pub use observer::{Counts, DeployedPolicy, Evaluation, Event, Observer, Progress, StopReason};
pub use policy::Policy;
pub use replay::{EpisodeWriter, ReplayBuffer};
pub use rng::{Rng, Stream};
pub use trainer::{Resumed, Summary, Trainer, TrainerConfig};
pub use worker::{Worker, WorkerError};
