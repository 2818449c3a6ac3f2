//! Every backend that is compiled in computes what flex computes: the same seed, batch and weights.
//!
//! ```text
//! cargo test --release --features wgpu --test backends conformance -- --nocapture
//! ```
//!
//! prints how far each lies from flex. A backend that is compiled in and finds no device fails.

use crate::common::presets::small;
use crate::common::replays::{random_replay, rng};
use crate::common::tensors::numbers;
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use mpo::devices::BACKENDS;
use mpo::networks::{Optimizer, sampled_values};
use mpo::{
    Actor, Critic, Distribution, EStep, EStepConfig, MStep, Metrics, MpoAgent, MpoConfig, ReplayBuffer, Rng,
    Scale, Stream,
};

const STATES: usize = 64;
const SAMPLES: usize = 20;
const OBSERVATION: usize = 5;
const ACTION: usize = 3;

/// The backends to be compared with flex; flex itself where there is no other, so that the tests test
/// something.
fn backends() -> Vec<(&'static str, Device)> {
    let device = |name| (name, mpo::device(name).unwrap_or_else(|error| panic!("{error}")));
    let others = BACKENDS.iter().copied().filter(|&name| name != "flex");
    let others: Vec<_> = others.map(device).collect();
    if others.is_empty() { vec![device("flex")] } else { others }
}

fn random<const D: usize>(seed: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
    let numbers = Rng::stream(seed, Stream::Weights).normals(shape.iter().product());
    Tensor::from_data(TensorData::new(numbers, shape), device)
}

fn agent(config: &MpoConfig, device: &Device) -> MpoAgent {
    MpoAgent::new(small(config.clone()), OBSERVATION, ACTION, device, 1).unwrap()
}

/// The largest difference, relative to the largest number.
fn off(measured: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(measured.len(), expected.len());
    let scale = expected.iter().fold(f32::MIN_POSITIVE, |scale, number| scale.max(number.abs()));
    measured.iter().zip(expected).map(|(a, b)| (a - b).abs() / scale).fold(0.0, worse)
}

/// The larger one, or what is not a number.
fn worse(worst: f32, off: f32) -> f32 {
    if off > worst || off.is_nan() { off } else { worst }
}

/// Checks what `compute` gives on each backend against flex, and prints how far it is off.
fn conforms(what: &str, tolerance: f32, compute: impl Fn(&Device) -> Vec<Vec<f32>>) {
    let expected = compute(&Device::flex());
    for (name, device) in backends() {
        let measured = compute(&device);
        let off = measured.iter().zip(&expected).map(|(a, b)| off(a, b)).fold(0.0, worse);
        println!("{what}: {name} is off by {off:.1e}, at most {tolerance:.0e}");
        assert!(off <= tolerance, "{what}: {name} is off by {off:.1e}");
        assert_eq!(measured, compute(&device), "{what}: {name} is not repeatable");
    }
}

fn presets() -> [(&'static str, MpoConfig); 2] {
    [("default", MpoConfig::default()), ("paper", MpoConfig::paper())]
}

fn scale_numbers(scale: &Scale) -> Vec<f32> {
    match scale {
        Scale::Diagonal(deviation) => numbers(deviation),
        Scale::Cholesky(factor) => numbers(factor),
    }
}

#[test]
fn policies_and_values() {
    for (name, config) in presets() {
        conforms(&format!("{name}, policy and values"), 1e-5, |device| {
            let agent = agent(&config, device);
            let observations = random(2, [STATES, OBSERVATION], device);
            let policy = agent.actor().valid().policy(observations.clone());
            let actions = policy.sample(random(3, [STATES, SAMPLES, ACTION], device));
            let values = sampled_values(&agent.critic().valid(), observations, actions.clone());
            let log_probabilities = policy.log_probability(actions.clone());
            let scale = scale_numbers(&policy.scale);
            // The first means are near 0: what counts is how far off they are in units of the actions.
            let means_and_actions = [numbers(&policy.mean), numbers(&actions)].concat();
            vec![means_and_actions, scale, numbers(&values), numbers(&log_probabilities)]
        });
    }
}

/// More rows than one buffer of a device holds: as many pieces on it, and others on a CPU.
#[test]
fn values_in_several_buffers() {
    conforms("40,000 values", 1e-5, |device| {
        let critic = agent(&MpoConfig::default(), device).critic().valid();
        let observations = random(2, [2_000, OBSERVATION], device);
        vec![numbers(&sampled_values(&critic, observations, random(3, [2_000, 20, ACTION], device)))]
    });
}

#[test]
fn e_step() {
    conforms("E-step", 1e-6, |device| {
        let mut e_step = EStep::new(EStepConfig::default()).unwrap();
        let solution = e_step.solve(random(4, [STATES, SAMPLES], device), None).unwrap();
        let dual = solution.dual;
        vec![numbers(&solution.weights), vec![dual.temperature as f32], vec![dual.kl as f32]]
    });
}

#[test]
fn m_step() {
    for (name, mut config) in presets() {
        // A move that is large beside what a tanh near 0 rounds.
        config.m_step.optimizer.learning_rate = 1e-2;
        conforms(&format!("{name}, M-step"), 1e-4, |device| {
            let agent = agent(&config, device);
            let observations = random(2, [STATES, OBSERVATION], device);
            let old = agent.actor().valid().policy(observations.clone());
            let actions = old.sample(random(3, [STATES, SAMPLES, ACTION], device));
            let mut e_step = EStep::new(EStepConfig::default()).unwrap();
            let weights = e_step.solve(random(4, [STATES, SAMPLES], device), None).unwrap().weights;
            let mut m_step = MStep::new(config.m_step.clone(), ACTION, device).unwrap();
            let before = agent.actor().clone();
            let (actor, report) =
                m_step.improve(&before, observations.clone(), &old, actions, weights).unwrap();
            let policy = actor.valid().policy(observations);
            let moved = numbers(&(policy.mean.clone() - old.mean));
            let multipliers = [report.multipliers.mean, report.multipliers.covariance];
            let mut all = vec![moved, scale_numbers(&policy.scale)];
            all.extend(multipliers.iter().map(numbers));
            all
        });
    }
}

#[test]
fn critic_step() {
    for (name, config) in presets() {
        conforms(&format!("{name}, the critic's loss and values after a step"), 1e-4, |device| {
            let critic = agent(&config, device).critic().clone();
            let mut optimizer = Optimizer::new(config.critic_optimizer.clone()).unwrap();
            let observations = random(2, [STATES, OBSERVATION], device);
            let actions = random(3, [STATES, ACTION], device).clamp(-1.0, 1.0);
            let targets = random(5, [STATES], device);
            let critic = critic.observe_targets(&targets);
            let loss = critic.loss(observations.clone(), actions.clone(), targets);
            let read = numbers(&loss.clone().inner());
            let after = optimizer.step(critic.clone(), loss).valid();
            let before = numbers(&critic.valid().values(observations.clone(), actions.clone()));
            let after = numbers(&after.values(observations, actions));
            assert_ne!(before, after);
            vec![read, after]
        });
    }
}

fn replay() -> ReplayBuffer {
    random_replay(20, 20, OBSERVATION, ACTION)
}

/// 50 updates; the metrics of the last one, and what the policy does then.
fn updates(config: &MpoConfig, device: &Device) -> (Metrics, Vec<f32>) {
    let (mut agent, replay, mut rng) = (agent(config, device), replay(), rng(3));
    let mut metrics = Metrics::default();
    for _ in 0..50 {
        let batch = agent.sample(&replay, &mut rng).unwrap();
        metrics = agent.update(&batch).unwrap();
    }
    let observation = [0.3, -0.2, 0.9, 0.1, -1.0];
    let mut actions = agent.mean_action(&observation).unwrap();
    actions.extend(agent.act(&observation).unwrap().values);
    (metrics, actions)
}

#[test]
fn fifty_updates() {
    for (name, config) in presets() {
        conforms(&format!("{name}, 50 updates"), 1e-3, |device| {
            let (metrics, actions) = updates(&config, device);
            let measures = [metrics.critic_loss, metrics.temperature, metrics.kl_mean];
            let mut all = vec![actions];
            all.extend(measures.map(|measure| vec![measure as f32]));
            all
        });
    }
}
