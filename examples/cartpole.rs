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

const CARTPOLE: Task =
    Task { name: "cartpole", title: "Cartpole balance", env_steps: 30_000, updates_per_step: 1.5 };

fn main() -> ExitCode {
    exit(run(&Cli::parse().arguments))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let (_, summary) = train(&CARTPOLE, Cartpole::balance(), arguments)?;
    println!("{summary}");
    Ok(())
}
