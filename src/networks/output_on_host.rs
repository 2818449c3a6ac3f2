//! A critic's output layer on plain numbers, in a CPU's memory.

use burn::nn::Linear;

use super::layers::bias;
use super::on_host::panels;
use super::rows;
use super::value_head::ValueHead;
use crate::host::numbers;
use crate::mathematics::product::{Left, Panels, Products};

/// The output layer, and how its outputs are read.
pub(super) enum OutputOnHost {
    /// The value itself: weights and bias.
    Number(Vec<f32>, f32),
    /// Logits of bins, with what each of them stands for.
    Bins { weights: Panels, bias: Vec<f32>, centres: Vec<f32> },
}

impl OutputOnHost {
    pub(super) fn new(layer: &Linear, head: ValueHead) -> Self {
        let bias = numbers(bias(layer));
        match head.distribution {
            None => Self::Number(numbers(layer.weight.val()), bias[0]),
            Some(bins) => Self::Bins { weights: panels(layer), bias, centres: bins.centres() },
        }
    }

    /// The values, in the critic's unit, of rows of features; `logits` is where it computes.
    pub(super) fn values(
        &self,
        features: &[f32],
        (products, logits): &mut (Products, Vec<f32>),
        values: &mut [f32],
    ) {
        match self {
            Self::Number(weights, bias) => rows::outputs(features, weights, *bias, values),
            Self::Bins { weights, bias, centres } => {
                logits.resize(values.len() * bias.len(), 0.0);
                products.compute_into(Left::Rows(features), weights, logits);
                for (logits, value) in logits.chunks_mut(bias.len()).zip(values) {
                    *value = mean(logits, bias, centres);
                }
            }
        }
    }
}

/// Σ softmax(logits + bias) · centres.
fn mean(logits: &mut [f32], bias: &[f32], centres: &[f32]) -> f32 {
    let mut largest = f32::NEG_INFINITY;
    for (logit, bias) in logits.iter_mut().zip(bias) {
        *logit += bias;
        largest = if *logit > largest { *logit } else { largest };
    }
    let (mut total, mut sum) = (0.0, 0.0);
    for (logit, centre) in logits.iter().zip(centres) {
        let mass = (logit - largest).exp();
        total += mass;
        sum += mass * centre;
    }
    sum / total
}
