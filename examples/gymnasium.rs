//! Trains a policy for an environment in Python, and shows its learning curve and an episode.
//!
//! ```text
//! pip install "gymnasium[mujoco]"
//! cargo run --release --example gymnasium -- --env HalfCheetah-v5
//! ```
//!
//! What it writes lies in `runs/<environment>-<preset>-<seed>`.

mod common;
#[path = "common/critics.rs"]
mod critics;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Parser, ValueEnum};
use mpo::envs::record_episode;
use mpo::gymnasium::{DmControl, Gymnasium, GymnasiumOptions};
use mpo::{Actor, Critic, Device, DiscreteAgent, Environment, HybridAgent, MpoAgent, MpoConfig};
use mpo::{MultiDiscreteAgent, Policy};

use crate::common::{Arguments, Preset, Task, exit, train};
use crate::critics::Critics;

/// Trains a policy for an environment in Python: for 100,000 environment steps with an update each, where
/// --env-steps and --updates-per-step say nothing else. Beside the other files it writes policy.gif, an
/// episode of the trained policy, where the environment can be drawn.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    environment: Choice,
    #[command(flatten)]
    critics: Critics,
    #[command(flatten)]
    arguments: Arguments,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Choice {
    /// The environment with this id, as gymnasium.make makes it.
    #[arg(long, value_name = "ID")]
    env: Option<String>,
    /// A task of dm_control's suite.
    #[arg(long, value_name = "DOMAIN:TASK", value_parser = pair)]
    dm_control: Option<(String, String)>,
    /// The environment that a callable of a Python module returns.
    #[arg(long, value_name = "MODULE:CALLABLE")]
    module: Option<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (domain, task) = text.split_once(':').ok_or("accepted: DOMAIN:TASK, as walker:walk")?;
    Ok((domain.into(), task.into()))
}

impl Choice {
    /// The environment that is chosen, and its name.
    fn options(self) -> (GymnasiumOptions, String) {
        match self {
            Self { env: Some(id), .. } => (Gymnasium::options(&id), id),
            Self { dm_control: Some((domain, task)), .. } => {
                (DmControl::options(&domain, &task), format!("{domain}-{task}"))
            }
            Self { module, .. } => {
                let path = module.unwrap_or_default();
                (Gymnasium::module_options(&path), path)
            }
        }
    }
}

fn main() -> ExitCode {
    exit(run(Cli::parse()))
}

fn run(Cli { environment, critics, arguments }: Cli) -> Result<(), Box<dyn Error>> {
    let (options, title) = environment.options();
    let environment = options.clone().make()?;
    let space = environment.action_space();
    let usual = if space.bounded_size() == 0 { Preset::Discrete } else { Preset::Simulation };
    let preset = arguments.preset.unwrap_or(usual);
    let value = preset.to_possible_value();
    let preset_name = value.as_ref().map_or("", |value| value.get_name());
    let file_name = title.replace(['/', '\\', ':'], "-");
    let folder = format!("{file_name}-{preset_name}-{}", arguments.seed);
    let task = Task { folder, title, env_steps: 100_000, updates_per_step: 1.0, preset, goal: None };
    let train_and_draw = TrainAndDraw { task, options, arguments };
    match (space.bounded_size(), space.choices()) {
        (_, []) if critics.critics == 1 => train_and_draw.run(environment, MpoAgent::of),
        (_, []) => train_and_draw.run(environment, |config, environment, device, seed| {
            critics.agent(config, environment, device, seed)
        }),
        _ if critics.critics != 1 => Err("--critics: accepted for actions that are numbers".into()),
        (0, [_]) => train_and_draw.run(environment, DiscreteAgent::discrete_of),
        (0, _) => train_and_draw.run(environment, MultiDiscreteAgent::multi_discrete_of),
        _ => train_and_draw.run(environment, HybridAgent::hybrid_of),
    }
}

struct TrainAndDraw {
    task: Task,
    options: GymnasiumOptions,
    arguments: Arguments,
}

impl TrainAndDraw {
    fn run<A: Actor, C: Critic>(
        self,
        environment: Gymnasium,
        make: impl FnOnce(MpoConfig, &Gymnasium, &Device, u64) -> mpo::Result<MpoAgent<A, C>>,
    ) -> Result<(), Box<dyn Error>> {
        let Self { task, options, arguments } = self;
        let (agent, summary) = train(&task, environment, &arguments, make)?;
        if let Err(error) = draw(agent.policy(), options, arguments.seed, &arguments.folder(&task)) {
            eprintln!("no policy.gif: {error}");
        }
        println!("{summary}");
        Ok(())
    }
}

/// Draws an episode of the policy that would be deployed.
fn draw<A: Actor>(
    policy: &Policy<A>,
    options: GymnasiumOptions,
    seed: u64,
    folder: &Path,
) -> Result<(), Box<dyn Error>> {
    let path = folder.join("policy.gif");
    let environment = options.render().make()?;
    let episode_return = record_episode(&path, environment, seed, |seen| policy.mean_action(seen))?;
    println!("an episode with a return of {episode_return:.1}: {}", path.display());
    Ok(())
}
