//! The parametric E-step's objective: [`expected_advantage`].

use burn::tensor::Tensor;

use crate::mathematics::distribution::Distribution;

/// E_s E_π\[A\], the advantage that `policy` can expect, from actions of an `old` policy (arXiv 1806.06920,
/// appendix D.4), a tensor of one element:
///
/// ```text
/// mean_s Σ_j w_j π(a_j|s) / π_k(a_j|s)
/// ```
///
/// for `actions` `[batch, samples, action]` and `weights` `[batch, samples]`: advantages over the number of
/// samples, or times the old policy's probabilities of actions that are all there are. Its gradient is the
/// likelihood-ratio gradient, Σ_j w_j π(a_j|s) / π_k(a_j|s) ∇ log π(a_j|s). Nothing but `policy` has
/// gradients.
pub fn expected_advantage<D: Distribution>(
    policy: &D,
    old: &D,
    actions: Tensor<3>,
    weights: Tensor<2>,
) -> Tensor<1> {
    let before = Tensor::from_inner(old.log_probability(actions.clone()));
    let log_ratio = policy.log_probability(Tensor::from_inner(actions)) - before;
    // Far beyond any trust region, and finite.
    let ratio = log_ratio.clamp_max(30.0).exp();
    (ratio * Tensor::from_inner(weights)).sum_dim(1).mean_dim(0).squeeze_dim(1)
}
