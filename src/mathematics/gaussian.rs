//! Gaussian policies: sampling, log-probabilities, entropy and the decoupled KL divergence.
//!
//! Shapes: B states in the batch, M actions a state, n components of an action. A covariance is given by its
//! Cholesky factor L (Σ = L Lᵀ) or, where it is diagonal, by the standard deviations. Nothing here forms a
//! determinant or an inverse of a covariance: log det Σ = 2 Σ_i log L_ii, and systems are solved by
//! substitution.

mod fit;

use burn::tensor::{Int, Tensor};

use crate::error::{Error, Result};
use crate::mathematics::distribution::{Constraint, DecoupledKl, Distribution, Multipliers};
use fit::surrogate;
pub use fit::{PolicyGradient, Scatter, Statistics, policy_gradient};

const LOG_TWO_PI: f64 = 1.837_877_066_409_345_5;

/// A Gaussian distribution over actions for each state of a batch (replication paper, 3.1.1).
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mpo::{Distribution, Gaussian, Scale};
///
/// let device = Device::flex();
/// let mean = Tensor::zeros([1, 2], &device);
/// let policy = Gaussian { mean, scale: Scale::Diagonal(Tensor::ones([1, 2], &device)) };
/// let at_mean = policy.log_probability(Tensor::zeros([1, 1, 2], &device)).into_scalar::<f32>();
/// assert!((at_mean + (2.0 * std::f32::consts::PI).ln()).abs() < 1e-6);
/// ```
#[derive(Debug, Clone)]
pub struct Gaussian {
    /// The means μ, `[batch, action]`.
    pub mean: Tensor<2>,
    /// The shape of the distribution around them.
    pub scale: Scale,
}

/// The scale of a [`Gaussian`].
#[derive(Debug, Clone)]
pub enum Scale {
    /// Standard deviations σ, `[batch, action]`: Σ = diag(σ²).
    Diagonal(Tensor<2>),
    /// Lower-triangular Cholesky factors L with a positive diagonal, `[batch, action, action]`: Σ = L Lᵀ.
    Cholesky(Tensor<3>),
}

impl Scale {
    /// log det Σ / 2 = Σ_i log L_ii, `[batch]`.
    pub fn half_log_det(&self) -> Tensor<1> {
        self.diagonal().log().sum_dim(1).squeeze_dim(1)
    }

    /// L_ii, `[batch, action]`: for a diagonal covariance the standard deviations.
    pub fn diagonal(&self) -> Tensor<2> {
        match self {
            Self::Diagonal(deviation) => deviation.clone(),
            Self::Cholesky(factor) => {
                let [states, n, _] = factor.dims();
                let places = Tensor::<1, Int>::arange(0..n as i64, &factor.device()) * (n as i64 + 1);
                factor.clone().reshape([states, n * n]).select(1, places)
            }
        }
    }

    /// L⁻¹ x for each column x of `vectors`, `[batch, action, columns]`.
    pub fn whiten(&self, vectors: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Diagonal(deviation) => vectors / deviation.clone().unsqueeze_dim(2),
            Self::Cholesky(factor) => solve_lower(factor.clone(), vectors),
        }
    }

    /// Σ⁻¹ x, both `[batch, action]`, as L⁻ᵀ (L⁻¹ x).
    pub(crate) fn precision_times(&self, vector: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Diagonal(deviation) => vector / deviation.clone().square(),
            Self::Cholesky(_) => {
                let inverse = self.inverse_factor();
                let whitened = inverse.clone().matmul(vector.unsqueeze_dim::<3>(2));
                inverse.transpose().matmul(whitened).squeeze_dim(2)
            }
        }
    }

    /// Σ, `[batch, action, action]`.
    pub(crate) fn covariance(&self) -> Tensor<3> {
        match self {
            Self::Diagonal(deviation) => diagonal_matrix(deviation.clone().square()),
            Self::Cholesky(factor) => factor.clone().matmul(factor.clone().transpose()),
        }
    }

    /// L⁻¹ by substitution, `[batch, action, action]`.
    pub(crate) fn inverse_factor(&self) -> Tensor<3> {
        match self {
            Self::Diagonal(deviation) => diagonal_matrix(deviation.clone().recip()),
            Self::Cholesky(factor) => {
                let [states, n, _] = factor.dims();
                let identity = Tensor::<2>::eye(n, &factor.device()).cast(factor.dtype());
                solve_lower(factor.clone(), identity.unsqueeze::<3>().expand([states, n, n]))
            }
        }
    }

    fn map(
        self,
        deviation: impl FnOnce(Tensor<2>) -> Tensor<2>,
        factor: impl FnOnce(Tensor<3>) -> Tensor<3>,
    ) -> Self {
        match self {
            Self::Diagonal(tensor) => Self::Diagonal(deviation(tensor)),
            Self::Cholesky(tensor) => Self::Cholesky(factor(tensor)),
        }
    }
}

impl Gaussian {
    /// The differential entropy of each state's distribution, `[batch]`, in nats.
    pub fn entropy(&self) -> Tensor<1> {
        self.scale.half_log_det() + 0.5 * self.action_size() as f64 * (1.0 + LOG_TWO_PI)
    }

    /// C_μ = ½ (μ - μ_k)ᵀ Σ_k⁻¹ (μ - μ_k) and C_Σ = ½ \[tr(Σ⁻¹ Σ_k) - n + log(det Σ / det Σ_k)\] from `old` =
    /// π_k to this policy, each `[batch, 1]` (replication paper, eq. 12, whose labels are swapped; arXiv
    /// 1812.02256).
    pub fn decoupled_kl(&self, old: &Self) -> DecoupledKl {
        let shift = (self.mean.clone() - old.mean.clone()).unsqueeze_dim(2);
        let mean = old.scale.whiten(shift).square().sum_dim(1).squeeze_dim::<2>(2) * 0.5;
        let trace = match (&self.scale, &old.scale) {
            (Scale::Diagonal(new), Scale::Diagonal(old)) => (old.clone() / new.clone()).square().sum_dim(1),
            (new, old) => {
                let old = match old {
                    Scale::Diagonal(deviation) => diagonal_matrix(deviation.clone()),
                    Scale::Cholesky(factor) => factor.clone(),
                };
                new.whiten(old).square().sum_dim(2).sum_dim(1).squeeze_dim::<2>(2)
            }
        };
        let log_det = (self.scale.half_log_det() - old.scale.half_log_det()).unsqueeze_dim::<2>(1);
        let covariance = (trace - self.action_size() as f64) * 0.5 + log_det;
        DecoupledKl { mean, covariance }
    }

    /// The same for each component by itself, each `[batch, action]`: (μ_j - μ_kj)² / (2 σ_kj²) and
    /// log(σ_j / σ_kj) + σ_kj² / (2 σ_j²) - ½.
    ///
    /// # Errors
    /// If either covariance is a full one: its components have no divergence each by itself.
    pub fn decoupled_kl_per_dimension(&self, old: &Self) -> Result<DecoupledKl> {
        let deviation = |place, scale: &Scale| match scale {
            Scale::Diagonal(deviation) => Ok(deviation.clone()),
            Scale::Cholesky(_) => Err(Error::Config {
                field: place,
                value: "full (Scale::Cholesky)".into(),
                accepted: "diagonal (Scale::Diagonal), with Constraint::PerDimension",
            }),
        };
        let deviation_now = deviation("the policy's covariance", &self.scale)?;
        let deviation_before = deviation("the old policy's covariance", &old.scale)?;
        let shift = (self.mean.clone() - old.mean.clone()) / deviation_before.clone();
        let ratio = deviation_before / deviation_now;
        Ok(DecoupledKl {
            mean: shift.square() * 0.5,
            covariance: ratio.clone().square() * 0.5 - ratio.log() - 0.5,
        })
    }
}

impl Distribution for Gaussian {
    type Statistics = Statistics;

    fn states(&self) -> usize {
        self.mean.dims()[0]
    }

    fn action_size(&self) -> usize {
        self.mean.dims()[1]
    }

    /// μ + L z.
    fn sample(&self, noise: Tensor<3>) -> Tensor<3> {
        let spread = match &self.scale {
            Scale::Diagonal(deviation) => noise * deviation.clone().unsqueeze_dim(1),
            Scale::Cholesky(factor) => noise.matmul(factor.clone().transpose()),
        };
        spread + self.mean.clone().unsqueeze_dim(1)
    }

    fn log_probability(&self, actions: Tensor<3>) -> Tensor<2> {
        let [states, samples, n] = actions.dims();
        let centred = actions - self.mean.clone().unsqueeze_dim(1);
        let whitened = self.scale.whiten(centred.transpose());
        let distance = whitened.square().sum_dim(1).reshape([states, samples]);
        let normaliser = self.scale.half_log_det() + 0.5 * n as f64 * LOG_TWO_PI;
        distance * -0.5 - normaliser.unsqueeze_dim(1)
    }

    /// log b(μ + L z) = log density of z - log det L.
    fn log_probability_given(&self, _action: Tensor<3>, noise_density: f64) -> Tensor<1> {
        -self.scale.half_log_det() + noise_density
    }

    fn mode(&self) -> Tensor<2> {
        self.mean.clone()
    }

    /// L_ii: for a diagonal covariance the standard deviations.
    fn spread(&self) -> Tensor<2> {
        self.scale.diagonal()
    }

    fn divergence(&self, old: &Self, constraint: Constraint) -> Result<DecoupledKl> {
        match constraint {
            Constraint::Joint => Ok(self.decoupled_kl(old)),
            Constraint::PerDimension => self.decoupled_kl_per_dimension(old),
        }
    }

    fn statistics(&self, actions: Tensor<3>, weights: Tensor<2>) -> Statistics {
        Statistics::new(self, actions, weights)
    }

    fn lagrangian(self, old: &Self, statistics: &Statistics, multipliers: &Multipliers) -> Tensor<1> {
        let Multipliers { mean, covariance } = multipliers;
        let gradient = policy_gradient(&self.clone().inner(), old, statistics, mean, covariance);
        surrogate(self, gradient)
    }

    fn narrow(&self, start: usize, count: usize) -> Self {
        let scale = self.scale.clone();
        Self {
            mean: self.mean.clone().narrow(0, start, count),
            scale: scale
                .map(|tensor| tensor.narrow(0, start, count), |tensor| tensor.narrow(0, start, count)),
        }
    }

    fn inner(self) -> Self {
        Self { mean: self.mean.inner(), scale: self.scale.map(Tensor::inner, Tensor::inner) }
    }
}

/// Solves L X = `rhs` by forward substitution for lower-triangular `factor` L `[batch, n, n]` and `rhs`
/// `[batch, n, columns]`.
pub(crate) fn solve_lower(factor: Tensor<3>, rhs: Tensor<3>) -> Tensor<3> {
    let [states, n, _] = factor.dims();
    let [_, _, columns] = rhs.dims();
    let mut solved: Vec<Tensor<3>> = Vec::with_capacity(n);
    for row in 0..n {
        let mut right = rhs.clone().slice([0..states, row..row + 1, 0..columns]);
        for (column, solution) in solved.iter().enumerate() {
            let entry = factor.clone().slice([0..states, row..row + 1, column..column + 1]);
            right = right - solution.clone() * entry;
        }
        let pivot = factor.clone().slice([0..states, row..row + 1, row..row + 1]);
        solved.push(right / pivot);
    }
    Tensor::cat(solved, 1)
}

/// diag(x) for each row x, `[batch, n, n]`.
pub(crate) fn diagonal_matrix(diagonal: Tensor<2>) -> Tensor<3> {
    let [_, n] = diagonal.dims();
    let identity = Tensor::<2>::eye(n, &diagonal.device()).cast(diagonal.dtype()).unsqueeze::<3>();
    identity * diagonal.unsqueeze_dim(2)
}
