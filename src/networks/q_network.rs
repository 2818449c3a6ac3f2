//! The default critic.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::backward::Backward;
use super::critic::{Critic, CriticLoss, loss_by_autodiff, sampled_values};
use super::layers::{Hidden, NetworkConfig, linear};
use super::moments::{Moments, normalised};
use super::on_host::{HiddenOnHost, ROWS_A_BLOCK, Tape, panels};
use super::output_on_host::OutputOnHost;
use super::parameters::{is_trainable, with_own_gradients};
use super::value_head::ValueHead;
use super::value_units::ValueUnits;
use crate::action_space::ActionSpace;
use crate::checks::check_count;
use crate::error::Result;
use crate::host::{is_host, numbers, on_host};
use crate::mathematics::bins::ValueDistribution;
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
    /// Values as means of distributions, learnt by classification, in place of numbers and their errors: the
    /// `loss` then has no part. None leaves it out. The range of its bins is in units of that standard
    /// deviation too, where values are normalised, and else in the rewards'.
    pub distribution: Option<ValueDistribution>,
}

impl Default for QNetworkConfig {
    /// As in the default preset.
    fn default() -> Self {
        Self {
            network: NetworkConfig::default(),
            normalise_values: true,
            loss: CriticLoss::Squared,
            distribution: None,
        }
    }
}

impl QNetworkConfig {
    /// How the outputs are read, of settings that are accepted.
    pub(super) fn head(&self) -> Result<ValueHead> {
        self.network.validate()?;
        self.distribution.map_or(Ok(()), |distribution| distribution.validate())?;
        Ok(ValueHead { loss: self.loss, distribution: self.distribution })
    }
}

/// The default critic: the first layer takes observation and action, of a choice a number for each
/// alternative, 1 for the one that is chosen; then hidden layers and the output.
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
    head: ValueHead,
    /// Of how many alternatives each choice is, behind the bounded components.
    #[module(skip)]
    choices: Vec<usize>,
}

/// If values are normalised, they start near their mean.
pub(super) const NORMALISED_OUTPUT_GAIN: f64 = 0.01;

impl QNetwork {
    /// A critic for these sizes, of actions inside bounds, on the autodiff side of `device`.
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
        check_count("action_size", action_size, 1)?;
        Self::for_actions(config, observation_size, &ActionSpace::symmetric(action_size), device, rng)
    }

    /// A critic of such actions. Of a single choice [`DiscreteQNetwork`](crate::DiscreteQNetwork) is one that
    /// computes far less.
    ///
    /// # Errors
    /// If a size is 0, there is no action or a choice of fewer than 2 alternatives, or a setting lies
    /// outside its accepted range.
    pub fn for_actions(
        config: &QNetworkConfig,
        observation_size: usize,
        space: &ActionSpace,
        device: &Device,
        rng: &mut Rng,
    ) -> Result<Self> {
        let QNetworkConfig { network, normalise_values, .. } = config;
        let head = config.head()?;
        check_count("observation_size", observation_size, 1)?;
        space.check("the critic's actions")?;
        let action_size = space.bounded_size() + space.choices().iter().sum::<usize>();
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
            output: head.layer(last, 1, output_gain, device, rng),
            units: normalise_values.then(|| ValueUnits::new(device)),
            head,
            choices: space.choices().to_vec(),
        })
    }

    /// What the output layer says, `[batch, outputs]`.
    fn outputs(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<2> {
        let observations = normalised(self.moments.as_ref(), observations);
        let first = self.observation.forward(observations) + self.action.forward(self.encoded(actions));
        self.output.forward(self.hidden.forward(first))
    }

    /// Actions `[rows, action]` as the first layer takes them.
    fn encoded(&self, actions: Tensor<2>) -> Tensor<2> {
        if self.choices.is_empty() {
            return actions;
        }
        let (rows, bounded) = (actions.dims()[0], self.action_size() - self.choices.len());
        let of_choice = |(choice, &alternatives): (usize, &usize)| {
            let chosen = actions.clone().narrow(1, bounded + choice, 1).int().expand([rows, alternatives]);
            let indices = Tensor::<1, Int>::arange(0..alternatives as i64, &actions.device());
            chosen
                .equal(indices.unsqueeze_dim::<2>(0).expand([rows, alternatives]))
                .float()
                .cast(actions.dtype())
        };
        let numbers = (bounded > 0).then(|| actions.clone().narrow(1, 0, bounded));
        let choices = self.choices.iter().enumerate().map(of_choice);
        Tensor::cat(numbers.into_iter().chain(choices).collect(), 1)
    }

    /// The loss of these outputs, `[batch, outputs]`, which have gradients.
    fn loss_of(&self, outputs: Tensor<2>, targets: Tensor<1>) -> Tensor<1> {
        self.head.loss(outputs, targets, self.units.as_ref())
    }

    /// `[rows]` of `[rows, outputs]`.
    fn as_values(&self, outputs: Tensor<2>) -> Tensor<1> {
        self.head.values(outputs, self.units.as_ref())
    }
}

impl Critic for QNetwork {
    fn values(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<1> {
        self.as_values(self.outputs(observations, actions))
    }

    fn observation_size(&self) -> usize {
        self.observation.weight.dims()[0]
    }

    fn action_size(&self) -> usize {
        self.action.weight.dims()[0] + self.choices.len() - self.choices.iter().sum::<usize>()
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::symmetric(self.action_size() - self.choices.len()).with_choices(self.choices.as_slice())
    }

    fn values_of_samples(&self, observations: Tensor<2>, actions: Tensor<3>) -> Tensor<2> {
        let [states, samples, n] = actions.dims();
        let observations = normalised(self.moments.as_ref(), observations);
        let of_state: Tensor<3> = self.observation.forward(observations).unsqueeze_dim(1);
        let [_, _, width] = of_state.dims();
        let of_action = self.action.forward(self.encoded(actions.reshape([states * samples, n])));
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
        let output = OutputOnHost::new(&self.output, self.head);
        let block = (ROWS_A_BLOCK / samples).max(1);
        let actions = self.encoded(actions.reshape([states * samples, n]));
        let n = actions.dims()[1];
        let (actions, mut outputs) = (numbers(actions), vec![0.0; states * samples]);
        outputs
            .par_chunks_mut(block * samples)
            .zip(actions.par_chunks(block * samples * n))
            .zip(of_states.par_chunks(block * first.columns()))
            .for_each_init(Default::default, |(workspace, logits), ((outputs, actions), of_states)| {
                let features = hidden.features(actions, &first, of_states, workspace);
                output.values(features, logits, outputs);
            });
        let values = on_host(outputs, [states, samples], &device);
        match &self.units {
            Some(units) => units.values(values),
            None => values,
        }
    }

    fn loss(&self, observations: Tensor<2>, actions: Tensor<2>, targets: Tensor<1>) -> Tensor<1> {
        self.loss_of(self.outputs(Tensor::from_inner(observations), Tensor::from_inner(actions)), targets)
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
        let seen = normalised(critic.moments.valid().as_ref(), observations);
        let tape = Tape::record(
            vec![(seen, &critic.observation), (critic.encoded(actions), &critic.action)],
            &critic.hidden,
        );
        let loss = critic.loss_of(critic.output.forward(tape.features()), targets);
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
