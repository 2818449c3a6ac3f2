//! The default critic.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::backward::Backward;
use super::critic::{Critic, CriticLoss, loss_by_autodiff, sampled_values};
use super::layers::{Hidden, NetworkConfig, bias, linear};
use super::moments::{Moments, normalised};
use super::on_host::{HiddenOnHost, ROWS_A_BLOCK, Tape, Workspace, panels};
use super::parameters::{is_trainable, with_own_gradients};
use super::rows;
use super::value_units::{ValueUnits, rescaled};
use crate::checks::check_count;
use crate::error::Result;
use crate::host::{is_host, numbers, on_host};
use crate::rng::Rng;

/// Settings of a [`QNetwork`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QNetworkConfig {
    /// The hidden layers.
    pub network: NetworkConfig,
    /// Whether the output layer gives normalised values, (Q - mean) / standard deviation of the latest
    /// targets, and is rescaled as both move, so that no value changes by it (PopArt, arXiv 1602.07714). What
    /// is learnt then does not depend on the unit of the rewards, nor on what is added to all of them.
    /// Without it, differences of 0.01 where rewards are rare are lost in the noise of Adam's steps, as are
    /// those of 1 between values of -20,000.
    pub normalise_values: bool,
    /// How errors are weighed, in units of that standard deviation where values are normalised.
    pub loss: CriticLoss,
}

impl Default for QNetworkConfig {
    /// As in the default preset.
    fn default() -> Self {
        Self { network: NetworkConfig::default(), normalise_values: true, loss: CriticLoss::Squared }
    }
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
    /// What the output is measured in.
    units: Option<ValueUnits>,
    #[module(skip)]
    loss: CriticLoss,
}

/// If values are normalised, they start near their mean.
pub(super) const NORMALISED_OUTPUT_GAIN: f64 = 0.01;

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
        let QNetworkConfig { network, normalise_values, loss } = config;
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
            units: normalise_values.then(|| ValueUnits::new(device)),
            loss: *loss,
        })
    }

    /// What the output layer says, `[batch, 1]`.
    fn outputs(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<2> {
        let observations = normalised(self.moments.as_ref(), observations);
        let first = self.observation.forward(observations) + self.action.forward(actions);
        self.output.forward(self.hidden.forward(first))
    }

    /// This critic after it has taken note of the `targets`.
    fn follow(mut self, targets: &Tensor<1>) -> Self {
        if is_trainable(&self)
            && let Some(units) = self.units.take()
        {
            let (units, factor, shift) = units.follow(targets);
            self.output = rescaled(self.output, factor, shift);
            self.units = Some(units);
        }
        self
    }

    /// The loss of these outputs, `[batch, 1]`, which have gradients.
    fn loss_of(&self, outputs: Tensor<2>, targets: Tensor<1>) -> Tensor<1> {
        let (outputs, targets) = (outputs.squeeze_dim(1), Tensor::from_inner(targets));
        self.loss.of(match &self.units {
            Some(units) => units.errors(outputs, targets),
            None => outputs - targets,
        })
    }

    fn as_values<const D: usize>(&self, outputs: Tensor<D>) -> Tensor<D> {
        match &self.units {
            Some(units) => units.values(outputs),
            None => outputs,
        }
    }
}

impl Critic for QNetwork {
    fn values(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<1> {
        self.as_values(self.outputs(observations, actions)).squeeze_dim(1)
    }

    fn observation_size(&self) -> usize {
        self.observation.weight.dims()[0]
    }

    fn action_size(&self) -> usize {
        self.action.weight.dims()[0]
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

    fn sampled_values(&self, observations: Tensor<2>, actions: Tensor<3>) -> Tensor<2> {
        if !(is_host(&observations) && is_host(&actions)) {
            return sampled_values(self, observations, actions);
        }
        let ([states, samples, n], device) = (actions.dims(), actions.device());
        let observations = normalised(self.moments.as_ref(), observations);
        let of_states = numbers(self.observation.forward(observations));
        let (first, hidden) = (panels(&self.action), HiddenOnHost::new(&self.hidden));
        let (weights, bias) = (numbers(self.output.weight.val()), numbers(bias(&self.output))[0]);
        let block = (ROWS_A_BLOCK / samples).max(1);
        let (actions, mut outputs) = (numbers(actions), vec![0.0; states * samples]);
        outputs
            .par_chunks_mut(block * samples)
            .zip(actions.par_chunks(block * samples * n))
            .zip(of_states.par_chunks(block * first.columns()))
            .for_each_init(Workspace::default, |workspace, ((outputs, actions), of_states)| {
                let features = hidden.features(actions, &first, of_states, workspace);
                rows::outputs(features, &weights, bias, outputs);
            });
        self.as_values(on_host(outputs, [states, samples], &device))
    }

    fn loss(self, observations: Tensor<2>, actions: Tensor<2>, targets: Tensor<1>) -> (Self, Tensor<1>) {
        let critic = self.follow(&targets);
        let outputs = critic.outputs(Tensor::from_inner(observations), Tensor::from_inner(actions));
        let loss = critic.loss_of(outputs, targets);
        (critic, loss)
    }

    fn differentiable_loss(
        self,
        observations: Tensor<2>,
        actions: Tensor<2>,
        targets: Tensor<1>,
    ) -> (Self, Tensor<1>, Backward<Self>) {
        if !(is_host(&observations) && is_trainable(&self)) {
            return loss_by_autodiff(&self, observations, actions, targets);
        }
        let critic = with_own_gradients(&self.follow(&targets));
        let seen = normalised(critic.moments.valid().as_ref(), observations);
        let tape = Tape::record(vec![(seen, &critic.observation), (actions, &critic.action)], &critic.hidden);
        let loss = critic.loss_of(critic.output.forward(tape.features()), targets);
        (critic.clone(), loss, Backward::recorded(critic, tape))
    }

    fn observe(mut self, observations: &Tensor<2>) -> Self {
        if is_trainable(&self) {
            self.moments = self.moments.map(|moments| moments.follow_observations(observations));
        }
        self
    }

    fn start_from(mut self, value: &Tensor<1>) -> Self {
        if is_trainable(&self) {
            self.units = self.units.map(|units| units.start_from(value));
        }
        self
    }

    fn in_units(&self, values: Tensor<2>) -> Tensor<2> {
        match &self.units {
            Some(units) => units.in_units(values),
            None => values,
        }
    }
}
