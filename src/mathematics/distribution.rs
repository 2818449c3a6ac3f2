//! What the algorithm asks of a policy's distribution over actions: [`Distribution`].

use std::fmt::Debug;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// A distribution over actions for each state of a batch, as an [`Actor`](crate::Actor) gives it out.
///
/// [`Gaussian`](crate::Gaussian) and [`Categorical`](crate::Categorical) are some. Another one has to say how
/// it is sampled, how likely an action is, how far it is from an older one of its kind, and what the M-step
/// descends.
///
/// Shapes: B states in the batch, M actions a state, n components of an action, k constraints (see
/// [`Constraint`]).
pub trait Distribution: Debug + Clone + Send + Sync {
    /// What weighted actions say of it: all that their likelihood depends on, so that the M-step's turns on
    /// one batch need not go through the actions again.
    type Statistics: Debug + Send + Sync;

    /// B, the states in the batch.
    fn states(&self) -> usize;

    /// n, the components of an action.
    fn action_size(&self) -> usize;

    /// Actions made of standard normal `noise`, both `[batch, samples, action]`.
    fn sample(&self, noise: Tensor<3>) -> Tensor<3>;

    /// log π(a|s) of `actions` `[batch, samples, action]`, as `[batch, samples]`.
    fn log_probability(&self, actions: Tensor<3>) -> Tensor<2>;

    /// log b(a|s), `[batch]`, of an action a state, `[batch, 1, action]`, that [`sample`](Self::sample) made
    /// of noise whose log-density, given the noise of the actions before, is `noise_density`. Override it
    /// where noise that is not white makes a difference.
    fn log_probability_given(&self, action: Tensor<3>, _noise_density: f64) -> Tensor<1> {
        self.log_probability(action).squeeze_dim(1)
    }

    /// How many of the components, the last ones, are choices, whose trust region has a bound of its own.
    /// None by default.
    fn choices(&self) -> usize {
        0
    }

    /// All actions that there are, where they can be listed and are few enough to be evaluated each: the
    /// E-step and the critic's targets then go over them, rather than over samples. None by default.
    fn enumerate(&self) -> Option<Enumeration> {
        None
    }

    /// The action to deploy, such as the mean, `[batch, action]`.
    fn mode(&self) -> Tensor<2>;

    /// How widely each component is spread, such as its standard deviation, `[batch, action]`.
    fn spread(&self) -> Tensor<2>;

    /// How far it is from `old`, in two halves that are bounded each by itself.
    ///
    /// # Errors
    /// If it has no divergence for each dimension, and that is asked for.
    fn divergence(&self, old: &Self, constraint: Constraint) -> Result<DecoupledKl>;

    /// What `actions` `[batch, samples, action]` with `weights` `[batch, samples]` say of it. This is the
    /// distribution that they were sampled from.
    fn statistics(&self, actions: Tensor<3>, weights: Tensor<2>) -> Self::Statistics;

    /// A loss, of one element, whose gradient with respect to this distribution's parameters is that of the
    /// M-step's Lagrangian (replication paper, eq. 13, decoupled as in arXiv 1812.02256), averaged over the
    /// batch:
    ///
    /// ```text
    /// mean_s [ -Σ_j w_j log π(a_j|s) ] + α_μ C_μ + α_Σ C_Σ
    /// ```
    fn lagrangian(self, old: &Self, statistics: &Self::Statistics, multipliers: &Multipliers) -> Tensor<1>;

    /// Those of `count` states from `start` on.
    fn narrow(&self, start: usize, count: usize) -> Self;

    /// The same without its history of gradients, on the device beneath.
    fn inner(self) -> Self;
}

/// All actions that there are.
#[derive(Debug, Clone)]
pub struct Enumeration {
    /// Each of them, `[batch, actions, action]`.
    pub actions: Tensor<3>,
    /// How probable each is, `[batch, actions]`: those of a state sum to 1.
    pub probabilities: Tensor<2>,
}

/// What a trust region holds for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Constraint {
    /// One KL divergence over all dimensions of the action, as in the paper: k = 1.
    Joint,
    /// One for each dimension, each with a multiplier of its own (Acme): k = n. Of Gaussians it takes those
    /// with a diagonal covariance.
    PerDimension,
}

/// The two halves of KL(old ‖ new), each for itself under a trust region of its own (arXiv 1812.02256;
/// replication paper, eq. 12, whose labels are swapped). Joint: `[batch, 1]`; per dimension: `[batch,
/// action]`.
#[derive(Debug, Clone)]
pub struct DecoupledKl {
    /// C_μ: the means differ, both under the old covariance. A [`Categorical`](crate::Categorical)'s whole
    /// divergence stands here.
    pub mean: Tensor<2>,
    /// C_Σ: the covariances differ, both around the old mean.
    pub covariance: Tensor<2>,
}

/// The Lagrange multipliers of the two trust regions, `[k]` each.
#[derive(Debug, Clone)]
pub struct Multipliers {
    /// α_μ.
    pub mean: Tensor<1>,
    /// α_Σ.
    pub covariance: Tensor<1>,
}
