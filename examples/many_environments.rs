//! Several environments at once: eight cartpoles, whose actions are computed in one pass.
//!
//! ```text
//! cargo run --release --example many_environments
//! ```

use std::ops::ControlFlow;

use mpo::envs::Cartpole;
use mpo::{Environments, Event, MpoAgent, MpoConfig, Progress, Result, Trainer, TrainerConfig};

fn main() -> Result<()> {
    let environments = |count| Environments::new(vec![Cartpole::balance(); count]);
    let device = mpo::device(mpo::devices::default_backend())?;
    let agent = MpoAgent::of(MpoConfig::default(), &environments(8)?, &device, 1)?;
    let config = TrainerConfig {
        // Of all of them together, and so are the updates: eight after every eight steps.
        environment_steps: 10_000,
        updates_per_step: 1.0,
        evaluation_period: 2_000,
        ..TrainerConfig::default()
    };
    // Evaluations play five episodes at a time, elsewhere: the training episodes go on undisturbed.
    let trainer = Trainer::new(config, agent, environments(8)?)?.evaluate_in(environments(5)?)?;
    let told = |event: &Event, progress: &Progress<'_>| {
        if let Event::Evaluation(evaluation) = event {
            println!("{} steps: {:.1}", progress.counts.environment_steps, evaluation.mean_return);
        }
        ControlFlow::Continue(())
    };
    println!("{}", trainer.observe(told).run()?);
    Ok(())
}
