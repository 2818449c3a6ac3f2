//! Trains a policy that balances DeepMind's cartpole, and shows its learning curve.
//!
//! ```text
//! cargo run --release --example cartpole
//! ```

use std::error::Error;
use std::path::PathBuf;

use burn::tensor::Device;
use clap::{Parser, ValueEnum};
use mpo::envs::Cartpole;
use mpo::observers::{EvaluationTable, LearningCurve, MetricsTable, ProgressBar};
use mpo::{Environment, MpoAgent, MpoConfig, Trainer, TrainerConfig};

/// Trains a policy that balances DeepMind's cartpole.
#[derive(Parser)]
struct Arguments {
    /// The seed of all randomness: the same seed on the same backend gives the same run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many environment steps to train for; an episode has 1000.
    #[arg(long, default_value_t = 30_000)]
    env_steps: u64,
    /// The settings: the replication paper's Table 1, or the modern preset.
    #[arg(long, value_enum, default_value_t = Preset::Default)]
    preset: Preset,
    /// What computes: one of the backends compiled in.
    #[arg(long, value_enum, default_value_t = Backend::ALL[0])]
    backend: Backend,
    /// The folder for evaluations.csv, metrics.csv and learning_curve.svg.
    #[arg(long, default_value = "runs/cartpole")]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Preset {
    Paper,
    Default,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.out)?;
    let config = match arguments.preset {
        Preset::Paper => MpoConfig::paper(),
        Preset::Default => MpoConfig::default(),
    };
    let environment = Cartpole::balance();
    let (observation, action) = (environment.observation_size(), environment.action_bounds().size());
    let agent = MpoAgent::new(config, observation, action, &arguments.backend.device(), arguments.seed)?;
    let settings = TrainerConfig {
        environment_steps: arguments.env_steps,
        seed: arguments.seed,
        ..TrainerConfig::default()
    };
    let mut trainer = Trainer::new(settings, agent, environment, Cartpole::balance())?
        .observe(ProgressBar::new())
        .observe(EvaluationTable::create(arguments.out.join("evaluations.csv"))?)
        .observe(MetricsTable::create(arguments.out.join("metrics.csv"))?)
        .observe(LearningCurve::new(arguments.out.join("learning_curve.svg"), "Cartpole balance"));
    let summary = trainer.run()?;
    println!("learning curve: {}", arguments.out.join("learning_curve.svg").display());
    println!("{summary}");
    Ok(())
}

/// The backends compiled in.
#[derive(Clone, Copy, ValueEnum)]
enum Backend {
    #[cfg(feature = "flex")]
    Flex,
    #[cfg(feature = "ndarray")]
    Ndarray,
    #[cfg(feature = "wgpu")]
    Wgpu,
    #[cfg(feature = "vulkan")]
    Vulkan,
    #[cfg(feature = "cuda")]
    Cuda,
}

impl Backend {
    const ALL: &[Self] = &[
        #[cfg(feature = "flex")]
        Self::Flex,
        #[cfg(feature = "ndarray")]
        Self::Ndarray,
        #[cfg(feature = "wgpu")]
        Self::Wgpu,
        #[cfg(feature = "vulkan")]
        Self::Vulkan,
        #[cfg(feature = "cuda")]
        Self::Cuda,
    ];

    fn device(self) -> Device {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Device::flex(),
            #[cfg(feature = "ndarray")]
            #[expect(deprecated, reason = "Burn prefers flex; supported here while Burn has it")]
            Self::Ndarray => Device::ndarray(),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Device::vulkan(burn::tensor::DeviceKind::DefaultDevice),
            #[cfg(feature = "cuda")]
            Self::Cuda => Device::cuda(0),
        }
    }
}
