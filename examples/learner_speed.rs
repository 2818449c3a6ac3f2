//! Times the learner on synthetic data: 17 observations, 6 action components, a full replay.
//!
//! ```text
//! cargo run --release --example learner_speed -- W1
//! ```
//!
//! Prints what it measures, and as its last line one JSON object. Every figure is a median: of whole
//! updates (a batch is sampled and learnt from), and of the parts, which are timed one by one in between.
//! The floor is the time that an update's matrix products take at the rate of Burn's product of two
//! 1024x1024 matrices, measured in the same process, before and after.

#[path = "common/backend.rs"]
mod backend;
#[path = "../benches/common/floor.rs"]
mod floor;
#[path = "../benches/common/memory.rs"]
mod memory;
#[path = "../benches/common/replay.rs"]
mod replay;
#[path = "../benches/common/workload.rs"]
mod workload;

use std::error::Error;
use std::time::Instant;

use backend::Backend;
use burn::tensor::Device;
use clap::{Parser, ValueEnum};
use memory::resident_mebibytes;
use mpo::{
    Batch, CriticStep, EStep, ImproveAt, MStep, MpoAgent, MpoConfig, Rng, SampledActions, Stream,
    TargetNetworks,
};
use replay::{ACTION, OBSERVATION, filled_replay};
use workload::Workload;

/// Times the learner on synthetic data.
#[derive(Parser)]
struct Arguments {
    /// What to time.
    #[arg(value_enum, ignore_case = true)]
    workload: Workload,
    /// How many updates to time.
    #[arg(long, default_value_t = 100)]
    updates: usize,
    /// How many updates to make before that, untimed.
    #[arg(long, default_value_t = 10)]
    warm_up: usize,
    /// How many threads to compute with.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// The number of states in a batch, where it is not the workload's.
    #[arg(long)]
    batch: Option<usize>,
    /// The sampled actions a state, where they are not the workload's.
    #[arg(long)]
    samples: Option<usize>,
    /// At which states the policy is improved: at those of the batch, as in the paper, or at the next ones,
    /// whose values the critic's targets need anyway.
    #[arg(long, value_enum, default_value_t = States::NextStates)]
    improve_at: States,
    #[command(flatten)]
    backend: Backend,
    /// How many steps the replay holds.
    #[arg(long, default_value_t = 100_000)]
    replay: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum States {
    States,
    NextStates,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    rayon::ThreadPoolBuilder::new().num_threads(arguments.threads).build_global()?;
    let mut config = arguments.workload.config();
    config.batch_size = arguments.batch.unwrap_or(config.batch_size);
    config.sampled_actions = arguments.samples.unwrap_or(config.sampled_actions);
    config.improve_at = match arguments.improve_at {
        States::States => ImproveAt::States,
        States::NextStates => ImproveAt::NextStates,
    };
    let device = arguments.backend.device;
    let mut rng = Rng::stream(1, Stream::Replay);
    let before = resident_mebibytes();
    let replay = filled_replay(arguments.replay, &mut rng)?;
    if let (Some(before), Some(after)) = (before, resident_mebibytes()) {
        let bytes = (after - before) * 1024.0 * 1024.0 / replay.len() as f64;
        println!("replay: {} steps, {bytes:.1} bytes each", replay.len());
    }
    let mut agent = MpoAgent::new(config.clone(), OBSERVATION, ACTION, &device, 1)?;
    let mut parts = Parts::new(&agent, &device)?;

    let rate_before = floor::rate(&device)?;
    let outputs = match config.actor.covariance {
        mpo::networks::Covariance::Full => ACTION + ACTION * (ACTION + 1) / 2,
        _ => 2 * ACTION,
    };
    let operations = floor::operations(&config, &agent.sample(&replay, &mut rng)?, ACTION, outputs)?;
    let mut updates = Vec::new();
    let mut times: [Vec<f64>; 3] = Default::default();
    for index in 0..arguments.warm_up + arguments.updates {
        let start = Instant::now();
        let batch = agent.sample(&replay, &mut rng)?;
        agent.update(&batch)?;
        device.sync()?;
        let update = milliseconds(start);
        let part = parts.time(&config, &batch, &mut rng, &device)?;
        if index >= arguments.warm_up {
            updates.push(update);
            times.iter_mut().zip(part).for_each(|(times, time)| times.push(time));
        }
    }
    let [critic, e_step, m_step] = times.map(|mut times| percentile(&mut times, 0.5));
    let improve_at = match config.improve_at {
        ImproveAt::States => "states",
        _ => "next-states",
    };
    println!("{} states, {} sampled actions, {improve_at}", config.batch_size, config.sampled_actions);
    if let Some(memory) = resident_mebibytes() {
        println!("memory: {memory:.1} MiB after {} updates", agent.updates());
    }
    let rate = (rate_before + floor::rate(&device)?) / 2.0;
    let (floor, median) = (operations / rate * 1e3, percentile(&mut updates, 0.5));
    let share = floor / median;
    println!(
        "{:.3} GFLOP an update at {:.0} GFLOP/s: {floor:.2} ms, {:.0}% of the {median:.2} that it takes",
        operations / 1e9,
        rate / 1e9,
        share * 100.0,
    );
    println!(
        r#"{{"learner": "mpo", "workload": "{}", "threads": {}, "improve_at": "{improve_at}", "batch": {}, "samples": {}, "ms_per_update": {:.3}, "p10_ms": {:.3}, "critic_ms": {critic:.3}, "estep_ms": {e_step:.3}, "mstep_ms": {m_step:.3}, "floor_ms": {floor:.3}, "share_of_floor": {share:.3}}}"#,
        arguments
            .workload
            .to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_uppercase()),
        arguments.threads,
        config.batch_size,
        config.sampled_actions,
        median,
        percentile(&mut updates, 0.1),
    );
    Ok(())
}

/// The parts of an update, on networks of their own.
struct Parts {
    actor: mpo::GaussianActor,
    critic: mpo::QNetwork,
    target: TargetNetworks<mpo::GaussianActor, mpo::QNetwork>,
    critic_step: CriticStep,
    e_step: EStep,
    m_step: MStep,
}

impl Parts {
    fn new(agent: &MpoAgent, device: &Device) -> mpo::Result<Self> {
        let config = agent.config();
        Ok(Self {
            actor: agent.actor().clone(),
            critic: agent.critic().clone(),
            target: TargetNetworks::new(agent.actor(), agent.critic()),
            critic_step: CriticStep::new(config.evaluation, config.critic_optimizer.clone())?,
            e_step: EStep::new(config.e_step.clone())?,
            m_step: MStep::new(config.m_step.clone(), ACTION, device)?,
        })
    }

    /// Milliseconds of: the critic (sampled values at one set of states, and its regression), the E-step
    /// (dual and weights), the M-step.
    fn time(
        &mut self,
        config: &MpoConfig,
        batch: &Batch,
        rng: &mut Rng,
        device: &Device,
    ) -> Result<[f64; 3], Box<dyn Error>> {
        let states = self.target.sample(batch.next_observations.clone(), config.sampled_actions, rng);
        device.sync()?;

        let start = Instant::now();
        let values = self.target.values(&states);
        let next_values = states.expected(values.clone());
        (self.critic, _) = self.critic_step.regress(&self.critic, &self.target, batch, next_values)?;
        device.sync()?;
        let critic = milliseconds(start);

        let start = Instant::now();
        let weights = self.e_step.solve(values, None)?.weights;
        let e_step = milliseconds(start);

        let start = Instant::now();
        let SampledActions { observations, policy, actions, .. } = states;
        (self.actor, _) = self.m_step.improve(&self.actor, observations, &policy, actions, weights)?;
        device.sync()?;
        Ok([critic, e_step, milliseconds(start)])
    }
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

fn percentile(times: &mut [f64], share: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get((times.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN)
}
