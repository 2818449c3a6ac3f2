//! Settings and batches of any numbers: refused, or used without a panic.

use crate::common::agents::agent;
use crate::common::presets::small;
use burn::tensor::{Device, Tensor, TensorData};
use mpo::{
    Action, Batch, Error, Improved, MpoAgent, MpoConfig, PolicyEvaluation, ReplayBuffer, Rng, Step, Stream,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

/// Numbers that settings are not often tried with: small ones, and ones no memory would do for.
const NUMBERS: [&str; 16] = [
    "0",
    "1",
    "2",
    "3",
    "7",
    "-1",
    "0.0",
    "1.0",
    "0.5",
    "1e-320",
    "1e-9",
    "1e30",
    "1e308",
    "-1e308",
    "1099511627776",
    "18446744073709551615",
];

/// The numbers of settings, and the choices among them.
fn leaves(value: &mut Value) -> Vec<&mut Value> {
    match value {
        Value::Object(fields) => fields.values_mut().flat_map(leaves).collect(),
        Value::Array(items) => items.iter_mut().flat_map(leaves).collect(),
        Value::Number(_) | Value::Null => vec![value],
        _ => Vec::new(),
    }
}

fn preset(index: usize) -> MpoConfig {
    let mut config = small(if index.is_multiple_of(2) { MpoConfig::default() } else { MpoConfig::paper() });
    config.critic.network.hidden = vec![4];
    config.actor.network.hidden = vec![4];
    (config.batch_size, config.sampled_actions) = (4, 3);
    if index >= 2 {
        config.evaluation = PolicyEvaluation::Retrace { steps: 2, lambda: 0.5 };
    }
    config
}

fn tensor<const D: usize>(rng: &mut Rng, shape: [usize; D], scale: f32) -> Tensor<D> {
    let numbers = rng.normals(shape.iter().product()).into_iter().map(|x| x * scale).collect();
    Tensor::from_data(TensorData::new::<f32, _>(numbers, shape), &Device::flex())
}

/// Sequences of `steps` rows, of which every third is truncated.
fn batch(seed: u64, sizes: [usize; 3], steps: usize, scale: f32) -> Batch {
    let (mut rng, [rows, observation, action]) = (Rng::stream(seed, Stream::Replay), sizes);
    let rng = &mut rng;
    Batch {
        steps,
        observations: tensor(rng, [rows, observation], scale),
        actions: tensor(rng, [rows, action], scale),
        rewards: tensor(rng, [rows], scale),
        discounts: tensor(rng, [rows], 1.0),
        log_probabilities: tensor(rng, [rows], scale),
        continued: tensor(rng, [rows], 1.0),
        next_observations: tensor(rng, [rows, observation], scale),
        improved: Improved {
            observations: tensor(rng, [rows, observation], scale),
            truncated: (0..rows).step_by(3).collect(),
        },
    }
}

/// Refusals are fine; what is left after them acts as before.
fn refused(error: &Error) -> bool {
    matches!(error, Error::Config { .. } | Error::NonFinite { .. } | Error::Shape { .. } | Error::Size { .. })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn settings_of_any_numbers_are_refused_or_train(
        index in 0..4_usize,
        changes in vec((any::<usize>(), prop::sample::select(&NUMBERS[..])), 1..4),
        sizes in prop_oneof![9 => Just([3, 2]), 1 => prop::sample::select(vec![[0, 1], [1, 0], [usize::MAX, 1], [1, usize::MAX]])],
    ) {
        let mut settings = serde_json::to_value(preset(index)).unwrap();
        for (which, number) in &changes {
            let mut leaves = leaves(&mut settings);
            let count = leaves.len();
            *leaves[which % count] = serde_json::from_str(number).unwrap();
        }
        let Ok(config) = serde_json::from_value::<MpoConfig>(settings) else { return Ok(()) };
        // More rounds than anybody waits for are no panic either.
        prop_assume!(config.m_step.iterations < 100);
        let mut agent = match MpoAgent::new(config, sizes[0], sizes[1], &Device::flex(), 1) {
            Ok(agent) => agent,
            Err(error) => {
                prop_assert!(refused(&error), "{error:?}");
                return Ok(());
            }
        };
        for seed in 0..3 {
            let batch = match agent.config().evaluation {
                PolicyEvaluation::NStep { .. } => batch(seed, [5, 3, 2], 1, 1.0),
                _ => batch(seed, [6, 3, 2], 2, 1.0),
            };
            if let Err(error) = agent.update(&batch) {
                prop_assert!(refused(&error), "{error:?}");
            }
            if let Err(error) = agent.act(&[0.1, 0.2, 0.3]) {
                prop_assert!(refused(&error), "{error:?}");
            }
        }
    }

    #[test]
    fn batches_of_any_shape_and_scale_are_refused_or_learnt(
        index in 0..4_usize,
        sizes in [0..12_usize, 0..5_usize, 0..4_usize],
        steps in 0..4_usize,
        exponent in -40..39_i32,
        seed in any::<u64>(),
    ) {
        let mut agent = agent(&preset(index), 3, 2, 1);
        let scale = 10_f32.powi(exponent);
        let batch = batch(seed, sizes, steps, scale);
        if let Err(error) = agent.update(&batch) {
            prop_assert!(refused(&error), "{error:?}");
        }
        agent.act(&[0.1, 0.2, 0.3]).unwrap();
        agent.mean_action(&[0.1, 0.2, 0.3]).unwrap();
    }

    #[test]
    fn replays_of_any_size_are_refused_or_sampled(
        capacity in any::<usize>(),
        sizes in [any::<usize>(), any::<usize>()],
        count in any::<usize>(),
        steps in any::<usize>(),
        discount in any::<f64>(),
    ) {
        let _ = ReplayBuffer::new(capacity, sizes[0], sizes[1]);
        let device = Device::flex();
        let mut rng = Rng::stream(1, Stream::Replay);
        let mut replay = ReplayBuffer::new(2 + capacity % 1_000_000, 1, 1).unwrap();
        let _ = replay.sample_transitions(count, steps, discount, &mut rng, &device);
        for step in 0..20 {
            replay.begin_episode(&[step as f32]).unwrap();
            let action = Action { values: vec![0.0], log_probability: 0.0 };
let step = Step { observation: vec![0.0], reward: 1.0, terminated: step % 3 == 0, truncated: false };
            replay.push(&action, &step).unwrap();
        }
        let _ = replay.sample_transitions(count % 100, steps, discount, &mut rng, &device);
        let _ = replay.sample_sequences(count % 100, steps, discount, &mut rng, &device);
        prop_assert!(replay.sample_transitions(usize::MAX, 1, 0.5, &mut rng, &device).is_err());
    }
}
