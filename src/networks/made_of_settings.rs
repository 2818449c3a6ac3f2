//! Networks that a file's settings are enough to make again: [`MadeOfSettings`].

use burn::tensor::Device;
use serde::de::DeserializeOwned;

use super::{Actor, CategoricalActor, CategoricalActorConfig, GaussianActor, GaussianActorConfig};
use crate::action_space::ActionSpace;
use crate::error::Result;
use crate::rng::{Rng, Stream};

/// A policy network of the library's own: its [settings](Actor::settings) and its sizes are all it takes to
/// make one of its kind.
pub trait MadeOfSettings: Actor {
    /// What [`Actor::settings`] says.
    type Settings: DeserializeOwned;

    /// What a file's network has to be.
    const ACCEPTED: &'static str;

    /// How many parameters one has; none where that is beyond all numbers, or there is no such network.
    fn parameter_count(
        settings: &Self::Settings,
        observation_size: usize,
        space: &ActionSpace,
    ) -> Option<usize>;

    /// One that has learnt nothing, on the autodiff side of `device`.
    ///
    /// # Errors
    /// If a size or a setting lies outside its accepted range.
    fn untrained(
        settings: &Self::Settings,
        observation_size: usize,
        space: &ActionSpace,
        device: &Device,
    ) -> Result<Self>;
}

fn rng() -> Rng {
    Rng::stream(0, Stream::Weights)
}

impl MadeOfSettings for GaussianActor {
    type Settings = GaussianActorConfig;

    const ACCEPTED: &'static str = "a GaussianActor's; Policy::restore reads networks of your own";

    fn parameter_count(
        settings: &GaussianActorConfig,
        observation_size: usize,
        space: &ActionSpace,
    ) -> Option<usize> {
        settings.parameter_count(observation_size, space.bounded_size())
    }

    fn untrained(
        settings: &GaussianActorConfig,
        observation_size: usize,
        space: &ActionSpace,
        device: &Device,
    ) -> Result<Self> {
        Self::new(settings, observation_size, space.bounded_size(), device, &mut rng())
    }
}

impl MadeOfSettings for CategoricalActor {
    type Settings = CategoricalActorConfig;

    const ACCEPTED: &'static str = "a CategoricalActor's; Policy::restore reads networks of your own";

    fn parameter_count(
        settings: &CategoricalActorConfig,
        observation_size: usize,
        space: &ActionSpace,
    ) -> Option<usize> {
        settings.parameter_count(observation_size, space.choices())
    }

    fn untrained(
        settings: &CategoricalActorConfig,
        observation_size: usize,
        space: &ActionSpace,
        device: &Device,
    ) -> Result<Self> {
        Self::new(settings, observation_size, space.choices(), device, &mut rng())
    }
}
