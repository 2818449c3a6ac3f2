//! A critic's values of many actions a state, without gradients: most of an update's arithmetic.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::critic::Critic;
use crate::backends::is_cpu;

/// Evaluates a critic, on `module.valid()` and without gradients, at several sampled actions a state.
///
/// On a CPU the states are split into pieces whose activations stay in the cache, and the pieces run in
/// parallel: several times faster than one large batch, with the same result up to the last bit or two of a
/// last, odd piece. On other devices the pieces are as large as the buffers that any of them can be asked
/// for.
pub fn sampled_values<C: Critic>(critic: &C, observations: Tensor<2>, actions: Tensor<3>) -> Tensor<2> {
    let [states, samples, n] = actions.dims();
    let [_, observation] = observations.dims();
    let on_cpu = is_cpu(&actions.device());
    let rows = if on_cpu { ROWS_A_PIECE } else { ROWS_A_BUFFER };
    // Multiples of 8 states keep every row in the same lane of the matrix product as in one batch.
    let piece = (rows / samples.max(1) / 8).max(1) * 8;
    if states <= piece {
        return critic.values_of_samples(observations, actions);
    }
    let values = |index: usize| {
        let rows = index * piece..((index + 1) * piece).min(states);
        let observations = observations.clone().slice([rows.clone(), 0..observation]);
        let actions = actions.clone().slice([rows, 0..samples, 0..n]);
        critic.values_of_samples(observations, actions)
    };
    let pieces = 0..states.div_ceil(piece);
    let values =
        if on_cpu { pieces.into_par_iter().map(values).collect() } else { pieces.map(values).collect() };
    Tensor::cat(values, 0)
}

/// With 256 hidden units, half a megabyte of activations a layer.
const ROWS_A_PIECE: usize = 512;

/// With 1024 hidden units, 128 MiB of activations a layer: the largest buffer that WebGPU promises.
const ROWS_A_BUFFER: usize = 32_768;
