//! The M-step: a weighted maximum-likelihood fit of the policy inside decoupled trust regions.
//!
//! Shapes: B states in the batch, M sampled actions, n components of an action; k multipliers a constraint:
//! 1, or n with one constraint for each dimension.

mod gradient;

use burn::tensor::{Device, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::devices::is_cpu;
use crate::error::{Error, Result, check, check_count, check_shape, check_size};
use crate::gaussian::{DecoupledKl, Gaussian, Scale};
use crate::host::{tensor, to_host};
use crate::networks::{Actor, Optimizer, OptimizerConfig, flat_gradient, with_own_gradients};

use gradient::surrogate;
pub use gradient::{PolicyGradient, Scatter, Statistics, policy_gradient};

/// Settings of the [`MStep`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MStepConfig {
    /// ε_μ, how far (in nats) the mean may move away from the target policy's. Accepted: above 0. With one
    /// constraint a dimension it holds for each dimension.
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

/// The Lagrange multipliers: α ← max(0, α + learning rate · (C / ε - 1)), projected gradient steps in which
/// the violation is measured in units of ε.
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
    /// If a setting lies outside its accepted range.
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

    /// Moves `actor` towards the weighted actions, keeping it near `old`, the target policy that sampled
    /// them.
    ///
    /// `observations` are `[batch, observation]`, `actions` `[batch, samples, action]` and `weights`
    /// `[batch, samples]`, all on the inner device.
    ///
    /// # Errors
    /// If the shapes do not fit each other, or constraints for each dimension meet a full covariance.
    pub fn improve<A: Actor>(
        &mut self,
        mut actor: A,
        observations: Tensor<2>,
        old: &Gaussian,
        actions: Tensor<3>,
        weights: Tensor<2>,
    ) -> Result<(A, MStepReport)> {
        self.check_shapes(&actor, &observations, old, &actions, &weights)?;
        let pieces = self.pieces(&observations, old, &actions, &weights);
        let mut turn = 0;
        loop {
            let policies = on_each(pieces.iter().collect(), |piece: &Piece| {
                let actor = with_own_gradients(&actor);
                let policy = actor.policy(piece.observations.clone());
                let inner = policy.clone().inner();
                let kl = self.relative_kl(&inner, &piece.old)?.map(|kl| kl * piece.share);
                Ok((actor, policy, inner, kl))
            });
            let policies = policies.into_iter().collect::<Result<Vec<_>>>()?;
            let zero = self.multiplier_mean.zeros_like();
            let [kl_mean, kl_covariance] = [0, 1]
                .map(|which| policies.iter().fold(zero.clone(), |sum, (.., kl)| sum + kl[which].clone()));
            let report = self.update_multipliers(kl_mean, kl_covariance);
            let turns = pieces.iter().zip(policies).collect();
            let gradients = on_each(turns, |(piece, (actor, policy, inner, _))| {
                let Piece { old, statistics, share, .. } = piece;
                let of_outputs = policy_gradient(
                    &inner,
                    old,
                    statistics,
                    &report.multiplier_mean,
                    &report.multiplier_covariance,
                );
                flat_gradient(&actor, surrogate(policy, of_outputs, *share))
            });
            // None where the actor has nothing to train.
            if let Some(gradient) = gradients.into_iter().flatten().reduce(|sum, gradient| sum + gradient) {
                actor = self.optimizer.descend(actor, gradient);
            }
            turn += 1;
            if turn == self.config.iterations {
                return Ok((actor, report));
            }
        }
    }

    /// The batch in pieces, whose policies and gradients are computed side by side.
    ///
    /// Where there is one turn only, it is as short as the critic's step beside it: more turns are worth it,
    /// on a CPU.
    fn pieces(
        &self,
        observations: &Tensor<2>,
        old: &Gaussian,
        actions: &Tensor<3>,
        weights: &Tensor<2>,
    ) -> Vec<Piece> {
        let states = old.states();
        let rows =
            if self.config.iterations > 1 && is_cpu(&weights.device()) { ROWS_A_PIECE } else { states };
        let starts: Vec<usize> = (0..states).step_by(rows).collect();
        on_each(starts, |start| {
            let count = rows.min(states - start);
            let old = old.narrow(start, count);
            let (actions, weights) =
                (actions.clone().narrow(0, start, count), weights.clone().narrow(0, start, count));
            Piece {
                observations: Tensor::from_inner(observations.clone().narrow(0, start, count)),
                statistics: Statistics::new(&old, actions, weights),
                old,
                share: count as f64 / states as f64,
            }
        })
    }

    /// How many constraints, and multipliers, there are of the mean, and as many of the covariance.
    pub(crate) fn constraints(&self) -> usize {
        self.multiplier_mean.dims()[0]
    }

    /// The multipliers of mean and covariance, one constraint after the other.
    pub(crate) fn multipliers(&self) -> Result<[Vec<f32>; 2]> {
        let read = |multiplier: &Tensor<1>| to_host("the multipliers", multiplier.clone());
        Ok([read(&self.multiplier_mean)?, read(&self.multiplier_covariance)?])
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

    /// C_μ / ε_μ and C_Σ / ε_Σ, means over the states, `[k]`.
    fn relative_kl(&self, policy: &Gaussian, old: &Gaussian) -> Result<[Tensor<1>; 2]> {
        let DecoupledKl { mean, covariance } = match self.config.constraint {
            Constraint::Joint => policy.decoupled_kl(old),
            Constraint::PerDimension => policy.decoupled_kl_per_dimension(old)?,
        };
        let relative = |kl: Tensor<2>, epsilon: f64| kl.mean_dim(0).squeeze_dim::<1>(0) / epsilon;
        Ok([relative(mean, self.config.epsilon_mean), relative(covariance, self.config.epsilon_covariance)])
    }

    /// One projected step on the multipliers.
    fn update_multipliers(&mut self, kl_mean: Tensor<1>, kl_covariance: Tensor<1>) -> MStepReport {
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
        match (self.config.constraint, &old.scale) {
            (Constraint::Joint, _) => Ok(()),
            (Constraint::PerDimension, Scale::Diagonal(_)) => check_size("an action", n, self.constraints()),
            (Constraint::PerDimension, Scale::Cholesky(_)) => Err(Error::Config {
                field: "MStepConfig::constraint",
                value: "PerDimension with a full covariance".into(),
                accepted: "Joint, or a diagonal covariance",
            }),
        }
    }
}

/// States of a batch, and what the turns of the M-step need of them.
struct Piece {
    observations: Tensor<2>,
    old: Gaussian,
    statistics: Statistics,
    /// Its part of the batch's states.
    share: f64,
}

/// Half of the usual batch.
const ROWS_A_PIECE: usize = 128;

/// `work` done on each item: side by side, where there are several.
fn on_each<I: Send, T: Send>(items: Vec<I>, work: impl Fn(I) -> T + Sync + Send) -> Vec<T> {
    match items.len() {
        1 => items.into_iter().map(work).collect(),
        _ => items.into_par_iter().map(work).collect(),
    }
}
