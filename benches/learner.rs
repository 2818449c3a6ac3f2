//! How long the learner's parts take, at 17 observations, 6 action components and the default settings.
//!
//! ```text
//! cargo bench
//! ```

#[path = "common/replay.rs"]
mod replay;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use criterion::{Criterion, criterion_group, criterion_main};
use mpo::networks::sampled_values;
use mpo::{Actor, EStep, MStep, MpoAgent, MpoConfig, Result, Rng, Stream};
use replay::{ACTION, OBSERVATION, filled_replay};

fn learner(criterion: &mut Criterion) {
    measure(criterion).expect("the settings are valid");
}

fn measure(criterion: &mut Criterion) -> Result<()> {
    let device = Device::flex();
    let config = MpoConfig::default();
    let (batch, samples) = (config.batch_size, config.sampled_actions);
    let mut rng = Rng::stream(1, Stream::Replay);
    let mut agent = MpoAgent::new(config.clone(), OBSERVATION, ACTION, &device, 1)?;
    let replay = filled_replay(100_000, &mut rng)?;
    let observations: Tensor<2> =
        Tensor::from_data(TensorData::new(rng.normals(batch * OBSERVATION), [batch, OBSERVATION]), &device);
    let noise = TensorData::new(rng.normals(batch * samples * ACTION), [batch, samples, ACTION]);
    let policy = agent.actor().valid().policy(observations.clone());
    let actions = policy.sample(Tensor::from_data(noise, &device));
    let critic = agent.critic().valid();
    let values = sampled_values(&critic, observations.clone(), actions.clone());
    let mut e_step = EStep::new(config.e_step.clone())?;
    let weights = e_step.solve(values.clone())?.weights;
    let mut m_step = MStep::new(config.m_step.clone(), ACTION, &device)?;
    let mut actor = agent.actor().clone();

    criterion.bench_function("evaluate the critic at 256 states, 20 actions", |bencher| {
        bencher.iter(|| sampled_values(&critic, observations.clone(), actions.clone()));
    });
    criterion.bench_function("E-step", |bencher| {
        bencher.iter(|| e_step.solve(values.clone()).expect("the values are finite"));
    });
    criterion.bench_function("M-step", |bencher| {
        bencher.iter(|| {
            let (observations, actions) = (observations.clone(), actions.clone());
            let improved = m_step.improve(actor.clone(), observations, &policy, actions, weights.clone());
            actor = improved.expect("the shapes fit").0;
        });
    });
    criterion.bench_function("sample a batch from 100,000 steps", |bencher| {
        bencher.iter(|| agent.sample(&replay, &mut rng).expect("the replay is full"));
    });
    let sample = agent.sample(&replay, &mut rng)?;
    criterion.bench_function("update", |bencher| {
        bencher.iter(|| agent.update(&sample).expect("the batch is finite"));
    });
    criterion.bench_function("act on one observation", |bencher| {
        bencher.iter(|| agent.act(&[0.1; OBSERVATION]).expect("the observation is finite"));
    });
    Ok(())
}

criterion_group!(benches, learner);
criterion_main!(benches);
