//! Times updates of each kind of actions and critics, in alternation, on synthetic data: 17 observations.
//!
//! ```text
//! cargo run --release --example kinds_speed
//! ```
//!
//! Prints the median of each in milliseconds. The work of DQN is that of a critic's step alone: values of all
//! alternatives at the next states by the target network, and a step of the regression.

use std::time::Instant;

use burn::module::Module;
use mpo::networks::{Combine, Ensemble, Optimizer, ValueDistribution};
use mpo::{
    Action, Actor, Critic, Device, DiscreteAgent, DiscreteQNetwork, GaussianActor, MpoAgent, MpoConfig,
    QNetwork, ReplayBuffer, Result, Rng, Step, Stream,
};

const OBSERVATION: usize = 17;
const NUMBERS: usize = 6;
const UPDATES: usize = 40;

/// A replay of actions of so many components, each a number or a choice of so many alternatives.
fn replay(components: usize, alternatives: Option<usize>) -> Result<ReplayBuffer> {
    let (mut rng, mut replay) =
        (Rng::stream(1, Stream::Replay), ReplayBuffer::new(20_000, OBSERVATION, components)?);
    for _ in 0..15 {
        replay.begin_episode(&rng.normals(OBSERVATION))?;
        for step in 1..=1000 {
            let values = match alternatives {
                Some(alternatives) => vec![rng.index(alternatives) as f32],
                None => rng.normals(components),
            };
            let (observation, reward) = (rng.normals(OBSERVATION), rng.normal() as f32);
            let step = Step { observation, reward, terminated: false, truncated: step == 1000 };
            replay.push(&Action { values, log_probability: 0.0 }, &step)?;
        }
    }
    Ok(replay)
}

/// What makes an update, and its name.
type Timed<'a> = (String, Box<dyn FnMut() -> Result<()> + 'a>);

fn updates<'a, A: Actor + 'a, C: Critic + 'a>(
    name: impl Into<String>,
    mut agent: MpoAgent<A, C>,
    replay: &'a ReplayBuffer,
) -> Timed<'a> {
    let mut rng = Rng::stream(2, Stream::Replay);
    let update = move || agent.update(&agent.sample(replay, &mut rng)?).map(drop);
    (name.into(), Box::new(update))
}

/// The regression of a critic of a choice, as DQN makes it.
fn dqn<'a>(alternatives: usize, device: &Device, replay: &'a ReplayBuffer) -> Result<Timed<'a>> {
    let (config, mut rng, device) = (MpoConfig::default(), Rng::stream(1, Stream::Weights), device.clone());
    let mut critic = DiscreteQNetwork::new(&config.critic, OBSERVATION, alternatives, &device, &mut rng)?;
    let target = critic.valid();
    let mut optimizer = Optimizer::new(config.critic_optimizer)?;
    let update = move || {
        let batch = replay.sample_transitions(config.batch_size, 5, config.discount, &mut rng, &device)?;
        let next = target.all_values(batch.next_observations).max_dim(1).squeeze_dim(1);
        let targets = batch.rewards + batch.discounts * next;
        critic = critic.clone().observe_targets(&targets);
        let (loss, backward) = critic.differentiable_loss(batch.observations, batch.actions, targets);
        critic = optimizer.descend(critic.clone(), backward.gradient(loss));
        Ok(())
    };
    Ok((format!("DQN's work, {alternatives} alternatives"), Box::new(update)))
}

fn main() -> Result<()> {
    let device = mpo::device(mpo::devices::default_backend())?;
    let (config, numbers) = (MpoConfig::default(), replay(NUMBERS, None)?);
    let (few, many) = (replay(1, Some(4))?, replay(1, Some(1000))?);
    let mut distributional = config.clone();
    distributional.critic.distribution = Some(ValueDistribution::default());
    let mut rng = Rng::stream(1, Stream::Weights);
    let actor = GaussianActor::new(&config.actor, OBSERVATION, NUMBERS, &device, &mut rng)?;
    let critic = || QNetwork::new(&config.critic, OBSERVATION, NUMBERS, &device, &mut rng);
    let critics = std::iter::repeat_with(critic).take(2).collect::<Result<_>>()?;
    let two = MpoAgent::with_networks(config.clone(), actor, Ensemble::new(critics, Combine::Minimum)?, 1)?;
    let of_numbers = |config| MpoAgent::new(config, OBSERVATION, NUMBERS, &device, 1);
    let discrete =
        |alternatives| DiscreteAgent::discrete(config.clone(), OBSERVATION, alternatives, &device, 1);
    let mut all = [
        updates("6 numbers, scalar critic", of_numbers(config.clone())?, &numbers),
        updates("6 numbers, critic of 51 bins", of_numbers(distributional)?, &numbers),
        updates("6 numbers, two critics", two, &numbers),
        updates("6 numbers, parametric E-step", of_numbers(MpoConfig::parametric())?, &numbers),
        updates("a choice of 4", discrete(4)?, &few),
        dqn(4, &device, &few)?,
        updates("a choice of 1000", discrete(1000)?, &many),
        dqn(1000, &device, &many)?,
    ];
    let mut times = vec![Vec::new(); all.len()];
    for _ in 0..UPDATES {
        for ((_, update), times) in all.iter_mut().zip(&mut times) {
            let start = Instant::now();
            update()?;
            device.sync().expect("the device answers");
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    for ((name, _), times) in all.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        println!("{name:>30}: {:6.2} ms", times[times.len() / 2]);
    }
    Ok(())
}
