//! Trains a policy that balances DeepMind's cartpole, and shows its learning curve.
//!
//! ```text
//! cargo run --release --example cartpole
//! ```

mod common;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use mpo::envs::Cartpole;

use crate::common::{Arguments, Task, exit, train};

/// Trains a policy that balances DeepMind's cartpole, for 30,000 environment steps.
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
        title: "Cartpole balance",
        env_steps: 30_000,
        updates_per_step: 1.5,
    };
    let (_, summary) = train(&task, Cartpole::balance(), arguments)?;
    println!("{summary}");
    Ok(())
}
