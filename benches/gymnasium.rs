//! What the way to Python costs: microseconds a step in Python alone, through pipes, and of eight environments
//! side by side.
//!
//! ```text
//! MPO_PYTHON=venv/bin/python cargo bench --bench gymnasium
//! ```
//!
//! Ids and DOMAIN:TASKs behind `--` are measured in place of its own.

use std::process::Command;
use std::time::Instant;

use mpo::Environment;
use mpo::gymnasium::{DmControl, Gymnasium, GymnasiumError, GymnasiumOptions};

const STEPS: usize = 20_000;

/// The same steps in Python.
const ALONE: &str = "
import sys, time
import numpy
id, steps = sys.argv[1], int(sys.argv[2])
if ':' in id:
    from dm_control import suite
    environment = suite.load(*id.split(':'))
    low, high = environment.action_spec().minimum, environment.action_spec().maximum
    step, reset = environment.step, environment.reset
    over = lambda answer: answer.last()
else:
    import gymnasium
    environment = gymnasium.make(id)
    low, high = environment.action_space.low, environment.action_space.high
    step, reset = environment.step, lambda: environment.reset(seed=1)
    over = lambda answer: answer[2] or answer[3]
actions = [low + (high - low) * (0.5 + 0.5 * numpy.sin(index)) for index in range(100)]
actions = [action.astype(low.dtype) for action in actions]
def play(steps):
    reset()
    for index in range(steps):
        if over(step(actions[index % 100])):
            reset()
play(1000)
begun = time.perf_counter()
play(steps)
print(1e6 * (time.perf_counter() - begun) / steps)
";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let python = std::env::var_os("MPO_PYTHON").unwrap_or_else(|| "python3".into());
    println!("| environment | Python alone | through the bridge | eight side by side, all together |");
    println!("|---|---|---|---|");
    let named: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let ids = ["Pendulum-v1", "HalfCheetah-v5", "walker:walk"].map(String::from).to_vec();
    for id in if named.is_empty() { ids } else { named } {
        let options = match id.split_once(':') {
            Some((domain, task)) => DmControl::options(domain, task),
            None => Gymnasium::options(&id),
        };
        let alone = || -> Result<f64, Box<dyn std::error::Error>> {
            let asked = Command::new(&python).args(["-c", ALONE, &id, &STEPS.to_string()]).output()?;
            Ok(String::from_utf8(asked.stdout)?.trim().parse()?)
        };
        // In turn, so that neither has the quieter machine.
        let mut alones = Vec::new();
        let mut throughs = Vec::new();
        for _ in 0..3 {
            alones.push(alone()?);
            throughs.push(through(&options)?);
        }
        let [alone, through] = [alones, throughs].map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[1]
        });
        println!("| {id} | {alone:.1} | {through:.1} | {:.1} |", side_by_side(&options, 8)?);
    }
    Ok(())
}

/// Microseconds a step.
fn through(options: &GymnasiumOptions) -> Result<f64, GymnasiumError> {
    let mut environment = options.clone().make()?;
    play(&mut environment, 1000)?;
    let begun = Instant::now();
    play(&mut environment, STEPS)?;
    Ok(1e6 * begun.elapsed().as_secs_f64() / STEPS as f64)
}

/// Microseconds for each step that any of them makes, each in a thread.
fn side_by_side(options: &GymnasiumOptions, environments: usize) -> Result<f64, GymnasiumError> {
    let first = options.clone().make()?;
    let mut all = vec![first; environments];
    all.iter_mut().try_for_each(|environment| play(environment, 100))?;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            all.iter_mut().map(|environment| scope.spawn(|| play(environment, STEPS / 4))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a thread ends"))
    })?;
    Ok(1e6 * begun.elapsed().as_secs_f64() / (environments * STEPS / 4) as f64)
}

fn play(environment: &mut Gymnasium, steps: usize) -> Result<(), GymnasiumError> {
    let bounds = environment.action_space();
    environment.reset(1)?;
    for step in 0..steps {
        let share = 0.5 + 0.5 * (step as f32 % 100.0).sin();
        let ends = bounds.low().iter().zip(bounds.high());
        let action: Vec<f32> = ends.map(|(low, high)| low + (high - low) * share).collect();
        if environment.step(&action)?.is_last() {
            environment.reset(1)?;
        }
    }
    Ok(())
}
