//! How long the learner and its parts take, at 17 observations and 6 action components.
//!
//! ```text
//! cargo bench --bench learner
//! ```

#[path = "common/replay.rs"]
mod replay;
#[path = "common/workload.rs"]
mod workload;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use criterion::{Criterion, criterion_group, criterion_main};
use mpo::dual::Dual;
use mpo::networks::sampled_values;
use mpo::{
    Action, Actor, Distribution, EStep, Gaussian, GaussianActor, MStep, MpoAgent, MpoConfig, ReplayBuffer,
    Result, Rng, Step, Stream,
};
use rayon::prelude::*;
use replay::{ACTION, OBSERVATION, filled_replay};
use workload::Workload;

const WORKLOADS: [(&str, Workload); 3] =
    [("W1", Workload::W1), ("W2", Workload::W2), ("default", Workload::Default)];

fn normals<const D: usize>(rng: &mut Rng, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(rng.normals(shape.iter().product()), shape), &Device::flex())
}

/// States with actions of an untrained policy and their values.
struct Sampled {
    actor: GaussianActor,
    observations: Tensor<2>,
    policy: Gaussian,
    actions: Tensor<3>,
    values: Tensor<2>,
}

impl Sampled {
    fn new(config: &MpoConfig) -> Result<Self> {
        let mut rng = Rng::stream(2, Stream::ActionSamples);
        let agent = MpoAgent::new(config.clone(), OBSERVATION, ACTION, &Device::flex(), 1)?;
        let observations = normals(&mut rng, [config.batch_size, OBSERVATION]);
        let policy = agent.actor().valid().policy(observations.clone());
        let actions = policy.sample(normals(&mut rng, [config.batch_size, config.sampled_actions, ACTION]));
        let values = sampled_values(&agent.critic().valid(), observations.clone(), actions.clone());
        Ok(Self { actor: agent.actor().clone(), observations, policy, actions, values })
    }
}

fn e_step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("E-step");
    for (name, workload) in WORKLOADS {
        let config = workload.config();
        let values = Sampled::new(&config).expect("the settings are valid").values;
        let numbers: Vec<f64> = values.clone().into_data().iter().collect();
        let epsilon = config.e_step.epsilon;
        group.bench_function(format!("{name}, the dual alone"), |bencher| {
            bencher.iter(|| {
                let dual = Dual::new(numbers.iter().copied(), config.sampled_actions, epsilon);
                dual.and_then(|dual| dual.solve(0.0, None)).expect("the values are finite")
            });
        });
        let mut e_step = EStep::new(config.e_step).expect("the settings are valid");
        group.bench_function(name, |bencher| {
            bencher.iter(|| e_step.solve(values.clone(), None).expect("the values are finite"));
        });
    }
}

/// The evaluation of a critic of 23-256-256-1 at 256 states with 64 actions each, and the matrix product in
/// it: as one, and in pieces that stay in the cache.
fn forward(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("16384 rows");
    let config = Workload::W1.config();
    let Sampled { observations, actions, .. } = Sampled::new(&config).expect("the settings are valid");
    let agent = MpoAgent::new(config, OBSERVATION, ACTION, &Device::flex(), 1);
    let critic = agent.expect("the settings are valid").critic().valid();
    group.bench_function("critic, 23-256-256-1", |bencher| {
        bencher.iter(|| sampled_values(&critic, observations.clone(), actions.clone()));
    });
    let mut rng = Rng::stream(4, Stream::Weights);
    let [rows, weights] = [16_384, 256].map(|rows| normals(&mut rng, [rows, 256]));
    group.bench_function("product with 256x256", |bencher| {
        bencher.iter(|| rows.clone().matmul(weights.clone()));
    });
    let pieces = rows.split(512, 0);
    group.bench_function("product with 256x256, in pieces", |bencher| {
        bencher.iter(|| {
            pieces.par_iter().for_each(|piece| drop(piece.clone().matmul(weights.clone())));
        });
    });
}

fn m_step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("M-step");
    for (name, workload) in WORKLOADS {
        let config = workload.config();
        let Sampled { mut actor, observations, policy, actions, values } =
            Sampled::new(&config).expect("the settings are valid");
        let e_step = EStep::new(config.e_step).and_then(|mut e_step| e_step.solve(values, None));
        let weights = e_step.expect("the values are finite").weights;
        let mut m_step = MStep::new(config.m_step, ACTION, &Device::flex()).expect("the settings are valid");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let (observations, actions) = (observations.clone(), actions.clone());
                let improved = m_step.improve(&actor, observations, &policy, actions, weights.clone());
                actor = improved.expect("the shapes fit").0;
            });
        });
    }
}

/// Whole updates, the sampling of their batches from 100,000 steps included.
fn update(criterion: &mut Criterion) {
    let mut rng = Rng::stream(1, Stream::Replay);
    let replay = filled_replay(100_000, &mut rng).expect("the sizes are valid");
    let mut group = criterion.benchmark_group("update");
    for (name, workload) in WORKLOADS {
        let agent = MpoAgent::new(workload.config(), OBSERVATION, ACTION, &Device::flex(), 1);
        let mut agent = agent.expect("the settings are valid");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let batch = agent.sample(&replay, &mut rng);
                batch.and_then(|batch| agent.update(&batch)).expect("the batch is finite")
            });
        });
    }
}

fn act(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("act");
    let agent = MpoAgent::new(MpoConfig::default(), OBSERVATION, ACTION, &Device::flex(), 1);
    let mut agent = agent.expect("the settings are valid");
    group.bench_function("one observation", |bencher| {
        bencher.iter(|| agent.act(&[0.1; OBSERVATION]).expect("the observation is finite"));
    });
    let actor = agent.actor().valid();
    let mut rng = Rng::stream(3, Stream::Exploration);
    group.bench_function("64 observations", |bencher| {
        bencher.iter(|| {
            let observations = TensorData::new(vec![0.1_f32; 64 * OBSERVATION], [64, OBSERVATION]);
            let policy = actor.policy(Tensor::from_data(observations, &Device::flex()));
            policy.sample(normals(&mut rng, [64, 1, ACTION])).into_data()
        });
    });
}

fn replay_buffer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("replay of 1,000,000 steps");
    let (mut rng, device) = (Rng::stream(1, Stream::Replay), Device::flex());
    let mut replay: ReplayBuffer = filled_replay(1_000_000, &mut rng).expect("the sizes are valid");
    group.bench_function("sample 256 transitions", |bencher| {
        bencher.iter(|| replay.sample_transitions(256, 5, 0.99, &mut rng, &device).expect("it is full"));
    });
    group.bench_function("sample 32 sequences of 8 steps", |bencher| {
        bencher.iter(|| replay.sample_sequences(32, 8, 0.99, &mut rng, &device).expect("it is full"));
    });
    replay.begin_episode(&[0.1; OBSERVATION]).expect("the observation is finite");
    let action = Action { values: vec![0.1; ACTION], log_probability: 0.0 };
    let step = Step { observation: vec![0.1; OBSERVATION], reward: 1.0, terminated: false, truncated: false };
    group.bench_function("insert a step", |bencher| {
        bencher.iter(|| replay.push(&action, &step).expect("the numbers are finite"));
    });
}

criterion_group!(benches, forward, e_step, m_step, update, act, replay_buffer);
criterion_main!(benches);
