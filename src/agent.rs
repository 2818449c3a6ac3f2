//! A learner and what acts for it, as one: [`MpoAgent`].

pub(crate) mod choices;
mod saved;

use burn::tensor::Device;

use crate::action_space::ActionSpace;
use crate::behaviour::Behaviour;
use crate::error::Result;
use crate::experience::action::Action;
use crate::experience::batch::Batch;
use crate::experience::replay::ReplayBuffer;
use crate::experience::vector::{Layout, VectorEnvironment};
use crate::exploration::Explorer;
use crate::learner::Learner;
use crate::learner::config::MpoConfig;
use crate::learner::metrics::{MeanMetrics, Metrics};
use crate::networks::{Actor, Critic, GaussianActor, QNetwork};
use crate::policy::Policy;
use crate::rng::{Rng, Stream};

/// A policy and a critic that learn by Maximum a Posteriori Policy Optimisation: a [`Learner`], and a
/// [`Behaviour`] for one environment, or for several.
///
/// ```
/// use burn::tensor::Device;
/// use mpo::{MpoAgent, MpoConfig};
///
/// # fn main() -> mpo::Result<()> {
/// let mut agent = MpoAgent::new(MpoConfig::default(), 5, 1, &Device::flex(), 1)?;
/// let action = agent.act(&[0.0; 5])?;
/// assert_eq!(action.values.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct MpoAgent<A: Actor = GaussianActor, C: Critic = QNetwork> {
    learner: Learner<A, C>,
    behaviour: Behaviour<A>,
}

impl MpoAgent {
    /// An agent with the default networks, on `device` (without autodiff; the agent adds it where it is
    /// needed). Its actions are in [-1, 1] until a trainer or [`with_action_space`](Self::with_action_space)
    /// says otherwise.
    ///
    /// # Errors
    /// If a size is 0, a setting lies outside its accepted range, or a full covariance is to be constrained
    /// in each dimension.
    pub fn new(
        config: MpoConfig,
        observation_size: usize,
        action_size: usize,
        device: &Device,
        seed: u64,
    ) -> Result<Self> {
        let mut rng = Rng::stream(seed, Stream::Weights);
        let actor = GaussianActor::new(&config.actor, observation_size, action_size, device, &mut rng)?;
        let critic = QNetwork::new(&config.critic, observation_size, action_size, device, &mut rng)?;
        Self::with_networks(config, actor, critic, seed)
    }

    /// An agent with the default networks for the observations and actions of `environment`, numbers inside
    /// bounds. For choices there are [`DiscreteAgent`](crate::DiscreteAgent),
    /// [`MultiDiscreteAgent`](crate::MultiDiscreteAgent) and [`HybridAgent`](crate::HybridAgent).
    ///
    /// # Errors
    /// If [`new`](Self::new) would fail, or the environment's actions hold a choice.
    pub fn of<E: VectorEnvironment>(
        config: MpoConfig,
        environment: &E,
        device: &Device,
        seed: u64,
    ) -> Result<Self> {
        let Layout { rows, observation_size, action_space, .. } = environment.layout();
        let agent = Self::new(config, observation_size, action_space.size(), device, seed)?;
        agent.with_action_space(action_space)?.with_rows(rows)
    }
}

impl<A: Actor, C: Critic> MpoAgent<A, C> {
    /// An agent with networks of the caller's own, on whose device it works: the autodiff side of one.
    ///
    /// # Errors
    /// If a setting lies outside its accepted range, the networks differ in their sizes, actions or devices,
    /// or the policy has no divergence for each dimension and
    /// [`MStepConfig::constraint`](crate::MStepConfig::constraint) asks for one.
    pub fn with_networks(config: MpoConfig, actor: A, critic: C, seed: u64) -> Result<Self> {
        let exploration = config.exploration.clone();
        let learner = Learner::new(config, actor, critic, seed)?;
        let rng = Rng::stream(seed, Stream::Exploration);
        Ok(Self { behaviour: Behaviour::new(learner.latest_policy(), exploration, rng)?, learner })
    }

    /// The same agent for an environment with these actions, which its policies are deployed in.
    ///
    /// # Errors
    /// If they are not of as many components as its own, or not of the same choices.
    pub fn with_action_space(mut self, space: ActionSpace) -> Result<Self> {
        self.learner = self.learner.with_action_space(space)?;
        self.behaviour.follow(&self.learner);
        Ok(self)
    }

    /// The same agent, acting in so many environments: see [`Behaviour::with_rows`]. A
    /// [`Trainer`](crate::Trainer) calls it.
    ///
    /// # Errors
    /// If `rows` is 0.
    pub fn with_rows(mut self, rows: usize) -> Result<Self> {
        self.behaviour = self.behaviour.with_rows(rows)?;
        Ok(self)
    }

    /// What learns.
    pub fn learner(&self) -> &Learner<A, C> {
        &self.learner
    }

    /// What acts.
    pub fn behaviour(&self) -> &Behaviour<A> {
        &self.behaviour
    }

    /// What acts, as for [beginning an episode](Behaviour::reset_row) in one of several environments.
    pub fn behaviour_mut(&mut self) -> &mut Behaviour<A> {
        &mut self.behaviour
    }

    pub(crate) fn set_explorers(&mut self, explorers: Vec<Explorer>) {
        self.behaviour.set_explorers(explorers);
    }

    /// The settings.
    pub fn config(&self) -> &MpoConfig {
        self.learner.config()
    }

    /// The policy that learns, on the autodiff side of the device.
    pub fn actor(&self) -> &A {
        self.learner.actor()
    }

    /// The critic that learns, on the autodiff side of the device.
    pub fn critic(&self) -> &C {
        self.learner.critic()
    }

    /// The average of the latest policies, without gradients: the one to deploy.
    pub fn policy(&self) -> &Policy<A> {
        self.learner.policy()
    }

    /// How many updates were made.
    pub fn updates(&self) -> u64 {
        self.learner.updates()
    }

    /// How often the targets were copied: the iterations i of Algorithm 1.
    pub fn iterations(&self) -> u64 {
        self.learner.iterations()
    }

    /// Begins an episode: what was done before has no part in the noise of its actions. A
    /// [`Trainer`](crate::Trainer) calls it.
    pub fn begin_episode(&mut self) {
        self.behaviour.reset();
    }

    /// Samples an action of the current policy for one observation, for exploring.
    ///
    /// # Errors
    /// If the observation has the wrong size or is not finite, or the policy is not. The agent then stays as
    /// it was.
    pub fn act(&mut self, observation: &[f32]) -> Result<Action> {
        self.behaviour.act(observation)
    }

    /// The mean of the averaged policy (see [`MpoConfig::average_rate`]) for one observation, of a choice the
    /// likeliest, for evaluating and deploying it; like a sampled action it may reach beyond [-1, 1].
    ///
    /// # Errors
    /// If the observation has the wrong size or is not finite, or the policy is not.
    pub fn mean_action(&self, observation: &[f32]) -> Result<Vec<f32>> {
        self.policy().mean_action(observation)
    }

    /// Draws a batch from the replay as the settings say.
    ///
    /// # Errors
    /// If the replay holds no step.
    pub fn sample(&self, replay: &ReplayBuffer, rng: &mut Rng) -> Result<Batch> {
        self.learner.sample(replay, rng)
    }

    /// Learns from what a replay holds, without an environment: so many updates, each from a batch drawn
    /// anew. The means of what was measured; none without an update.
    ///
    /// A replay of recorded episodes may be [read from a file](ReplayBuffer::read_episodes). Actions that
    /// nobody tried in them may be overvalued: learning from them is a start, and
    /// [`Trainer::start_from`](crate::Trainer::start_from) goes on from there.
    ///
    /// # Errors
    /// If the replay holds no step, or an update is refused. The updates before it stay.
    pub fn learn(&mut self, replay: &ReplayBuffer, updates: u64, rng: &mut Rng) -> Result<Option<Metrics>> {
        let mut metrics = MeanMetrics::default();
        for _ in 0..updates {
            let batch = self.sample(replay, rng)?;
            metrics.add(&self.update(&batch)?);
        }
        Ok(metrics.take())
    }

    /// One update of critic and policy: see [`Learner::step`].
    ///
    /// # Errors
    /// If the learner's step is refused. The agent then stays as it was.
    pub fn update(&mut self, batch: &Batch) -> Result<Metrics> {
        let (learner, metrics) = self.learner.step(batch)?;
        self.learner = learner;
        self.behaviour.follow(&self.learner);
        Ok(metrics)
    }

    /// Goes on with this learner.
    #[cfg(feature = "distributed")]
    pub(crate) fn follow(&mut self, learner: Learner<A, C>) {
        self.learner = learner;
        self.behaviour.follow(&self.learner);
    }
}
