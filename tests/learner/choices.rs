//! Actions that are choices: acted, stored, evaluated and learnt as what they are.

use std::convert::Infallible;

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use mpo::networks::{
    CategoricalActorConfig, CriticLoss, NetworkConfig, QNetworkConfig, ValueDistribution, with_own_gradients,
};
use mpo::{
    Action, ActionSpace, Actor, Behaviour, CategoricalActor, Critic, DiscreteAgent, DiscreteQNetwork,
    Distribution, Environment, Excursions, Exploration, Learner, MpoAgent, MpoConfig, NoiseColour, Policy,
    ReplayBuffer, Rng, Step, Stream, TargetNetworks, Trainer, TrainerConfig,
};

use crate::common::refusals::refused;
use crate::common::replays::rng;
use crate::common::tensors::numbers;
use crate::common::training::{quick, train};

const THINGS: usize = 5;

fn discrete(config: MpoConfig, things: usize) -> DiscreteAgent {
    DiscreteAgent::discrete(config, 2, things, &Device::flex(), 1).unwrap()
}

fn quick_choices() -> MpoConfig {
    let mut config = quick();
    config.choices.network = config.actor.network.clone();
    config
}

/// Episodes of one step, whose reward is 1 for the one best thing of the state and 0 for others.
fn bandit(best: [usize; 2]) -> ReplayBuffer {
    let (mut rng, mut replay) = (rng(0), ReplayBuffer::new(2000, 2, 1).unwrap());
    for _ in 0..1000 {
        let state = rng.index(2);
        let thing = rng.index(THINGS);
        replay.begin_episode(&observation(state)).unwrap();
        let action = Action { values: vec![thing as f32], log_probability: (1.0 / THINGS as f32).ln() };
        let reward = f32::from(u8::from(thing == best[state]));
        let step = Step { observation: observation(state), reward, terminated: true, truncated: false };
        replay.push(&action, &step).unwrap();
    }
    replay
}

fn observation(state: usize) -> Vec<f32> {
    vec![state as f32, 1.0 - state as f32]
}

#[test]
fn the_best_thing_of_each_state_is_learnt() {
    for best in [[0, THINGS - 1], [3, 2]] {
        let mut agent = discrete(quick_choices(), THINGS);
        train(&mut agent, &bandit(best), 150);
        for (state, best) in best.into_iter().enumerate() {
            let policy = agent.policy().at(&observation(state)).unwrap();
            let shares = numbers(&policy.log_probabilities()[0].clone().exp());
            assert!(shares[best] > 0.8, "state {state}: {shares:?}, best {best}");
            assert_eq!(agent.policy().act(&observation(state)).unwrap(), [best as f32]);
            let values = numbers(&agent.critic().valid().all_values(rows(&observation(state))));
            for (thing, value) in values.into_iter().enumerate() {
                assert!((value - f32::from(u8::from(thing == best))).abs() < 0.15, "{thing}: {value}");
            }
        }
    }
}

/// However sure it is, a share of the policy is uniform.
#[test]
fn all_things_are_tried_again() {
    let mut config = quick_choices();
    config.choices.uniform_share = 0.5;
    let mut agent = discrete(config, THINGS);
    train(&mut agent, &bandit([0, 3]), 150);
    let policy = agent.policy().at(&observation(1)).unwrap();
    let shares = numbers(&policy.log_probabilities()[0].clone().exp());
    assert!(shares[3] > 0.5 && shares.iter().all(|&share| share > 0.0999), "{shares:?}");
}

fn rows(observations: &[f32]) -> Tensor<2> {
    let shape = [observations.len() / 2, 2];
    Tensor::from_data(TensorData::new(observations.to_vec(), shape), &Device::flex())
}

/// All things in order, each with its probability, however many samples are asked for, and no random number
/// drawn.
#[test]
fn targets_are_exact_expectations() {
    let (mut agent, mut samples) = (discrete(quick_choices(), THINGS), Rng::stream(1, Stream::ActionSamples));
    // Far from uniform.
    train(&mut agent, &bandit([0, 3]), 100);
    let target = TargetNetworks::new(agent.actor(), agent.critic());
    let states = target.sample(rows(&[0.1, 0.2, 0.3, 0.4]), 64, &mut samples);
    assert_eq!(samples, Rng::stream(1, Stream::ActionSamples));
    assert_eq!(numbers(&states.actions), [0.0, 1.0, 2.0, 3.0, 4.0].repeat(2));
    let values = target.values(&states);
    let [all, shares] = [numbers(&values), numbers(states.probabilities.as_ref().unwrap())];
    for (state, expected) in numbers(&states.expected(values)).into_iter().enumerate() {
        let places = state * THINGS..(state + 1) * THINGS;
        let sum: f32 = places.map(|place| all[place] * shares[place]).sum();
        assert!((sum - expected).abs() < 1e-6);
    }
    assert_eq!(numbers(&states.first(1).expected(target.values(&states.first(1)))).len(), 1);
}

/// As often as the policy says, with the logarithm of that as their log-probability, whatever the colour of
/// the noise: one action says nothing of the next.
#[test]
fn acting_chooses_as_the_policy_does() {
    const STEPS: usize = 20_000;
    for noise in [NoiseColour::White, NoiseColour::Pink] {
        let exploration = Exploration { noise, excursions: None };
        let agent = discrete(MpoConfig { exploration, ..MpoConfig::default() }, 3);
        let mut behaviour = agent.behaviour().clone();
        let logs = numbers(&agent.learner().latest_policy().at(&[0.5, -0.5]).unwrap().log_probabilities()[0]);
        let (mut counts, mut repeated, mut last) = ([0.0; 3], 0, 0);
        for _ in 0..STEPS / 10 {
            let rows: Vec<(usize, &[f32])> = vec![(0, &[0.5, -0.5]); 10];
            for action in behaviour.act_in_rows(&rows).unwrap() {
                let [thing] = action.values[..] else { panic!("one component") };
                let thing = thing as usize;
                assert!((action.log_probability - logs[thing]).abs() < 1e-6);
                counts[thing] += 1.0;
                repeated += usize::from(thing == last);
                last = thing;
            }
        }
        for (thing, log) in logs.iter().enumerate() {
            assert!((counts[thing] / STEPS as f32 - log.exp()).abs() < 0.015, "{noise:?}: {counts:?}");
        }
        let chance: f32 = logs.iter().map(|log| (2.0 * log).exp()).sum();
        assert!((repeated as f32 / STEPS as f32 - chance).abs() < 0.015, "{noise:?}: {repeated}");
    }
}

/// Excursions keep to a thing for a while, then go to another, and come to all.
#[test]
fn excursions_hold_a_choice_and_go_to_another() {
    let excursions = Excursions { uninformed: 1.0, informed: 1.0, phase: u64::MAX, hold: 8.0 };
    let exploration = Exploration { noise: NoiseColour::White, excursions: Some(excursions) };
    let agent = discrete(MpoConfig { exploration, ..MpoConfig::default() }, 4);
    let mut behaviour = agent.behaviour().clone();
    let things: Vec<f32> = (0..4000).map(|_| behaviour.act(&[0.0, 0.0]).unwrap().values[0]).collect();
    let turns = things.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!((400..600).contains(&turns), "{turns}");
    for thing in [0.0, 1.0, 2.0, 3.0] {
        let share = things.iter().filter(|&&other| other == thing).count();
        assert!((700..1300).contains(&share), "{thing}: {share}");
    }
}

#[test]
fn policies_and_agents_of_choices_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let [policy, whole] = ["policy.mpo", "agent.mpo"].map(|name| folder.path().join(name));
    let mut agent = discrete(quick_choices(), THINGS);
    let replay = bandit([1, 3]);
    train(&mut agent, &replay, 20);
    agent.policy().save(&policy).unwrap();
    let loaded = Policy::<CategoricalActor>::load_as(&policy, &Device::flex()).unwrap();
    assert_eq!(loaded.action_space(), &ActionSpace::discrete(THINGS));
    for state in 0..2 {
        let seen = observation(state);
        let logs = |policy: &Policy<_>| {
            numbers(&CategoricalActor::policy(policy.actor(), rows(&seen)).log_probabilities()[0])
        };
        assert_eq!(logs(&loaded), logs(agent.policy()));
        assert_eq!(loaded.act(&seen).unwrap(), agent.policy().act(&seen).unwrap());
    }
    refused(Policy::load(&policy, &Device::flex()), "another", &["uniform_share", "a GaussianActor's"]);

    agent.save(&whole).unwrap();
    let mut other = discrete(quick_choices(), THINGS);
    other.restore(&whole).unwrap();
    for agent in [&mut agent, &mut other] {
        train(agent, &replay, 3);
    }
    assert_eq!(agent.policy().act(&[0.3, 0.7]).unwrap(), other.policy().act(&[0.3, 0.7]).unwrap());
    assert_eq!(agent.act(&[0.3, 0.7]).unwrap(), other.act(&[0.3, 0.7]).unwrap());
    assert!(discrete(quick_choices(), THINGS + 1).restore(&whole).is_err());
}

#[test]
fn choices_that_there_are_not_are_refused() {
    let space = ActionSpace::bounded(vec![0.0], vec![4.0]).unwrap().with_choices([3]);
    assert_eq!(space.to_environment(&[2.0, 2.0]).unwrap(), [4.0, 2.0]);
    assert_eq!(space.to_policy(&[4.0, 0.0]).unwrap(), [1.0, 0.0]);
    for choice in [-1.0, 3.0, 0.5, f32::MAX] {
        for mapped in [space.to_environment(&[0.0, choice]), space.to_policy(&[0.0, choice])] {
            refused(mapped, "Range", &["action", "from 0 to K - 1"]);
        }
    }
    refused(space.to_environment(&[0.0, f32::NAN]), "NonFinite", &["index 1"]);
    let agent = discrete(MpoConfig::default(), 3);
    for other in [ActionSpace::discrete(4), ActionSpace::symmetric(1)] {
        refused(agent.clone().with_action_space(other), "Shape", &["choices", "[3]"]);
    }
    refused(
        agent.with_action_space(ActionSpace::multi_discrete([3, 3])),
        "Size",
        &["2 values", "expected 1"],
    );
    let of =
        |space| MpoAgent::of(MpoConfig::default(), &Lights { space, seen: Vec::new() }, &Device::flex(), 1);
    refused(of(ActionSpace::discrete(3)), "Shape", &["choices", "[3]"]);
    let of = |space: ActionSpace| {
        DiscreteAgent::discrete_of(
            MpoConfig::default(),
            &Lights { space, seen: Vec::new() },
            &Device::flex(),
            1,
        )
    };
    assert!(of(ActionSpace::discrete(3)).is_ok());
    for space in [ActionSpace::symmetric(1), ActionSpace::multi_discrete([2, 2]), space] {
        refused(of(space), "Config", &["Environment::action_space", "ActionSpace::discrete"]);
    }
    refused(of(ActionSpace::discrete(1)), "Config", &["2 to 16777216"]);
    let mut config = MpoConfig::default();
    config.choices.uniform_share = 1.0;
    let failed = DiscreteAgent::discrete(config, 2, 3, &Device::flex(), 1);
    refused(failed, "Config", &["CategoricalActorConfig::uniform_share", "0 to below 1"]);
}

/// Networks of other choices do not make one learner.
#[test]
fn actor_and_critic_have_the_same_choices() {
    let (config, mut weights) = (MpoConfig::default(), Rng::stream(1, Stream::Weights));
    let actor = CategoricalActor::new(&config.choices, 2, &[3], &Device::flex(), &mut weights).unwrap();
    let critic = DiscreteQNetwork::new(&config.critic, 2, 4, &Device::flex(), &mut weights).unwrap();
    refused(Learner::new(config, actor, critic, 1), "Shape", &["choices", "[4]", "[3]"]);
}

/// Clipped are numbers inside bounds alone.
#[test]
fn bounds_clip_no_choice() {
    let actions = || Tensor::<2>::from_floats([[2.0, -3.0, 4.0], [0.5, 0.0, 1.0]], &Device::flex());
    let of = |space: ActionSpace| numbers(&space.clipped(actions()));
    assert_eq!(of(ActionSpace::symmetric(3)), [1.0, -1.0, 1.0, 0.5, 0.0, 1.0]);
    assert_eq!(of(ActionSpace::symmetric(2).with_choices([5])), [1.0, -1.0, 4.0, 0.5, 0.0, 1.0]);
    assert_eq!(of(ActionSpace::multi_discrete([9, 9, 9])), [2.0, -3.0, 4.0, 0.5, 0.0, 1.0]);
}

/// What networks for choices compute on a CPU in a way of their own is what Burn computes.
#[test]
fn gradients_of_their_networks_are_those_of_autodiff() {
    let bins = ValueDistribution { bins: 31, ..ValueDistribution::default() };
    for (on, distribution) in [(false, None), (true, None), (false, Some(bins)), (true, Some(bins))] {
        let network = NetworkConfig {
            hidden: vec![33, 7],
            layer_norm: on,
            normalise_observations: on,
            ..NetworkConfig::default()
        };
        let (mut weights, rng) = (Rng::stream(1, Stream::Weights), &mut rng(2));
        let config = QNetworkConfig {
            normalise_values: on,
            loss: CriticLoss::Huber,
            network: network.clone(),
            distribution,
        };
        let critic = DiscreteQNetwork::new(&config, 2, THINGS, &Device::flex(), &mut weights).unwrap();
        let config = CategoricalActorConfig { network, uniform_share: 0.1 };
        let actor = CategoricalActor::new(&config, 2, &[THINGS, 3], &Device::flex(), &mut weights).unwrap();
        let seen = rows(&rng.normals(200));
        let things: Vec<f32> = (0..100).map(|_| rng.index(THINGS) as f32).collect();
        let actions = Tensor::<1>::from_floats(things.as_slice(), &Device::flex()).reshape([100, 1]);
        let targets = Tensor::<1>::from_floats(rng.normals(100).as_slice(), &Device::flex()) * 3.0 + 10.0;
        let (actor, critic) = (actor.observe(&seen), critic.observe(&seen));
        let alike = |own: Tensor<1>, burns: Tensor<1>| {
            let largest = burns.clone().abs().max().into_scalar::<f32>();
            let off = (own - burns).abs().max().into_scalar::<f32>();
            assert!(off <= 3e-6 * largest + 1e-7, "off by {off}, the largest is {largest}");
        };

        let critic = critic.observe_targets(&targets);
        let (own, backward) = critic.differentiable_loss(seen.clone(), actions.clone(), targets.clone());
        let burns = with_own_gradients(&critic);
        let loss = burns.loss(seen.clone(), actions.clone(), targets.clone());
        alike(own.clone().inner(), loss.clone().inner());
        let by_autodiff = mpo::networks::Backward::autodiff(burns).gradient(loss).unwrap();
        alike(backward.gradient(own).unwrap(), by_autodiff);
        let [one, other] =
            [critic.valid(), critic.valid()].map(|critic| critic.values(seen.clone(), actions.clone()));
        alike(one, other);

        let (own, backward) = actor.differentiable_policy(seen.clone());
        let copy = with_own_gradients(&actor);
        let burns = copy.policy(Tensor::from_inner(seen));
        let sum = |policy: mpo::Categorical| {
            let first = policy.log_probabilities()[0].clone().narrow(1, 1, 2).square().sum();
            first + policy.log_probabilities()[1].clone().narrow(1, 0, 1).sum()
        };
        let by_autodiff = mpo::networks::Backward::autodiff(copy).gradient(sum(burns)).unwrap();
        alike(backward.gradient(sum(own)).unwrap(), by_autodiff);
    }
}

/// A row of lamps: an action is a choice of one of them, which is then lit.
#[derive(Debug, Clone)]
struct Lights {
    space: ActionSpace,
    seen: Vec<f32>,
}

impl Environment for Lights {
    type Error = Infallible;

    fn observation_size(&self) -> usize {
        1
    }

    fn action_space(&self) -> ActionSpace {
        self.space.clone()
    }

    fn reset(&mut self, _seed: u64) -> Result<Vec<f32>, Infallible> {
        Ok(vec![0.0])
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, Infallible> {
        self.seen.push(action[0]);
        let truncated = self.seen.len().is_multiple_of(7);
        Ok(Step { observation: vec![action[0]], reward: action[0], terminated: false, truncated })
    }
}

/// From the behaviour through trainer, replay and learner: indices all the way, Retrace and excursions
/// included.
#[test]
fn a_trainer_trains_choices() {
    for steps in [None, Some(4)] {
        let environment = Lights { space: ActionSpace::discrete(4), seen: Vec::new() };
        let mut config = MpoConfig { batch_size: 32, ..quick_choices() };
        config.exploration = MpoConfig::simulation().exploration;
        if let Some(steps) = steps {
            config.evaluation = mpo::PolicyEvaluation::Retrace { steps, lambda: 1.0 };
        }
        let agent = DiscreteAgent::discrete_of(config, &environment, &Device::flex(), 1).unwrap();
        let settings = TrainerConfig {
            environment_steps: 300,
            updates_per_step: 0.5,
            warm_up_steps: 50,
            evaluation_period: 300,
            evaluation_episodes: 2,
            ..TrainerConfig::default()
        };
        let mut trainer = Trainer::new(settings, agent, environment).unwrap();
        trainer.run().unwrap();
        let seen = &trainer.environment().seen;
        assert!(seen.len() >= 300 && seen.iter().all(|lamp| [0.0, 1.0, 2.0, 3.0].contains(lamp)));
        assert!([0.0, 1.0, 2.0, 3.0].iter().all(|lamp| seen.contains(lamp)));
        // Its brightest lamp is what it goes to.
        assert_eq!(trainer.agent().policy().act(&[0.0]).unwrap(), [3.0]);
    }
}

/// Everything is worth the same.
#[derive(Module, Debug)]
struct Indifferent {
    value: Param<Tensor<1>>,
}

impl Critic for Indifferent {
    fn values(&self, observations: Tensor<2>, _actions: Tensor<2>) -> Tensor<1> {
        self.value.val().expand([observations.dims()[0]])
    }

    fn observation_size(&self) -> usize {
        2
    }

    fn action_size(&self) -> usize {
        1
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::discrete(THINGS)
    }
}

/// The policy is its own prior: where all is worth the same it stays, and does not become uniform.
#[test]
fn a_policy_without_a_reason_to_change_stays() {
    let config = quick_choices();
    let mut agent = discrete(config.clone(), THINGS);
    let replay = bandit([0, 3]);
    train(&mut agent, &replay, 100);
    let shares = |actor: &CategoricalActor| {
        let seen = rows(&[observation(0), observation(1)].concat());
        numbers(&actor.valid().policy(seen).log_probabilities()[0].clone().exp())
    };
    let before = shares(agent.actor());
    assert!(before[0] > 0.6, "{before:?}");
    let value = Tensor::zeros([1], &Device::flex().autodiff()).require_grad();
    let critic = Indifferent { value: Param::initialized(ParamId::new(), value) };
    let mut learner = Learner::new(config, agent.actor().clone(), critic, 1).unwrap();
    let mut draws = rng(2);
    for _ in 0..100 {
        learner = learner.step(&learner.sample(&replay, &mut draws).unwrap()).unwrap().0;
    }
    let after = shares(learner.actor());
    let off = before.iter().zip(&after).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
    assert!(off < 0.1, "{before:?}, {after:?}");
}

/// A batch made by hand may say any number: an error or an update, and no panic.
#[test]
fn indices_out_of_range_in_a_batch_do_not_panic() {
    let agent = discrete(quick_choices(), THINGS);
    let mut batch = agent.sample(&bandit([0, 1]), &mut rng(1)).unwrap();
    for number in [-1.0, THINGS as f32, 1e30, f32::NAN] {
        batch.actions = batch.actions * 0.0 + number;
        let _ = agent.clone().update(&batch);
    }
}

/// The same seed, the same bits.
#[test]
fn runs_of_choices_repeat() {
    let run = || {
        let mut agent = discrete(quick_choices(), THINGS);
        train(&mut agent, &bandit([1, 3]), 20);
        let acted: Vec<Action> = (0..20).map(|_| agent.act(&[0.3, 0.7]).unwrap()).collect();
        (numbers(&agent.critic().valid().all_values(rows(&[0.3, 0.7]))), acted)
    };
    assert_eq!(run(), run());
    let (agent, seeds) = (discrete(quick_choices(), 3), Rng::stream(1, Stream::Exploration));
    let behaviour = Behaviour::new(agent.learner().latest_policy(), Exploration::default(), seeds).unwrap();
    assert_eq!(behaviour.policy().at(&[0.0, 0.0]).unwrap().action_size(), 1);
}
