//! The cases of Gaussians with full covariance.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use mpo::Distribution;
use mpo::{Gaussian, Scale};
use serde::Deserialize;

use super::fixtures::Array;
use crate::common::double::numbers;

#[derive(Deserialize)]
pub struct GaussianCase {
    #[serde(rename = "N")]
    pub samples: usize,
    pub mu: Array,
    #[serde(rename = "A")]
    pub factor: Array,
    pub mu_i: Array,
    #[serde(rename = "A_i")]
    pub factor_i: Array,
    #[serde(rename = "actions_NBn")]
    pub actions: Array,
    #[serde(rename = "weights_NB")]
    pub weights: Array,
    #[serde(rename = "log_prob_NB")]
    pub log_prob: Array,
    #[serde(rename = "log_prob_mean_part_NB")]
    pub mean_part: Array,
    #[serde(rename = "log_prob_cov_part_NB")]
    pub covariance_part: Array,
    pub entropy: Array,
    #[serde(rename = "C_mu_sigma_old")]
    pub kl_mean: Array,
    #[serde(rename = "C_mu_sigma_new")]
    pub kl_mean_new: Array,
    #[serde(rename = "C_sigma")]
    pub kl_covariance: Array,
    pub kl_full: Array,
    pub objective_decoupled: Array,
    pub objective_joint: Array,
    /// With respect to μ and A, none where an objective does not depend on them.
    #[serde(rename = "grad_mu_A")]
    pub gradients: BTreeMap<String, (Option<Array>, Option<Array>)>,
}

/// The same terms as this crate computes them: `[batch, samples]` and, of the divergences, `[batch, 1]`.
pub struct GaussianTerms {
    pub log_prob: Tensor<2>,
    pub mean_part: Tensor<2>,
    pub covariance_part: Tensor<2>,
    pub kl_mean: Tensor<2>,
    pub kl_mean_new: Tensor<2>,
    pub kl_covariance: Tensor<2>,
}

impl GaussianTerms {
    pub fn new(policy: &Gaussian, old: &Gaussian, actions: Tensor<3>) -> Self {
        let kl = policy.decoupled_kl(old);
        let shift = (policy.mean.clone() - old.mean.clone()).unsqueeze_dim(2);
        let whitened = policy.scale.whiten(shift).squeeze_dim::<2>(2);
        Self {
            log_prob: policy.log_probability(actions.clone()),
            mean_part: combined(policy, old).log_probability(actions.clone()),
            covariance_part: combined(old, policy).log_probability(actions),
            kl_mean: kl.mean,
            kl_mean_new: whitened.square().sum_dim(1) * 0.5,
            kl_covariance: kl.covariance,
        }
    }

    pub fn kl_full(&self) -> Tensor<2> {
        self.kl_mean_new.clone() + self.kl_covariance.clone()
    }

    /// A batch mean by the name of its gradient. The objectives are to be maximised.
    pub fn objective(&self, name: &str, weights: Tensor<2>) -> Tensor<1> {
        // Burn rounds the gradient of a division by a number to single precision, that of a product not.
        let share = 1.0 / weights.dims()[0] as f64;
        let weighted = |log_prob: Tensor<2>| (log_prob * weights).sum() * share;
        match name {
            "objective_joint" => weighted(self.log_prob.clone()),
            "objective_decoupled" => weighted(self.mean_part.clone() + self.covariance_part.clone()),
            "mean_log_prob" => self.log_prob.clone().mean(),
            "C_mu_sigma_old" => self.kl_mean.clone().mean(),
            "C_mu_sigma_new" => self.kl_mean_new.clone().mean(),
            "C_sigma" => self.kl_covariance.clone().mean(),
            "kl_full" => self.kl_full().mean(),
            other => panic!("{other} is not known"),
        }
    }
}

/// The policy with the mean of one and the covariance of another.
pub fn combined(mean: &Gaussian, scale: &Gaussian) -> Gaussian {
    Gaussian { mean: mean.mean.clone(), scale: scale.scale.clone() }
}

pub fn full(mean: Tensor<2>, factor: Tensor<3>) -> Gaussian {
    Gaussian { mean, scale: Scale::Cholesky(factor) }
}

pub fn diagonal(mean: Tensor<2>, deviation: Tensor<2>) -> Gaussian {
    Gaussian { mean, scale: Scale::Diagonal(deviation) }
}

pub fn scale_numbers(scale: Scale) -> Vec<f64> {
    match scale {
        Scale::Cholesky(factor) => numbers(factor),
        Scale::Diagonal(deviation) => numbers(deviation),
    }
}
