//! A training loop of one's own, from the parts: all that the agent and its trainer do, in the open.

use burn::module::Module;
use mpo::envs::Cartpole;
use mpo::networks::follow;
use mpo::{Actor, Critic, Environment, GaussianActor, MpoConfig, Policy, QNetwork, ReplayBuffer, Rng, Stream};
use mpo::{Behaviour, CriticStep, EStep, MStep, TargetNetworks};

fn main() -> mpo::Result<()> {
    let (device, config) = (mpo::device(mpo::devices::default_backend())?, MpoConfig::default());
    let mut environment = Cartpole::balance();
    let (size, bounds) = (environment.observation_size(), environment.action_bounds());
    let [mut rng, mut samples] = [Stream::Weights, Stream::ActionSamples].map(|use_| Rng::stream(1, use_));
    let mut actor = GaussianActor::new(&config.actor, size, bounds.size(), &device, &mut rng)?;
    let mut critic = QNetwork::new(&config.critic, size, bounds.size(), &device, &mut rng)?;
    let (mut target, mut average) = (TargetNetworks::of(&actor, &critic), actor.valid());
    let mut critic_step = CriticStep::new(config.evaluation, config.critic_optimizer)?;
    let (mut e_step, penalty) = (EStep::new(config.e_step)?, config.action_penalty.unwrap());
    let mut m_step = MStep::new(config.m_step, bounds.size(), &device)?;
    let exploration = Rng::stream(1, Stream::Exploration);
    let mut behaviour = Behaviour::new(Policy::new(actor.valid()), config.exploration, exploration)?;
    let mut replay = ReplayBuffer::new(100_000, size, bounds.size())?;

    let mut observation = environment.reset(rng.next_seed())?;
    replay.begin_episode(&observation)?;
    for step in 1..=10_000 {
        // Collect one step.
        let action = behaviour.act(&observation)?;
        let outcome = environment.step(&bounds.to_environment(&action.values)?)?;
        replay.push(&action, &outcome)?;
        if outcome.is_last() {
            println!("step {step}: mean return {:.1}", replay.mean_return().unwrap_or_default());
            observation = environment.reset(rng.next_seed())?;
            replay.begin_episode(&observation)?;
            behaviour.reset();
        } else {
            observation = outcome.observation;
        }
        if step <= 1_000 {
            continue;
        }

        // Policy evaluation, by actions of the target policy that the policy is improved by too.
        let batch = replay.sample_transitions(config.batch_size, 5, config.discount, &mut rng, &device)?;
        critic = critic_step.prepare(critic, &mut target, &batch);
        let sampled = target.sample(batch.evaluated(), config.sampled_actions, &mut samples);
        let values = target.values(&sampled);
        (critic, _) = critic_step.improve(critic, &target, &batch, batch.next_values(values.clone()));

        // E-step and M-step: weigh the actions, then fit the policy to them.
        let (improved, values) = (sampled.first(batch.rows()), values.narrow(0, 0, batch.rows()));
        let cost = penalty.cost.of(improved.actions.clone()) * penalty.weight;
        let weights = e_step.solve(target.critic.in_units(values) + cost)?.weights;
        actor = actor.observe(&batch.observations);
        (actor, _) =
            m_step.improve(actor, improved.observations, &improved.policy, improved.actions, weights)?;

        // What is deployed, what explores, what the next updates start from.
        average = follow(average, &actor.valid(), config.average_rate.max(1.0 / (step - 1_000) as f64));
        behaviour.update(Policy::new(actor.valid()), 1.0);
        if step % config.target_period == 0 {
            target = TargetNetworks::of(&actor, &critic);
        }
    }
    Policy::new(average).with_bounds(bounds)?.save("custom_training_loop.policy.mpo")
}
