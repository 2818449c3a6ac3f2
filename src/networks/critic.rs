//! Action values as networks, and their evaluation without gradients.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::layers::{Hidden, NetworkConfig, linear};
use super::moments::{Moments, normalised};
use super::parameters::{in_place_of, is_trainable};
use crate::devices::is_cpu;
use crate::error::{Result, check_count};
use crate::rng::Rng;

/// An action-value function that policy evaluation can train: any Burn module that gives Q(s, a).
///
/// The actions are the policy's, clipped to [-1, 1]. Create the module on an autodiff device, with parameters
/// drawn from a [`Rng`] for runs that can be repeated.
pub trait Critic: Module + Sync {
    /// Q(s, a) for `observations` `[batch, observation]` and `actions` `[batch, action]`, as `[batch]`.
    fn values(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<1>;

    /// How many numbers an observation has.
    fn observation_size(&self) -> usize;

    /// How many components an action has.
    fn action_size(&self) -> usize;

    /// The same critic after it has seen the observations of a batch, `[batch, observation]` without
    /// gradients, before it learns from it. Override it where the module keeps statistics of them.
    #[must_use]
    fn observe(self, _observations: &Tensor<2>) -> Self {
        self
    }

    /// The same critic, untrained as it is, with all its values near `value`, `[1]` without gradients: the
    /// value of a state were every reward the mean one, from which learning then begins. Override it where
    /// the module has a mean of its values.
    #[must_use]
    fn start_from(self, _value: &Tensor<1>) -> Self {
        self
    }

    /// The same critic after it has seen the targets of a batch, `[batch]` without gradients, before it is
    /// regressed on them. Its values must not change by it, except where they meant nothing. Override it
    /// where the module keeps statistics of them.
    #[must_use]
    fn observe_targets(self, _targets: &Tensor<1>) -> Self {
        self
    }

    /// By how much Q(s, a) lies above the `targets`, `[batch]`, in the unit in which errors are weighed; as
    /// they are, by default.
    fn errors(&self, observations: Tensor<2>, actions: Tensor<2>, targets: Tensor<1>) -> Tensor<1> {
        self.values(observations, actions) - targets
    }

    /// Values, `[batch, samples]`, from some common zero and in the unit in which errors are weighed, which
    /// the E-step's lowest temperature is measured in; as they are, by default.
    fn in_units(&self, values: Tensor<2>) -> Tensor<2> {
        values
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

/// Settings of a [`QNetwork`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QNetworkConfig {
    /// The hidden layers.
    pub network: NetworkConfig,
    /// Whether the output layer says values as distances from the mean of the latest targets, in units of
    /// their standard deviation, and follows both without changing a value (PopArt, arXiv 1602.07714). What
    /// is learnt then does not depend on the unit of the rewards, nor on what is added to all of them:
    /// without it differences of 0.01, where rewards are rare, drown in the noise of Adam's steps, and so do
    /// those of 1 between values of -20,000. Loops of one's own call [`Critic::start_from`] once,
    /// [`Critic::observe_targets`] with each batch's targets, and weigh [`Critic::errors`].
    #[serde(default)]
    pub normalise_values: bool,
}

/// The default critic: the first layer takes observation and action, then hidden layers and one output.
#[derive(Module, Debug)]
pub struct QNetwork {
    /// Of observations.
    moments: Option<Moments>,
    /// The first layer's part for the observation, with the layer's bias.
    observation: Linear,
    /// The first layer's part for the action. Kept apart, so that the observation's part is computed once a
    /// state, not once a sampled action.
    action: Linear,
    hidden: Hidden,
    output: Linear,
    /// Of the targets: Q is mean + deviation · output.
    values: Option<Moments>,
}

/// Where values are normalised they start near their mean.
const NORMALISED_OUTPUT_GAIN: f64 = 0.01;

impl QNetwork {
    /// A critic for these sizes, on the autodiff side of `device`.
    ///
    /// # Errors
    /// If a size is 0 or a setting lies outside its accepted range.
    pub fn new(
        config: &QNetworkConfig,
        observation_size: usize,
        action_size: usize,
        device: &Device,
        rng: &mut Rng,
    ) -> Result<Self> {
        let QNetworkConfig { network, normalise_values } = config;
        network.validate()?;
        check_count("observation_size", observation_size, 1)?;
        check_count("action_size", action_size, 1)?;
        let device = &device.clone().autodiff();
        let (first, last) = (network.hidden[0], network.hidden[network.hidden.len() - 1]);
        // The two parts together are initialised as the one layer they stand for.
        let inputs = (observation_size + action_size) as f64;
        let gain = |part: usize| (part as f64 / inputs).sqrt();
        let mut action = linear(action_size, first, gain(action_size), device, rng);
        action.bias = None;
        let output_gain = if *normalise_values { NORMALISED_OUTPUT_GAIN } else { 1.0 };
        Ok(Self {
            moments: network.normalise_observations.then(|| Moments::new(observation_size, device)),
            observation: linear(observation_size, first, gain(observation_size), device, rng),
            action,
            hidden: Hidden::new(network, device, rng),
            output: linear(last, 1, output_gain, device, rng),
            values: normalise_values.then(|| Moments::new(1, device)),
        })
    }

    /// What the output layer says, `[batch, 1]`.
    fn outputs(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<2> {
        let observations = normalised(self.moments.as_ref(), observations);
        let first = self.observation.forward(observations) + self.action.forward(actions);
        self.output.forward(self.hidden.forward(first))
    }

    /// Values from what the output layer says, both `[rows, 1]`.
    fn as_values(&self, outputs: Tensor<2>) -> Tensor<2> {
        match &self.values {
            Some(moments) => outputs * moments.deviation().unsqueeze() + moments.mean().unsqueeze(),
            None => outputs,
        }
    }
}

impl Critic for QNetwork {
    fn observation_size(&self) -> usize {
        self.observation.weight.dims()[0]
    }

    fn observe(mut self, observations: &Tensor<2>) -> Self {
        if !is_trainable(&self) {
            return self;
        }
        self.moments = self.moments.map(|moments| moments.follow_observations(observations));
        self
    }

    fn action_size(&self) -> usize {
        self.action.weight.dims()[0]
    }

    fn start_from(mut self, value: &Tensor<1>) -> Self {
        if !is_trainable(&self) {
            return self;
        }
        self.values = self.values.map(|moments| moments.start_from(value.clone()));
        self
    }

    fn observe_targets(mut self, targets: &Tensor<1>) -> Self {
        if !is_trainable(&self) {
            return self;
        }
        let Some(before) = self.values.take() else { return self };
        let values = before.clone().follow(targets);
        let [deviation, new_deviation, further] =
            [before.deviation(), values.deviation(), values.mean_beyond(&before)].map(Tensor::inner);
        // The outputs that say the same values in the new units. While there was no spread the outputs stay,
        // as they meant nothing.
        let known = deviation.clone().sign();
        let new_deviation = new_deviation.clamp_min(f32::MIN_POSITIVE);
        let ratio = deviation / new_deviation.clone() + (-known.clone() + 1.0);
        let shift = further * known / new_deviation;
        let Linear { weight, bias } = self.output;
        let weight = weight.map(|old| in_place_of(&old, old.clone().inner() * ratio.clone().unsqueeze()));
        let bias = bias.map(|bias| bias.map(|old| in_place_of(&old, old.clone().inner() * ratio - shift)));
        self.output = Linear { weight, bias };
        self.values = Some(values);
        self
    }

    fn errors(&self, observations: Tensor<2>, actions: Tensor<2>, targets: Tensor<1>) -> Tensor<1> {
        let outputs = self.outputs(observations, actions);
        match &self.values {
            // Without the mean, which may be large beside all errors.
            Some(moments) => {
                let scale = (moments.deviation() / moments.unit()).unsqueeze();
                (outputs * scale).squeeze_dim(1) - moments.centred(targets) / moments.unit()
            }
            None => outputs.squeeze_dim(1) - targets,
        }
    }

    fn in_units(&self, values: Tensor<2>) -> Tensor<2> {
        match &self.values {
            Some(moments) => {
                let unit = moments.unit().cast(values.dtype()).unsqueeze();
                moments.centred(values) / unit
            }
            None => values,
        }
    }

    fn values(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<1> {
        self.as_values(self.outputs(observations, actions)).squeeze_dim(1)
    }

    fn values_of_samples(&self, observations: Tensor<2>, actions: Tensor<3>) -> Tensor<2> {
        let [states, samples, n] = actions.dims();
        let observations = normalised(self.moments.as_ref(), observations);
        let of_state: Tensor<3> = self.observation.forward(observations).unsqueeze_dim(1);
        let [_, _, width] = of_state.dims();
        let of_action = self.action.forward(actions.reshape([states * samples, n]));
        let first = of_action.reshape([states, samples, width]) + of_state;
        let features = self.hidden.forward(first.reshape([states * samples, width]));
        self.as_values(self.output.forward(features)).reshape([states, samples])
    }
}
