//! The algorithm: [`MpoAgent`], to be read beside the paper's Algorithm 1.

mod saved;

use burn::tensor::{Device, FloatDType, Tensor};

use crate::action::Action;
use crate::batch::Batch;
use crate::config::{ImproveAt, MpoConfig, PolicyEvaluation};
use crate::devices::is_cpu;
use crate::error::{Result, check, check_finite};
use crate::estep::EStep;
use crate::exploration::{Explorer, Noise};
use crate::gaussian::Gaussian;
use crate::host::{read, tensor, to_host};
use crate::memory::keep_freed_blocks;
use crate::metrics::Metrics;
use crate::mstep::{Constraint, MStep};
use crate::networks::{
    Actor, Covariance, Critic, GaussianActor, Optimizer, QNetwork, follow, in_precision, sampled_values,
    with_own_gradients,
};
use crate::networks::{parameter_sum, shared_device};
use crate::policy::{ACTION, Policy};
use crate::replay::ReplayBuffer;
use crate::rng::{Rng, Stream};
use crate::targets::{mean_value, retrace_targets, retrace_traces, td_targets};

/// A policy and a critic that learn by Maximum a Posteriori Policy Optimisation.
///
/// Clones of an agent, and agents of the same networks, can be updated at the same time on several threads.
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
    config: MpoConfig,
    device: Device,
    actor: A,
    critic: C,
    /// The online policy without gradients, which explores.
    behaviour: Policy<A>,
    /// The average of the latest policies, which is evaluated and deployed.
    average: Policy<A>,
    target_actor: A,
    target_critic: C,
    critic_optimizer: Optimizer,
    e_step: EStep,
    m_step: MStep,
    explorer: Explorer,
    action_samples: Rng,
    updates: u64,
}

impl MpoAgent {
    /// An agent with the default networks, on `device` (without autodiff; the agent adds it where it is
    /// needed).
    ///
    /// # Errors
    /// If a size is 0 or a setting lies outside its accepted range.
    pub fn new(
        config: MpoConfig,
        observation_size: usize,
        action_size: usize,
        device: &Device,
        seed: u64,
    ) -> Result<Self> {
        check(
            "MStepConfig::constraint",
            (config.m_step.constraint, config.actor.covariance),
            |&chosen| chosen != (Constraint::PerDimension, Covariance::Full) || action_size == 1,
            "Joint, or a diagonal covariance",
        )?;
        let mut rng = Rng::stream(seed, Stream::Weights);
        let actor = GaussianActor::new(&config.actor, observation_size, action_size, device, &mut rng)?;
        let critic = QNetwork::new(&config.critic, observation_size, action_size, device, &mut rng)?;
        Self::with_networks(config, actor, critic, seed)
    }
}

impl<A: Actor, C: Critic> MpoAgent<A, C> {
    /// An agent with networks of the caller's own, on whose device it works: the autodiff side of one.
    ///
    /// # Errors
    /// If a setting lies outside its accepted range, or the networks differ in their sizes or devices.
    pub fn with_networks(config: MpoConfig, actor: A, critic: C, seed: u64) -> Result<Self> {
        config.validate()?;
        keep_freed_blocks();
        let device = shared_device(&actor, &critic)?.inner();
        let precision = config.target_critic_precision;
        check(
            "MpoConfig::target_critic_precision",
            precision,
            |precision| device.supports_dtype(precision.dtype()),
            "a precision that the device computes in",
        )?;
        Ok(Self {
            critic_optimizer: Optimizer::new(config.critic_optimizer.clone())?,
            e_step: EStep::new(config.e_step.clone())?,
            m_step: MStep::new(config.m_step.clone(), actor.action_size(), &device)?,
            behaviour: Policy::new(actor.valid()),
            average: Policy::new(actor.valid()),
            target_actor: actor.valid(),
            target_critic: in_precision(critic.valid(), precision),
            actor,
            critic,
            explorer: Explorer::new(config.exploration.clone(), Rng::stream(seed, Stream::Exploration))?,
            action_samples: Rng::stream(seed, Stream::ActionSamples),
            updates: 0,
            device,
            config,
        })
    }

    /// The settings.
    pub fn config(&self) -> &MpoConfig {
        &self.config
    }

    /// The policy that learns, on the autodiff side of the device.
    pub fn actor(&self) -> &A {
        &self.actor
    }

    /// The average of the latest policies, without gradients: the one to deploy.
    pub fn policy(&self) -> &Policy<A> {
        &self.average
    }

    /// The critic that learns, on the autodiff side of the device.
    pub fn critic(&self) -> &C {
        &self.critic
    }

    /// How many updates were made.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// How often the targets were copied: the iterations i of Algorithm 1.
    pub fn iterations(&self) -> u64 {
        self.updates / self.config.target_period
    }

    /// Samples an action of the current policy for one observation, for exploring.
    ///
    /// # Errors
    /// If the observation has the wrong size or is not finite, or the policy is not. The agent then stays as
    /// it was.
    pub fn act(&mut self, observation: &[f32]) -> Result<Action> {
        let policy = self.behaviour.at(observation)?;
        let n = policy.action_size();
        // Beside the agent, so that an error leaves no trace.
        let mut explorer = self.explorer.clone();
        let action = match explorer.excursion(n) {
            Some(values) => Action { values, log_probability: f32::MAX },
            None => {
                let Noise { z, log_density } = explorer.noise(n);
                let action = policy.sample(tensor(z, [1, 1, n], &self.device));
                let numbers = Tensor::cat(vec![action.reshape([n]), policy.scale.half_log_det()], 0);
                let mut numbers = to_host(ACTION, numbers)?;
                check_finite(ACTION, &numbers)?;
                // log b(μ + L z) = log density of z - log det L.
                let half_log_det = numbers.pop().unwrap_or_default();
                Action { values: numbers, log_probability: log_density - half_log_det }
            }
        };
        self.explorer = explorer;
        Ok(action)
    }

    /// The mean of the averaged policy (see [`MpoConfig::average_rate`]) for one observation, for evaluating
    /// and deploying it; like a sampled action it may reach beyond [-1, 1].
    ///
    /// # Errors
    /// If the observation has the wrong size or is not finite, or the policy is not.
    pub fn mean_action(&self, observation: &[f32]) -> Result<Vec<f32>> {
        self.average.mean_action(observation)
    }

    /// Draws a batch from the replay as the settings say.
    ///
    /// # Errors
    /// If the replay holds too little.
    pub fn sample(&self, replay: &ReplayBuffer, rng: &mut Rng) -> Result<Batch> {
        let (size, discount) = (self.config.batch_size, self.config.discount);
        match self.config.evaluation {
            PolicyEvaluation::NStep { steps } => {
                replay.sample_transitions(size, steps, discount, rng, &self.device)
            }
            PolicyEvaluation::Retrace { steps, .. } => {
                let count = size.div_ceil(steps);
                replay.sample_sequences(count, steps, discount, rng, &self.device)
            }
        }
    }

    /// One update of critic and policy: policy evaluation, E-step and M-step (Algorithm 1, lines 11-28).
    ///
    /// # Errors
    /// If the batch is not one that [`MpoConfig::evaluation`] learns from, does not fit the networks
    /// or is not on their device, or a value, the loss, a gradient or an updated parameter is not finite
    /// ([`Error::NonFinite`](crate::Error::NonFinite), which names it). The agent then stays as it was.
    pub fn update(&mut self, batch: &Batch) -> Result<Metrics> {
        let (observation_size, action_size) = (self.actor.observation_size(), self.actor.action_size());
        batch.check(self.config.evaluation, observation_size, action_size, &self.device)?;
        let Batch { observations, actions, next_observations, improved, .. } = batch.clone();
        // Everything is made beside the agent and moves in at the end, so that an error leaves no trace.
        let actor = with_own_gradients(&self.actor).observe(&observations);
        let critic = with_own_gradients(&self.critic).observe(&observations);
        let (critic, target_critic) = match self.updates {
            0 => self.started(critic, batch),
            _ => (critic, self.target_critic.clone()),
        };
        let mut action_samples = self.action_samples.clone();
        let mut e_step = self.e_step.clone();
        let mut m_step = self.m_step.clone();
        let mut critic_optimizer = self.critic_optimizer.clone();
        let value = |states: &SampledActions| {
            self.target_values(&target_critic, states.observations.clone(), states.actions.clone())
        };

        // Actions of the target policy where it is improved and where the critic's targets need them. Next
        // states mostly serve for both, and so do their values.
        let rows = observations.dims()[0];
        let (states, next, shared_values) = match self.config.improve_at {
            ImproveAt::States => {
                let next = self.sample_actions(next_observations, &mut action_samples);
                (self.sample_actions(observations.clone(), &mut action_samples), next, None)
            }
            ImproveAt::NextStates => {
                let evaluated = improved.with_those_apart(next_observations);
                let all = self.sample_actions(evaluated, &mut action_samples);
                let values = value(&all);
                (all.narrow(rows), all, Some(values))
            }
        };

        // The two halves do not depend on each other.
        let improve = || {
            // E-step: weigh actions of the target policy by the target critic.
            let values = shared_values.clone().unwrap_or_else(|| value(&states)).narrow(0, 0, rows);
            let mut preferences = target_critic.in_units(values);
            if let Some(penalty) = &self.config.action_penalty {
                preferences = preferences + penalty.cost.of(states.actions.clone()) * penalty.weight;
            }
            let (weights, found) = e_step.begin(preferences)?;
            // M-step: fit the policy to the weighted actions, inside its trust regions.
            let SampledActions { observations, policy, actions } = &states;
            let (actor, report) =
                m_step.improve(actor, observations.clone(), policy, actions.clone(), weights)?;
            Ok((actor, found, report))
        };
        let evaluate = || {
            // Policy evaluation: regress the critic on what the values of the actions taken should be.
            // V(s') = mean_j Q'(s', a'_j)
            let next_values = match shared_values.clone() {
                Some(values) => improved.of_next(values.mean_dim(1).squeeze_dim(1)),
                None => value(&next).mean_dim(1).squeeze_dim(1),
            };
            let targets = self.critic_targets(batch, &target_critic, next_values);
            let critic = critic.observe_targets(&targets);
            let taken = actions.clone().clamp(-1.0, 1.0);
            let [observations, taken] = [observations.clone(), taken].map(Tensor::from_inner);
            let errors = critic.errors(observations, taken, Tensor::from_inner(targets));
            let loss = self.config.critic_loss.loss(errors);
            let critic_loss = loss.clone().inner();
            (critic_optimizer.step(critic, loss), critic_loss)
        };
        let (improved, (critic, critic_loss)) = both(&self.device, improve, evaluate);
        let (actor, found, report) = improved?;
        let (measures, of_dual) = read(
            [
                ("the critic's loss", Some(critic_loss.clone())),
                ("the policy's gradient", m_step.take_squared_norms()),
                ("the critic's gradient", critic_optimizer.take_squared_norms()),
                ("the updated policy", Some(parameter_sum(&actor))),
                ("the updated critic", Some(parameter_sum(&critic))),
            ],
            Metrics::on_device(critic_loss, report, &states.policy),
            found.on_device(),
        )?;
        let dual = e_step.finish(found, &of_dual)?;

        self.explorer.learn(dual.interior);
        self.action_samples = action_samples;
        (self.e_step, self.m_step, self.critic_optimizer) = (e_step, m_step, critic_optimizer);
        (self.actor, self.critic, self.target_critic) = (actor, critic, target_critic);
        self.updates += 1;
        let latest = self.actor.valid();
        // A plain average at first: nothing is left of the untrained policy, which knew no observation's
        // mean.
        let rate = self.config.average_rate.max(1.0 / self.updates as f64);
        self.average = Policy::new(follow(self.average.actor().clone(), &latest, rate));
        self.behaviour = Policy::new(latest);

        // θ_i = θ, φ' = φ.
        if self.updates.is_multiple_of(self.config.target_period) {
            self.target_actor = self.behaviour.actor().clone();
            self.target_critic = in_precision(self.critic.valid(), self.config.target_critic_precision);
        }
        Ok(Metrics::new(measures, &dual, self.config.e_step.epsilon))
    }

    /// The critic and its target before the first update: their values begin where they would be if every
    /// reward were the batch's mean one. From 0 it would take as many copies of the target as the horizon is
    /// long.
    fn started(&self, critic: C, batch: &Batch) -> (C, C) {
        let critic = critic.start_from(&mean_value(batch.rewards.clone(), batch.discounts.clone()));
        let target = in_precision(critic.valid(), self.config.target_critic_precision);
        (critic, target)
    }

    /// The targets of the values of the actions taken, `[rows]`, from the target policy's actions at the next
    /// states.
    fn critic_targets(&self, batch: &Batch, target_critic: &C, next_values: Tensor<1>) -> Tensor<1> {
        let (rewards, discounts) = (batch.rewards.clone(), batch.discounts.clone());
        let PolicyEvaluation::Retrace { lambda, .. } = self.config.evaluation else {
            return td_targets(rewards, discounts, next_values);
        };
        let [rows] = rewards.dims();
        let sequences = |numbers: Tensor<1>| numbers.reshape([rows / batch.steps, batch.steps]);
        let actions = batch.actions.clone().unsqueeze_dim::<3>(1);
        let policy = self.target_actor.policy(batch.observations.clone());
        let log_probabilities = policy.log_probability(actions.clone()).reshape([rows]);
        let values = self.target_values(target_critic, batch.observations.clone(), actions).reshape([rows]);
        let traces =
            retrace_traces(sequences(log_probabilities), sequences(batch.log_probabilities.clone()), lambda);
        let targets = retrace_targets(
            sequences(rewards),
            sequences(discounts),
            sequences(next_values),
            sequences(values),
            // Nothing that follows in another turn around the episode counts for what comes before.
            traces * sequences(batch.continued.clone()),
        );
        targets.reshape([rows])
    }

    /// Samples actions of the target policy.
    fn sample_actions(&self, observations: Tensor<2>, rng: &mut Rng) -> SampledActions {
        let policy = self.target_actor.policy(observations.clone());
        let shape = [policy.states(), self.config.sampled_actions, policy.action_size()];
        let noise = rng.normals(shape.iter().product());
        let actions = policy.sample(tensor(noise, shape, &self.device));
        SampledActions { observations, policy, actions }
    }

    /// Q'(s, a) of `actions` `[rows, samples, action]` under the target critic, `[rows, samples]`.
    fn target_values(&self, target_critic: &C, observations: Tensor<2>, actions: Tensor<3>) -> Tensor<2> {
        let dtype = self.config.target_critic_precision.dtype();
        let actions = actions.clamp(-1.0, 1.0).cast(dtype);
        sampled_values(target_critic, observations.cast(dtype), actions).cast(FloatDType::F32)
    }
}

/// Two results that do not depend on each other: side by side on a CPU, one after the other on a device with
/// a queue of its own, which waits for neither.
fn both<A: Send, B: Send>(
    device: &Device,
    first: impl FnOnce() -> A + Send,
    second: impl FnOnce() -> B + Send,
) -> (A, B) {
    if is_cpu(device) { rayon::join(first, second) } else { (first(), second()) }
}

/// States with actions of the target policy.
#[derive(Clone)]
struct SampledActions {
    /// `[rows, observation]`
    observations: Tensor<2>,
    policy: Gaussian,
    /// `[rows, samples, action]`, not clipped
    actions: Tensor<3>,
}

impl SampledActions {
    /// Those of the first `rows` states.
    fn narrow(&self, rows: usize) -> Self {
        Self {
            observations: self.observations.clone().narrow(0, 0, rows),
            policy: self.policy.narrow(0, rows),
            actions: self.actions.clone().narrow(0, 0, rows),
        }
    }
}
