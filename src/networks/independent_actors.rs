//! Two policies as one: [`IndependentActors`].

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Tensor};
use serde_json::{Value, json};

use super::actor::{Actor, GaussianActor};
use super::backward::Backward;
use super::categorical_actor::CategoricalActor;
use super::made_of_settings::MadeOfSettings;
use crate::action_space::ActionSpace;
use crate::checks::{check, check_size};
use crate::error::Result;
use crate::mathematics::independent::Independent;

/// Two policies, each over a part of the action: the components of the first come first.
#[derive(Module, Debug)]
pub struct IndependentActors<A: Module + ModuleDisplay, B: Module + ModuleDisplay> {
    first: A,
    second: B,
}

/// A policy over numbers inside bounds and choices at once.
pub type HybridActor = IndependentActors<GaussianActor, CategoricalActor>;

impl<A: Actor + ModuleDisplay, B: Actor + ModuleDisplay> IndependentActors<A, B> {
    /// These two as one.
    ///
    /// # Errors
    /// If they differ in their observations, or numbers inside bounds would come behind choices.
    pub fn new(first: A, second: B) -> Result<Self> {
        check_size("the second actor's observation", second.observation_size(), first.observation_size())?;
        let in_order = |&bounded: &usize| bounded == 0 || first.action_space().choices().is_empty();
        let bounded = second.action_space().bounded_size();
        check("the second actor's bounded components", bounded, in_order, "none behind choices")?;
        Ok(Self { first, second })
    }
}

impl<A: Actor + ModuleDisplay, B: Actor + ModuleDisplay> Actor for IndependentActors<A, B> {
    type Distribution = Independent<A::Distribution, B::Distribution>;

    fn policy(&self, observations: Tensor<2>) -> Self::Distribution {
        let first = self.first.policy(observations.clone());
        Independent { first, second: self.second.policy(observations) }
    }

    fn differentiable_policy(&self, observations: Tensor<2>) -> (Self::Distribution, Backward<Self>) {
        let (first, of_first) = self.first.differentiable_policy(observations.clone());
        let (second, of_second) = self.second.differentiable_policy(observations);
        let backward = of_first.with(of_second, |first, second| Self { first, second });
        (Independent { first, second }, backward)
    }

    fn observation_size(&self) -> usize {
        self.first.observation_size()
    }

    fn action_size(&self) -> usize {
        self.first.action_size() + self.second.action_size()
    }

    fn action_space(&self) -> ActionSpace {
        let [first, second] = [self.first.action_space(), self.second.action_space()];
        ActionSpace::symmetric(first.bounded_size() + second.bounded_size())
            .with_choices([first.choices(), second.choices()].concat())
    }

    fn observe(self, observations: &Tensor<2>) -> Self {
        Self { first: self.first.observe(observations), second: self.second.observe(observations) }
    }

    fn settings(&self) -> Value {
        json!([self.first.settings(), self.second.settings()])
    }
}

impl MadeOfSettings for HybridActor {
    type Settings =
        (<GaussianActor as MadeOfSettings>::Settings, <CategoricalActor as MadeOfSettings>::Settings);

    const ACCEPTED: &'static str = "a HybridActor's; Policy::restore reads networks of your own";

    fn parameter_count(
        (first, second): &Self::Settings,
        observation_size: usize,
        space: &ActionSpace,
    ) -> Option<usize> {
        let first = GaussianActor::parameter_count(first, observation_size, space)?;
        first.checked_add(CategoricalActor::parameter_count(second, observation_size, space)?)
    }

    fn untrained(
        (first, second): &Self::Settings,
        observation_size: usize,
        space: &ActionSpace,
        device: &Device,
    ) -> Result<Self> {
        let first = GaussianActor::untrained(first, observation_size, space, device)?;
        Self::new(first, CategoricalActor::untrained(second, observation_size, space, device)?)
    }
}
