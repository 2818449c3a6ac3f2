//! The agent: repeatable runs, what termination and truncation mean for the values, networks of one's own,
//! and what each setting does.

use crate::common::agents::{self, agent};
use crate::common::networks::{LinearActor, Parabola};
use crate::common::presets::small;
use crate::common::replays::{random_replay, rng};
use crate::common::tensors::numbers;
use crate::common::training::{quick, train};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use mpo::networks::{Covariance, CriticLoss, follow};
use mpo::{
    Action, ActionCost, ActionPenalty, Actor, Batch, Critic, Excursions, GaussianActor, ImproveAt, Improved,
    Metrics, MpoAgent, MpoConfig, NoiseColour, PolicyEvaluation, QNetwork, ReplayBuffer, Scale, Step,
    TemperatureSolver, TrainerConfig,
};

/// Episodes of one step from the observation [1] back to it, with actions all over [-1, 1].
fn one_step_replay(reward: fn(f32) -> f32, terminated: bool) -> ReplayBuffer {
    let mut rng = rng(5);
    let mut replay = ReplayBuffer::new(1000, 1, 1).unwrap();
    for _ in 0..500 {
        let action = rng.uniform(-1.0, 1.0) as f32;
        let step =
            Step { observation: vec![1.0], reward: reward(action), terminated, truncated: !terminated };
        let action = Action { values: vec![action], log_probability: -std::f32::consts::LN_2 };
        replay.begin_episode(&[1.0]).unwrap();
        replay.push(&action, &step).unwrap();
    }
    replay
}

/// Q(1, a).
fn value<A: Actor, C: Critic>(agent: &MpoAgent<A, C>, action: f32) -> f32 {
    let device = Device::flex();
    let [observation, action] = [1.0, action].map(|number| Tensor::from_floats([[number]], &device));
    numbers(&agent.critic().valid().values(observation, action))[0]
}

const EVALUATIONS: [PolicyEvaluation; 3] = [
    PolicyEvaluation::NStep { steps: 1 },
    PolicyEvaluation::NStep { steps: 4 },
    PolicyEvaluation::Retrace { steps: 4, lambda: 0.9 },
];

/// An agent that acts and learns for 30 updates; all it does.
fn run(config: &MpoConfig, seed: u64) -> Vec<(Action, Vec<u32>, Metrics)> {
    let replay = random_replay(20, 20, 3, 2);
    let mut agent = agent(config, 3, 2, seed);
    let mut rng = rng(3);
    let mut update = || {
        let batch = agent.sample(&replay, &mut rng)?;
        let metrics = agent.update(&batch)?;
        let mean = agent.mean_action(&[0.3, -0.2, 0.9])?;
        Ok((agent.act(&[0.1, 0.2, -0.3])?, mean.iter().map(|a| a.to_bits()).collect(), metrics))
    };
    (0..30).map(|_| update()).collect::<mpo::Result<_>>().unwrap()
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    for preset in [MpoConfig::default(), MpoConfig::paper()] {
        for evaluation in EVALUATIONS {
            let config = MpoConfig { evaluation, ..small(preset.clone()) };
            let first = run(&config, 1);
            assert_eq!(first, run(&config, 1));
            let other = run(&config, 2);
            assert!(first.iter().zip(&other).all(|(one, other)| one.0 != other.0 && one.2 != other.2));
            assert_ne!(first[0].1, first[29].1, "the policy stays as it is");
        }
    }
}

#[test]
fn a_clone_goes_on_the_same() {
    let replay = random_replay(20, 20, 3, 2);
    let mut agent = agent(&small(MpoConfig::default()), 3, 2, 1);
    train(&mut agent, &replay, 5);
    let mut clone = agent.clone();
    assert_eq!(train(&mut agent, &replay, 5), train(&mut clone, &replay, 5));
    assert_eq!(agent.act(&[0.0; 3]).unwrap(), clone.act(&[0.0; 3]).unwrap());
    // Each has its own state from here on.
    train(&mut agent, &replay, 1);
    assert_ne!(agent.mean_action(&[0.5; 3]).unwrap(), clone.mean_action(&[0.5; 3]).unwrap());
    assert_eq!((agent.updates(), clone.updates()), (11, 10));
}

/// The best action is 0.5 and worth 1; were the end of the episode overlooked, it would be worth 1 / (1 - γ)
/// = 100.
#[test]
fn learns_a_task_that_terminates() {
    let replay = one_step_replay(|action| 1.0 - (action - 0.5).powi(2), true);
    for evaluation in [EVALUATIONS[0], EVALUATIONS[1], PolicyEvaluation::Retrace { steps: 1, lambda: 1.0 }] {
        for improve_at in [ImproveAt::States, ImproveAt::NextStates] {
            let config = MpoConfig { evaluation, improve_at, ..quick() };
            let mut agent = agent(&config, 1, 1, 2);
            train(&mut agent, &replay, 500);
            let action = agent.mean_action(&[1.0]).unwrap()[0];
            assert!((action - 0.5).abs() < 0.1, "{evaluation:?}, {improve_at:?}: {action}");
            for action in [0.5, 0.0, -0.5] {
                let (value, expected) = (value(&agent, action), 1.0 - (action - 0.5).powi(2));
                assert!((value - expected).abs() < 0.1, "{evaluation:?}: Q(1, {action}) = {value}");
            }
        }
    }
}

/// The best action is told by whether the observation is 1000 or 1000.05: who normalises observations learns
/// it, others cannot tell the two apart.
#[test]
fn learns_from_small_differences_between_large_observations() {
    let mut rng = rng(5);
    let mut replay = ReplayBuffer::new(1000, 1, 1).unwrap();
    for episode in 0..500 {
        let (observation, best) = [(1000.0, -0.5), (1000.05, 0.5)][episode % 2];
        let action = rng.uniform(-1.0, 1.0) as f32;
        replay.begin_episode(&[observation]).unwrap();
        let reward = 1.0 - (action - best).powi(2);
        let step = Step { observation: vec![observation], reward, terminated: true, truncated: false };
        let action = Action { values: vec![action], log_probability: -std::f32::consts::LN_2 };
        replay.push(&action, &step).unwrap();
    }
    for evaluation in [EVALUATIONS[0], PolicyEvaluation::Retrace { steps: 1, lambda: 1.0 }] {
        let actions = [true, false].map(|normalise_observations| {
            let mut config = MpoConfig { evaluation, ..quick() };
            config.critic.network.normalise_observations = normalise_observations;
            config.actor.network.normalise_observations = normalise_observations;
            let mut agent = agent(&config, 1, 1, 2);
            train(&mut agent, &replay, 500);
            [1000.0, 1000.05].map(|observation| agent.mean_action(&[observation]).unwrap()[0])
        });
        let [[low, high], [one, other]] = actions;
        assert!((low + 0.5).abs() < 0.1 && (high - 0.5).abs() < 0.1, "{evaluation:?}: {low}, {high}");
        assert!((one - other).abs() < 0.2, "{evaluation:?}: {one}, {other}");
    }
}

/// Reward 1 at every step, γ = 0.9: worth 10 where episodes are cut off, 1 where they end.
#[test]
fn bootstraps_after_truncation_alone() {
    for evaluation in
        [PolicyEvaluation::NStep { steps: 3 }, PolicyEvaluation::Retrace { steps: 1, lambda: 1.0 }]
    {
        let learnt = |terminated, target_period| {
            let mut config = MpoConfig { discount: 0.9, evaluation, target_period, ..quick() };
            // Else the first target knows what rewards that are all the same are worth.
            config.critic.normalise_values = false;
            let mut agent = agent(&config, 1, 1, 3);
            train(&mut agent, &one_step_replay(|_| 1.0, terminated), 600);
            value(&agent, 0.2)
        };
        let (truncated, terminated) = (learnt(false, 10), learnt(true, 10));
        assert!((8.0..10.5).contains(&truncated), "{evaluation:?}, truncated: {truncated}");
        assert!((terminated - 1.0).abs() < 0.1, "{evaluation:?}, terminated: {terminated}");
        // What is bootstrapped is the target critic, which never changes here.
        let fixed = learnt(false, 1_000_000);
        assert!((0.3..2.0).contains(&fixed), "{evaluation:?}, with the first target for good: {fixed}");
    }
}

#[test]
fn learns_with_networks_of_ones_own() {
    let (actor, critic) = (LinearActor::new([[-0.3]], 0.5), Parabola::new([[0.0]], 1.0));
    let config = MpoConfig { target_period: 5, ..quick() };
    let mut agent = MpoAgent::with_networks(config, actor, critic, 4).unwrap();
    assert_eq!(agent.mean_action(&[1.0]).unwrap(), [-0.3]);
    train(&mut agent, &one_step_replay(|action| 1.0 - (action - 0.5).powi(2), true), 400);
    let centre = numbers(&agent.critic().centre.val())[0];
    assert!((centre - 0.5).abs() < 0.05, "{centre}");
    let action = agent.mean_action(&[1.0]).unwrap()[0];
    assert!((action - 0.5).abs() < 0.1, "{action}");
    assert!((value(&agent, 0.5) - 1.0).abs() < 0.05, "{}", value(&agent, 0.5));
}

/// Four steps from the state [1, 0] to the state [0, 1].
fn from_one_state_to_another() -> Batch {
    let device = Device::flex();
    Batch {
        steps: 1,
        observations: Tensor::from_floats([[1.0, 0.0]; 4], &device),
        actions: Tensor::from_floats([[0.1], [-0.2], [0.3], [-0.4]], &device),
        rewards: Tensor::zeros([4], &device),
        discounts: Tensor::full([4], 0.9, &device),
        log_probabilities: Tensor::zeros([4], &device),
        continued: Tensor::zeros([4], &device),
        next_observations: Tensor::from_floats([[0.0, 1.0]; 4], &device),
        improved: Improved { observations: Tensor::from_floats([[0.0, 1.0]; 4], &device), truncated: vec![] },
    }
}

fn table_agent(config: MpoConfig, mean: f32, curvature: f64) -> MpoAgent<LinearActor, Parabola> {
    let (actor, critic) =
        (LinearActor::new([[mean], [mean]], 0.5), Parabola::new([[0.5], [-0.5]], curvature));
    MpoAgent::with_networks(config, actor, critic, 1).unwrap()
}

#[test]
fn improves_at_the_states_asked_for() {
    for (improve_at, moved, direction) in [(ImproveAt::States, 0, 1.0), (ImproveAt::NextStates, 1, -1.0)] {
        let mut agent = table_agent(MpoConfig { improve_at, ..quick() }, 0.0, 1.0);
        for _ in 0..5 {
            agent.update(&from_one_state_to_another()).unwrap();
        }
        let means = [[1.0, 0.0], [0.0, 1.0]].map(|state| agent.mean_action(&state).unwrap()[0]);
        assert!(means[moved] * direction > 0.01, "{improve_at:?}: {means:?}");
        assert_eq!(means[1 - moved], 0.0, "{improve_at:?} moves the other state");
    }
}

/// [`Parabola`] stops the test where it is asked for the value of anything else.
#[test]
fn critics_see_clipped_actions() {
    let replay = random_replay(10, 10, 2, 1);
    for evaluation in EVALUATIONS {
        for improve_at in [ImproveAt::States, ImproveAt::NextStates] {
            let mut agent = table_agent(MpoConfig { evaluation, improve_at, ..quick() }, 0.9, 1.0);
            train(&mut agent, &replay, 2);
        }
    }
}

/// Where all actions are worth the same, only the penalty says which way to go: back to where actions have
/// effect.
#[test]
fn the_penalty_pulls_actions_inside() {
    let learn = |cost: Option<ActionCost>, start| {
        let action_penalty = cost.map(|cost| ActionPenalty { cost, weight: 0.1 });
        let mut agent = table_agent(MpoConfig { action_penalty, ..quick() }, start, 0.0);
        let metrics = agent.update(&from_one_state_to_another()).unwrap();
        for _ in 0..20 {
            agent.update(&from_one_state_to_another()).unwrap();
        }
        (metrics, agent.mean_action(&[0.0, 1.0]).unwrap()[0])
    };
    for (cost, start) in
        [(ActionCost::BeyondBounds, 2.0), (ActionCost::Effort, 2.0), (ActionCost::Effort, -0.5)]
    {
        let (metrics, mean) = learn(Some(cost), start);
        assert!(metrics.temperature > 0.0);
        assert!(mean.abs() < start.abs() - 0.03, "{cost:?}: from {start} to {mean}");
        let (metrics, mean) = learn(None, start);
        assert_eq!(metrics.interior, 0.0);
        assert!((mean - start).abs() < 0.02, "from {start} to {mean}");
    }
}

/// After each copy the policy is its own target: no KL divergence between the two then, and only then.
#[test]
fn copies_the_targets_every_period() {
    let replay = random_replay(20, 20, 3, 2);
    for preset in [MpoConfig::default(), MpoConfig::paper()] {
        let mut config = MpoConfig { target_period: 4, ..small(preset) };
        config.m_step.iterations = 1;
        // The units of observations, which each batch moves, move the policy too.
        config.actor.network.normalise_observations = false;
        let mut agent = agent(&config, 3, 2, 1);
        for update in 0..14 {
            assert_eq!(agent.iterations(), update / 4);
            assert_eq!(agent.updates(), update);
            let metrics = train(&mut agent, &replay, 1)[0];
            assert_eq!(metrics.kl_mean < 1e-9, update % 4 == 0, "update {update}: {metrics:?}");
        }
    }
}

#[test]
fn metrics_report_the_constraint() {
    let replay = random_replay(20, 20, 3, 2);
    let free = |mut config: MpoConfig| {
        config.e_step.minimum_temperature = 0.0;
        config
    };
    for preset in [MpoConfig::default(), MpoConfig::paper()] {
        let mut agent = agent(&free(small(preset)), 3, 2, 1);
        for metrics in train(&mut agent, &replay, 40) {
            assert!(metrics.kl <= 1.0 + 1e-6 && metrics.kl > 0.999, "{metrics:?}");
            assert_eq!(metrics.interior, 1.0, "{metrics:?}");
            assert!(metrics.temperature > 0.0 && metrics.gap >= 0.0, "{metrics:?}");
            assert!(metrics.gap <= 1e-6 * metrics.temperature, "{metrics:?}");
            assert!(metrics.critic_loss > 0.0 && metrics.multiplier_mean >= 0.0, "{metrics:?}");
        }
    }
    // As many nats as 20 samples do not have: all weight on the best action, no interior optimum.
    let mut config = free(small(MpoConfig::default()));
    config.e_step.epsilon = 4.0;
    for metrics in train(&mut agent(&config, 3, 2, 1), &replay, 3) {
        assert_eq!((metrics.interior, metrics.temperature), (0.0, 0.0));
        assert!((metrics.kl - 20_f64.ln() / 4.0).abs() < 1e-3, "{metrics:?}");
    }
    // All actions worth the same.
    let quick = || MpoConfig { action_penalty: None, ..quick() };
    let metrics = table_agent(free(quick()), 0.0, 0.0).update(&from_one_state_to_another()).unwrap();
    assert_eq!((metrics.interior, metrics.temperature, metrics.dual), (0.0, 0.0, 0.0));
    // The least that counts.
    let metrics = table_agent(quick(), 0.0, 0.0).update(&from_one_state_to_another()).unwrap();
    assert_eq!((metrics.interior, metrics.temperature), (0.0, 0.005));
    assert!(metrics.kl >= 0.0, "no KL divergence is negative: {metrics:?}");
}

/// The standard deviation is the target policy's, and the critic's loss that of the batch, before the update.
#[test]
fn metrics_report_policy_and_loss() {
    let mut agent = table_agent(quick(), 0.0, 0.0);
    let mut batch = from_one_state_to_another();
    batch.rewards = batch.rewards + 3.0;
    let metrics = agent.update(&batch).unwrap();
    assert!((metrics.standard_deviation - 0.5).abs() < 1e-6, "{metrics:?}");
    assert!((metrics.critic_loss - 4.5).abs() < 1e-6, "½ (0 - 3)²: {metrics:?}");
}

#[test]
fn actions_have_the_probability_of_the_gaussian() {
    for covariance in [Covariance::Diagonal, Covariance::Full] {
        let mut config = small(MpoConfig::paper());
        config.actor.covariance = covariance;
        let mut agent = agent(&config, 3, 2, 6);
        train(&mut agent, &random_replay(20, 20, 3, 2), 20);
        let observation = [0.4, -1.0, 0.7];
        let policy = agent.actor().valid().policy(Tensor::from_floats([observation], &Device::flex()));
        let mean: Vec<f64> = numbers(&policy.mean).into_iter().map(f64::from).collect();
        assert_eq!(agent.mean_action(&observation).unwrap(), numbers(&policy.mean));
        let [a, b, c] = match &policy.scale {
            Scale::Diagonal(deviation) => [numbers(deviation)[0], 0.0, numbers(deviation)[1]],
            Scale::Cholesky(factor) => [numbers(factor)[0], numbers(factor)[2], numbers(factor)[3]],
        }
        .map(f64::from);
        let (mut sum, mut squares) = ([0.0; 2], [0.0; 2]);
        let count = 3000;
        for _ in 0..count {
            let Action { values: action, log_probability } = agent.act(&observation).unwrap();
            // z = L⁻¹ (a - μ) by hand.
            let x = f64::from(action[0]) - mean[0];
            let first = x / a;
            let second = (f64::from(action[1]) - mean[1] - b * first) / c;
            let expected =
                -0.5 * (first * first + second * second) - (a * c).ln() - (2.0 * std::f64::consts::PI).ln();
            let error = (f64::from(log_probability) - expected).abs();
            assert!(error < 1e-4, "{covariance:?}: {log_probability}, {expected}");
            for (index, z) in [first, second].into_iter().enumerate() {
                sum[index] += z / f64::from(count);
                squares[index] += z * z / f64::from(count);
            }
        }
        // Five standard deviations of either measure.
        for index in 0..2 {
            assert!(sum[index].abs() < 0.1 && (squares[index] - 1.0).abs() < 0.13, "{sum:?}, {squares:?}");
        }
    }
}

/// With the correlation from one step to the next that the colour has in closed form, whatever the policy.
#[test]
fn explores_with_the_noise_of_its_settings() {
    let pink = [4.0, 16.0, 64.0, 256.0].map(|time: f64| (-1.0 / time).exp() / 5.0).iter().sum();
    for (noise, expected) in [(NoiseColour::White, 0.0), (NoiseColour::Pink, pink)] {
        let mut config = small(MpoConfig::default());
        config.exploration.noise = noise;
        config.exploration.excursions = None;
        let mut agent = agent(&config, 3, 2, 6);
        let mean = f64::from(agent.mean_action(&[0.4, -1.0, 0.7]).unwrap()[1]);
        let mut act = || f64::from(agent.act(&[0.4, -1.0, 0.7]).unwrap().values[1]) - mean;
        let series: Vec<f64> = (0..20_000).map(|_| act()).collect();
        let power: f64 = series.iter().map(|z| z * z).sum();
        let measured = series.iter().zip(&series[1..]).map(|(z, next)| z * next).sum::<f64>() / power;
        assert!((measured - expected).abs() < 0.06, "{noise:?}: {measured}, expected {expected}");
    }
}

/// In the mean the log-probability is minus the entropy of what the past leaves open: of one component a
/// variance of 1 for white noise, and for pink noise what its processes renew in a step.
#[test]
fn log_probabilities_are_given_the_noise_before() {
    let kept = [0.0, 4.0, 16.0, 64.0, 256.0].map(|time: f64| (-1.0 / time).exp());
    let renewed: f64 = kept.map(|kept| (1.0 - kept * kept) / 5.0).iter().sum();
    for (noise, variance) in [(NoiseColour::White, 1.0), (NoiseColour::Pink, renewed)] {
        let mut config = small(MpoConfig::default());
        config.exploration.noise = noise;
        config.exploration.excursions = None;
        let mut agent = agent(&config, 3, 2, 6);
        let observation = [0.4, -1.0, 0.7];
        let policy = agent.actor().valid().policy(Tensor::from_floats([observation], &Device::flex()));
        let entropy = f64::from(numbers(&policy.entropy())[0]) + f64::ln(variance);
        let steps = 20_000;
        let mut act = || f64::from(agent.act(&observation).unwrap().log_probability);
        // The first action's density is wider.
        act();
        let measured = (0..steps).map(|_| act()).sum::<f64>() / f64::from(steps);
        // Five standard errors of half a sum of two squares.
        assert!(
            (measured + entropy).abs() < 5.0 / f64::from(steps).sqrt(),
            "{noise:?}: {measured}, {entropy}"
        );
    }
}

/// Phases of actions at the ends of the range, mostly the same as the one before, whose density is without
/// bound; and a policy around its mean in between. They are frequent while the E-step finds no action worth
/// more than another, rare once it does.
#[test]
fn excursions_are_for_the_uninformed() {
    const PHASE: usize = 20;
    let excursions = Excursions { uninformed: 0.9, informed: 0.1, phase: PHASE as u64, hold: 4.0 };
    let replay = random_replay(20, 20, 1, 2);
    for (minimum_temperature, updates, expected) in [(0.0, 0, 0.9), (0.0, 800, 0.1), (1e6, 800, 0.9)] {
        let mut config = quick();
        config.e_step.minimum_temperature = minimum_temperature;
        config.exploration.excursions = Some(excursions);
        let mut agent = agent(&config, 1, 2, 6);
        train(&mut agent, &replay, updates);
        let phases: Vec<bool> = (0..400)
            .map(|_| {
                let actions: Vec<Action> = (0..PHASE).map(|_| agent.act(&[1.0]).unwrap()).collect();
                let at_ends = |action: &Action| action.values.iter().all(|a| a.abs() == 1.0);
                assert!(actions.iter().all(|action| at_ends(action) == at_ends(&actions[0])));
                for action in &actions {
                    assert_eq!(action.log_probability == f32::MAX, at_ends(action), "{action:?}");
                }
                at_ends(&actions[0])
            })
            .collect();
        let share = phases.iter().filter(|&&excursion| excursion).count() as f64 / 400.0;
        assert!((share - expected).abs() < 0.075, "{minimum_temperature}, {updates} updates: {share}");
    }
}

/// A machine is driven to the ends of its range by nobody but who asks for it: every action is the policy's,
/// with its noise.
#[test]
fn presets_drive_to_the_ends_only_by_their_name() {
    let replay = random_replay(20, 20, 1, 2);
    for (preset, boldly) in
        [(MpoConfig::default(), false), (MpoConfig::paper(), false), (MpoConfig::simulation(), true)]
    {
        let mut agent = agent(&small(preset), 1, 2, 6);
        train(&mut agent, &replay, 1);
        let policy = agent.actor().valid().policy(Tensor::ones([1, 1], &Device::flex()));
        let (mean, deviation) = (numbers(&policy.mean), numbers(&policy.scale.diagonal()));
        let mut excursions = 0;
        for _ in 0..50_000 {
            let Action { values: action, log_probability } = agent.act(&[1.0]).unwrap();
            if log_probability == f32::MAX {
                excursions += 1;
            } else {
                let off = (action[0] - mean[0]) / deviation[0];
                assert!(off.abs() < 6.0, "no noise of the policy's: {off} deviations");
            }
        }
        assert_eq!(excursions > 0, boldly);
    }
}

#[test]
fn names_its_settings_and_networks() {
    let config = small(MpoConfig::paper());
    let agent: MpoAgent<GaussianActor, QNetwork> = agent(&config, 3, 2, 6);
    assert_eq!(agent.config(), &config);
    assert_eq!((agent.actor().observation_size(), agent.actor().action_size()), (3, 2));
    assert_eq!((agent.updates(), agent.iterations()), (0, 0));
}

fn through_json<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

#[test]
fn configs_survive_json() {
    let evaluation = PolicyEvaluation::Retrace { steps: 8, lambda: 0.95 };
    let mut other = MpoConfig { evaluation, ..MpoConfig::default() };
    other.critic.loss = CriticLoss::Huber;
    other.e_step.solver =
        TemperatureSolver::GradientStep { learning_rate: 0.01, initial_temperature: 1.0 / 3.0 };
    let presets = [MpoConfig::default(), MpoConfig::simulation(), MpoConfig::discrete(), MpoConfig::paper()];
    for config in presets.into_iter().chain([other]) {
        assert_eq!(through_json(&config), config);
    }
    let trainer =
        TrainerConfig { stop_at_return: Some(0.1 + 0.2), seed: u64::MAX, ..TrainerConfig::default() };
    assert_eq!(through_json(&TrainerConfig::default()), TrainerConfig::default());
    assert_eq!(through_json(&trainer), trainer);
}

/// What a file leaves out is as in the default preset, however deep it stands, and what nobody reads is
/// refused by name.
#[test]
fn settings_left_out_are_the_defaults() {
    let read = serde_json::from_str::<MpoConfig>;
    assert_eq!(read("{}").unwrap(), MpoConfig::default());
    let partly = r#"{"batch_size": 8, "e_step": {"epsilon": 0.2}, "critic": {"network": {"hidden": [7]}},
        "actor": {"initial_standard_deviation": 0.5}, "m_step": {"multipliers": {"initial_mean": 2.0}},
        "exploration": {"excursions": {"phase": 9}}, "critic_optimizer": {"learning_rate": 0.25}}"#;
    let mut expected = MpoConfig { batch_size: 8, ..MpoConfig::default() };
    expected.e_step.epsilon = 0.2;
    expected.critic.network.hidden = vec![7];
    expected.actor.initial_standard_deviation = 0.5;
    expected.m_step.multipliers.initial_mean = 2.0;
    expected.exploration.excursions = Some(Excursions { phase: 9, ..Excursions::default() });
    expected.critic_optimizer.learning_rate = 0.25;
    assert_eq!(read(partly).unwrap(), expected);
    for unknown in [
        r#"{"bach_size": 8}"#,
        r#"{"e_step": {"bach_size": 8}}"#,
        r#"{"critic": {"network": {"bach_size": 8}}}"#,
        r#"{"m_step": {"optimizer": {"learning_rate": 1.0, "bach_size": 8}}}"#,
        r#"{"exploration": {"bach_size": 8}}"#,
        r#"{"evaluation": {"NStep": {"steps": 3, "bach_size": 8}}}"#,
    ] {
        assert!(read(unknown).unwrap_err().to_string().contains("bach_size"), "{unknown}");
    }
}

/// To the last bit: a run from stored settings is the same run.
#[test]
fn numbers_survive_json() {
    let mut rng = rng(1);
    for seed in 0..200 {
        let mut config = MpoConfig { discount: rng.uniform(0.0, 1.0), ..MpoConfig::default() };
        config.m_step.epsilon_covariance = rng.uniform(-20.0, 0.0).exp();
        config.critic_optimizer.learning_rate = rng.uniform(-20.0, 0.0).exp();
        assert_eq!(through_json(&config), config);
        let updates_per_step = rng.uniform(-5.0, 5.0).exp();
        let trainer = TrainerConfig { updates_per_step, seed, ..TrainerConfig::default() };
        assert_eq!(through_json(&trainer), trainer);
    }
}

#[test]
fn the_deployed_policy_is_the_average() {
    let replay = random_replay(20, 20, 3, 2);
    let observation: Tensor<2> = Tensor::from_floats([[0.3, -0.2, 0.9]], &Device::flex());
    let mean = |actor: &GaussianActor| numbers(&actor.policy(observation.clone()).mean);
    let with_rate = |average_rate| agent(&MpoConfig { average_rate, ..small(MpoConfig::default()) }, 3, 2, 1);
    let (mut latest, mut averaged) = (with_rate(1.0), with_rate(0.25));
    let mut expected = averaged.policy().actor().clone();
    for update in 1..=10 {
        train(&mut latest, &replay, 1);
        train(&mut averaged, &replay, 1);
        assert_eq!(mean(latest.policy().actor()), mean(&latest.actor().valid()));
        assert_eq!(
            mean(&latest.actor().valid()),
            mean(&averaged.actor().valid()),
            "it changes what is learnt"
        );
        // Of all up to 4 updates, then with the rate of the settings.
        expected = follow(expected, &averaged.actor().valid(), f64::max(0.25, 1.0 / update as f64));
        assert_eq!(averaged.mean_action(&[0.3, -0.2, 0.9]).unwrap(), mean(&expected));
    }
    assert_ne!(mean(averaged.policy().actor()), mean(&averaged.actor().valid()));
}

/// Nothing of the untrained policy, which took observations to lie around 0, is in its statistics.
#[test]
fn the_deployed_policy_tells_observations_apart_from_the_first_updates_on() {
    let mut agent = agent(&small(MpoConfig::default()), 1, 1, 1);
    let mut rng = rng(2);
    let mut replay = ReplayBuffer::new(200, 1, 1).unwrap();
    let mut observation = || [1000.0 + 0.05 * rng.normal() as f32];
    replay.begin_episode(&observation()).unwrap();
    for _ in 0..150 {
        let action = Action { values: vec![0.3], log_probability: -1.0 };
        let step =
            Step { observation: observation().to_vec(), reward: 0.0, terminated: false, truncated: false };
        replay.push(&action, &step).unwrap();
    }
    train(&mut agent, &replay, 3);
    let [low, high] = [999.95, 1000.05].map(|observation| agent.mean_action(&[observation]).unwrap());
    assert_ne!(low, high);
}

/// Whatever is observed in it: a policy has nothing to do there, and no critic learns its value.
#[test]
fn the_state_that_ends_the_task_has_no_say() {
    let replay = random_replay(10, 10, 3, 2);
    for improve_at in [ImproveAt::States, ImproveAt::NextStates] {
        let config = MpoConfig { improve_at, target_period: 1, ..small(MpoConfig::default()) };
        let mut agent = agent(&config, 3, 2, 1);
        train(&mut agent, &replay, 20);
        let batch = replay.sample_transitions(64, 5, 0.9, &mut rng(2), &Device::flex()).unwrap();
        let ended = batch.discounts.clone().equal_elem(0.0).unsqueeze_dim::<2>(1).expand([64, 3]);
        let metrics =
            |next_observations| agent.clone().update(&Batch { next_observations, ..batch.clone() }).unwrap();
        let next = batch.next_observations.clone();
        let as_seen = metrics(next.clone());
        assert_eq!(metrics(next.clone().mask_fill(ended.clone(), 7.0)), as_seen);
        assert_ne!(metrics(next.mask_fill(ended.bool_not(), 7.0)), as_seen);

        let retrace = PolicyEvaluation::Retrace { steps: 5, lambda: 1.0 };
        let mut agent = agents::agent(&MpoConfig { evaluation: retrace, ..config }, 3, 2, 1);
        train(&mut agent, &replay, 20);
        let batch = replay.sample_sequences(16, 5, 0.9, &mut rng(2), &Device::flex()).unwrap();
        let ended = batch.discounts.clone().equal_elem(0.0).unsqueeze_dim::<2>(1).expand([80, 3]);
        let metrics =
            |next_observations| agent.clone().update(&Batch { next_observations, ..batch.clone() }).unwrap();
        let next = batch.next_observations.clone();
        let as_seen = metrics(next.clone());
        assert_eq!(metrics(next.clone().mask_fill(ended.clone(), 7.0)), as_seen);
        assert_ne!(metrics(next.mask_fill(ended.bool_not(), 7.0)), as_seen);
    }
}
