//! Several choices at once, and numbers with choices.

use std::convert::Infallible;

use burn::tensor::{Device, Tensor, TensorData};
use mpo::{
    ActionCost, ActionPenalty, ActionSpace, Actor, CategoricalActor, Critic, Environment, HybridActor,
    HybridAgent, IndependentActors, MpoAgent, MpoConfig, MultiDiscreteAgent, NoiseColour, Policy, Step,
    Trainer, TrainerConfig,
};

use crate::common::refusals::refused;
use crate::common::tensors::numbers;
use crate::common::training::quick;

/// The observation says what to do: a number of 2 or -2, and of each choice the last thing or the first; each
/// component by itself is rewarded. Episodes of one step.
#[derive(Debug, Clone)]
struct Desk {
    space: ActionSpace,
    side: f32,
}

impl Desk {
    fn new(space: ActionSpace) -> Self {
        Self { space, side: 1.0 }
    }

    /// The best action on this side, in the environment's units.
    fn best(&self, side: f32) -> Vec<f32> {
        let numbers = vec![2.0 * side; self.space.bounded_size()];
        let things = |&things: &usize| if side > 0.0 { (things - 1) as f32 } else { 0.0 };
        numbers.into_iter().chain(self.space.choices().iter().map(things)).collect()
    }
}

impl Environment for Desk {
    type Error = Infallible;

    fn observation_size(&self) -> usize {
        1
    }

    fn action_space(&self) -> ActionSpace {
        self.space.clone()
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>, Infallible> {
        self.side = if seed.is_multiple_of(2) { 1.0 } else { -1.0 };
        Ok(vec![self.side])
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, Infallible> {
        let best = self.best(self.side);
        let (near, chosen) = action.split_at(self.space.bounded_size());
        let distances = near.iter().zip(&best).map(|(part, best)| -(part - best).powi(2) / 4.0);
        let right = chosen.iter().zip(&best[near.len()..]).filter(|(one, best)| one == best).count();
        let reward = distances.sum::<f32>() + right as f32;
        Ok(Step { observation: vec![self.side], reward, terminated: true, truncated: false })
    }
}

fn config() -> MpoConfig {
    let mut config = quick();
    config.choices.network = config.actor.network.clone();
    config
}

fn trained<A: Actor, C: Critic>(agent: MpoAgent<A, C>, environment: &Desk) -> MpoAgent<A, C> {
    let settings = TrainerConfig {
        environment_steps: 1500,
        updates_per_step: 0.5,
        warm_up_steps: 200,
        evaluation_period: 1500,
        evaluation_episodes: 1,
        ..TrainerConfig::default()
    };
    let mut trainer = Trainer::new(settings, agent, environment.clone()).unwrap();
    trainer.run().unwrap();
    for side in [1.0, -1.0] {
        let (action, best) = (trainer.agent().policy().act(&[side]).unwrap(), environment.best(side));
        let off = action.iter().zip(&best).map(|(part, best)| (part - best).abs()).fold(0.0, f32::max);
        assert!(off < 0.5, "{side}: {action:?}, best {best:?}");
    }
    trainer.into_agent()
}

#[test]
fn several_choices_are_learnt_at_once() {
    let environment = Desk::new(ActionSpace::multi_discrete([3, 2, 4]));
    for config in [config(), MpoConfig { e_step: MpoConfig::parametric().e_step, ..config() }] {
        let agent = MultiDiscreteAgent::multi_discrete_of(config, &environment, &Device::flex(), 1).unwrap();
        trained(agent, &environment);
    }
}

/// And saved, and loaded by its type.
#[test]
fn numbers_and_choices_are_learnt_at_once() {
    let bounds = ActionSpace::bounded(vec![-4.0], vec![4.0]).unwrap();
    let environment = Desk::new(bounds.with_choices([3]));
    let agent = HybridAgent::hybrid_of(config(), &environment, &Device::flex(), 1).unwrap();
    let agent = trained(agent, &environment);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.mpo");
    agent.policy().save(&path).unwrap();
    let loaded = Policy::<HybridActor>::load_as(&path, &Device::flex()).unwrap();
    assert_eq!(loaded.action_space(), &environment.space);
    for side in [1.0, -1.0] {
        assert_eq!(loaded.act(&[side]).unwrap(), agent.policy().act(&[side]).unwrap());
    }
    refused(
        Policy::<CategoricalActor>::load_as(&path, &Device::flex()),
        "another",
        &["a CategoricalActor's"],
    );

    let whole = folder.path().join("agent.mpo");
    agent.save(&whole).unwrap();
    let mut other = HybridAgent::hybrid_of(agent.config().clone(), &environment, &Device::flex(), 2).unwrap();
    other.restore(&whole).unwrap();
    let (mut one, mut two) = (agent.behaviour().clone(), other.behaviour().clone());
    let acted = |behaviour: &mut mpo::Behaviour<HybridActor>| -> Vec<_> {
        (0..10).map(|_| behaviour.act(&[1.0]).unwrap()).collect()
    };
    assert_eq!(acted(&mut one), acted(&mut two));
}

/// Numbers explore with noise of the colour asked for, choices with none, and the log-probability is that of
/// both.
#[test]
fn noise_of_numbers_is_coloured_and_that_of_choices_is_not() {
    const STEPS: usize = 6000;
    let environment = Desk::new(ActionSpace::symmetric(1).with_choices([2]));
    for (noise, expected) in [(NoiseColour::White, 0.0), (NoiseColour::Pink, 0.69)] {
        let mut config = config();
        config.exploration.noise = noise;
        let mut agent = HybridAgent::hybrid_of(config, &environment, &Device::flex(), 1).unwrap();
        let acted: Vec<_> = (0..STEPS).map(|_| agent.act(&[1.0]).unwrap()).collect();
        let correlation = |component: usize| {
            let series: Vec<f32> = acted.iter().map(|action| action.values[component]).collect();
            let mean = series.iter().sum::<f32>() / STEPS as f32;
            let product = |lag: usize| -> f32 {
                series.iter().zip(&series[lag..]).map(|(one, other)| (one - mean) * (other - mean)).sum()
            };
            product(1) / product(0)
        };
        assert!((correlation(0) - expected).abs() < 0.1, "{noise:?}: {}", correlation(0));
        assert!(correlation(1).abs() < 0.05, "{noise:?}: {}", correlation(1));
        let policy = agent.learner().latest_policy().at(&[1.0]).unwrap();
        let shares = numbers(&policy.second.log_probabilities()[0]);
        if noise == NoiseColour::White {
            let (mean, deviation) =
                (numbers(&policy.first.mean)[0], numbers(&policy.first.scale.diagonal())[0]);
            for action in &acted[..50] {
                let z = (action.values[0] - mean) / deviation;
                let normal = -0.5 * z * z - deviation.ln() - 0.918_938_5;
                let expected = normal + shares[action.values[1] as usize];
                assert!((action.log_probability - expected).abs() < 1e-4);
            }
        }
    }
}

/// An index is no effort: the cost is that of the numbers alone.
#[test]
fn choices_cost_nothing() {
    let space = ActionSpace::symmetric(1).with_choices([9]);
    let actions = Tensor::<3>::from_floats([[[0.5, 8.0], [-2.0, 0.0]]], &Device::flex());
    let cost = ActionCost::Effort.of(space.bounded_part(actions.clone()).unwrap());
    assert_eq!(numbers(&cost), [-0.25, -4.0]);
    assert!(ActionSpace::multi_discrete([9, 9]).bounded_part(actions).is_none());
    // So heavy a penalty on indices would keep all choices at their first thing.
    let environment = Desk::new(ActionSpace::multi_discrete([3, 2]));
    let action_penalty = Some(ActionPenalty { cost: ActionCost::Effort, weight: 100.0 });
    let config = MpoConfig { action_penalty, ..config() };
    trained(
        MultiDiscreteAgent::multi_discrete_of(config, &environment, &Device::flex(), 1).unwrap(),
        &environment,
    );
}

#[test]
fn each_agent_refuses_the_actions_of_others() {
    let of = Desk::new;
    let (device, config) = (Device::flex(), MpoConfig::default);
    let hybrid = |space| HybridAgent::hybrid_of(config(), &of(space), &device, 1);
    let multi = |space| MultiDiscreteAgent::multi_discrete_of(config(), &of(space), &device, 1);
    for space in [ActionSpace::symmetric(1), ActionSpace::discrete(2)] {
        refused(hybrid(space), "Config", &["ActionSpace::with_choices"]);
    }
    for space in [ActionSpace::symmetric(1), ActionSpace::symmetric(1).with_choices([2])] {
        refused(multi(space), "Config", &["ActionSpace::multi_discrete"]);
    }
    let rng = &mut mpo::Rng::stream(1, mpo::Stream::Weights);
    let choices = CategoricalActor::new(&config().choices, 1, &[2], &device, rng).unwrap();
    let numbers = mpo::GaussianActor::new(&config().actor, 1, 1, &device, rng).unwrap();
    let joined = IndependentActors::new(choices, numbers);
    refused(joined, "Config", &["bounded components", "none behind choices"]);
}

/// Gradients of two networks at once are those of each.
#[test]
fn hybrid_actors_have_the_gradients_of_autodiff() {
    let environment = Desk::new(ActionSpace::symmetric(2).with_choices([3]));
    let agent = HybridAgent::hybrid_of(config(), &environment, &Device::flex(), 1).unwrap();
    let seen = Tensor::<2>::from_data(TensorData::new(vec![0.3_f32, -1.0, 2.0], [3, 1]), &Device::flex());
    let loss = |policy: &<HybridActor as Actor>::Distribution| {
        policy.first.mean.clone().square().sum()
            + policy.second.log_probabilities()[0].clone().narrow(1, 0, 1).sum()
    };
    let (policy, backward) = agent.actor().differentiable_policy(seen.clone());
    let own = numbers(&backward.gradient(loss(&policy)).unwrap());
    let copy = mpo::networks::with_own_gradients(agent.actor());
    let policy = copy.policy(Tensor::from_inner(seen));
    let burns = numbers(&mpo::networks::Backward::autodiff(copy).gradient(loss(&policy)).unwrap());
    assert_eq!(own.len(), burns.len());
    assert!(own.iter().zip(&burns).all(|(one, other)| (one - other).abs() < 1e-5), "{own:?}, {burns:?}");
}
