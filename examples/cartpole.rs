//! Trains a policy that balances DeepMind's cartpole, and shows its learning curve.
//!
//! ```text
//! cargo run --release --example cartpole
//! ```

mod common;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use mpo::MpoAgent;
use mpo::envs::Cartpole;

use crate::common::{Arguments, Preset, Task, exit, train};

/// Trains a policy that balances DeepMind's cartpole, until it gets 950 of 1,000 points, for 30,000
/// environment steps at most.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    arguments: Arguments,
}

fn main() -> ExitCode {
    exit(run(&Cli::parse().arguments))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let task = Task {
        folder: "cartpole".into(),
        title: "Cartpole balance".into(),
        env_steps: 30_000,
        updates_per_step: 1.0,
        preset: Preset::Default,
        goal: Some(950.0),
    };
    let (_, summary) = train(&task, Cartpole::balance(), arguments, MpoAgent::of)?;
    println!("{summary}");
    Ok(())
}
