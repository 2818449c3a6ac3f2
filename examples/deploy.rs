//! A trained policy in a control loop of 1 kHz, and how long an action takes: nothing here trains. The policy
//! is one such as the example `cartpole` writes, over numbers, choices or both.
//!
//! ```text
//! cargo run --release --example deploy -- runs/cartpole/policy.mpo
//! ```

use std::thread::sleep;
use std::time::{Duration, Instant};

use mpo::{Actor, CategoricalActor, Device, Error, HybridActor, Policy};

const PERIOD: Duration = Duration::from_millis(1);
const TICKS: u32 = 5_000;

/// What the robot's sensors say: its own code stands here.
fn measure(observation: &mut [f32], tick: u32) {
    let seconds = (PERIOD * tick).as_secs_f32();
    observation
        .iter_mut()
        .zip(1_u8..)
        .for_each(|(number, place)| *number = (seconds * f32::from(place)).sin());
}

/// What its motors are told.
fn apply(_action: &[f32]) {}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("which policy? deploy POLICY.mpo")?;
    let device: Device = mpo::device(mpo::devices::default_backend())?;
    // A robot's own program knows which it is.
    match Policy::load(&file, &device) {
        Err(other @ Error::Format { .. }) => {
            match (Policy::load_as(&file, &device), Policy::load_as(&file, &device)) {
                (Ok(policy), _) => control::<CategoricalActor>(&policy),
                (_, Ok(policy)) => control::<HybridActor>(&policy),
                _ => Err(other.into()),
            }
        }
        loaded => control(&loaded?),
    }
}

fn control<A: Actor>(policy: &Policy<A>) -> Result<(), Box<dyn std::error::Error>> {
    let mut observation = vec![0.0; policy.observation_size()];
    println!("{} numbers in, actions within {:?}", observation.len(), policy.action_space());
    // The first action takes longer, as memory and threads are made.
    apply(&policy.act(&observation)?);

    let mut latencies = Vec::with_capacity(TICKS as usize);
    let (start, mut late) = (Instant::now(), 0);
    for tick in 0..TICKS {
        let begun = Instant::now();
        measure(&mut observation, tick);
        apply(&policy.act(&observation)?);
        latencies.push(begun.elapsed());
        // To the next tick of the clock, not a period from now: a late action delays no other.
        match (start + PERIOD * (tick + 1)).checked_duration_since(Instant::now()) {
            Some(rest) => sleep(rest),
            None => late += 1,
        }
    }
    latencies.sort_unstable();
    let [middle, p99] = [50, 99].map(|part| latencies[latencies.len() * part / 100].as_secs_f64() * 1e6);
    println!("{TICKS} actions at 1 kHz: p50 {middle:.0} µs, p99 {p99:.0} µs; {late} ticks missed");
    Ok(())
}
