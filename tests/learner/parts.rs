//! The parts by themselves: composed by hand they are the agent, and each can be another one.

use crate::common::agents::agent;
use crate::common::presets::small;
use crate::common::replays::{random_replay, rng};
use crate::common::tensors::numbers;
use burn::module::{Module, Param, ParamId};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};
use mpo::networks::{Normalised, PopArt, Rescale, follow, linear, rescaled};
use mpo::{
    Actor, Behaviour, Constraint, Critic, CriticStep, DecoupledKl, Distribution, EStep, EStepKind,
    GaussianActor, Learner, MStep, MpoAgent, MpoConfig, Multipliers, Policy, QNetwork, Rng, Stream,
    TargetNetworks,
};

fn config() -> MpoConfig {
    MpoConfig { target_period: 4, ..small(MpoConfig::default()) }
}

fn networks(config: &MpoConfig) -> (GaussianActor, QNetwork) {
    let mut rng = Rng::stream(1, Stream::Weights);
    let actor = GaussianActor::new(&config.actor, 3, 2, &Device::flex(), &mut rng).unwrap();
    (actor, QNetwork::new(&config.critic, 3, 2, &Device::flex(), &mut rng).unwrap())
}

fn observations() -> Tensor<2> {
    Tensor::from_data(TensorData::new(rng(5).normals(30), [10, 3]), &Device::flex())
}

/// A learner that was saved goes on as the one that it was, and one of other settings stays as it is.
#[test]
fn a_learner_is_saved_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("learner.mpo");
    let (config, replay, mut draws) = (config(), random_replay(20, 20, 3, 2), rng(2));
    let learner = |config: &MpoConfig, seed| {
        let (actor, critic) = networks(config);
        Learner::new(config.clone(), actor, critic, seed).unwrap()
    };
    let mut one = learner(&config, 1);
    let mut step = |learner: &mut Learner<_, _>| {
        let batch = learner.sample(&replay, &mut draws).unwrap();
        *learner = learner.step(&batch).unwrap().0;
        batch
    };
    (0..6).for_each(|_| drop(step(&mut one)));
    one.save(&path).unwrap();
    let mut other = learner(&config, 9);
    other.restore(&path).unwrap();
    for _ in 0..3 {
        let batch = step(&mut one);
        other = other.step(&batch).unwrap().0;
    }
    let bits = |learner: &Learner<GaussianActor, QNetwork>| {
        learner.save(&path).unwrap();
        std::fs::read(&path).unwrap()
    };
    assert!(bits(&one) == bits(&other) && one.updates() == 9);
    let mut another = learner(&MpoConfig { discount: 0.5, ..config }, 1);
    let error = another.restore(&path).unwrap_err().to_string();
    assert!(error.contains("discount"), "{error}");
    assert_eq!(another.updates(), 0);
}

/// The loop of `examples/custom_training_loop.rs`, to the last bit.
#[test]
fn composed_by_hand_they_are_the_agent() {
    let (config, replay) = (config(), random_replay(20, 20, 3, 2));
    let mut whole = agent(&config, 3, 2, 1);
    let (mut actor, mut critic) = networks(&config);
    let (mut target, mut average) = (TargetNetworks::new(&actor, &critic), actor.valid());
    let mut critic_step = CriticStep::new(config.evaluation, config.critic_optimizer.clone()).unwrap();
    let mut e_step = EStep::new(config.e_step.clone()).unwrap();
    let mut m_step = MStep::new(config.m_step.clone(), 2, &Device::flex()).unwrap();
    let (mut samples, mut draws, penalty) =
        (Rng::stream(1, Stream::ActionSamples), rng(1), config.action_penalty.unwrap());
    for update in 1..=10 {
        let batch = whole.sample(&replay, &mut draws).unwrap();
        whole.update(&batch).unwrap();

        (actor, critic) = target.prepare(actor, critic, &batch);
        let sampled = target.sample(batch.evaluated().unwrap(), config.sampled_actions, &mut samples);
        let values = target.values(&sampled);
        let next_values = batch.next_values(sampled.expected(values.clone())).unwrap();
        (critic, _) = critic_step.regress(&critic, &target, &batch, next_values).unwrap();
        let (states, values) = (sampled.first(batch.rows()), values.narrow(0, 0, batch.rows()));
        let cost = penalty.cost.of(states.actions.clone()) * penalty.weight;
        let weights = e_step.solve(target.critic().in_units(values) + cost, None).unwrap().weights;
        let improved = m_step.improve(&actor, states.observations, &states.policy, states.actions, weights);
        (actor, _) = improved.unwrap();
        average = follow(average, &actor.valid(), config.average_rate.max(1.0 / f64::from(update)));
        if update % 4 == 0 {
            target.copy(&actor, &critic);
        }

        let mean = |actor: &GaussianActor| numbers(&actor.policy(observations()).mean);
        assert_eq!(mean(&actor.valid()), mean(&whole.actor().valid()), "update {update}");
        assert_eq!(mean(&average), mean(whole.policy().actor()), "update {update}");
        let value = |critic: &QNetwork| {
            numbers(&critic.valid().values(observations(), Tensor::zeros([10, 2], &Device::flex())))
        };
        assert_eq!(value(&critic), value(whole.critic()), "update {update}");
    }
}

/// Two steps from one learner are the same; what it was asked for before, or refused, changes nothing.
#[test]
fn a_step_leaves_its_learner_as_it_was() {
    let replay = random_replay(20, 20, 3, 2);
    let (actor, critic) = networks(&config());
    let learner = Learner::new(config(), actor, critic, 1).unwrap();
    let good = learner.sample(&replay, &mut rng(1)).unwrap();
    let (first, first_metrics) = learner.step(&good).unwrap();
    let mut bad = good.clone();
    bad.rewards = bad.rewards * f32::NAN;
    assert!(learner.step(&bad).is_err());
    let (second, second_metrics) = learner.step(&good).unwrap();
    assert_eq!(first_metrics, second_metrics);
    let mean = |learner: &Learner<_, _>| -> Vec<f32> { learner.policy().act(&[0.1, 0.2, 0.3]).unwrap() };
    assert_eq!(mean(&first), mean(&second));
    assert_ne!(mean(&first), mean(&learner));
    assert_eq!((learner.updates(), first.updates()), (0, 1));
}

/// A batch made by hand, whose rows do not fit, is refused and no panic.
#[test]
fn rows_that_are_not_of_the_batch_are_refused() {
    let learner = agent(&config(), 3, 2, 1);
    let mut batch = learner.sample(&random_replay(20, 20, 3, 2), &mut rng(1)).unwrap();
    let values = |rows: usize| Tensor::<1>::zeros([rows], &Device::flex());
    let rows = batch.rows();
    batch.improved.truncated = vec![0];
    assert!(batch.evaluated().is_ok() && batch.next_values(values(rows + 1)).is_ok());
    assert!(batch.next_values(values(rows)).is_err());
    batch.improved.truncated = vec![rows];
    assert!(batch.evaluated().is_err() && batch.next_values(values(rows + 1)).is_err());
}

/// Each acts as it would alone, also on a thread of its own, while the learner goes on.
#[test]
fn behaviours_act_side_by_side() {
    let (actor, critic) = networks(&config());
    let mut learner = Learner::new(config(), actor, critic, 1).unwrap();
    let batch = learner.sample(&random_replay(20, 20, 3, 2), &mut rng(1)).unwrap();
    let behaviour = |seed| {
        let noise = Rng::stream(seed, Stream::Exploration);
        Behaviour::new(learner.latest_policy(), config().exploration, noise).unwrap()
    };
    let acts = |mut behaviour: Behaviour<GaussianActor>| -> Vec<Vec<f32>> {
        (0..20).map(|_| behaviour.act(&[0.1, 0.2, 0.3]).unwrap().values).collect()
    };
    let alone: Vec<_> = (0..3).map(|seed| acts(behaviour(seed))).collect();
    let behaviours: Vec<_> = (0..3).map(behaviour).collect();
    let threads: Vec<_> =
        behaviours.into_iter().map(|behaviour| std::thread::spawn(move || acts(behaviour))).collect();
    for _ in 0..5 {
        learner = learner.step(&batch).unwrap().0;
    }
    let together: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(together, alone);
    assert_ne!(alone[0], alone[1]);
}

/// Around networks that do not normalise it does what the default ones do by themselves.
#[test]
fn normalised_networks_see_what_the_default_ones_see() {
    let own = config();
    let mut plain = own.clone();
    plain.actor.network.normalise_observations = false;
    plain.critic.network.normalise_observations = false;
    let ((actor, critic), (plain_actor, plain_critic)) = (networks(&own), networks(&plain));
    let (mut actor, mut critic) = (actor, critic);
    let mut wrapped_actor = Normalised::new(plain_actor, 3, &Device::flex());
    let mut wrapped_critic = Normalised::new(plain_critic, 3, &Device::flex());
    for seed in 0..3 {
        let batch = Tensor::from_data(TensorData::new(rng(seed).normals(60), [20, 3]), &Device::flex());
        let batch = batch * 20.0 + 100.0;
        (actor, critic) = (actor.observe(&batch), critic.observe(&batch));
        (wrapped_actor, wrapped_critic) = (wrapped_actor.observe(&batch), wrapped_critic.observe(&batch));
        let [one, other] = [actor.valid().policy(batch.clone()), wrapped_actor.valid().policy(batch.clone())];
        assert_eq!(numbers(&one.mean), numbers(&other.mean));
        let actions = Tensor::from_data(TensorData::new(rng(9).normals(80), [20, 2, 2]), &Device::flex());
        let values = |values: Tensor<2>| numbers(&values);
        assert_eq!(
            values(critic.valid().values_of_samples(batch.clone(), actions.clone())),
            values(wrapped_critic.valid().values_of_samples(batch, actions)),
        );
    }
}

/// Q(s, a) = w · tanh(W [s, a]).
#[derive(Module, Debug)]
struct OwnCritic {
    hidden: Linear,
    value: Linear,
}

impl Critic for OwnCritic {
    fn values(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<1> {
        let hidden = self.hidden.forward(Tensor::cat(vec![observations, actions], 1));
        self.value.forward(hidden.tanh()).squeeze_dim(1)
    }

    fn observation_size(&self) -> usize {
        3
    }

    fn action_size(&self) -> usize {
        2
    }
}

impl Rescale for OwnCritic {
    fn rescale(self, factor: Tensor<1>, shift: Tensor<1>) -> Self {
        Self { value: rescaled(self.value, factor, shift), ..self }
    }
}

fn pop_art() -> PopArt<Normalised<OwnCritic>> {
    let (device, mut rng) = (Device::flex(), Rng::stream(1, Stream::Weights));
    let on = device.clone().autodiff();
    let hidden = linear(5, 16, 1.0, &on, &mut rng);
    let critic = OwnCritic { hidden, value: linear(16, 1, 0.01, &on, &mut rng) };
    PopArt::new(Normalised::new(critic, 3, &device), &device)
}

/// The unit of the rewards changes no bit of what an agent with a critic of one's own learns.
#[test]
fn own_critics_learn_in_units_of_their_targets() {
    let policies = [1.0, 1024.0, 1.0 / 4096.0].map(|unit| {
        let (actor, _) = networks(&config());
        let mut agent = MpoAgent::with_networks(config(), actor, pop_art(), 1).unwrap();
        let (replay, mut draws) = (random_replay(20, 20, 3, 2), rng(1));
        for _ in 0..12 {
            let mut batch = agent.sample(&replay, &mut draws).unwrap();
            batch.rewards = batch.rewards * unit;
            agent.update(&batch).unwrap();
        }
        let value = agent.critic().valid().values(observations(), Tensor::zeros([10, 2], &Device::flex()));
        (agent.mean_action(&[0.1, 0.2, 0.3]).unwrap(), numbers(&(value / unit)))
    });
    assert_eq!(policies[0], policies[1]);
    assert_eq!(policies[0], policies[2]);
}

/// New targets move its units, and none of its values.
#[test]
fn the_units_of_own_critics_change_no_value() {
    let (states, actions) = (observations(), Tensor::<2>::zeros([10, 2], &Device::flex()));
    let targets = |shift: f32, scale: f32| {
        Tensor::<1>::from_floats(rng(3).normals(10).as_slice(), &Device::flex()) * scale + shift
    };
    let mut critic = pop_art().observe_targets(&targets(1.0, 1.0));
    for (shift, scale) in [(-5.0, 0.1), (100.0, 30.0), (0.0, 1.0)] {
        let before = numbers(&critic.valid().values(states.clone(), actions.clone()));
        critic = critic.observe_targets(&targets(shift, scale));
        let after = numbers(&critic.valid().values(states.clone(), actions.clone()));
        let off = before.iter().zip(&after).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
        assert!(off < 1e-4 * (shift.abs() + scale), "{shift}, {scale}: off by {off}");
    }
}

/// A distribution that the library does not know: independent Laplace distributions with a mean and a scale
/// for each component.
#[derive(Debug, Clone)]
struct Laplace {
    mean: Tensor<2>,
    scale: Tensor<2>,
}

impl Distribution for Laplace {
    /// The actions and their weights.
    type Statistics = (Tensor<3>, Tensor<2>);

    fn states(&self) -> usize {
        self.mean.dims()[0]
    }

    fn action_size(&self) -> usize {
        self.mean.dims()[1]
    }

    /// By the quantile of each number of the noise.
    fn sample(&self, noise: Tensor<3>) -> Tensor<3> {
        let beyond = (noise.clone().abs() / 2.0_f32.sqrt()).erf().neg() + 1.0;
        let distance = beyond.clamp_min(1e-7).log().neg();
        self.mean.clone().unsqueeze_dim(1) + distance * noise.sign() * self.scale.clone().unsqueeze_dim(1)
    }

    fn log_probability(&self, actions: Tensor<3>) -> Tensor<2> {
        let scale: Tensor<3> = self.scale.clone().unsqueeze_dim(1);
        let distance = (actions - self.mean.clone().unsqueeze_dim(1)).abs() / scale.clone();
        (-distance - (scale * 2.0).log()).sum_dim(2).squeeze_dim(2)
    }

    fn mode(&self) -> Tensor<2> {
        self.mean.clone()
    }

    fn spread(&self) -> Tensor<2> {
        self.scale.clone() * 2.0_f32.sqrt()
    }

    /// KL of Laplace distributions, first of the means alone, then of the scales alone.
    fn divergence(&self, old: &Self, constraint: Constraint) -> mpo::Result<DecoupledKl> {
        let distance = (self.mean.clone() - old.mean.clone()).abs() / old.scale.clone();
        let mean = distance.clone().neg().exp() + distance - 1.0;
        let ratio = old.scale.clone() / self.scale.clone();
        let covariance = ratio.clone() - ratio.log() - 1.0;
        Ok(match constraint {
            Constraint::Joint => DecoupledKl { mean: mean.sum_dim(1), covariance: covariance.sum_dim(1) },
            Constraint::PerDimension => DecoupledKl { mean, covariance },
        })
    }

    fn statistics(&self, actions: Tensor<3>, weights: Tensor<2>) -> Self::Statistics {
        (actions, weights)
    }

    fn lagrangian(
        self,
        old: &Self,
        (actions, weights): &Self::Statistics,
        multipliers: &Multipliers,
    ) -> Tensor<1> {
        let old =
            Self { mean: Tensor::from_inner(old.mean.clone()), scale: Tensor::from_inner(old.scale.clone()) };
        let (actions, weights) = (Tensor::from_inner(actions.clone()), Tensor::from_inner(weights.clone()));
        let [of_mean, of_scale] = [
            Self { mean: self.mean.clone(), scale: old.scale.clone() },
            Self { mean: old.mean.clone(), scale: self.scale.clone() },
        ]
        .map(|half| (half.log_probability(actions.clone()) * weights.clone()).sum_dim(1).mean());
        let kl = self.divergence(&old, Constraint::PerDimension).unwrap();
        let bound = |kl: Tensor<2>, multiplier: &Tensor<1>| {
            (kl * Tensor::from_inner(multiplier.clone()).unsqueeze()).sum_dim(1).mean()
        };
        let bounds = bound(kl.mean, &multipliers.mean) + bound(kl.covariance, &multipliers.covariance);
        bounds - of_mean - of_scale
    }

    fn narrow(&self, start: usize, count: usize) -> Self {
        Self {
            mean: self.mean.clone().narrow(0, start, count),
            scale: self.scale.clone().narrow(0, start, count),
        }
    }

    fn inner(self) -> Self {
        Self { mean: self.mean.inner(), scale: self.scale.inner() }
    }
}

/// The mean is a table of one-hot states, the scale the same everywhere.
#[derive(Module, Debug)]
struct LaplaceActor {
    means: Param<Tensor<2>>,
    log_scale: Param<Tensor<2>>,
}

impl Actor for LaplaceActor {
    type Distribution = Laplace;

    fn policy(&self, observations: Tensor<2>) -> Laplace {
        let mean = observations.matmul(self.means.val());
        Laplace { scale: self.log_scale.val().exp().expand(mean.dims()), mean }
    }

    fn observation_size(&self) -> usize {
        self.means.dims()[0]
    }

    fn action_size(&self) -> usize {
        self.means.dims()[1]
    }
}

/// Learner, M-step and behaviour take it: its means go to where the critic wants them, and it is saved.
#[test]
fn a_distribution_of_ones_own_is_learnt() {
    for kind in [EStepKind::NonParametric, EStepKind::Parametric] {
        learn_a_distribution_of_ones_own(kind);
    }
}

fn learn_a_distribution_of_ones_own(kind: EStepKind) {
    let device = Device::flex().autodiff();
    let parameter = |numbers: Tensor<2>| Param::initialized(ParamId::new(), numbers.require_grad());
    let actor = LaplaceActor {
        means: parameter(Tensor::zeros([2, 2], &device)),
        log_scale: parameter(Tensor::full([1, 2], -2.0, &device)),
    };
    let best = [[0.5, -0.25], [-0.5, 0.25]];
    let critic = crate::common::networks::Parabola::new(best, 1.0);
    let mut config = config();
    config.e_step.kind = kind;
    config.action_penalty = None;
    config.critic_optimizer.learning_rate = 1e-9;
    config.m_step.optimizer.learning_rate = 1e-2;
    let learner = Learner::new(config, actor, critic, 1).unwrap();
    let mut replay = mpo::ReplayBuffer::new(400, 2, 2).unwrap();
    let (noise, mut observation) = (Rng::stream(1, Stream::Exploration), vec![1.0, 0.0]);
    let mut behaviour =
        Behaviour::new(learner.latest_policy(), learner.config().exploration.clone(), noise).unwrap();
    replay.begin_episode(&observation).unwrap();
    for _ in 0..200 {
        let action = behaviour.act(&observation).unwrap();
        observation.rotate_left(1);
        let step =
            mpo::Step { observation: observation.clone(), reward: 0.0, terminated: false, truncated: false };
        replay.push(&action, &step).unwrap();
    }
    let (mut learner, mut draws) = (learner, rng(1));
    for _ in 0..300 {
        let batch = learner.sample(&replay, &mut draws).unwrap();
        learner = learner.step(&batch).unwrap().0;
    }
    for (state, best) in [[1.0, 0.0], [0.0, 1.0]].iter().zip(best) {
        let action = learner.latest_policy().act(state).unwrap();
        for (component, best) in action.iter().zip(best) {
            assert!((component - best).abs() < 0.05, "{action:?}, best {best}, {kind:?}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.mpo");
    learner.policy().save(&path).unwrap();
    let mut other = Policy::new(learner.actor().valid());
    other.restore(&path).unwrap();
    assert_eq!(other.act(&[1.0, 0.0]).unwrap(), learner.policy().act(&[1.0, 0.0]).unwrap());
}
