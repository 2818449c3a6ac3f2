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
use crate::networks::{Actor, Backward, Optimizer, OptimizerConfig};

/// Settings of the [`MStep`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MStepConfig {
    /// ε_μ, how far (in nats) the mean may move away from the target policy's. Accepted: above 0. With one
    /// constraint a dimension it holds for each dimension.
    pub epsilon_mean: f64,
    /// How far (in nats) the probabilities of a choice may move away from the target policy's. Accepted:
    /// above 0. With one constraint for numbers and choices together `epsilon_mean` is that of all.
    pub epsilon_choice: f64,
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
            epsilon_mean: 0.05,
            epsilon_choice: 0.05,
            epsilon_covariance: 1e-5,
            constraint: Constraint::PerDimension,
            iterations: 1,
            multipliers: MultiplierConfig::default(),
            optimizer: OptimizerConfig { learning_rate: 3e-4, gradient_norm: None, epsilon: 1e-8 },
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
    /// C_μ / ε_μ before the last step on the policy: above 1 the constraint is violated. Of a choice, its
    /// divergence over its own ε.
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
            ("MStepConfig::epsilon_choice", config.epsilon_choice),
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
    /// If [`improve`](Self::improve) would fail.
    pub fn follow<A: Actor>(
        &mut self,
        actor: &A,
        states: &SampledActions<A::Distribution>,
        solution: &EStepSolution,
    ) -> Result<(A, MStepReport)> {
        let pieces = self.pieces(actor, states, solution)?;
        self.take_turns(actor, &pieces)
    }

    /// Moves `actor` along the likelihood-ratio gradient of the expected advantage, keeping it near `old`,
    /// the target policy that sampled the actions. `weights` are advantages over the number of samples, or
    /// times the actions' probabilities where they are all that there are; the others as for
    /// [`improve`](Self::improve).
    ///
    /// # Errors
    /// If [`improve`](Self::improve) would fail.
    pub fn ascend<A: Actor>(
        &mut self,
        actor: &A,
        observations: Tensor<2>,
        old: &A::Distribution,
        actions: Tensor<3>,
        weights: Tensor<2>,
    ) -> Result<(A, MStepReport)> {
        let pieces = self.pieces_of(actor, observations, old, actions, weights, Objective::Advantage)?;
        self.take_turns(actor, &pieces)
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
        let pieces = self.pieces_of(actor, observations, old, actions, weights, Objective::Likelihood)?;
        self.take_turns(actor, &pieces)
    }

    /// Steps on the multipliers and on the policy, in turns.
    fn take_turns<A: Actor>(
        &mut self,
        actor: &A,
        pieces: &[Piece<A::Distribution>],
    ) -> Result<(A, MStepReport)> {
        let mut actor = actor.clone();
        let mut turn = 0;
        loop {
            let policies = self.policies(&actor, pieces)?;
            let report = self.update_multipliers(policies.kl.clone());
            actor = self.descend(actor, policies.gradient(pieces, &report.multipliers));
            turn += 1;
            if turn == self.config.iterations {
                return Ok((actor, report));
            }
        }
    }

    /// The policy on each piece, and how far it is from the old one.
    pub(crate) fn policies<A: Actor>(
        &self,
        actor: &A,
        pieces: &[Piece<A::Distribution>],
    ) -> Result<Policies<A>> {
        let of_pieces = on_each(pieces.iter().collect(), |piece: &Piece<_>| {
            let (policy, backward) = actor.differentiable_policy(piece.observations.clone());
            let kl = self.relative_kl(&policy.clone().inner(), &piece.old)?.map(|kl| kl * piece.share);
            Ok(((policy, backward), kl))
        });
        let of_pieces = of_pieces.into_iter().collect::<Result<Vec<_>>>()?;
        let zero = self.multipliers.mean.zeros_like();
        let kl =
            [0, 1].map(|which| of_pieces.iter().fold(zero.clone(), |sum, (_, kl)| sum + kl[which].clone()));
        Ok(Policies { of_pieces: of_pieces.into_iter().map(|(policy, _)| policy).collect(), kl })
    }

    /// One projected step on the multipliers, for these C_μ / ε_μ and C_Σ / ε_Σ.
    pub(crate) fn update_multipliers(&mut self, [kl_mean, kl_covariance]: [Tensor<1>; 2]) -> MStepReport {
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

    /// A step of the policy against the gradient of the Lagrangian.
    pub(crate) fn descend<A: Actor>(&mut self, actor: A, gradient: Option<Tensor<1>>) -> A {
        self.optimizer.descend(actor, gradient)
    }

    /// The batch in pieces, for an E-step's solution.
    pub(crate) fn pieces<A: Actor>(
        &self,
        actor: &A,
        states: &SampledActions<A::Distribution>,
        solution: &EStepSolution,
    ) -> Result<Vec<Piece<A::Distribution>>> {
        let SampledActions { observations, policy, actions, .. } = states.clone();
        let (weights, objective) = (solution.weights.clone(), solution.objective);
        self.pieces_of(actor, observations, &policy, actions, weights, objective)
    }

    /// The batch in pieces, whose policies and gradients are computed side by side. Where there is one turn
    /// only they take no longer than the critic's step beside it, and are not worth it.
    fn pieces_of<A: Actor>(
        &self,
        actor: &A,
        observations: Tensor<2>,
        old: &A::Distribution,
        actions: Tensor<3>,
        weights: Tensor<2>,
        objective: Objective,
    ) -> Result<Vec<Piece<A::Distribution>>> {
        self.check_shapes(actor, &observations, old, &actions, &weights)?;
        let states = old.states();
        let rows =
            if self.config.iterations > 1 && is_cpu(&weights.device()) { ROWS_A_PIECE } else { states };
        let starts: Vec<usize> = (0..states).step_by(rows).collect();
        Ok(on_each(starts, |start| {
            let count = rows.min(states - start);
            let old = old.narrow(start, count);
            let (actions, weights) =
                (actions.clone().narrow(0, start, count), weights.clone().narrow(0, start, count));
            let (statistics, advantages) = match objective {
                Objective::Likelihood => (old.statistics(actions, weights), None),
                // Without weights the Lagrangian is that of the trust regions alone.
                Objective::Advantage => {
                    (old.statistics(actions.clone(), weights.zeros_like()), Some((actions, weights)))
                }
            };
            Piece {
                observations: observations.clone().narrow(0, start, count),
                statistics,
                advantages,
                old,
                share: count as f64 / states as f64,
            }
        }))
    }

    /// Checks that policies of this kind have the divergence that is bounded.
    pub(crate) fn check_policy<D: Distribution>(&self, policy: &D) -> Result<()> {
        self.relative_kl(policy, policy).map(drop)
    }

    /// The multipliers of mean and covariance.
    pub fn multipliers(&self) -> &Multipliers {
        &self.multipliers
    }

    pub(crate) fn set_multipliers(&mut self, multipliers: Multipliers) {
        self.multipliers = multipliers;
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
        let over_states = |kl: Tensor<2>| kl.mean_dim(0).squeeze_dim::<1>(0);
        let MStepConfig { epsilon_mean, epsilon_choice, epsilon_covariance, .. } = self.config;
        let mean = over_states(mean);
        let (constraints, choices) = (mean.dims()[0], policy.choices());
        let mean = if choices == policy.action_size() {
            mean / epsilon_choice
        } else if choices == 0 || constraints == 1 {
            mean / epsilon_mean
        } else {
            let numbers = constraints - choices;
            let of_numbers = mean.clone().narrow(0, 0, numbers) / epsilon_mean;
            Tensor::cat(vec![of_numbers, mean.narrow(0, numbers, choices) / epsilon_choice], 0)
        };
        Ok([mean, over_states(covariance) / epsilon_covariance])
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
#[derive(Debug)]
pub(crate) struct Piece<D: Distribution> {
    observations: Tensor<2>,
    old: D,
    statistics: D::Statistics,
    /// Actions and their advantages, where these are what is to be raised.
    advantages: Option<(Tensor<3>, Tensor<2>)>,
    /// Its part of the batch's states.
    share: f64,
}

impl<D: Distribution> Piece<D> {
    fn loss(&self, policy: D, multipliers: &Multipliers) -> Tensor<1> {
        let lagrangian = |policy: D| policy.lagrangian(&self.old, &self.statistics, multipliers);
        match &self.advantages {
            None => lagrangian(policy),
            Some((actions, weights)) => {
                let advantage = expected_advantage(&policy, &self.old, actions.clone(), weights.clone());
                lagrangian(policy) - advantage
            }
        }
    }
}

/// The policy on each piece of a batch, and the way back from there.
pub(crate) struct Policies<A: Actor> {
    of_pieces: Vec<(A::Distribution, Backward<A>)>,
    /// C_μ / ε_μ and C_Σ / ε_Σ, means over the states, `[k]`.
    pub(crate) kl: [Tensor<1>; 2],
}

impl<A: Actor> Policies<A> {
    /// The gradient of the Lagrangian with these multipliers.
    pub(crate) fn gradient(
        self,
        pieces: &[Piece<A::Distribution>],
        multipliers: &Multipliers,
    ) -> Option<Tensor<1>> {
        let turns = pieces.iter().zip(self.of_pieces).collect();
        let gradients = on_each(turns, |(piece, (policy, backward)): (&Piece<_>, (_, Backward<A>))| {
            backward.gradient(piece.loss(policy, multipliers) * piece.share)
        });
        gradients.into_iter().flatten().reduce(|sum, gradient| sum + gradient)
    }
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
