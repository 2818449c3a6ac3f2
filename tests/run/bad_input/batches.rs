//! Batches for 3 observations and 2 actions, good ones and spoilt ones.

use burn::tensor::{Device, Tensor, TensorData};
use mpo::{Batch, MpoConfig, PolicyEvaluation};

use crate::common::replays::{random_replay, rng};
use crate::common::tensors::numbers;

/// 8 rows.
pub fn transitions() -> Batch {
    let replay = random_replay(10, 10, 3, 2);
    replay.sample_transitions(8, 2, 0.9, &mut rng(2), &Device::flex()).unwrap()
}

/// 4 sequences of 5 rows.
pub fn sequences() -> Batch {
    let replay = random_replay(10, 10, 3, 2);
    replay.sample_sequences(4, 5, 0.9, &mut rng(2), &Device::flex()).unwrap()
}

/// A good batch of the kind that an agent of these settings learns from.
pub fn batch(config: &MpoConfig) -> Batch {
    match config.evaluation {
        PolicyEvaluation::NStep { .. } => transitions(),
        _ => sequences(),
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

type Wrong = (&'static str, fn(&mut Batch));
type Spoil = (&'static str, fn(&mut Batch, f32));

/// The tensor that is complained of, and how a batch, of 8 or 20 rows, gets a wrong shape.
pub const WRONG_SHAPES: [Wrong; 19] = [
    ("batch.observations", |b| b.observations = zeros([b.rewards.dims()[0], 4])),
    ("batch.observations", |b| b.observations = zeros([0, 3])),
    ("batch.actions", |b| b.actions = zeros([b.rewards.dims()[0], 1])),
    ("batch.actions", |b| b.actions = zeros([7, 2])),
    ("batch.actions", |b| b.observations = zeros([40, 3])),
    ("batch.rewards", |b| b.rewards = zeros([1])),
    ("batch.rewards", |b| b.rewards = zeros([9])),
    ("batch.discounts", |b| b.discounts = zeros([1])),
    ("batch.discounts", |b| b.discounts = zeros([0])),
    ("batch.log_probabilities", |b| b.log_probabilities = zeros([21])),
    ("batch.log_probabilities", |b| b.log_probabilities = zeros([1])),
    ("batch.continued", |b| b.continued = zeros([16])),
    ("batch.continued", |b| b.continued = zeros([0])),
    ("batch.next_observations", |b| b.next_observations = zeros([b.rewards.dims()[0], 2])),
    ("batch.next_observations", |b| b.next_observations = zeros([24, 3])),
    ("batch.next_observations", |b| b.next_observations = zeros([1, 3])),
    ("batch.improved.observations", |b| b.improved.observations = zeros([7, 3])),
    ("batch.improved.observations", |b| b.improved.observations = zeros([b.rewards.dims()[0], 2])),
    ("batch.improved.observations", |b| b.improved.observations = zeros([1, 3])),
];

const SPOILS: [Spoil; 7] = [
    ("observations", |b, x| b.observations = with_last(&b.observations, x)),
    ("actions", |b, x| b.actions = with_last(&b.actions, x)),
    ("rewards", |b, x| b.rewards = with_last(&b.rewards, x)),
    ("discounts", |b, x| b.discounts = with_last(&b.discounts, x)),
    ("next observations", |b, x| {
        b.next_observations = with_last(&b.next_observations, x);
        b.improved.truncated = vec![b.rewards.dims()[0] - 1];
    }),
    ("improved", |b, x| {
        b.improved.observations = with_last(&b.improved.observations, x);
        b.next_observations = b.improved.observations.clone();
    }),
    // No transition has a use for it.
    ("log-probabilities", |b, x| b.log_probabilities = with_last(&b.log_probabilities, x)),
];

/// A batch of the kind that an agent of these settings learns from with its last number in one tensor
/// replaced, tensor after tensor.
pub fn spoilt(config: &MpoConfig, value: f32) -> Vec<(&'static str, Batch)> {
    let used = match config.evaluation {
        PolicyEvaluation::NStep { .. } => &SPOILS[..6],
        _ => &SPOILS,
    };
    let spoil = |&(name, spoil): &Spoil| {
        let mut batch = batch(config);
        spoil(&mut batch, value);
        (name, batch)
    };
    used.iter().map(spoil).collect()
}
