//! The M-step: a weighted maximum-likelihood fit of the policy inside decoupled trust regions.
//!
//! Shapes: B states in the batch, M sampled actions, n components of an action; k multipliers a constraint:
//! 1, or n with one constraint for each dimension.

use burn::tensor::{Device, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::backends::is_cpu;
use crate::checks::{check_any, check_count, check_not_negative, check_positive, check_shape, check_size};
use crate::error::Result;
use crate::learner::e_step::{EStepSolution, Objective};
use crate::learner::target_networks::SampledActions;
use crate::mathematics::advantage::expected_advantage;
use crate::mathematics::distribution::{Constraint, DecoupledKl, Distribution, Multipliers};
use crate::networks::{Actor, Optimizer, OptimizerConfig};

/// Settings of the [`MStep`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MStepConfig {
    /// ε_μ, how far (in nats) the mean may move away from the target policy's. Accepted: above 0. With one
    /// constraint a dimension it holds for each dimension. It bounds all of a choice's divergence.
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

/// The Lagrange multipliers: α ← max(0, α + learning rate · (C / ε - 1)), projected gradient steps in which
/// the violation is measured in units of ε.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
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

impl Default for MStepConfig {
    /// As in the default preset.
    fn default() -> Self {
        Self {
            epsilon_mean: 0.0025,
            epsilon_covariance: 1e-5,
            constraint: Constraint::PerDimension,
            iterations: 1,
            multipliers: MultiplierConfig::default(),
            optimizer: OptimizerConfig { learning_rate: 1e-4, gradient_norm: None, epsilon: 1e-8 },
        }
    }
}

impl Default for MultiplierConfig {
    /// As in the default preset.
    fn default() -> Self {
        Self {
            initial_mean: 1.0,
            initial_covariance: 100.0,
            learning_rate_mean: 0.01,
            learning_rate_covariance: 0.1,
        }
    }
}

/// The M-step (replication paper, 2.3 and 3.2.4): multipliers and policy in turns.
#[derive(Debug, Clone)]
pub struct MStep {
    config: MStepConfig,
    multipliers: Multipliers,
    optimizer: Optimizer,
}

/// What an [`MStep`] did on one batch, each `[k]`, on the inner device.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MStepReport {
    /// C_μ / ε_μ before the last step on the policy: above 1 the constraint is violated.
    pub kl_mean: Tensor<1>,
    /// C_Σ / ε_Σ before the last step on the policy.
    pub kl_covariance: Tensor<1>,
    /// The multipliers of that step.
    pub multipliers: Multipliers,
}

impl MStep {
    /// An M-step for actions of `action_size` components, on `device`.
    ///
    /// # Errors
    /// If `action_size` is 0 or a setting lies outside its accepted range.
    pub fn new(config: MStepConfig, action_size: usize, device: &Device) -> Result<Self> {
        let multipliers = &config.multipliers;
        for (field, value) in [
            ("MStepConfig::epsilon_mean", config.epsilon_mean),
            ("MStepConfig::epsilon_covariance", config.epsilon_covariance),
            ("MultiplierConfig::learning_rate_mean", multipliers.learning_rate_mean),
            ("MultiplierConfig::learning_rate_covariance", multipliers.learning_rate_covariance),
        ] {
            check_positive(field, value)?;
        }
        for (field, value) in [
            ("MultiplierConfig::initial_mean", multipliers.initial_mean),
            ("MultiplierConfig::initial_covariance", multipliers.initial_covariance),
        ] {
            check_not_negative(field, value)?;
        }
        check_any("MStepConfig::iterations", config.iterations as u64)?;
        check_count("action_size", action_size, 1)?;
        let constraints = match config.constraint {
            Constraint::Joint => 1,
            Constraint::PerDimension => action_size,
        };
        let device = device.clone().inner();
        Ok(Self {
            multipliers: Multipliers {
                mean: Tensor::full([constraints], multipliers.initial_mean, &device),
                covariance: Tensor::full([constraints], multipliers.initial_covariance, &device),
            },
            optimizer: Optimizer::new(config.optimizer.clone())?,
            config,
        })
    }

    /// The settings.
    pub fn config(&self) -> &MStepConfig {
        &self.config
    }

    /// Moves `actor` to where an E-step's solution for these states says, keeping it near their policy.
    ///
    /// # Errors
    /// As [`improve`](Self::improve).
    pub fn follow<A: Actor>(
        &mut self,
        actor: &A,
        states: &SampledActions<A::Distribution>,
        solution: &EStepSolution,
    ) -> Result<(A, MStepReport)> {
        let SampledActions { observations, policy, actions, .. } = states.clone();
        let weights = solution.weights.clone();
        match solution.objective {
            Objective::Likelihood => self.improve(actor, observations, &policy, actions, weights),
            Objective::Advantage => self.ascend(actor, observations, &policy, actions, weights),
        }
    }

    /// Moves `actor` along the likelihood-ratio gradient of the expected advantage, keeping it near `old`,
    /// the target policy that sampled the actions. `weights` are advantages over the number of samples, or
    /// times the actions' probabilities where they are all that there are; the others as for
    /// [`improve`](Self::improve).
    ///
    /// # Errors
    /// As [`improve`](Self::improve).
    pub fn ascend<A: Actor>(
        &mut self,
        actor: &A,
        observations: Tensor<2>,
        old: &A::Distribution,
        actions: Tensor<3>,
        weights: Tensor<2>,
    ) -> Result<(A, MStepReport)> {
        self.check_shapes(actor, &observations, old, &actions, &weights)?;
        // Without weights the Lagrangian is that of the trust regions alone.
        let pieces = self.pieces(&observations, old, &actions, &weights.zeros_like());
        let loss = |piece: &Piece<A::Distribution>, policy: A::Distribution, multipliers: &Multipliers| {
            let (start, count) = (piece.start, piece.old.states());
            let actions = actions.clone().narrow(0, start, count);
            let weights = weights.clone().narrow(0, start, count);
            let advantage = expected_advantage(&policy, &piece.old, actions, weights);
            policy.lagrangian(&piece.old, &piece.statistics, multipliers) - advantage
        };
        self.take_turns(actor, &pieces, loss)
    }

    /// Moves `actor` towards the weighted actions, keeping it near `old`, the target policy that sampled
    /// them.
    ///
    /// `observations` are `[batch, observation]`, `actions` `[batch, samples, action]` and `weights`
    /// `[batch, samples]`, all on the inner device.
    ///
    /// # Errors
    /// If the shapes do not fit each other, or the distribution has no divergence for each dimension, as a
    /// Gaussian with a full covariance, and the constraints are for each dimension.
    pub fn improve<A: Actor>(
        &mut self,
        actor: &A,
        observations: Tensor<2>,
        old: &A::Distribution,
        actions: Tensor<3>,
        weights: Tensor<2>,
    ) -> Result<(A, MStepReport)> {
        self.check_shapes(actor, &observations, old, &actions, &weights)?;
        let pieces = self.pieces(&observations, old, &actions, &weights);
        let loss = |piece: &Piece<A::Distribution>, policy: A::Distribution, multipliers: &Multipliers| {
            policy.lagrangian(&piece.old, &piece.statistics, multipliers)
        };
        self.take_turns(actor, &pieces, loss)
    }

    /// Steps on the multipliers and on the policy, down this loss of each piece, in turns.
    fn take_turns<A: Actor>(
        &mut self,
        actor: &A,
        pieces: &[Piece<A::Distribution>],
        loss: impl Fn(&Piece<A::Distribution>, A::Distribution, &Multipliers) -> Tensor<1> + Sync,
    ) -> Result<(A, MStepReport)> {
        let mut actor = actor.clone();
        let mut turn = 0;
        loop {
            let policies = on_each(pieces.iter().collect(), |piece: &Piece<_>| {
                let (policy, backward) = actor.differentiable_policy(piece.observations.clone());
                let kl = self.relative_kl(&policy.clone().inner(), &piece.old)?.map(|kl| kl * piece.share);
                Ok((policy, backward, kl))
            });
            let policies = policies.into_iter().collect::<Result<Vec<_>>>()?;
            let zero = self.multipliers.mean.zeros_like();
            let [kl_mean, kl_covariance] = [0, 1]
                .map(|which| policies.iter().fold(zero.clone(), |sum, (.., kl)| sum + kl[which].clone()));
            let report = self.update_multipliers(kl_mean, kl_covariance);
            let turns = pieces.iter().zip(policies).collect();
            let gradients = on_each(turns, |(piece, (policy, backward, _))| {
                backward.gradient(loss(piece, policy, &report.multipliers) * piece.share)
            });
            let gradient = gradients.into_iter().flatten().reduce(|sum, gradient| sum + gradient);
            actor = self.optimizer.descend(actor, gradient);
            turn += 1;
            if turn == self.config.iterations {
                return Ok((actor, report));
            }
        }
    }

    /// The batch in pieces, whose policies and gradients are computed side by side. Where there is one turn
    /// only they take no longer than the critic's step beside it, and are not worth it.
    fn pieces<D: Distribution>(
        &self,
        observations: &Tensor<2>,
        old: &D,
        actions: &Tensor<3>,
        weights: &Tensor<2>,
    ) -> Vec<Piece<D>> {
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
                start,
                observations: observations.clone().narrow(0, start, count),
                statistics: old.statistics(actions, weights),
                old,
                share: count as f64 / states as f64,
            }
        })
    }

    /// Checks that policies of this kind have the divergence that is bounded.
    pub(crate) fn check_policy<D: Distribution>(&self, policy: &D) -> Result<()> {
        self.relative_kl(policy, policy).map(drop)
    }

    /// The multipliers of mean and covariance.
    pub fn multipliers(&self) -> &Multipliers {
        &self.multipliers
    }

    pub(crate) fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// This M-step with such multipliers and an optimizer with such a history.
    pub(crate) fn with_state(mut self, multipliers: Multipliers, optimizer: Optimizer) -> Self {
        (self.multipliers, self.optimizer) = (multipliers, optimizer);
        self
    }

    /// See [`Optimizer::take_squared_norms`].
    pub(crate) fn take_squared_norms(&mut self) -> Option<Tensor<1>> {
        self.optimizer.take_squared_norms()
    }

    /// C_μ / ε_μ and C_Σ / ε_Σ, means over the states, `[k]`.
    fn relative_kl<D: Distribution>(&self, policy: &D, old: &D) -> Result<[Tensor<1>; 2]> {
        let DecoupledKl { mean, covariance } = policy.divergence(old, self.config.constraint)?;
        let shape = [policy.states(), self.multipliers.mean.dims()[0]];
        check_shape("the divergence of means", &mean.dims(), &shape)?;
        check_shape("the divergence of covariances", &covariance.dims(), &shape)?;
        let relative = |kl: Tensor<2>, epsilon: f64| kl.mean_dim(0).squeeze_dim::<1>(0) / epsilon;
        Ok([relative(mean, self.config.epsilon_mean), relative(covariance, self.config.epsilon_covariance)])
    }

    /// One projected step on the multipliers.
    fn update_multipliers(&mut self, kl_mean: Tensor<1>, kl_covariance: Tensor<1>) -> MStepReport {
        let ascend = |multiplier: &Tensor<1>, kl: &Tensor<1>, rate: f64| {
            (multiplier.clone() + (kl.clone() - 1.0) * rate).clamp_min(0.0)
        };
        let rates = &self.config.multipliers;
        self.multipliers = Multipliers {
            mean: ascend(&self.multipliers.mean, &kl_mean, rates.learning_rate_mean),
            covariance: ascend(&self.multipliers.covariance, &kl_covariance, rates.learning_rate_covariance),
        };
        MStepReport { kl_mean, kl_covariance, multipliers: self.multipliers.clone() }
    }

    fn check_shapes<A: Actor>(
        &self,
        actor: &A,
        observations: &Tensor<2>,
        old: &A::Distribution,
        actions: &Tensor<3>,
        weights: &Tensor<2>,
    ) -> Result<()> {
        let (states, n) = (old.states(), actor.action_size());
        let [_, samples, _] = actions.dims();
        check_size("the old policy's action", old.action_size(), n)?;
        check_shape("observations", &observations.dims(), &[states, actor.observation_size()])?;
        check_shape("actions", &actions.dims(), &[states, samples, n])?;
        check_shape("weights", &weights.dims(), &[states, samples])?;
        match self.config.constraint {
            Constraint::Joint => Ok(()),
            Constraint::PerDimension => check_size("an action", n, self.multipliers.mean.dims()[0]),
        }
    }
}

/// States of a batch, and what the turns of the M-step need of them.
struct Piece<D: Distribution> {
    /// Its first state's place in the batch.
    start: usize,
    observations: Tensor<2>,
    old: D,
    statistics: D::Statistics,
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
