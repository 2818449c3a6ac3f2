//! Acting that never waits for learning: a cartpole that is controlled 50 times a second, as a robot would
//! be.
//!
//! ```text
//! cargo run --release --example real_time
//! ```

use std::ops::ControlFlow;
use std::time::Duration;

use mpo::envs::Cartpole;
use mpo::{Event, MpoAgent, MpoConfig, Paced, Progress, RealTime, Result, Trainer, TrainerConfig};

fn main() -> Result<()> {
    // A robot's own `step` would send the action, wait for the next tick and read the sensors.
    let robot = Paced::new(Cartpole::balance(), Duration::from_millis(20))?;
    // Evaluated in a simulation that need not wait. Without one: between the robot's episodes, or, with no
    // `evaluation_episodes`, not at all.
    let simulation = Paced::new(Cartpole::balance(), Duration::from_nanos(1))?;
    let device = mpo::device(mpo::devices::default_backend())?;
    let agent = MpoAgent::of(MpoConfig::default(), &robot, &device, 1)?;
    let config = TrainerConfig {
        environment_steps: 20_000,
        updates_per_step: 1.0,
        evaluation_period: 1_000,
        stop_at_return: Some(950.0),
        ..TrainerConfig::default()
    };
    let told = |event: &Event, progress: &Progress<'_>| {
        match event {
            Event::Timing(timing) => println!(
                "{:.0} s, {} steps: {} late, 99 of 100 in {:.2} ms, policy {:.0} ms old, {:.0} steps behind",
                progress.counts.seconds,
                progress.counts.environment_steps,
                timing.late_steps,
                1e3 * timing.reaction_p99,
                1e3 * timing.policy_age_seconds,
                timing.steps_behind
            ),
            Event::Evaluation(evaluation) => println!("evaluation: {:.1}", evaluation.mean_return),
            _ => {}
        }
        ControlFlow::Continue(())
    };
    let trainer = Trainer::new(config, agent, robot)?.evaluate_in(simulation)?;
    println!("{}", trainer.in_real_time(RealTime::default())?.observe(told).run()?);
    Ok(())
}
