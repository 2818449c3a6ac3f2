//! Random policies in double precision.

use burn::tensor::{Gradients, Tensor};
use mpo::{Gaussian, Rng, Scale};

use crate::common::double::{tensor, tracked};

/// Standard normal numbers.
pub fn normals<const D: usize>(rng: &mut Rng, shape: [usize; D]) -> Tensor<D> {
    let count = shape.iter().product();
    tensor((0..count).map(|_| rng.normal()).collect(), shape)
}

/// A policy for `states` of `n` components, its covariance full or diagonal.
pub fn policy(rng: &mut Rng, states: usize, n: usize, full: bool) -> Gaussian {
    let mean = normals(rng, [states, n]);
    let deviation = normals(rng, [states, n]).tanh().exp();
    let scale = if full {
        Scale::Cholesky(normals(rng, [states, n, n]).mul_scalar(0.5).tril(-1) + diagonal_matrix(deviation))
    } else {
        Scale::Diagonal(deviation)
    };
    Gaussian { mean, scale }
}

/// diag(x) for each row x.
pub fn diagonal_matrix(diagonal: Tensor<2>) -> Tensor<3> {
    let [states, n] = diagonal.dims();
    let square: Tensor<3> = diagonal.unsqueeze_dim::<3>(2).expand([states, n, n]);
    square.clone().tril(0) - square.tril(-1)
}

/// `scale` on the autodiff device, its gradient wanted.
pub fn tracked_scale(scale: Scale) -> Scale {
    match scale {
        Scale::Diagonal(deviation) => Scale::Diagonal(tracked(deviation)),
        Scale::Cholesky(factor) => Scale::Cholesky(tracked(factor)),
    }
}

/// The gradient with respect to the entries of a tracked scale.
pub fn gradient_of(scale: &Scale, gradients: &Gradients) -> Scale {
    match scale {
        Scale::Diagonal(deviation) => Scale::Diagonal(deviation.grad(gradients).unwrap()),
        Scale::Cholesky(factor) => Scale::Cholesky(factor.grad(gradients).unwrap()),
    }
}

/// All entries.
pub fn entries(scale: &Scale) -> Tensor<1> {
    match scale {
        Scale::Diagonal(deviation) => deviation.clone().flatten(0, 1),
        Scale::Cholesky(factor) => factor.clone().flatten(0, 2),
    }
}
