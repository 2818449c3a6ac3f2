//! A training loop of one's own, from the parts: what agent and trainer do, but for reports and checkpoints.
//! Prints the mean return of the replay's episodes as each of them begins, and an action at the end.
//!
//! ```text
//! cargo run --release --example custom_training_loop
//! ```

use burn::module::Module;
use mpo::networks::follow;
use mpo::{
    Behaviour, Critic, CriticStep, EStep, Environment, GaussianActor, MStep, MpoConfig, Policy, QNetwork,
};
use mpo::{ReplayBuffer, Rng, Stream, TargetNetworks};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (device, config) = (mpo::device(mpo::devices::default_backend())?, MpoConfig::default());
    let mut environment = mpo::envs::Cartpole::balance();
    let (size, bounds) = (environment.observation_size(), environment.action_space());
    let streams = [Stream::Weights, Stream::ActionSamples, Stream::Exploration];
    let [mut rng, mut samples, noise] = streams.map(|stream| Rng::stream(1, stream));
    let mut actor = GaussianActor::new(&config.actor, size, bounds.size(), &device, &mut rng)?;
    let mut critic = QNetwork::new(&config.critic, size, bounds.size(), &device, &mut rng)?;
    let (mut target, mut average) = (TargetNetworks::new(&actor, &critic), actor.valid());
    let mut critic_step = CriticStep::new(config.evaluation, config.critic_optimizer)?;
    let (mut e_step, penalty) = (EStep::new(config.e_step)?, config.action_penalty.unwrap());
    let mut m_step = MStep::new(config.m_step, bounds.size(), &device)?;
    let mut behaviour = Behaviour::new(Policy::new(actor.valid()), config.exploration, noise)?;
    let (mut replay, mut observation) = (ReplayBuffer::new(100_000, size, bounds.size())?, Vec::new());
    for step in 1..=10_000 {
        // Collect one step.
        if observation.is_empty() {
            println!("step {step}: mean return {:.1}", replay.mean_return().unwrap_or_default());
            observation = environment.reset(rng.next_seed())?;
            replay.begin_episode(&observation)?;
            behaviour.reset();
        }
        let action = behaviour.act(&observation)?;
        let outcome = environment.step(&bounds.to_environment(&action.values)?)?;
        replay.push(&action, &outcome)?;
        observation = if outcome.is_last() { Vec::new() } else { outcome.observation };
        if step <= 1_000 {
            continue;
        }
        // Policy evaluation, by actions of the target policy that the policy is improved by too.
        let batch = replay.sample_transitions(config.batch_size, 5, config.discount, &mut rng, &device)?;
        (actor, critic) = target.prepare(actor, critic, &batch);
        let sampled = target.sample(batch.evaluated()?, config.sampled_actions, &mut samples);
        let values = target.values(&sampled);
        let next_values = batch.next_values(sampled.expected(values.clone()))?;
        (critic, _) = critic_step.regress(&critic, &target, &batch, next_values)?;
        // E-step and M-step: weigh those actions, then fit the policy to them.
        let (states, values) = (sampled.first(batch.rows()), values.narrow(0, 0, batch.rows()));
        let cost = penalty.cost.of(states.actions.clone()) * penalty.weight;
        let weights = e_step.solve(target.critic().in_units(values) + cost, None)?.weights;
        (actor, _) = m_step.improve(&actor, states.observations, &states.policy, states.actions, weights)?;
        // What is deployed, what explores, what the next updates start from.
        average = follow(average, &actor.valid(), config.average_rate.max(1.0 / f64::from(step - 1_000)));
        behaviour.update(Policy::new(actor.valid()), 1.0);
        if (step - 1_000) % config.target_period as i32 == 0 {
            target.copy(&actor, &critic);
        }
    }
    let policy = Policy::new(average).with_action_space(bounds)?;
    println!("force when upright: {:?}", policy.act(&[0.0, 1.0, 0.0, 0.0, 0.0])?);
    Ok(())
}
