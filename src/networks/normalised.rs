//! Normalisation for networks of the caller's own: of observations, [`Normalised`], and of values,
//! [`PopArt`].

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Tensor};
use serde_json::Value;

use super::moments::{Moments, normalised};
use super::parameters::is_trainable;
use super::value_units::ValueUnits;
use super::{Actor, Critic, CriticLoss};

/// An actor or critic that sees observations in units of their spread, (s - mean) / standard deviation over
/// what has been learnt from, cut off at ±10.
///
/// `examples/own_networks.rs` has an actor and a critic of its own in it.
#[derive(Module, Debug)]
pub struct Normalised<N: Module + ModuleDisplay> {
    moments: Moments,
    network: N,
}

impl<N: Module + ModuleDisplay> Normalised<N> {
    /// A network for observations of this size, on `device`, which sees them as they are until it has learnt
    /// from some.
    pub fn new(network: N, observation_size: usize, device: &Device) -> Self {
        Self { moments: Moments::new(observation_size, &device.clone().autodiff()), network }
    }

    /// The network within.
    pub fn network(&self) -> &N {
        &self.network
    }

    fn seen(&self, observations: Tensor<2>) -> Tensor<2> {
        normalised(Some(&self.moments), observations)
    }

    /// After a batch that the network within sees as `observe` does.
    fn follow(self, observations: &Tensor<2>, observe: impl FnOnce(N, &Tensor<2>) -> N) -> Self {
        let moments = match is_trainable(&self.network) {
            true => self.moments.follow_observations(observations),
            false => self.moments,
        };
        let seen = normalised(Some(&moments.valid()), observations.clone());
        Self { network: observe(self.network, &seen), moments }
    }
}

impl<N: Actor + ModuleDisplay> Actor for Normalised<N> {
    type Distribution = N::Distribution;

    fn policy(&self, observations: Tensor<2>) -> N::Distribution {
        self.network.policy(self.seen(observations))
    }

    fn observation_size(&self) -> usize {
        self.network.observation_size()
    }

    fn action_size(&self) -> usize {
        self.network.action_size()
    }

    fn observe(self, observations: &Tensor<2>) -> Self {
        self.follow(observations, N::observe)
    }

    fn settings(&self) -> Value {
        self.network.settings()
    }
}

impl<N: Critic + ModuleDisplay> Critic for Normalised<N> {
    fn values(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<1> {
        self.network.values(self.seen(observations), actions)
    }

    fn observation_size(&self) -> usize {
        self.network.observation_size()
    }

    fn action_size(&self) -> usize {
        self.network.action_size()
    }

    fn values_of_samples(&self, observations: Tensor<2>, actions: Tensor<3>) -> Tensor<2> {
        self.network.values_of_samples(self.seen(observations), actions)
    }

    fn loss(&self, observations: Tensor<2>, actions: Tensor<2>, targets: Tensor<1>) -> Tensor<1> {
        let seen = self.seen(Tensor::from_inner(observations)).inner();
        self.network.loss(seen, actions, targets)
    }

    fn observe(self, observations: &Tensor<2>) -> Self {
        self.follow(observations, N::observe)
    }

    fn observe_targets(self, targets: &Tensor<1>) -> Self {
        Self { network: self.network.observe_targets(targets), ..self }
    }

    fn start_from(self, value: &Tensor<1>) -> Self {
        Self { network: self.network.start_from(value), ..self }
    }

    fn in_units(&self, values: Tensor<2>) -> Tensor<2> {
        self.network.in_units(values)
    }
}

/// A critic whose values can be turned into a multiple of them, such as one with a linear output layer (see
/// [`rescaled`](super::rescaled)).
pub trait Rescale: Critic {
    /// The same critic with values of factor · Q(s, a) + shift, `[1]` each, without gradients.
    #[must_use]
    fn rescale(self, factor: Tensor<1>, shift: Tensor<1>) -> Self;
}

impl<N: Rescale + ModuleDisplay> Rescale for Normalised<N> {
    fn rescale(self, factor: Tensor<1>, shift: Tensor<1>) -> Self {
        Self { network: self.network.rescale(factor, shift), ..self }
    }
}

/// A critic whose network gives normalised values, (Q - mean) / standard deviation of the latest targets, and
/// is rescaled as both move, so that no value changes by it (arXiv 1602.07714): neither the unit of the
/// rewards nor a constant added to all of them changes what is learnt. Its loss is the mean of ½ (Q - y)² in
/// that unit.
#[derive(Module, Debug)]
pub struct PopArt<N: Module + ModuleDisplay> {
    units: ValueUnits,
    network: N,
}

impl<N: Rescale + ModuleDisplay> PopArt<N> {
    /// A critic around this network, on `device`. All its values are 0 until it learns.
    pub fn new(network: N, device: &Device) -> Self {
        Self { units: ValueUnits::new(&device.clone().autodiff()), network }
    }

    /// The network within, whose outputs are in units of the targets' spread.
    pub fn network(&self) -> &N {
        &self.network
    }
}

impl<N: Rescale + ModuleDisplay> Critic for PopArt<N> {
    fn values(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<1> {
        self.units.values(self.network.values(observations, actions))
    }

    fn observation_size(&self) -> usize {
        self.network.observation_size()
    }

    fn action_size(&self) -> usize {
        self.network.action_size()
    }

    fn values_of_samples(&self, observations: Tensor<2>, actions: Tensor<3>) -> Tensor<2> {
        self.units.values(self.network.values_of_samples(observations, actions))
    }

    fn loss(&self, observations: Tensor<2>, actions: Tensor<2>, targets: Tensor<1>) -> Tensor<1> {
        let [observations, actions] = [observations, actions].map(Tensor::from_inner);
        let outputs = self.network.values(observations, actions);
        CriticLoss::Squared.of(self.units.errors(outputs, Tensor::from_inner(targets)))
    }

    fn observe(self, observations: &Tensor<2>) -> Self {
        Self { network: self.network.observe(observations), ..self }
    }

    fn observe_targets(self, targets: &Tensor<1>) -> Self {
        if !is_trainable(&self.network) {
            return self;
        }
        let (units, factor, shift) = self.units.follow(targets);
        Self { units, network: self.network.rescale(factor, shift) }
    }

    fn start_from(self, value: &Tensor<1>) -> Self {
        if is_trainable(&self.network) {
            return Self { units: self.units.start_from(value), ..self };
        }
        self
    }

    fn in_units(&self, values: Tensor<2>) -> Tensor<2> {
        self.units.in_units(values)
    }
}
