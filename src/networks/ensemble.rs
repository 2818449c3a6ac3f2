//! Several critics as one: [`Ensemble`].

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::backward::Backward;
use super::critic::Critic;
use crate::action_space::ActionSpace;
use crate::checks::{check, check_size};
use crate::error::Result;

/// Several critics as one. Each learns from the same targets, and from its own initial weights: where they
/// have learnt little they differ.
///
/// ```
/// use burn::tensor::Device;
/// use mpo::networks::{Combine, Ensemble};
/// use mpo::{GaussianActor, MpoAgent, MpoConfig, QNetwork, Rng, Stream};
///
/// # fn main() -> mpo::Result<()> {
/// let (config, device, mut rng) = (MpoConfig::default(), Device::flex(), Rng::stream(1, Stream::Weights));
/// let actor = GaussianActor::new(&config.actor, 5, 1, &device, &mut rng)?;
/// let critic = || QNetwork::new(&config.critic, 5, 1, &device, &mut rng);
/// let critics = std::iter::repeat_with(critic).take(2).collect::<mpo::Result<_>>()?;
/// let critic = Ensemble::new(critics, Combine::Minimum)?;
/// let agent = MpoAgent::with_networks(config, actor, critic, 1)?;
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct Ensemble<C: Module + ModuleDisplay> {
    critics: Vec<C>,
    #[module(skip)]
    combine: Combine,
}

/// What the value of an [`Ensemble`] is, of those of its critics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Combine {
    /// Their mean: less noise.
    Mean,
    /// The least of them, action by action: what they do not agree on is not overestimated (arXiv
    /// 1802.09477).
    Minimum,
}

impl<C: Critic + ModuleDisplay> Ensemble<C> {
    /// An ensemble of these critics, each with weights of its own.
    ///
    /// # Errors
    /// If there is none, or they differ in their observations or actions.
    pub fn new(critics: Vec<C>, combine: Combine) -> Result<Self> {
        check("Ensemble", critics.len(), |&count| count > 0, "at least 1 critic")?;
        for critic in &critics[1..] {
            check_size("a critic's observation", critic.observation_size(), critics[0].observation_size())?;
            critic.action_space().check_like(&critics[0].action_space())?;
        }
        Ok(Self { critics, combine })
    }

    /// The critics.
    pub fn critics(&self) -> &[C] {
        &self.critics
    }

    fn combined<const D: usize>(&self, values: impl Fn(&C) -> Tensor<D>) -> Tensor<D> {
        let values = self.critics.iter().map(values);
        let combined = match self.combine {
            Combine::Mean => values.reduce(|sum, values| sum + values),
            Combine::Minimum => values.reduce(Tensor::min_pair),
        };
        let combined = combined.expect("an ensemble has a critic");
        match self.combine {
            Combine::Mean => combined / self.critics.len() as f64,
            Combine::Minimum => combined,
        }
    }

    fn each(self, change: impl Fn(C) -> C) -> Self {
        Self { critics: self.critics.into_iter().map(change).collect(), combine: self.combine }
    }
}

/// The sum of the losses of all critics: each has the gradient that it would have alone.
fn total(losses: Vec<Tensor<1>>) -> Tensor<1> {
    losses.into_iter().reduce(|sum, loss| sum + loss).expect("an ensemble has a critic")
}

impl<C: Critic + ModuleDisplay> Critic for Ensemble<C> {
    fn values(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<1> {
        self.combined(|critic| critic.values(observations.clone(), actions.clone()))
    }

    fn observation_size(&self) -> usize {
        self.critics[0].observation_size()
    }

    fn action_size(&self) -> usize {
        self.critics[0].action_size()
    }

    fn action_space(&self) -> ActionSpace {
        self.critics[0].action_space()
    }

    fn values_of_samples(&self, observations: Tensor<2>, actions: Tensor<3>) -> Tensor<2> {
        self.combined(|critic| critic.values_of_samples(observations.clone(), actions.clone()))
    }

    fn sampled_values(&self, observations: Tensor<2>, actions: Tensor<3>) -> Tensor<2> {
        self.combined(|critic| critic.sampled_values(observations.clone(), actions.clone()))
    }

    fn loss(&self, observations: Tensor<2>, actions: Tensor<2>, targets: Tensor<1>) -> Tensor<1> {
        let loss = |critic: &C| critic.loss(observations.clone(), actions.clone(), targets.clone());
        total(self.critics.iter().map(loss).collect())
    }

    fn differentiable_loss(
        &self,
        observations: Tensor<2>,
        actions: Tensor<2>,
        targets: Tensor<1>,
    ) -> (Tensor<1>, Backward<Self>) {
        let loss =
            |critic: &C| critic.differentiable_loss(observations.clone(), actions.clone(), targets.clone());
        let (losses, ways) = self.critics.iter().map(loss).unzip();
        let join = |critics| Self { critics, combine: self.combine };
        (total(losses), Backward::joined(ways, join))
    }

    fn observe(self, observations: &Tensor<2>) -> Self {
        self.each(|critic| critic.observe(observations))
    }

    fn observe_targets(self, targets: &Tensor<1>) -> Self {
        self.each(|critic| critic.observe_targets(targets))
    }

    fn start_from(self, value: &Tensor<1>) -> Self {
        self.each(|critic| critic.start_from(value))
    }

    /// In those of the first: all have seen the same targets.
    fn in_units(&self, values: Tensor<2>) -> Tensor<2> {
        self.critics[0].in_units(values)
    }
}
