//! Trains a policy for a task of the DeepMind Control Suite, and shows its learning curve and an episode.
//!
//! ```text
//! cargo run --release --example control_suite -- --task hopper-stand
//! ```
//!
//! What it writes lies in `runs/<task>-<preset>-<seed>`, from where the example `figures` draws.

mod common;
#[path = "common/critics.rs"]
mod critics;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use mpo::envs::{Acrobot, Cartpole, Draw, Hopper, record_episode};
use mpo::{Critic, Device, GaussianActor, MpoAgent, MpoConfig, Policy};

use crate::common::{Arguments, Preset, Task, exit, train};
use crate::critics::Critics;

/// Trains a policy for a task of the DeepMind Control Suite. Beside the other files it writes policy.gif, an
/// episode of the trained policy.
#[derive(Parser)]
struct Cli {
    /// The task.
    #[arg(long, value_enum)]
    task: Name,
    /// Draws the policy of this earlier run's folder as an episode, into policy.gif there, without training.
    #[arg(long, conflicts_with_all = ["out", "resume", "env_steps", "preset", "updates_per_step"])]
    watch: Option<PathBuf>,
    #[command(flatten)]
    critics: Critics,
    #[command(flatten)]
    arguments: Arguments,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// 50,000 environment steps where --env-steps says no other number.
    CartpoleBalance,
    /// 200,000 environment steps.
    CartpoleSwingup,
    /// 500,000 environment steps.
    AcrobotSwingup,
    /// 500,000 environment steps.
    HopperStand,
    /// 500,000 environment steps.
    HopperHop,
}

fn main() -> ExitCode {
    exit(run_task(Cli::parse()))
}

fn run_task(Cli { task, watch, critics, arguments }: Cli) -> Result<(), Box<dyn Error>> {
    let watch = watch.as_deref();
    // The same for all tasks; fewer than the quick cartpole example makes, so that half a million steps take
    // about an hour.
    let task_of = |title: &str, env_steps| {
        let preset = arguments.preset.unwrap_or(Preset::Simulation);
        let names = [task.to_possible_value(), preset.to_possible_value()];
        let [task, name] =
            names.map(|value| value.map(|value| value.get_name().to_owned()).unwrap_or_default());
        let folder = format!("{task}-{name}-{}", arguments.seed);
        Task { folder, title: title.into(), env_steps, updates_per_step: 0.5, preset, goal: None }
    };
    let run = Run { folder: watch, critics, arguments: &arguments };
    match task {
        Name::CartpoleBalance => run.of(&task_of("Cartpole balance", 50_000), Cartpole::balance()),
        Name::CartpoleSwingup => run.of(&task_of("Cartpole swingup", 200_000), Cartpole::swingup()),
        Name::AcrobotSwingup => run.of(&task_of("Acrobot swingup", 500_000), Acrobot::swingup()),
        Name::HopperStand => run.of(&task_of("Hopper stand", 500_000), Hopper::stand()),
        Name::HopperHop => run.of(&task_of("Hopper hop", 500_000), Hopper::hop()),
    }
}

struct Run<'a> {
    /// Of an earlier run, which is only watched.
    folder: Option<&'a Path>,
    critics: Critics,
    arguments: &'a Arguments,
}

impl Run<'_> {
    fn of<E: Draw + Clone + Send>(&self, task: &Task, environment: E) -> Result<(), Box<dyn Error>> {
        let Self { folder, critics, arguments } = self;
        if let Some(folder) = folder {
            let policy = Policy::load(folder.join("policy.mpo"), &arguments.backend.device)?;
            return Ok(watch(&policy, environment, arguments.seed, folder)?);
        }
        match critics.critics {
            1 => self.train(task, environment, MpoAgent::of),
            _ => self.train(task, environment, |config, environment: &E, device, seed| {
                critics.agent(config, environment, device, seed)
            }),
        }
    }

    fn train<E: Draw + Clone + Send, C: Critic>(
        &self,
        task: &Task,
        environment: E,
        make: impl FnOnce(MpoConfig, &E, &Device, u64) -> mpo::Result<MpoAgent<GaussianActor, C>>,
    ) -> Result<(), Box<dyn Error>> {
        let (agent, summary) = train(task, environment.clone(), self.arguments, make)?;
        let folder = self.arguments.folder(task);
        watch(agent.policy(), environment, self.arguments.seed, &folder)?;
        println!("{summary}");
        Ok(())
    }
}

/// Draws an episode of the policy that would be deployed.
fn watch<E: Draw>(policy: &Policy, environment: E, seed: u64, folder: &Path) -> mpo::Result<()> {
    let path = folder.join("policy.gif");
    let episode_return =
        record_episode(&path, environment, seed, |observation| policy.mean_action(observation))?;
    println!("an episode with a return of {episode_return:.1}: {}", path.display());
    Ok(())
}
