//! Maximum a Posteriori Policy Optimisation ([arXiv 1806.06920](https://arxiv.org/abs/1806.06920),
//! [1812.02256](https://arxiv.org/abs/1812.02256)): off-policy reinforcement learning of actions that are
//! numbers, choices or both, on the [Burn](https://burn.dev) framework.
//!
//! ```no_run
//! use mpo::{Device, MpoAgent, MpoConfig, Result, Trainer, TrainerConfig};
//! # #[cfg(feature = "envs")]
//! # fn main() -> Result<()> {
//!
//! let environment = mpo::envs::Cartpole::balance(); // or an `Environment` of your own
//! let agent = MpoAgent::of(MpoConfig::default(), &environment, &Device::flex(), 1)?;
//! let config = TrainerConfig { environment_steps: 10_000, ..TrainerConfig::default() };
//! let mut trainer = Trainer::new(config, agent, environment)?;
//! println!("{}", trainer.run()?);
//! trainer.agent().policy().save("policy.mpo")?;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "envs"))]
//! # fn main() {}
//! ```
//!
//! | you want | begin at |
//! |---|---|
//! | to read how it goes | [`guide`] |
//! | a task of your own | [`Environment`], [`guide::first_environment`] |
//! | a task of Gymnasium or dm_control | [`gymnasium`] |
//! | actions that are choices | [`ActionSpace`], [`DiscreteAgent`], [`MultiDiscreteAgent`], [`HybridAgent`] |
//! | to train | [`Trainer`], [`TrainerConfig`], [`MpoAgent`], [`MpoConfig`] |
//! | to see how it goes | [`Observer`], [`observers`], [`Metrics`], [`guide::metrics`] |
//! | a run that survives a crash | [`Trainer::save_into`], [`Trainer::resume`] |
//! | to run what was trained | [`Policy`], [`guide::deployment`] |
//! | the algorithm | [`Learner`], [`EStep`], [`MStep`], [`CriticStep`], [`guide::mathematics`] |
//! | gradients from many machines | [`Chief`], [`Contributor`] |
//! | networks and distributions of your own | [`Actor`], [`Critic`], [`Distribution`], [`networks`], [`guide::own_parts`] |
//!
//! # Features
//!
//! `flex` (a CPU backend) and `envs` (`mpo::envs`, control tasks in pure Rust) come by default; `gif`
//! (pictures of these tasks), `progress` (`ProgressBar`), `plot` (`LearningCurve`) and `distributed`
//! (`Collector`, `Chief::lead`: experience and gradients from other machines) on demand, and so do other
//! backends: `ndarray`, `wgpu`, `vulkan`, `cuda`.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs)]

mod acting;
mod action_space;
mod agent;
mod backends;
mod behaviour;
mod checks;
#[cfg(feature = "distributed")]
mod distributed;
#[cfg(feature = "envs")]
pub mod envs;
mod error;
mod experience;
mod exploration;
mod files;
pub mod guide;
pub mod gymnasium;
mod host;
mod learner;
mod mathematics;
mod memory;
pub mod networks;
mod policy;
mod rng;
mod run;

/// The backends of this build, and how to keep the library from changing what the memory allocator does.
pub mod devices {
    pub use crate::backends::{BACKENDS, default_backend, leave_allocator_alone};
}

pub use burn;
pub use burn::tensor::Device;

pub use mathematics::{dual, targets};
pub use run::observers;

pub use action_space::ActionSpace;
pub use agent::MpoAgent;
pub use agent::choices::{DiscreteAgent, HybridAgent, MultiDiscreteAgent};
pub use backends::device;
pub use behaviour::Behaviour;
#[cfg(feature = "distributed")]
pub use distributed::{
    arrivals::Arrivals,
    collector::{Collector, CollectorConfig, CollectorSummary},
    following::FollowConfig,
    leading::{LeadConfig, LeadEvent, LeadSummary},
    network::Network,
};
pub use error::{BoxedError, Error, Result};
pub use experience::action::Action;
pub use experience::batch::{Batch, Improved};
pub use experience::environment::{Environment, Step};
pub use experience::environments::{Environments, RowError};
pub use experience::recorded::RecordedEpisode;
pub use experience::replay::{EpisodeWriter, ReplayBuffer};
pub use experience::vector::{FirstRow, Layout, VectorEnvironment};
pub use experience::worker::{Worker, WorkerError};
pub use experience::wrappers::{ActionRepeat, Paced, TimeLimit};
pub use exploration::{Excursions, Exploration, NoiseColour};
pub use learner::Learner;
pub use learner::action_cost::{ActionCost, ActionPenalty, action_penalty};
pub use learner::chief::Chief;
pub use learner::config::{ImproveAt, MpoConfig};
pub use learner::contributor::Contributor;
pub use learner::critic_step::{CriticStep, PolicyEvaluation};
pub use learner::e_step::{EStep, EStepConfig, EStepKind, EStepSolution, Objective, TemperatureSolver};
pub use learner::exchange::{Contribution, SharedParameters};
pub use learner::m_step::{MStep, MStepConfig, MStepReport, MultiplierConfig};
pub use learner::metrics::Metrics;
pub use learner::target_networks::{SampledActions, TargetNetworks};
pub use mathematics::advantage::expected_advantage;
pub use mathematics::categorical::Categorical;
pub use mathematics::distribution::{Constraint, DecoupledKl, Distribution, Enumeration, Multipliers};
pub use mathematics::gaussian::{Gaussian, PolicyGradient, Scale, Scatter, Statistics, policy_gradient};
pub use mathematics::independent::Independent;
pub use networks::actor::{Actor, GaussianActor};
pub use networks::categorical_actor::CategoricalActor;
pub use networks::critic::Critic;
pub use networks::discrete_q_network::DiscreteQNetwork;
pub use networks::independent_actors::{HybridActor, IndependentActors};
pub use networks::q_network::QNetwork;
pub use policy::{OnnxOptions, Policy};
pub use rng::{Rng, Stream};
pub use run::observer::{Counts, DeployedPolicy, Evaluation, Event, Observer, Progress, StopReason};
pub use run::timing::Timing;
#[cfg(feature = "distributed")]
pub use run::trainer::Fleet;
pub use run::trainer::{RealTime, Resumed, Summary, Trainer, TrainerConfig};

/// The first page's programs, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct FirstPage;
