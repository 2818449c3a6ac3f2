//! Policies as networks: observations to distributions over actions.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor, activation};
use serde::{Deserialize, Serialize};

use super::backward::Backward;
use super::layers::{Activation, Hidden, NetworkConfig, linear};
use super::moments::Moments;
use super::parameters::{is_trainable, with_own_gradients};
use super::trunk;
use crate::action_space::ActionSpace;
use crate::checks::{check_count, check_positive};
use crate::error::Result;
use crate::host::is_host;
use crate::mathematics::distribution::Distribution;
use crate::mathematics::gaussian::{Gaussian, Scale};
use crate::rng::Rng;

/// A policy that the M-step can train: any Burn module that gives a [`Distribution`], such as a [`Gaussian`],
/// over actions for each observation.
///
/// Actions live in [-1, 1]; the distribution may reach beyond, and what reaches the environment is clipped.
/// Choices are their indices. Create the module on an autodiff device, with parameters drawn from a [`Rng`]
/// for runs that can be repeated.
pub trait Actor: Module + Sync {
    /// What it gives over actions for each observation.
    type Distribution: Distribution;

    /// The policy at `observations`, `[batch, observation]`.
    fn policy(&self, observations: Tensor<2>) -> Self::Distribution;

    /// How many numbers an observation has.
    fn observation_size(&self) -> usize;

    /// How many components an action has.
    fn action_size(&self) -> usize;

    /// What it gives out: so many numbers, of which [-1, 1] stands for the environment's bounds, unless it is
    /// overridden, as for choices.
    fn action_space(&self) -> ActionSpace {
        ActionSpace::symmetric(self.action_size())
    }

    /// The same policy after it has seen the observations of a batch, `[batch, observation]` without
    /// gradients, before it learns from it. Override it where the module keeps statistics of them; they stay
    /// too where nothing of it is trainable.
    #[must_use]
    fn observe(self, _observations: &Tensor<2>) -> Self {
        self
    }

    /// The policy at `observations`, `[batch, observation]` without gradients, of a network with gradients
    /// of its own, and their way back: by autodiff. Override it where they are known in closed form.
    fn differentiable_policy(&self, observations: Tensor<2>) -> (Self::Distribution, Backward<Self>) {
        policy_by_autodiff(self, observations)
    }

    /// What beside its parameters decides what the network computes, such as its activation. It stands in a
    /// [`Policy`](crate::Policy)'s file, and has to be the same in a network that the file is read into.
    fn settings(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

/// See [`Actor::differentiable_policy`].
pub(super) fn policy_by_autodiff<A: Actor>(
    actor: &A,
    observations: Tensor<2>,
) -> (A::Distribution, Backward<A>) {
    let actor = with_own_gradients(actor);
    (actor.policy(Tensor::from_inner(observations)), Backward::autodiff(actor))
}

/// The covariance of a [`GaussianActor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Covariance {
    /// A standard deviation for each component.
    Diagonal,
    /// A Cholesky factor with softplus on its diagonal, n (n + 1) / 2 outputs (replication paper, 3.1.1).
    Full,
}

/// Settings of a [`GaussianActor`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GaussianActorConfig {
    /// The hidden layers.
    pub network: NetworkConfig,
    /// Diagonal or full.
    pub covariance: Covariance,
    /// The standard deviation of an untrained policy, in units of the action range [-1, 1]. Accepted: above
    /// 0. It sets how widely the first episodes explore; 0.3 to 1 is usual.
    pub initial_standard_deviation: f64,
    /// Added to the diagonal of L, so that the policy never loses all its randomness. Accepted: above 0.
    pub minimum_standard_deviation: f64,
    /// Whether the mean is the tanh of the network's output, and so stays inside the action range. A mean far
    /// beyond it explores nothing: every sample around it is clipped to the same action.
    pub bounded_mean: bool,
}

impl Default for GaussianActorConfig {
    /// As in the default preset.
    fn default() -> Self {
        Self {
            network: NetworkConfig::default(),
            covariance: Covariance::Diagonal,
            initial_standard_deviation: 0.3,
            minimum_standard_deviation: 1e-4,
            bounded_mean: true,
        }
    }
}

/// The default policy network: hidden layers, then μ and L.
#[derive(Module, Debug)]
pub struct GaussianActor {
    /// Of observations.
    moments: Option<Moments>,
    first: Linear,
    hidden: Hidden,
    mean: Linear,
    diagonal: Linear,
    /// The entries of L below the diagonal, row after row.
    lower: Option<Linear>,
    #[module(skip)]
    config: GaussianActorConfig,
}

impl GaussianActor {
    /// A policy for these sizes, on the autodiff side of `device`.
    ///
    /// # Errors
    /// If a size is 0 or a setting lies outside its accepted range.
    pub fn new(
        config: &GaussianActorConfig,
        observation_size: usize,
        action_size: usize,
        device: &Device,
        rng: &mut Rng,
    ) -> Result<Self> {
        config.network.validate()?;
        check_count("observation_size", observation_size, 1)?;
        check_count("action_size", action_size, 1)?;
        let [initial, least] = [config.initial_standard_deviation, config.minimum_standard_deviation];
        check_positive("GaussianActorConfig::initial_standard_deviation", initial)?;
        check_positive("GaussianActorConfig::minimum_standard_deviation", least)?;
        let device = &device.clone().autodiff();
        let hidden = &config.network.hidden;
        let (first, last) = (hidden[0], hidden[hidden.len() - 1]);
        let below = action_size * (action_size - 1) / 2;
        let full = config.covariance == Covariance::Full && below > 0;
        // Small output weights start the policy near mean 0 and the initial deviation, whatever the
        // observation.
        let mut output = |outputs| linear(last, outputs, OUTPUT_GAIN, device, rng);
        let (mean, diagonal, lower) = (output(action_size), output(action_size), full.then(|| output(below)));
        let normalise = config.network.normalise_observations;
        Ok(Self {
            moments: normalise.then(|| Moments::new(observation_size, device)),
            first: linear(observation_size, first, 1.0, device, rng),
            hidden: Hidden::new(&config.network, device, rng),
            mean,
            diagonal,
            lower,
            config: config.clone(),
        })
    }
}

impl GaussianActor {
    /// The settings that it was made with.
    pub fn config(&self) -> &GaussianActorConfig {
        &self.config
    }

    /// From what the last hidden layer gives out.
    fn of_features(&self, features: Tensor<2>) -> Gaussian {
        let mean = self.mean.forward(features.clone());
        let mean = if self.config.bounded_mean { Activation::Tanh.forward(mean) } else { mean };
        // softplus(0) = log 2.
        let unit = self.config.initial_standard_deviation / std::f64::consts::LN_2;
        let diagonal = activation::softplus(self.diagonal.forward(features.clone()), 1.0) * unit
            + self.config.minimum_standard_deviation;
        let scale = match &self.lower {
            None => Scale::Diagonal(diagonal),
            Some(lower) => Scale::Cholesky(cholesky_factor(diagonal, lower.forward(features) * unit)),
        };
        Gaussian { mean, scale }
    }
}

impl GaussianActorConfig {
    /// How many parameters the network has; none where that is beyond all numbers.
    pub(crate) fn parameter_count(&self, observation_size: usize, action_size: usize) -> Option<usize> {
        let outputs = match self.covariance {
            Covariance::Diagonal => action_size.checked_mul(2)?,
            Covariance::Full => {
                action_size.checked_add(action_size.checked_mul(action_size.checked_add(1)?)? / 2)?
            }
        };
        self.network.parameter_count(observation_size, outputs)
    }
}

pub(super) const OUTPUT_GAIN: f64 = 0.01;

impl Actor for GaussianActor {
    type Distribution = Gaussian;

    fn policy(&self, observations: Tensor<2>) -> Gaussian {
        self.of_features(trunk::features(self.moments.as_ref(), &self.first, &self.hidden, observations))
    }

    fn differentiable_policy(&self, observations: Tensor<2>) -> (Gaussian, Backward<Self>) {
        if !(is_host(&observations) && is_trainable(self)) {
            return policy_by_autodiff(self, observations);
        }
        let actor = with_own_gradients(self);
        let tape = trunk::recorded(&actor.moments, &actor.first, &actor.hidden, observations);
        (actor.of_features(tape.features()), Backward::recorded(actor, tape))
    }

    fn observation_size(&self) -> usize {
        self.first.weight.dims()[0]
    }

    fn observe(mut self, observations: &Tensor<2>) -> Self {
        if !is_trainable(&self) {
            return self;
        }
        self.moments = self.moments.map(|moments| moments.follow_observations(observations));
        self
    }

    fn action_size(&self) -> usize {
        self.mean.weight.dims()[1]
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::json!(self.config)
    }
}

/// Lower-triangular matrices `[batch, n, n]` from their diagonals `[batch, n]` and the entries below them,
/// row after row, `[batch, n (n - 1) / 2]`.
fn cholesky_factor(diagonal: Tensor<2>, below: Tensor<2>) -> Tensor<3> {
    let [states, n] = diagonal.dims();
    // The diagonal's entries come first, then those below, then a zero for all above.
    let numbers = Tensor::<1, Int>::arange(0..n as i64, &diagonal.device());
    let rows: Tensor<2, Int> = numbers.clone().unsqueeze_dim::<2>(1).expand([n, n]);
    let columns: Tensor<2, Int> = numbers.unsqueeze_dim::<2>(0).expand([n, n]);
    let below_diagonal = rows.clone() * (rows.clone() - 1) / 2 + columns.clone() + n as i64;
    let places = below_diagonal
        .mask_where(columns.clone().equal(rows.clone()), rows.clone())
        .mask_fill(columns.greater(rows), (n * (n + 1) / 2) as i64);
    let zero = Tensor::<2>::zeros([states, 1], &diagonal.device()).cast(diagonal.dtype());
    let entries = Tensor::cat(vec![diagonal, below, zero], 1);
    entries.select(1, places.flatten(0, 1)).reshape([states, n, n])
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use std::cmp::Ordering;

    use super::*;
    use crate::host::{tensor, to_host};
    use crate::rng::Stream;

    /// Each entry in its place, to the bit, and its gradient from there.
    #[test]
    fn factors_hold_each_entry_once() {
        const STATES: usize = 3;
        let device = Device::flex();
        let mut rng = Rng::stream(1, Stream::Weights);
        for n in 2..8 {
            let below = n * (n - 1) / 2;
            let [diagonal, lower, slopes] =
                [n, below, n * n].map(|width| (rng.normals(STATES * width), width));
            let tracked = |(numbers, width): &(Vec<f32>, usize)| {
                Tensor::from_inner(tensor::<2>(numbers.clone(), [STATES, *width], &device)).require_grad()
            };
            let (on_diagonal, off_diagonal) = (tracked(&diagonal), tracked(&lower));
            let factor = cholesky_factor(on_diagonal.clone(), off_diagonal.clone());
            let factors: Vec<f32> = to_host("test", factor.clone().inner()).unwrap();
            let weights = tensor(slopes.0.clone(), [STATES, n, n], &device);
            let gradients = (factor * Tensor::from_inner(weights)).sum().backward();
            let of = |tensor: &Tensor<2>| -> Vec<f32> {
                to_host("test", tensor.grad(&gradients).unwrap()).unwrap()
            };
            let (of_diagonal, of_lower) = (of(&on_diagonal), of(&off_diagonal));
            for state in 0..STATES {
                let mut entry = state * below;
                for row in 0..n {
                    for column in 0..n {
                        let place = (state * n + row) * n + column;
                        let (value, slope) = match column.cmp(&row) {
                            Ordering::Less => (lower.0[entry], of_lower[entry]),
                            Ordering::Equal => (diagonal.0[state * n + row], of_diagonal[state * n + row]),
                            Ordering::Greater => (0.0, slopes.0[place]),
                        };
                        entry += usize::from(column < row);
                        assert_eq!((factors[place], slopes.0[place]), (value, slope), "{n}: {row}, {column}");
                    }
                }
            }
        }
    }
}
