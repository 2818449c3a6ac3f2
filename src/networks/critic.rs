//! What the algorithm asks of an action-value function: [`Critic`].

use burn::module::Module;
use burn::tensor::Tensor;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::backward::Backward;
use super::parameters::with_own_gradients;
use crate::action_space::ActionSpace;
use crate::backends::is_cpu;

/// An action-value function that policy evaluation can train: any Burn module that gives Q(s, a).
///
/// The actions are the policy's, clipped to [-1, 1], choices as their indices. Create the module on an
/// autodiff device, with parameters drawn from a [`Rng`](crate::Rng) for runs that can be repeated.
///
/// Only [`values`](Self::values) and the two sizes have to be written. How it learns, and in what unit, is
/// the critic's own business: [`TargetNetworks`](crate::TargetNetworks), [`CriticStep`](crate::CriticStep)
/// and [`Learner`](crate::Learner) call the rest.
pub trait Critic: Module + Sync {
    /// Q(s, a) for `observations` `[batch, observation]` and `actions` `[batch, action]`, as `[batch]`.
    fn values(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<1>;

    /// How many numbers an observation has.
    fn observation_size(&self) -> usize;

    /// How many components an action has.
    fn action_size(&self) -> usize;

    /// The actions that it knows the values of: see [`Actor::action_space`](crate::Actor::action_space).
    fn action_space(&self) -> ActionSpace {
        ActionSpace::symmetric(self.action_size())
    }

    /// Q(s, a_j) of several `actions` `[batch, samples, action]` for each observation, as `[batch, samples]`.
    /// Override it where work on the observation can be shared between its actions.
    fn values_of_samples(&self, observations: Tensor<2>, actions: Tensor<3>) -> Tensor<2> {
        let [states, samples, n] = actions.dims();
        let [_, observation] = observations.dims();
        let repeated: Tensor<3> = observations.unsqueeze_dim::<3>(1).repeat_dim(1, samples);
        let repeated = repeated.reshape([states * samples, observation]);
        self.values(repeated, actions.reshape([states * samples, n])).reshape([states, samples])
    }

    /// The same without gradients, for any number of states: [`sampled_values`](super::sampled_values).
    fn sampled_values(&self, observations: Tensor<2>, actions: Tensor<3>) -> Tensor<2> {
        sampled_values(self, observations, actions)
    }

    /// The loss, of one element, whose gradient moves Q(s, a) towards the `targets` `[batch]`, a mean over
    /// the batch. Nothing that is given has gradients. By default the mean of ½ (Q - y)².
    fn loss(&self, observations: Tensor<2>, actions: Tensor<2>, targets: Tensor<1>) -> Tensor<1> {
        let [observations, actions] = [observations, actions].map(Tensor::from_inner);
        CriticLoss::Squared.of(self.values(observations, actions) - Tensor::from_inner(targets))
    }

    /// [`loss`](Self::loss) of a critic with gradients of its own, and their way back: by autodiff.
    /// Override it where they are known in closed form.
    fn differentiable_loss(
        &self,
        observations: Tensor<2>,
        actions: Tensor<2>,
        targets: Tensor<1>,
    ) -> (Tensor<1>, Backward<Self>) {
        loss_by_autodiff(self, observations, actions, targets)
    }

    /// The same critic after it has seen the observations of a batch, `[batch, observation]` without
    /// gradients, before it learns from it. Override it where the module keeps statistics of them.
    #[must_use]
    fn observe(self, _observations: &Tensor<2>) -> Self {
        self
    }

    /// The same critic after it has seen the targets of a batch, `[batch]` without gradients, before it
    /// learns from them. Override it where the module keeps statistics of them.
    #[must_use]
    fn observe_targets(self, _targets: &Tensor<1>) -> Self {
        self
    }

    /// The same critic, untrained as it is, with all its values near `value`, `[1]` without gradients: the
    /// value of a state were every reward the mean one, from which learning then begins. Override it where
    /// the module has a mean of its values.
    #[must_use]
    fn start_from(self, _value: &Tensor<1>) -> Self {
        self
    }

    /// Values, `[batch, samples]`, from some common zero and in the unit in which errors are weighed, which
    /// the E-step's lowest temperature is measured in; as they are, by default.
    fn in_units(&self, values: Tensor<2>) -> Tensor<2> {
        values
    }
}

/// Evaluates a critic, on `module.valid()` and without gradients, at several sampled actions a state.
///
/// On a CPU the states are split into pieces whose activations stay in the cache, and the pieces run in
/// parallel: several times faster than one large batch, with the same result up to the last bit or two of a
/// last, odd piece. On other devices the pieces are as large as the buffers that any of them can be asked
/// for.
pub fn sampled_values<C: Critic>(critic: &C, observations: Tensor<2>, actions: Tensor<3>) -> Tensor<2> {
    let [states, samples, n] = actions.dims();
    let [_, observation] = observations.dims();
    let on_cpu = is_cpu(&actions.device());
    let rows = if on_cpu { ROWS_A_PIECE } else { ROWS_A_BUFFER };
    // Multiples of 8 states keep every row in the same lane of the matrix product as in one batch.
    let piece = (rows / samples.max(1) / 8).max(1) * 8;
    if states <= piece {
        return critic.values_of_samples(observations, actions);
    }
    let values = |index: usize| {
        let rows = index * piece..((index + 1) * piece).min(states);
        let observations = observations.clone().slice([rows.clone(), 0..observation]);
        let actions = actions.clone().slice([rows, 0..samples, 0..n]);
        critic.values_of_samples(observations, actions)
    };
    let pieces = 0..states.div_ceil(piece);
    let values =
        if on_cpu { pieces.into_par_iter().map(values).collect() } else { pieces.map(values).collect() };
    Tensor::cat(values, 0)
}

/// With 256 hidden units, half a megabyte of activations a layer.
const ROWS_A_PIECE: usize = 512;

/// With 1024 hidden units, 128 MiB of activations a layer: the largest buffer that WebGPU promises.
const ROWS_A_BUFFER: usize = 32_768;

/// See [`Critic::differentiable_loss`].
pub(super) fn loss_by_autodiff<C: Critic>(
    critic: &C,
    observations: Tensor<2>,
    actions: Tensor<2>,
    targets: Tensor<1>,
) -> (Tensor<1>, Backward<C>) {
    let critic = with_own_gradients(critic);
    (critic.loss(observations, actions, targets), Backward::autodiff(critic))
}

/// How a critic's errors are weighed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CriticLoss {
    /// ½ (Q - y)².
    Squared,
    /// ½ e² for |e| ≤ 1, |e| - ½ beyond: large errors pull no harder than small ones.
    Huber,
}

impl CriticLoss {
    /// The mean loss over the batch of the errors e = Q - y, `[batch]`, a tensor of one element.
    pub fn of(self, errors: Tensor<1>) -> Tensor<1> {
        match self {
            Self::Squared => errors.square().mean_dim(0) * 0.5,
            Self::Huber => {
                let near = errors.clone().clamp(-1.0, 1.0);
                // ½ near² + |near| (|e| - |near|) is both branches at once.
                (near.clone().square() * 0.5 + near.clone() * (errors - near)).mean_dim(0)
            }
        }
    }
}
