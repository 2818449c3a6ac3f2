//! The default critic of a single choice.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor};

use super::backward::Backward;
use super::critic::{Critic, loss_by_autodiff};
use super::layers::{Hidden, linear};
use super::moments::Moments;
use super::parameters::{is_trainable, with_own_gradients};
use super::q_network::{NORMALISED_OUTPUT_GAIN, QNetworkConfig};
use super::trunk;
use super::value_head::ValueHead;
use super::value_units::ValueUnits;
use crate::action_space::ActionSpace;
use crate::checks::check_count;
use crate::error::Result;
use crate::host::is_host;
use crate::rng::Rng;

/// The default critic of a single choice: hidden layers over the observation, and an output for each
/// alternative that can be chosen, so that one pass gives the values of all (as in DQN).
#[derive(Module, Debug)]
pub struct DiscreteQNetwork {
    /// Of observations.
    moments: Option<Moments>,
    first: Linear,
    hidden: Hidden,
    /// Alternative after alternative.
    output: Linear,
    /// What the outputs are measured in.
    units: Option<ValueUnits>,
    #[module(skip)]
    head: ValueHead,
}

impl DiscreteQNetwork {
    /// A critic of a choice of one of `alternatives`, on the autodiff side of `device`.
    ///
    /// # Errors
    /// If a size is 0, there are fewer than 2 alternatives, or a setting lies outside its accepted range.
    pub fn new(
        config: &QNetworkConfig,
        observation_size: usize,
        alternatives: usize,
        device: &Device,
        rng: &mut Rng,
    ) -> Result<Self> {
        let QNetworkConfig { network, normalise_values, .. } = config;
        let head = config.head()?;
        check_count("observation_size", observation_size, 1)?;
        ActionSpace::discrete(alternatives).check("alternatives")?;
        let device = &device.clone().autodiff();
        let (first, last) = (network.hidden[0], network.hidden[network.hidden.len() - 1]);
        let output_gain = if *normalise_values { NORMALISED_OUTPUT_GAIN } else { 1.0 };
        Ok(Self {
            moments: network.normalise_observations.then(|| Moments::new(observation_size, device)),
            first: linear(observation_size, first, 1.0, device, rng),
            hidden: Hidden::new(network, device, rng),
            output: head.layer(last, alternatives, output_gain, device, rng),
            units: normalise_values.then(|| ValueUnits::new(device)),
            head,
        })
    }

    /// Q(s, ·) of everything that can be chosen at `observations` `[batch, observation]`, as `[batch,
    /// alternatives]`.
    pub fn all_values(&self, observations: Tensor<2>) -> Tensor<2> {
        let features = trunk::features(self.moments.as_ref(), &self.first, &self.hidden, observations);
        let (states, alternatives) = (features.dims()[0], self.alternatives());
        let outputs = self.output.forward(features).reshape([states * alternatives, self.head.outputs()]);
        self.head.values(outputs, self.units.as_ref()).reshape([states, alternatives])
    }

    fn alternatives(&self) -> usize {
        self.output.weight.dims()[1] / self.head.outputs()
    }

    /// The indices of what is chosen in `actions` `[batch, samples]`.
    fn indices(&self, actions: Tensor<2>) -> Tensor<2, Int> {
        actions.clamp(0.0, (self.alternatives() - 1) as f64).int()
    }

    /// The loss of what the last hidden layer gives out.
    fn loss_of(&self, features: Tensor<2>, actions: Tensor<2>, targets: Tensor<1>) -> Tensor<1> {
        let (states, of_each) = (features.dims()[0], self.head.outputs());
        let outputs = self.output.forward(features).reshape([states, self.alternatives(), of_each]);
        let chosen =
            self.indices(Tensor::from_inner(actions)).unsqueeze_dim::<3>(2).expand([states, 1, of_each]);
        self.head.loss(outputs.gather(1, chosen).squeeze_dim(1), targets, self.units.as_ref())
    }
}

impl Critic for DiscreteQNetwork {
    fn values(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<1> {
        self.all_values(observations).gather(1, self.indices(actions)).squeeze_dim(1)
    }

    fn observation_size(&self) -> usize {
        self.first.weight.dims()[0]
    }

    fn action_size(&self) -> usize {
        1
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::discrete(self.alternatives())
    }

    fn values_of_samples(&self, observations: Tensor<2>, actions: Tensor<3>) -> Tensor<2> {
        self.all_values(observations).gather(1, self.indices(actions.squeeze_dim(2)))
    }

    /// All at once: a pass over the observations is no more work than for a few samples of one state each.
    fn sampled_values(&self, observations: Tensor<2>, actions: Tensor<3>) -> Tensor<2> {
        self.values_of_samples(observations, actions)
    }

    fn loss(&self, observations: Tensor<2>, actions: Tensor<2>, targets: Tensor<1>) -> Tensor<1> {
        let observations = Tensor::from_inner(observations);
        let features = trunk::features(self.moments.as_ref(), &self.first, &self.hidden, observations);
        self.loss_of(features, actions, targets)
    }

    fn differentiable_loss(
        &self,
        observations: Tensor<2>,
        actions: Tensor<2>,
        targets: Tensor<1>,
    ) -> (Tensor<1>, Backward<Self>) {
        if !(is_host(&observations) && is_trainable(self)) {
            return loss_by_autodiff(self, observations, actions, targets);
        }
        let critic = with_own_gradients(self);
        let tape = trunk::recorded(&critic.moments, &critic.first, &critic.hidden, observations);
        let loss = critic.loss_of(tape.features(), actions, targets);
        (loss, Backward::recorded(critic, tape))
    }

    fn observe(mut self, observations: &Tensor<2>) -> Self {
        if is_trainable(&self) {
            self.moments = self.moments.map(|moments| moments.follow_observations(observations));
        }
        self
    }

    fn observe_targets(mut self, targets: &Tensor<1>) -> Self {
        if is_trainable(&self) {
            (self.output, self.units) = self.head.follow(self.output, self.units, targets);
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
