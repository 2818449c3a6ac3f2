//! The M-step: a weighted maximum-likelihood fit of the policy inside decoupled trust regions.
//!
//! Shapes: B states in the batch, M sampled actions, n components of an action; k multipliers a constraint: 1, or n
//! with one constraint for each dimension.

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, check, check_count, check_shape, check_size};
use crate::gaussian::{DecoupledKl, Gaussian, Scale, diagonal_matrix};
use crate::host::{tensor, to_host};
use crate::networks::{Actor, Optimizer, OptimizerConfig};

/// Settings of the [`MStep`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MStepConfig {
    /// ε_μ, how far (in nats) the mean may move away from the target policy's. Accepted: above 0. With one constraint a
    /// dimension it holds for each dimension.
    pub epsilon_mean: f64,
    /// ε_Σ, the same for the covariance; far smaller, so that the policy keeps exploring. Accepted: above 0.
    pub epsilon_covariance: f64,
    /// One constraint for the whole action, or one for each of its dimensions.
    pub constraint: Constraint,
    /// How often multipliers and policy take turns on one batch. Accepted: at least 1. The paper takes 5.
    pub iterations: usize,
    /// How multiplier and policy move.
    pub multipliers: MultiplierConfig,
    /// The actor's optimizer.
    pub optimizer: OptimizerConfig,
}

/// What each trust region holds for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Constraint {
    /// One KL divergence over all dimensions of the action, as in the paper.
    Joint,
    /// One for each dimension, each with a multiplier of its own (Acme). Needs a diagonal covariance.
    PerDimension,
}

/// The Lagrange multipliers: α ← max(0, α + learning rate · (C / ε - 1)), projected gradient steps in which the
/// violation is measured in units of ε.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MultiplierConfig {
    /// The multipliers of the mean's constraint at the start. Accepted: 0 or more.
    pub initial_mean: f64,
    /// The multipliers of the covariance's constraint at the start. Accepted: 0 or more.
    pub initial_covariance: f64,
    /// The step of the mean's multipliers for C = 2 ε. Accepted: above 0.
    pub learning_rate_mean: f64,
    /// The step of the covariance's multipliers for C = 2 ε. Accepted: above 0.
    pub learning_rate_covariance: f64,
}

/// What the weighted samples of a batch say of the policy: all that the Gaussian likelihood depends on, so that the
/// cost of the M-step's iterations does not grow with M.
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
    /// The statistics of `actions` `[batch, samples, action]` with `weights` `[batch, samples]` sampled from `old`.
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

/// The gradient of the Lagrangian, averaged over the batch, with respect to what the policy's network gives out.
#[derive(Debug, Clone)]
pub struct PolicyGradient {
    /// With respect to μ, `[batch, action]`.
    pub mean: Tensor<2>,
    /// With respect to the standard deviations or the entries of L (zero above the diagonal).
    pub scale: Scale,
}

/// The gradient, in closed form, of the Lagrangian that the M-step minimises (replication paper, eq. 13, with the
/// likelihood decoupled as in arXiv 1812.02256):
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

/// The M-step (replication paper, 2.3 and 3.2.4): multipliers and policy in turns.
#[derive(Debug, Clone)]
pub struct MStep {
    config: MStepConfig,
    multiplier_mean: Tensor<1>,
    multiplier_covariance: Tensor<1>,
    optimizer: Optimizer,
}

/// What an [`MStep`] did on one batch, each `[k]`, on the inner device.
#[derive(Debug, Clone)]
pub struct MStepReport {
    /// C_μ / ε_μ before the last step on the policy: above 1 the constraint is violated.
    pub kl_mean: Tensor<1>,
    /// C_Σ / ε_Σ before the last step on the policy.
    pub kl_covariance: Tensor<1>,
    /// The multipliers of the mean's constraint.
    pub multiplier_mean: Tensor<1>,
    /// The multipliers of the covariance's constraint.
    pub multiplier_covariance: Tensor<1>,
}

impl MStep {
    /// An M-step for actions of `action_size` components, on `device`.
    ///
    /// # Errors
    /// Where a setting lies outside its accepted range.
    pub fn new(config: MStepConfig, action_size: usize, device: &Device) -> Result<Self> {
        let positive = |&x: &f64| x > 0.0 && x.is_finite();
        let not_negative = |&x: &f64| x >= 0.0 && x.is_finite();
        let multipliers = &config.multipliers;
        for (field, value) in [
            ("MStepConfig::epsilon_mean", config.epsilon_mean),
            ("MStepConfig::epsilon_covariance", config.epsilon_covariance),
            ("MultiplierConfig::learning_rate_mean", multipliers.learning_rate_mean),
            ("MultiplierConfig::learning_rate_covariance", multipliers.learning_rate_covariance),
        ] {
            check(field, value, positive, "a positive, finite number")?;
        }
        for (field, value) in [
            ("MultiplierConfig::initial_mean", multipliers.initial_mean),
            ("MultiplierConfig::initial_covariance", multipliers.initial_covariance),
        ] {
            check(field, value, not_negative, "0 or more, finite")?;
        }
        check("MStepConfig::iterations", config.iterations, |&count| count > 0, "at least 1")?;
        check_count("action_size", action_size, 1)?;
        let constraints = match config.constraint {
            Constraint::Joint => 1,
            Constraint::PerDimension => action_size,
        };
        let device = device.clone().inner();
        Ok(Self {
            multiplier_mean: Tensor::full([constraints], multipliers.initial_mean, &device),
            multiplier_covariance: Tensor::full([constraints], multipliers.initial_covariance, &device),
            optimizer: Optimizer::new(config.optimizer.clone())?,
            config,
        })
    }

    /// The settings.
    pub fn config(&self) -> &MStepConfig {
        &self.config
    }

    /// Moves `actor` towards the weighted actions, keeping it near `old`, the target policy that sampled them.
    ///
    /// `observations` are `[batch, observation]`, `actions` `[batch, samples, action]` and `weights`
    /// `[batch, samples]`, all on the inner device.
    ///
    /// # Errors
    /// Where the shapes do not fit each other, or constraints for each dimension meet a full covariance.
    pub fn improve<A: Actor>(
        &mut self,
        mut actor: A,
        observations: Tensor<2>,
        old: &Gaussian,
        actions: Tensor<3>,
        weights: Tensor<2>,
    ) -> Result<(A, MStepReport)> {
        self.check_shapes(&actor, &observations, old, &actions, &weights)?;
        let statistics = Statistics::new(old, actions, weights);
        let observations = Tensor::from_inner(observations);
        let mut iteration = 0;
        loop {
            let policy = actor.policy(observations.clone());
            let inner = policy.clone().inner();
            let report = self.update_multipliers(&inner, old);
            let gradient =
                policy_gradient(&inner, old, &statistics, &self.multiplier_mean, &self.multiplier_covariance);
            actor = self.optimizer.step(actor, surrogate(policy, gradient));
            iteration += 1;
            if iteration == self.config.iterations {
                return Ok((actor, report));
            }
        }
    }

    /// The multipliers of mean and covariance, one constraint after the other.
    pub(crate) fn multipliers(&self) -> [Vec<f32>; 2] {
        [&self.multiplier_mean, &self.multiplier_covariance].map(|multiplier| to_host(multiplier.clone()))
    }

    pub(crate) fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// This M-step with such multipliers and an optimizer with such a history.
    pub(crate) fn with_state(mut self, multipliers: [Vec<f32>; 2], optimizer: Optimizer) -> Self {
        let device = self.multiplier_mean.device();
        let [mean, covariance] = multipliers.map(|numbers| {
            let count = numbers.len();
            tensor(numbers, [count], &device)
        });
        (self.multiplier_mean, self.multiplier_covariance, self.optimizer) = (mean, covariance, optimizer);
        self
    }

    /// See [`Optimizer::take_squared_norms`].
    pub(crate) fn take_squared_norms(&mut self) -> Option<Tensor<1>> {
        self.optimizer.take_squared_norms()
    }

    /// One projected step on the multipliers for `policy`, on the inner device.
    fn update_multipliers(&mut self, policy: &Gaussian, old: &Gaussian) -> MStepReport {
        let DecoupledKl { mean, covariance } = match self.config.constraint {
            Constraint::Joint => policy.decoupled_kl(old),
            Constraint::PerDimension => policy.decoupled_kl_per_dimension(old),
        };
        let relative = |kl: Tensor<2>, epsilon: f64| kl.mean_dim(0).squeeze_dim::<1>(0) / epsilon;
        let kl_mean = relative(mean, self.config.epsilon_mean);
        let kl_covariance = relative(covariance, self.config.epsilon_covariance);
        let ascend = |multiplier: &Tensor<1>, kl: &Tensor<1>, rate: f64| {
            (multiplier.clone() + (kl.clone() - 1.0) * rate).clamp_min(0.0)
        };
        let rates = &self.config.multipliers;
        self.multiplier_mean = ascend(&self.multiplier_mean, &kl_mean, rates.learning_rate_mean);
        self.multiplier_covariance =
            ascend(&self.multiplier_covariance, &kl_covariance, rates.learning_rate_covariance);
        MStepReport {
            kl_mean,
            kl_covariance,
            multiplier_mean: self.multiplier_mean.clone(),
            multiplier_covariance: self.multiplier_covariance.clone(),
        }
    }

    fn check_shapes<A: Actor>(
        &self,
        actor: &A,
        observations: &Tensor<2>,
        old: &Gaussian,
        actions: &Tensor<3>,
        weights: &Tensor<2>,
    ) -> Result<()> {
        let ([states, _], n) = (old.mean.dims(), actor.action_size());
        let [_, samples, _] = actions.dims();
        check_shape("the old policy's mean", &old.mean.dims(), &[states, n])?;
        check_shape("observations", &observations.dims(), &[states, actor.observation_size()])?;
        check_shape("actions", &actions.dims(), &[states, samples, n])?;
        check_shape("weights", &weights.dims(), &[states, samples])?;
        let [constraints] = self.multiplier_mean.dims();
        match (self.config.constraint, &old.scale) {
            (Constraint::Joint, _) => Ok(()),
            (Constraint::PerDimension, Scale::Diagonal(_)) => check_size("an action", n, constraints),
            (Constraint::PerDimension, Scale::Cholesky(_)) => Err(Error::Config {
                field: "MStepConfig::constraint",
                value: "PerDimension with a full covariance".into(),
                accepted: "Joint, or a diagonal covariance",
            }),
        }
    }
}

/// A loss whose gradient with respect to the policy's outputs is `gradient`.
fn surrogate(policy: Gaussian, gradient: PolicyGradient) -> Tensor<1> {
    let of_mean = (policy.mean * Tensor::from_inner(gradient.mean)).sum();
    let of_scale = match (policy.scale, gradient.scale) {
        (Scale::Cholesky(factor), Scale::Cholesky(gradient)) => (factor * Tensor::from_inner(gradient)).sum(),
        (scale, gradient) => (scale.diagonal() * Tensor::from_inner(gradient.diagonal())).sum(),
    };
    of_mean + of_scale
}
