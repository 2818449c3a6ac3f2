//! Action values as networks, and their evaluation without gradients.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use rayon::prelude::*;

use super::layers::{Hidden, NetworkConfig, linear};
use super::scales::{Scales, scaled};
use crate::devices::is_cpu;
use crate::error::{Result, check_count};
use crate::rng::Rng;

/// An action-value function that policy evaluation can train: any Burn module that gives Q(s, a).
///
/// The actions are the policy's, clipped to [-1, 1].
/// Create the module on an autodiff device, with parameters drawn from a [`Rng`] for runs that can be repeated.
pub trait Critic: Module + Sync {
    /// Q(s, a) for `observations` `[batch, observation]` and `actions` `[batch, action]`, as `[batch]`.
    fn values(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<1>;

    /// How many numbers an observation has.
    fn observation_size(&self) -> usize;

    /// How many components an action has.
    fn action_size(&self) -> usize;

    /// The same critic after it has seen the observations of a batch, `[batch, observation]` without gradients, before it
    /// learns from it. Override it where the module keeps statistics of them.
    #[must_use]
    fn observe(self, _observations: &Tensor<2>) -> Self {
        self
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
/// On a CPU the states are split into pieces whose activations stay in the cache, and the pieces run in parallel:
/// several times faster than one large batch, with the same result up to the last bit or two of
/// a last, odd piece. On other devices the pieces are as large as the buffers that any of them can be asked for.
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

/// The default critic: the first layer takes observation and action, then hidden layers and one output.
#[derive(Module, Debug)]
pub struct QNetwork {
    scales: Option<Scales>,
    /// The first layer's part for the observation, with the layer's bias.
    observation: Linear,
    /// The first layer's part for the action. Kept apart, so that the observation's part is computed once a state,
    /// not once a sampled action.
    action: Linear,
    hidden: Hidden,
    output: Linear,
}

impl QNetwork {
    /// A critic for these sizes, on the autodiff side of `device`.
    ///
    /// # Errors
    /// Where a size is 0 or a setting lies outside its accepted range.
    pub fn new(
        config: &NetworkConfig,
        observation_size: usize,
        action_size: usize,
        device: &Device,
        rng: &mut Rng,
    ) -> Result<Self> {
        config.validate()?;
        check_count("observation_size", observation_size, 1)?;
        check_count("action_size", action_size, 1)?;
        let device = &device.clone().autodiff();
        let (first, last) = (config.hidden[0], config.hidden[config.hidden.len() - 1]);
        // The two parts together are initialised as the one layer they stand for.
        let of_observation = config.inputs(observation_size);
        let inputs = (of_observation + action_size) as f64;
        let gain = |part: usize| (part as f64 / inputs).sqrt();
        let mut action = linear(action_size, first, gain(action_size), device, rng);
        action.bias = None;
        Ok(Self {
            scales: config.observation_scales.then(|| Scales::new(observation_size, device)),
            observation: linear(of_observation, first, gain(of_observation), device, rng),
            action,
            hidden: Hidden::new(config, device, rng),
            output: linear(last, 1, 1.0, device, rng),
        })
    }
}

impl Critic for QNetwork {
    fn observation_size(&self) -> usize {
        self.scales.as_ref().map_or_else(|| self.observation.weight.dims()[0], Scales::observation_size)
    }

    fn observe(mut self, observations: &Tensor<2>) -> Self {
        self.scales = self.scales.map(|scales| scales.follow(observations));
        self
    }

    fn action_size(&self) -> usize {
        self.action.weight.dims()[0]
    }

    fn values(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<1> {
        let observations = scaled(self.scales.as_ref(), observations);
        let first = self.observation.forward(observations) + self.action.forward(actions);
        self.output.forward(self.hidden.forward(first)).squeeze_dim(1)
    }

    fn values_of_samples(&self, observations: Tensor<2>, actions: Tensor<3>) -> Tensor<2> {
        let [states, samples, n] = actions.dims();
        let observations = scaled(self.scales.as_ref(), observations);
        let of_state: Tensor<3> = self.observation.forward(observations).unsqueeze_dim(1);
        let [_, _, width] = of_state.dims();
        let of_action = self.action.forward(actions.reshape([states * samples, n]));
        let first = of_action.reshape([states, samples, width]) + of_state;
        let features = self.hidden.forward(first.reshape([states * samples, width]));
        self.output.forward(features).reshape([states, samples])
    }
}
