//! What the M-step fits a Gaussian by: statistics of the weighted actions, and the gradient of its
//! Lagrangian in closed form.

use burn::tensor::Tensor;

use super::{Gaussian, Scale, diagonal_matrix};
use crate::mathematics::distribution::Distribution;

/// What the weighted samples of a batch say of the policy: all that the Gaussian likelihood depends on, so
/// that the cost of the M-step's iterations does not grow with M.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// W = Σ_j w_j, `[batch, 1]`.
    pub total: Tensor<2>,
    /// m = Σ_j w_j a_j / W, `[batch, action]`.
    pub mean: Tensor<2>,
    /// S = Σ_j w_j (a_j - μ_k)(a_j - μ_k)ᵀ / W around the target policy's mean: the whole matrix
    /// `[batch, action, action]` for a full covariance, its diagonal `[batch, action]` for a diagonal one.
    pub scatter: Scatter,
}

/// The scatter of the weighted samples around the target policy's mean.
#[derive(Debug, Clone)]
pub enum Scatter {
    /// The diagonal, `[batch, action]`.
    Diagonal(Tensor<2>),
    /// The whole matrix, `[batch, action, action]`.
    Full(Tensor<3>),
}

impl Statistics {
    /// The statistics of `actions` `[batch, samples, action]` with `weights` `[batch, samples]` sampled from
    /// `old`.
    pub fn new(old: &Gaussian, actions: Tensor<3>, weights: Tensor<2>) -> Self {
        let total = weights.clone().sum_dim(1);
        // A state without weight has no mean; with W = 0 it does not count either.
        let share: Tensor<3> = (weights / total.clone().clamp_min(f32::MIN_POSITIVE)).unsqueeze_dim(2);
        let centred = actions - old.mean.clone().unsqueeze_dim(1);
        let weighted = centred.clone() * share;
        let mean = old.mean.clone() + weighted.clone().sum_dim(1).squeeze_dim::<2>(1);
        let scatter = match old.scale {
            Scale::Diagonal(_) => Scatter::Diagonal((weighted * centred).sum_dim(1).squeeze_dim(1)),
            Scale::Cholesky(_) => Scatter::Full(weighted.transpose().matmul(centred)),
        };
        Self { total, mean, scatter }
    }
}

/// The gradient of the Lagrangian, averaged over the batch, with respect to what the policy's network gives
/// out.
#[derive(Debug, Clone)]
pub struct PolicyGradient {
    /// With respect to μ, `[batch, action]`.
    pub mean: Tensor<2>,
    /// With respect to the standard deviations or the entries of L (zero above the diagonal).
    pub scale: Scale,
}

/// The gradient, in closed form, of the Lagrangian that the M-step minimises (replication paper, eq. 13, with
/// the likelihood decoupled as in arXiv 1812.02256):
///
/// ```text
/// mean_s [ -Σ_j w_j (log N(a_j; μ, Σ_k) + log N(a_j; μ_k, Σ)) ] + α_μ C_μ + α_Σ C_Σ
/// ```
///
/// The sampled likelihood enters through its [`Statistics`] alone:
///
/// ```text
/// ∂/∂μ = W Σ_k⁻¹ (μ - m) + α_μ Σ_k⁻¹ (μ - μ_k)
/// ∂/∂L = tril( L⁻ᵀ [ (W + α_Σ) 1 - L⁻¹ (W S + α_Σ Σ_k) L⁻ᵀ ] )
/// ```
///
/// The multipliers are `[k]`. Works on the inner device, so that autodiff starts at the network's outputs.
pub fn policy_gradient(
    policy: &Gaussian,
    old: &Gaussian,
    statistics: &Statistics,
    multiplier_mean: &Tensor<1>,
    multiplier_covariance: &Tensor<1>,
) -> PolicyGradient {
    let batch = policy.states() as f64;
    let total = &statistics.total;
    let pull = (policy.mean.clone() - statistics.mean.clone()) * total.clone()
        + (policy.mean.clone() - old.mean.clone()) * multiplier_mean.clone().unsqueeze();
    let mean = old.scale.precision_times(pull) / batch;
    let alpha: Tensor<2> = multiplier_covariance.clone().unsqueeze();
    let count = total.clone() + alpha.clone();
    let scale = match (&policy.scale, &old.scale, &statistics.scatter) {
        (Scale::Diagonal(deviation), Scale::Diagonal(old), Scatter::Diagonal(scatter)) => {
            let scatter = scatter.clone() * total.clone() + old.clone().square() * alpha;
            let inverse = deviation.clone().recip();
            Scale::Diagonal((count - scatter * inverse.clone().square()) * inverse / batch)
        }
        (new, old, scatter) => {
            let total: Tensor<3> = total.clone().unsqueeze_dim(2);
            let scatter = match scatter {
                Scatter::Full(scatter) => scatter.clone(),
                Scatter::Diagonal(scatter) => diagonal_matrix(scatter.clone()),
            };
            let target = scatter * total + old.covariance() * alpha.unsqueeze_dim::<3>(2);
            let inverse = new.inverse_factor();
            let [_, n, _] = inverse.dims();
            let identity = Tensor::<2>::eye(n, &inverse.device()).cast(inverse.dtype()).unsqueeze::<3>();
            let ratio = inverse.clone().matmul(target).matmul(inverse.clone().transpose());
            let gradient = inverse.transpose().matmul(identity * count.unsqueeze_dim::<3>(2) - ratio);
            Scale::Cholesky(gradient.tril(0) / batch)
        }
    };
    PolicyGradient { mean, scale }
}

/// A loss whose gradient with respect to the policy's outputs is this one.
pub(super) fn surrogate(policy: Gaussian, gradient: PolicyGradient) -> Tensor<1> {
    let of_mean = (policy.mean * Tensor::from_inner(gradient.mean)).sum();
    let of_scale = match (policy.scale, gradient.scale) {
        (Scale::Cholesky(factor), Scale::Cholesky(gradient)) => (factor * Tensor::from_inner(gradient)).sum(),
        (scale, gradient) => (scale.diagonal() * Tensor::from_inner(gradient.diagonal())).sum(),
    };
    of_mean + of_scale
}
