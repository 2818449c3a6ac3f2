//! Shows what a long run needs: whether memory stays flat, and how long a checkpoint holds the training up.
//!
//! ```text
//! cargo run --release --example endurance
//! cargo run --release --example endurance -- --env-steps 1010000 --updates 0 --replay 1000000
//! ```
//!
//! A simulation with 17 observations and 6 action components, which costs next to nothing, gives random
//! numbers. Prints the process's memory as the run goes, then the times of checkpoints beside the time that
//! the disk takes for as many bytes.

#[path = "../benches/common/memory.rs"]
mod memory;

use std::convert::Infallible;
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use memory::resident_mebibytes;
use mpo::{
    ActionSpace, Environment, Event, MpoAgent, MpoConfig, Progress, Rng, Step, Stream, Trainer, TrainerConfig,
};

const OBSERVATION: usize = 17;
const ACTION: usize = 6;

/// Shows what a long run needs.
#[derive(Parser)]
struct Arguments {
    /// Environment steps.
    #[arg(long, default_value_t = 1_000_000)]
    env_steps: u64,
    /// Updates in all of them.
    #[arg(long, default_value_t = 100_000)]
    updates: u64,
    /// How many observations the replay holds.
    #[arg(long, default_value_t = 100_000)]
    replay: usize,
    /// The folder for checkpoints, which is created and removed; there must be none yet [default: one for
    /// temporary files].
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// Episodes of 1000 random observations.
struct Noise {
    rng: Rng,
    step: usize,
}

impl Noise {
    fn new() -> Self {
        Self { rng: Rng::stream(0, Stream::Episodes), step: 0 }
    }
}

impl Environment for Noise {
    type Error = Infallible;

    fn observation_size(&self) -> usize {
        OBSERVATION
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::symmetric(ACTION)
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>, Infallible> {
        *self = Self { rng: Rng::stream(seed, Stream::Episodes), step: 0 };
        Ok(self.rng.normals(OBSERVATION))
    }

    fn step(&mut self, _: &[f32]) -> Result<Step, Infallible> {
        self.step += 1;
        let observation = self.rng.normals(OBSERVATION);
        let reward = self.rng.uniform(0.0, 1.0) as f32;
        Ok(Step { observation, reward, terminated: false, truncated: self.step == 1000 })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { env_steps, updates, replay, folder } = Arguments::parse();
    let folder = folder.unwrap_or_else(|| std::env::temp_dir().join(format!("mpo-{}", std::process::id())));
    // So that nothing is removed but what is written here.
    std::fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let warm_up_steps = 1000;
    let config = TrainerConfig {
        environment_steps: env_steps,
        replay_capacity: replay,
        warm_up_steps,
        updates_per_step: updates as f64 / env_steps.saturating_sub(warm_up_steps).max(1) as f64,
        evaluation_period: env_steps.max(1),
        evaluation_episodes: 1,
        checkpoint_period: env_steps.max(1),
        ..TrainerConfig::default()
    };
    let agent = MpoAgent::new(
        MpoConfig::default(),
        OBSERVATION,
        ACTION,
        &mpo::device(mpo::devices::default_backend())?,
        1,
    )?;
    let period = (env_steps / 20).max(1);
    let memory = move |event: &Event, progress: &Progress<'_>| {
        if *event == Event::Step && progress.counts.environment_steps.is_multiple_of(period) {
            println!(
                "{} steps, {} updates, replay of {}: {:.1} MiB, {:.0} s",
                progress.counts.environment_steps,
                progress.counts.updates,
                progress.replay.len(),
                resident_mebibytes().unwrap_or(f64::NAN),
                progress.counts.seconds
            );
        }
        ControlFlow::Continue(())
    };
    let mut trainer = Trainer::new(config, agent, Noise::new())?
        .evaluate_in(Noise::new())?
        .save_into(&folder)
        .observe(memory);
    trainer.run()?;
    let result = time_checkpoints(&mut trainer, &folder);
    std::fs::remove_dir_all(&folder)?;
    result
}

/// Times checkpoints and the disk in turn.
fn time_checkpoints(trainer: &mut Trainer<Noise>, folder: &Path) -> Result<(), Box<dyn Error>> {
    let seconds = |started: Instant| started.elapsed().as_secs_f64();
    for _ in 0..5 {
        let before = resident_mebibytes().unwrap_or(f64::NAN);
        let started = Instant::now();
        let checkpoint = trainer.save()?;
        let saved = seconds(started);
        let sizes = std::fs::read_dir(&checkpoint)?.map(|file| Ok(file?.metadata()?.len()));
        let bytes: u64 = sizes.sum::<std::io::Result<u64>>()?;
        let plain = folder.join("plain");
        let block: Vec<u8> =
            (0..1 << 20).map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let started = Instant::now();
        let mut file = File::create(&plain)?;
        for _ in 0..bytes >> 20 {
            file.write_all(&block)?;
        }
        file.sync_all()?;
        let disk = seconds(started);
        std::fs::remove_file(plain)?;
        println!(
            "checkpoint of {:.1} MiB in {saved:.3} s, the disk alone {disk:.3} s; memory {before:.1} MiB, then {:.1} MiB",
            bytes as f64 / 1048576.0,
            resident_mebibytes().unwrap_or(f64::NAN)
        );
    }
    let started = Instant::now();
    trainer.resume()?;
    println!("resumed in {:.3} s", seconds(started));
    Ok(())
}
