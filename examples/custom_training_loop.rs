//! A training loop of one's own, from the parts: replay, the critic's targets, E-step and M-step.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use mpo::envs::Cartpole;
use mpo::networks::{Optimizer, sampled_values};
use mpo::targets::{CriticLoss, mean_value, td_targets};
use mpo::{Action, Actor, Critic, Environment, GaussianActor, QNetwork};
use mpo::{EStep, Gaussian, MStep, MpoConfig, ReplayBuffer, Rng, Stream};

const SEED: u64 = 1;
const STEPS: usize = 10_000;
const WARM_UP: usize = 1_000;
const TARGET_PERIOD: usize = 100;
const BATCH: usize = 256;
const SAMPLES: usize = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = mpo::device(mpo::devices::default_backend())?;
    let config = MpoConfig::default();
    let mut environment = Cartpole::balance();
    let (observation_size, n) = (environment.observation_size(), environment.action_bounds().size());

    let mut rng = Rng::stream(SEED, Stream::Weights);
    let mut actor = GaussianActor::new(&config.actor, observation_size, n, &device, &mut rng)?;
    let mut critic = QNetwork::new(&config.critic, observation_size, n, &device, &mut rng)?;
    let (mut target_actor, mut target_critic) = (actor.valid(), critic.valid());
    let mut optimizer = Optimizer::new(config.critic_optimizer)?;
    let mut e_step = EStep::new(config.e_step)?;
    let mut m_step = MStep::new(config.m_step, n, &device)?;
    let mut replay = ReplayBuffer::new(100_000, observation_size, n)?;

    // Actions of a policy, [batch, samples, action].
    let mut noise = Rng::stream(SEED, Stream::ActionSamples);
    let mut sample = |policy: &Gaussian, samples: usize| {
        let shape = [policy.states(), samples, policy.action_size()];
        let normals = TensorData::new(noise.normals(shape.iter().product()), shape);
        policy.sample(Tensor::from_data(normals, &device))
    };

    let mut observation = environment.reset(rng.next_seed())?;
    replay.begin_episode(&observation)?;
    let mut episode_return = 0.0;
    for step in 1..=STEPS {
        // Collect one step with the behaviour policy.
        let state = Tensor::from_data(TensorData::new(observation, [1, observation_size]), &device);
        let policy = actor.valid().policy(state);
        let sampled = sample(&policy, 1);
        let log_probability: f32 = policy.log_probability(sampled.clone()).into_scalar();
        let action = Action { values: sampled.into_data().iter().collect(), log_probability };
        let outcome = environment.step(&environment.action_bounds().to_environment(&action.values)?)?;
        replay.push(&action, &outcome)?;
        episode_return += outcome.reward;
        let is_last = outcome.is_last();
        observation = outcome.observation;
        if is_last {
            println!("step {step}: return {episode_return:.1}");
            episode_return = 0.0;
            observation = environment.reset(rng.next_seed())?;
            replay.begin_episode(&observation)?;
        }
        if step <= WARM_UP {
            continue;
        }

        // Policy evaluation: regress the critic on 5-step targets.
        let batch = replay.sample_transitions(BATCH, 5, config.discount, &mut rng, &device)?;
        (actor, critic) = (actor.observe(&batch.observations), critic.observe(&batch.observations));
        if step == WARM_UP + 1 {
            critic = critic.start_from(&mean_value(batch.rewards.clone(), batch.discounts.clone()));
            target_critic = critic.valid();
        }
        let actions = sample(&target_actor.policy(batch.next_observations.clone()), SAMPLES);
        let next_values = sampled_values(&target_critic, batch.next_observations, actions.clamp(-1.0, 1.0));
        let next_values = next_values.mean_dim(1).squeeze_dim(1);
        let targets = td_targets(batch.rewards, batch.discounts, next_values);
        critic = critic.observe_targets(&targets);
        let taken = batch.actions.clamp(-1.0, 1.0);
        let [observations, taken] = [batch.observations.clone(), taken].map(Tensor::from_inner);
        let errors = critic.errors(observations, taken, Tensor::from_inner(targets));
        critic = optimizer.step(critic, CriticLoss::Squared.loss(errors));

        // Policy improvement: weigh actions at the batch's states, then fit the policy to them.
        let policy = target_actor.policy(batch.observations.clone());
        let actions = sample(&policy, SAMPLES);
        let clipped = actions.clone().clamp(-1.0, 1.0);
        let values = sampled_values(&target_critic, batch.observations.clone(), clipped);
        let weights = e_step.solve(target_critic.in_units(values))?.weights;
        (actor, _) = m_step.improve(actor, batch.observations, &policy, actions, weights)?;
        if step % TARGET_PERIOD == 0 {
            (target_actor, target_critic) = (actor.valid(), critic.valid());
        }
    }
    Ok(())
}
