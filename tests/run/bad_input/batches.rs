//! Batches for 3 observations and 2 actions, good ones and spoilt ones.

use burn::tensor::{Device, Tensor, TensorData};
use mpo::{Batch, MpoConfig, PolicyEvaluation, Sequences, Transitions};

use crate::common::replays::{random_replay, rng};
use crate::common::tensors::numbers;

pub fn transitions() -> Transitions {
    let replay = random_replay(10, 10, 3, 2);
    replay.sample_transitions(8, 2, 0.9, &mut rng(2), &Device::flex()).unwrap()
}

pub fn sequences() -> Sequences {
    let replay = random_replay(10, 10, 3, 2);
    replay.sample_sequences(4, 5, 0.9, &mut rng(2), &Device::flex()).unwrap()
}

/// A good batch of the kind that an agent of these settings learns from.
pub fn batch(config: &MpoConfig) -> Batch {
    match config.evaluation {
        PolicyEvaluation::NStep { .. } => Batch::Transitions(transitions()),
        PolicyEvaluation::Retrace { .. } => Batch::Sequences(sequences()),
    }
}

pub fn zeros<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::zeros(shape, &Device::flex())
}

/// `tensor` with `value` as its last number.
fn with_last<const D: usize>(tensor: &Tensor<D>, value: f32) -> Tensor<D> {
    let mut values = numbers(tensor);
    *values.last_mut().unwrap() = value;
    Tensor::from_data(TensorData::new(values, tensor.dims()), &Device::flex())
}

type Wrong<T> = (&'static str, fn(&mut T));
type Spoil<T> = (&'static str, fn(&mut T, f32));

/// The tensor that is complained of, and how a batch gets a wrong shape.
pub const WRONG_TRANSITIONS: [Wrong<Transitions>; 12] = [
    ("batch.observations", |b| b.observations = zeros([8, 4])),
    ("batch.observations", |b| b.observations = zeros([0, 3])),
    ("batch.actions", |b| b.actions = zeros([8, 1])),
    ("batch.actions", |b| b.actions = zeros([7, 2])),
    ("batch.actions", |b| b.observations = zeros([7, 3])),
    ("batch.rewards", |b| b.rewards = zeros([1])),
    ("batch.rewards", |b| b.rewards = zeros([9])),
    ("batch.discounts", |b| b.discounts = zeros([1])),
    ("batch.discounts", |b| b.discounts = zeros([0])),
    ("batch.next_observations", |b| b.next_observations = zeros([8, 2])),
    ("batch.next_observations", |b| b.next_observations = zeros([1, 3])),
    ("batch.improved.observations", |b| b.improved.observations = zeros([7, 3])),
];

pub const WRONG_SEQUENCES: [Wrong<Sequences>; 15] = [
    ("batch.rewards", |b| b.rewards = zeros([0, 5])),
    ("batch.rewards", |b| b.rewards = zeros([4, 0])),
    ("batch.observations", |b| b.rewards = zeros([4, 4])),
    ("batch.observations", |b| b.observations = zeros([4, 6, 3])),
    ("batch.observations", |b| b.observations = zeros([3, 5, 3])),
    ("batch.observations", |b| b.observations = zeros([4, 5, 4])),
    ("batch.actions", |b| b.actions = zeros([4, 5, 1])),
    ("batch.actions", |b| b.actions = zeros([4, 6, 2])),
    ("batch.discounts", |b| b.discounts = zeros([4, 1])),
    ("batch.discounts", |b| b.discounts = zeros([1, 5])),
    ("batch.log_probabilities", |b| b.log_probabilities = zeros([4, 6])),
    ("batch.log_probabilities", |b| b.log_probabilities = zeros([1, 1])),
    ("batch.continued", |b| b.continued = zeros([4, 4])),
    ("batch.next_observations", |b| b.next_observations = zeros([4, 6, 3])),
    ("batch.improved.observations", |b| b.improved.observations = zeros([4, 5, 2])),
];

/// A batch of that kind with its last number in one tensor replaced, tensor after tensor.
pub fn spoilt(config: &MpoConfig, value: f32) -> Vec<(&'static str, Batch)> {
    let set_transitions: [Spoil<Transitions>; 6] = [
        ("observations", |b, x| b.observations = with_last(&b.observations, x)),
        ("actions", |b, x| b.actions = with_last(&b.actions, x)),
        ("rewards", |b, x| b.rewards = with_last(&b.rewards, x)),
        ("discounts", |b, x| b.discounts = with_last(&b.discounts, x)),
        ("next_observations", |b, x| {
            b.next_observations = with_last(&b.next_observations, x);
            b.improved.apart = vec![7];
        }),
        ("improved", |b, x| {
            b.improved.observations = with_last(&b.improved.observations, x);
            b.next_observations = b.improved.observations.clone();
        }),
    ];
    let set_sequences: [Spoil<Sequences>; 6] = [
        ("observations of a sequence", |b, x| b.observations = with_last(&b.observations, x)),
        ("actions of a sequence", |b, x| b.actions = with_last(&b.actions, x)),
        ("rewards of a sequence", |b, x| b.rewards = with_last(&b.rewards, x)),
        ("discounts of a sequence", |b, x| b.discounts = with_last(&b.discounts, x)),
        ("log-probabilities", |b, x| b.log_probabilities = with_last(&b.log_probabilities, x)),
        ("improved of a sequence", |b, x| {
            b.improved.observations = with_last(&b.improved.observations, x);
            b.next_observations = b.improved.observations.clone();
        }),
    ];
    match config.evaluation {
        PolicyEvaluation::NStep { .. } => {
            let all = set_transitions.into_iter().map(|(name, set)| {
                let mut batch = transitions();
                set(&mut batch, value);
                (name, Batch::Transitions(batch))
            });
            all.collect()
        }
        PolicyEvaluation::Retrace { .. } => {
            let all = set_sequences.into_iter().map(|(name, set)| {
                let mut batch = sequences();
                set(&mut batch, value);
                (name, Batch::Sequences(batch))
            });
            all.collect()
        }
    }
}
