//! What learns: [`Learner`], to be read beside the paper's Algorithm 1.

pub(crate) mod action_cost;
pub(crate) mod chief;
pub(crate) mod config;
pub(crate) mod contributor;
pub(crate) mod critic_step;
pub(crate) mod e_step;
pub(crate) mod exchange;
pub(crate) mod m_step;
pub(crate) mod metrics;
pub(crate) mod rounds;
mod sampled;
mod saved;
pub(crate) mod target_networks;

use burn::tensor::{Device, Tensor};

use crate::action_space::ActionSpace;
use crate::backends::{both, on_its_threads};
use crate::checks::{check, check_size};
use crate::error::Result;
use crate::experience::batch::Batch;
use crate::experience::replay::ReplayBuffer;
use crate::host::read;
use crate::learner::config::MpoConfig;
use crate::learner::critic_step::{CriticStep, PolicyEvaluation};
use crate::learner::e_step::EStep;
use crate::learner::m_step::{MStep, MStepReport};
use crate::learner::metrics::Metrics;
use crate::learner::sampled::Sampled;
use crate::learner::target_networks::TargetNetworks;
use crate::memory::keep_freed_blocks;
use crate::networks::{Actor, Critic, device_of, follow, parameter_sum};
use crate::policy::Policy;
use crate::rng::{Rng, Stream};

pub(crate) use saved::Header;

/// The networks and everything that trains them. It acts nowhere: a [`Behaviour`](crate::Behaviour) does, in
/// each environment.
///
/// Learners of the same networks can learn at the same time on several threads.
#[must_use = "a step returns the learner that has learnt"]
#[derive(Debug, Clone)]
pub struct Learner<A: Actor, C: Critic> {
    config: MpoConfig,
    device: Device,
    actor: A,
    critic: C,
    target: TargetNetworks<A, C>,
    /// The average of the latest policies, which is evaluated and deployed.
    average: Policy<A>,
    critic_step: CriticStep,
    e_step: EStep,
    m_step: MStep,
    action_samples: Rng,
    updates: u64,
    /// The share of the latest E-steps whose constraint was active.
    informed: f64,
}

/// Over how many updates it is judged whether the policy is informed.
const JUDGED: f64 = 500.0;

impl<A: Actor, C: Critic> Learner<A, C> {
    /// A learner of these networks, on whose device it works: the autodiff side of one.
    ///
    /// # Errors
    /// If a setting lies outside its accepted range, the networks differ in their sizes, actions or devices,
    /// or the policy has no divergence for each dimension and
    /// [`MStepConfig::constraint`](crate::MStepConfig::constraint) asks for one.
    pub fn new(config: MpoConfig, actor: A, critic: C, seed: u64) -> Result<Self> {
        config.validate()?;
        keep_freed_blocks();
        let device = shared_device(&actor, &critic)?.inner();
        let m_step = MStep::new(config.m_step.clone(), actor.action_size(), &device)?;
        m_step.check_policy(&actor.valid().policy(Tensor::zeros([1, actor.observation_size()], &device)))?;
        Ok(Self {
            target: TargetNetworks::new(&actor, &critic),
            average: Policy::new(actor.valid()),
            critic_step: CriticStep::new(config.evaluation, config.critic_optimizer.clone())?,
            e_step: EStep::new(config.e_step.clone())?,
            m_step,
            action_samples: Rng::stream(seed, Stream::ActionSamples),
            updates: 0,
            informed: 0.0,
            actor,
            critic,
            device,
            config,
        })
    }

    /// The same learner for an environment with these actions, which its policies are deployed in.
    ///
    /// # Errors
    /// If they are not of as many components as its own, or not of the same choices.
    pub fn with_action_space(mut self, space: ActionSpace) -> Result<Self> {
        self.average = self.average.with_action_space(space)?;
        Ok(self)
    }

    /// The settings.
    pub fn config(&self) -> &MpoConfig {
        &self.config
    }

    /// The policy network, on the autodiff side of the device.
    pub fn actor(&self) -> &A {
        &self.actor
    }

    /// The critic, on the autodiff side of the device.
    pub fn critic(&self) -> &C {
        &self.critic
    }

    /// The average of the latest policies (see [`MpoConfig::average_rate`]): the one to deploy.
    pub fn policy(&self) -> &Policy<A> {
        &self.average
    }

    /// The latest policy: the one to explore with.
    pub fn latest_policy(&self) -> Policy<A> {
        self.average.with_actor(self.actor.valid())
    }

    /// How many updates were made.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// How often the targets were copied: the iterations i of Algorithm 1.
    pub fn iterations(&self) -> u64 {
        self.updates / self.config.target_period
    }

    /// The share of the last 500 or so E-steps whose constraint was active, as some action was worth more
    /// than another; 0 at the start. Exploration may depend on it (see [`Excursions`](crate::Excursions)).
    pub fn informed(&self) -> f64 {
        self.informed
    }

    /// Draws a batch from the replay as the settings say.
    ///
    /// # Errors
    /// If the replay holds no step.
    pub fn sample(&self, replay: &ReplayBuffer, rng: &mut Rng) -> Result<Batch> {
        let (size, discount) = (self.config.batch_size, self.config.discount);
        match self.config.evaluation {
            PolicyEvaluation::NStep { steps } => {
                replay.sample_transitions(size, steps, discount, rng, &self.device)
            }
            PolicyEvaluation::Retrace { steps, .. } => {
                replay.sample_sequences(size.div_ceil(steps), steps, discount, rng, &self.device)
            }
        }
    }

    /// One update of critic and policy: the learner that comes of it, and what was measured.
    ///
    /// # Errors
    /// If the batch is not of the kind that [`MpoConfig::evaluation`] learns from, does not fit the networks
    /// or is not on their device, or a value, the loss, a gradient or an updated parameter is not finite
    /// ([`Error::NonFinite`](crate::Error::NonFinite), which names it).
    pub fn step(&self, batch: &Batch) -> Result<(Self, Metrics)> {
        let sizes = [self.actor.observation_size(), self.actor.action_size()];
        batch.check(self.critic_step.takes_sequences(), sizes, &self.device)?;
        let mut next = self.clone();
        let metrics = on_its_threads(&self.device, || next.advance(batch))?;
        Ok((next, metrics))
    }

    /// Algorithm 1, lines 11 to 28, on a learner that is dropped if an error comes of it.
    fn advance(&mut self, batch: &Batch) -> Result<Metrics> {
        let Self { config, target, critic_step, e_step, m_step, action_samples, .. } = self;
        let (actor, critic) = target.prepare(self.actor.clone(), self.critic.clone(), batch);
        let target = &*target;
        let sampled = Sampled::draw(target, config, batch, action_samples)?;

        // The two halves do not depend on each other.
        let improve = || {
            // E-step: weigh actions of the target policy by the target critic.
            let preferences = sampled.preferences(target, config);
            let solution = e_step.solve(preferences, sampled.states.probabilities.clone())?;
            // M-step: move the policy to where they say, inside its trust regions.
            let (actor, report) = m_step.follow(&actor, &sampled.states, &solution)?;
            Ok((actor, solution.dual, report))
        };
        let evaluate = || {
            // Policy evaluation: regress the critic on what the values of the actions taken should be.
            let next_values = sampled.next_values(target, batch)?;
            critic_step.regress(&critic, target, batch, next_values)
        };
        let (improved, evaluated) = both(&self.device, improve, evaluate);
        let ((actor, dual, report), (critic, critic_loss)) = (improved?, evaluated?);
        (self.actor, self.critic) = (actor, critic);
        let measured = self.measure(critic_loss, report, sampled.spread())?;
        let metrics = Metrics::new(measured, &dual, self.config.e_step.epsilon);
        self.finish(metrics.interior);
        Ok(metrics)
    }

    /// Checks all that an update made, and reads what is measured of it.
    fn measure(
        &mut self,
        critic_loss: Tensor<1>,
        report: MStepReport,
        spread: Tensor<1>,
    ) -> Result<[f32; 6]> {
        read(
            [
                ("the critic's loss", Some(critic_loss.clone())),
                ("the policy's gradient", self.m_step.take_squared_norms()),
                ("the critic's gradient", self.critic_step.take_squared_norms()),
                ("the updated policy", Some(parameter_sum(&self.actor))),
                ("the updated critic", Some(parameter_sum(&self.critic))),
            ],
            Metrics::to_be_read(critic_loss, report, spread),
        )
    }

    /// What follows the steps of both networks: averages, and every `target_period` updates the copies.
    /// `interior` is the share of the batch whose E-step was active.
    fn finish(&mut self, interior: f64) {
        self.updates += 1;
        self.informed += (interior - self.informed) / JUDGED;
        self.follow_average();
        // θ_i = θ, φ' = φ.
        if self.updates.is_multiple_of(self.config.target_period) {
            self.target.copy(&self.actor, &self.critic);
        }
    }

    /// The average of the policies after one more.
    fn follow_average(&mut self) {
        // A plain average at first: nothing is left of the untrained policy, which knew no observation's
        // mean.
        self.average_at(self.config.average_rate.max(1.0 / self.updates as f64));
    }

    /// The average of the latest policy alone.
    fn begin_average(&mut self) {
        self.average_at(1.0);
    }

    fn average_at(&mut self, rate: f64) {
        let average = follow(self.average.actor().clone(), &self.actor.valid(), rate);
        self.average = self.average.with_actor(average);
    }
}

/// The device of both networks, which fit each other and can be trained: Burn panics over it later.
fn shared_device<A: Actor, C: Critic>(actor: &A, critic: &C) -> Result<Device> {
    let (observation, n) = (actor.observation_size(), actor.action_size());
    check("Actor::observation_size", observation, |&size| size > 0, "at least 1")?;
    check("Actor::action_size", n, |&size| size > 0, "at least 1")?;
    check_size("the critic's observation", critic.observation_size(), observation)?;
    check_size("the critic's action", critic.action_size(), n)?;
    critic.action_space().check_like(&actor.action_space())?;
    let device = device_of(actor)?;
    device_of(critic)?;
    let devices = [actor.devices(), critic.devices()].concat();
    let one = |devices: &&Vec<Device>| devices.iter().all(|other| other.is_autodiff() && *other == device);
    check("the networks' devices", &devices, one, "one autodiff device")?;
    Ok(device)
}
