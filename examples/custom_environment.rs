//! An environment of one's own: a mass on a rail that is to be pushed to the middle and held there. Prints
//! the mean return before and after training.
//!
//! ```text
//! cargo run --release --example custom_environment
//! ```

use std::convert::Infallible;

use mpo::{ActionSpace, Environment, MpoAgent, MpoConfig, Result, Rng, Step, Stream, Trainer, TrainerConfig};

/// Position (m) and velocity (m/s) of 1 kg on a rail, pushed with up to 2 N.
#[derive(Default)]
struct Mass {
    position: f32,
    velocity: f32,
    steps: u32,
}

impl Environment for Mass {
    type Error = Infallible;

    fn observation_size(&self) -> usize {
        2
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::bounded(vec![-2.0], vec![2.0]).expect("-2 is below 2")
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>, Infallible> {
        let position = Rng::stream(seed, Stream::Episodes).uniform(-1.0, 1.0) as f32;
        *self = Self { position, ..Self::default() };
        Ok(vec![self.position, self.velocity])
    }

    fn step(&mut self, force: &[f32]) -> Result<Step, Infallible> {
        self.velocity += 0.05 * force[0];
        self.position += 0.05 * self.velocity;
        self.steps += 1;
        Ok(Step {
            observation: vec![self.position, self.velocity],
            reward: (-self.position.powi(2) - 0.1 * self.velocity.powi(2)).exp(),
            terminated: self.position.abs() > 5.0,
            truncated: self.steps == 200,
        })
    }
}

fn main() -> Result<()> {
    let agent = MpoAgent::new(MpoConfig::default(), 2, 1, &mpo::device(mpo::devices::default_backend())?, 1)?;
    let config = TrainerConfig { environment_steps: 5_000, ..TrainerConfig::default() };
    let mut trainer = Trainer::new(config, agent, Mass::default())?;
    println!("untrained: mean return {:.1} of 200", trainer.evaluate(10)?.mean_return);
    println!("{}", trainer.run()?);
    Ok(())
}
