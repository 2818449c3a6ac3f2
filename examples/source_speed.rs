//! Times what experience comes from: steps a second in several environments, acting on many observations at
//! once, and how late actions are while the default preset learns.
//!
//! ```text
//! cargo run --release --example source_speed
//! ```

use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use mpo::envs::{Cartpole, Hopper};
use mpo::{
    ActionSpace, Device, Environment, Environments, MpoAgent, MpoConfig, Paced, RealTime, Result, Step,
    Trainer, TrainerConfig,
};

/// An environment that takes its time, and notes how long actions take to come after their observations.
#[derive(Clone)]
struct Slow<E> {
    environment: E,
    time: Duration,
    answered: Instant,
    delays: Arc<Mutex<Vec<Duration>>>,
}

impl<E> Slow<E> {
    fn new(environment: E, time: Duration) -> Self {
        Self { environment, time, answered: Instant::now(), delays: Arc::default() }
    }
}

impl<E: Environment> Environment for Slow<E> {
    type Error = E::Error;

    fn observation_size(&self) -> usize {
        self.environment.observation_size()
    }

    fn action_space(&self) -> ActionSpace {
        self.environment.action_space()
    }

    fn reset(&mut self, seed: u64) -> std::result::Result<Vec<f32>, E::Error> {
        let observation = self.environment.reset(seed);
        self.answered = Instant::now();
        observation
    }

    fn step(&mut self, action: &[f32]) -> std::result::Result<Step, E::Error> {
        self.delays.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(self.answered.elapsed());
        if !self.time.is_zero() {
            sleep(self.time);
        }
        let step = self.environment.step(action);
        self.answered = Instant::now();
        step
    }
}

fn agent<E: mpo::VectorEnvironment>(environment: &E) -> Result<MpoAgent> {
    MpoAgent::of(MpoConfig::default(), environment, &Device::flex(), 1)
}

/// Steps a second, without learning.
fn rate(time: Duration, count: usize, steps: u64) -> Result<f64> {
    let environments = Environments::new(vec![Slow::new(Hopper::stand(), time); count])?;
    let agent = agent(&environments)?;
    let config = TrainerConfig { updates_per_step: 0.0, evaluation_episodes: 0, ..TrainerConfig::default() };
    let mut trainer = Trainer::new(config, agent, environments)?;
    trainer.run_for(steps / 5)?;
    let (before, started) = (trainer.steps(), Instant::now());
    trainer.run_for(steps)?;
    Ok((trainer.steps() - before) as f64 / started.elapsed().as_secs_f64())
}

/// The time of 64 actions, in one batch and in 64 calls.
fn acting() -> Result<[Duration; 2]> {
    let mut agent = agent(&Hopper::stand())?.with_rows(64)?;
    let observations: Vec<_> = (0..64).map(|row| vec![0.01 * row as f32; 15]).collect();
    let rows: Vec<_> = observations.iter().enumerate().map(|(row, seen)| (row, seen.as_slice())).collect();
    let mut time = |of: usize| -> Result<Duration> {
        let started = Instant::now();
        for _ in 0..100 {
            for rows in rows.chunks(of) {
                agent.behaviour_mut().act_in_rows(rows)?;
            }
        }
        Ok(started.elapsed() / 100)
    };
    time(64)?;
    Ok([time(64)?, time(1)?])
}

/// How late actions are in a cartpole with a clock, an update a step.
fn clock(hertz: u32, steps: u64, real_time: bool) -> Result<()> {
    let paced = Paced::new(Cartpole::balance(), Duration::from_secs(1) / hertz)?;
    let environment = Slow::new(paced, Duration::ZERO);
    let delays = environment.delays.clone();
    let config = TrainerConfig {
        warm_up_steps: 50,
        updates_per_step: 1.0,
        evaluation_episodes: 0,
        ..TrainerConfig::default()
    };
    let agent = agent(&environment)?;
    let mut trainer = Trainer::new(config, agent, environment)?;
    if real_time {
        trainer = trainer.in_real_time(RealTime::default())?;
    }
    trainer.run_for(50)?;
    delays.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clear();
    let updates = trainer.run_for(steps)?.counts.updates;
    let mut delays = delays.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
    delays.sort_unstable();
    let late = delays.iter().filter(|&&delay| delay > Duration::from_millis(1)).count();
    let how = if real_time { "in real time" } else { "in turns" };
    let [median, p99] = [50, 99].map(|of| delays[delays.len() * of / 100]);
    println!(
        "{hertz} Hz {how}: {late} of {} later than 1 ms, median {median:.2?}, p99 {p99:.2?}, {updates} updates",
        delays.len()
    );
    Ok(())
}

fn main() -> Result<()> {
    for count in [1, 2, 4, 8, 16] {
        let quick = rate(Duration::ZERO, count, 10_000)?;
        let slow = rate(Duration::from_millis(5), count, 150 * count as u64)?;
        println!("{count} environments: {quick:.0} steps/s of hopper, {slow:.0} steps/s of 5 ms each");
    }
    let [batch, calls] = acting()?;
    println!("64 actions: {batch:.2?} in one batch, {calls:.2?} in 64 calls");
    for (hertz, steps) in [(50, 750), (500, 5000)] {
        clock(hertz, steps.min(800), false)?;
        clock(hertz, steps, true)?;
    }
    Ok(())
}
