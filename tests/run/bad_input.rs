//! Every misuse is refused with an error that names the place and what is accepted there; nothing panics, and
//! whatever refused goes on as if it had not been asked.

mod batches;
mod faulty;
mod settings;

use crate::common::agents::agent;
use crate::common::networks::{LinearActor, Parabola};
use crate::common::presets::small;
use crate::common::refusals::refused;
use crate::common::replays::{random_replay, rng};
use crate::common::tensors::numbers;
use crate::common::training::{quick, train};
use batches::{WRONG_SHAPES, batch as good, sequences, spoilt, transitions, zeros};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use faulty::Faulty;
use mpo::networks::Covariance;
use mpo::observers::{EvaluationTable, JsonLines, LearningCurve, MetricsTable};
use mpo::{
    Action, ActionSpace, Actor, Batch, Constraint, Critic, Gaussian, MpoAgent, MpoConfig, Policy,
    PolicyEvaluation, QNetwork, ReplayBuffer, Result, Rng, Scale, Step, Stream, Trainer, TrainerConfig,
};
use settings::{COUNTS, NUMBERS, OF_TRAINERS};

const NOT_FINITE: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

/// A small agent for 3 observations and 2 actions, that has learnt a little.
fn trained_agent(preset: &MpoConfig) -> MpoAgent {
    let mut agent = agent(preset, 3, 2, 1);
    train(&mut agent, &random_replay(10, 10, 3, 2), 3);
    agent
}

fn presets() -> [MpoConfig; 3] {
    let retrace = PolicyEvaluation::Retrace { steps: 4, lambda: 0.95 };
    let [default, paper] = [MpoConfig::default(), MpoConfig::paper()].map(small);
    [MpoConfig { evaluation: retrace, ..default.clone() }, default, paper]
}

/// What the networks of an agent say.
fn networks(agent: &MpoAgent) -> (Vec<f32>, Vec<f32>, u64) {
    let observation = [0.3, -0.4, 0.5];
    let critic = agent.critic().valid();
    let value = critic.values(Tensor::from_floats([observation], &Device::flex()), zeros([1, 2]));
    (agent.mean_action(&observation).unwrap(), numbers(&value), agent.updates())
}

/// All that can be seen of an agent, and of what it does next: its random numbers, temperatures, multipliers
/// and optimizers.
fn behaviour(agent: &MpoAgent) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut agent = agent.clone();
    let before = networks(&agent);
    let action = agent.act(&[0.3, -0.4, 0.5]).unwrap();
    let learnt = good(agent.config());
    let metrics = [0; 2].map(|_| agent.update(&learnt).unwrap());
    (before, action, metrics, networks(&agent))
}

#[test]
fn agents_refuse_observations() {
    let mut agent = trained_agent(&presets()[1]);
    let before = behaviour(&agent);
    for wrong in [vec![], vec![0.0; 2], vec![0.0; 4]] {
        let size = format!("{} values", wrong.len());
        refused(agent.act(&wrong), "Size", &["observation", &size, "expected 3"]);
        refused(agent.mean_action(&wrong), "Size", &["observation", &size, "expected 3"]);
    }
    for value in NOT_FINITE {
        let words = ["observation", "at index 1", "finite"];
        refused(agent.act(&[0.0, value, 0.0]), "NonFinite", &words);
        refused(agent.mean_action(&[0.0, value, 0.0]), "NonFinite", &words);
    }
    assert_eq!(behaviour(&agent), before);
}

#[test]
fn replays_refuse_steps_and_samples() {
    refused(ReplayBuffer::new(1, 3, 2), "Config", &["ReplayBuffer::capacity is 1", "at least 2"]);
    refused(ReplayBuffer::new(9, 0, 2), "Config", &["observation_size is 0", "at least 1"]);
    refused(ReplayBuffer::new(9, 3, 0), "Config", &["action_size is 0", "at least 1"]);

    let mut replay = ReplayBuffer::new(9, 3, 2).unwrap();
    let device = Device::flex();
    let action = |values: &[f32], log_probability| Action { values: values.to_vec(), log_probability };
    let step = |observation: &[f32], reward| Step {
        observation: observation.to_vec(),
        reward,
        terminated: false,
        truncated: false,
    };
    let (fine, led_to) = (action(&[0.5, -0.5], -1.0), step(&[0.0; 3], 2.0));
    let sample = |replay: &ReplayBuffer, count, steps, discount| {
        let all = replay.sample_transitions(count, steps, discount, &mut rng(1), &device);
        all.map(|sample| numbers(&sample.rewards))
    };
    let sample_sequences = |replay: &ReplayBuffer, count, steps, discount| {
        let all = replay.sample_sequences(count, steps, discount, &mut rng(1), &device);
        all.map(|sample| numbers(&sample.rewards))
    };
    let empty = ["replay holds 0 steps", "at least 1 needed"];
    refused(sample(&replay, 4, 1, 0.9), "ReplayTooSmall", &empty);
    refused(sample_sequences(&replay, 4, 1, 0.9), "ReplayTooSmall", &empty);
    refused(replay.push(&fine, &led_to), "Order", &["ReplayBuffer::push", "begin_episode"]);
    refused(replay.begin_episode(&[0.0; 2]), "Size", &["observation has 2 values", "expected 3"]);
    replay.begin_episode(&[0.0; 3]).unwrap();
    refused(sample(&replay, 4, 1, 0.9), "ReplayTooSmall", &empty);

    for value in NOT_FINITE {
        refused(replay.begin_episode(&[0.0, 0.0, value]), "NonFinite", &["observation", "index 2", "finite"]);
        let steps = [
            (action(&[0.0, value], -1.0), led_to.clone(), "action", "index 1"),
            (action(&[0.5, -0.5], value), led_to.clone(), "log_probability", "index 0"),
            (fine.clone(), step(&[0.0; 3], value), "reward", "index 0"),
            (fine.clone(), step(&[value, 0.0, 0.0], 2.0), "observation", "index 0"),
        ];
        for (action, step, place, index) in steps {
            refused(replay.push(&action, &step), "NonFinite", &[place, index, "finite"]);
        }
    }
    for reward in [1.1e12, -3e38] {
        refused(replay.push(&fine, &step(&[0.0; 3], reward)), "Range", &["reward", "1e12"]);
    }
    let words = ["action has 1 values", "expected 2"];
    refused(replay.push(&action(&[0.0], -1.0), &led_to), "Size", &words);
    refused(replay.push(&fine, &step(&[], 2.0)), "Size", &["observation has 0 values", "expected 3"]);
    for stream in [4, 5, 4096, usize::MAX] {
        let words = [&*format!("stream is {stream}"), "below 4096 and below half of the capacity"];
        refused(replay.stream(stream), "Config", &words);
    }
    refused(replay.stream(3).unwrap().push(&fine, &led_to), "Order", &["begin_episode"]);

    replay.push(&fine, &led_to).unwrap();
    refused(sample(&replay, 0, 1, 0.9), "Config", &["count is 0", "at least 1"]);
    refused(sample(&replay, 4, 0, 0.9), "Config", &["steps is 0", "at least 1"]);
    refused(sample_sequences(&replay, 0, 1, 0.9), "Config", &["count is 0", "at least 1"]);
    refused(sample_sequences(&replay, 4, 0, 0.9), "Config", &["steps is 0", "at least 1"]);
    refused(sample_sequences(&replay, 1 << 13, 1 << 13, 0.9), "Config", &["count times steps", "at most"]);
    for discount in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        refused(sample(&replay, 4, 1, discount), "Config", &["discount", "0 to 1"]);
        refused(sample_sequences(&replay, 4, 1, discount), "Config", &["discount", "0 to 1"]);
    }
    assert_eq!(sample(&replay, 3, 1, 0.9).unwrap(), [2.0; 3]);
    assert_eq!(sample_sequences(&replay, 3, 1, 0.9).unwrap(), [2.0; 3]);
    assert_eq!(sample_sequences(&replay, 3, 2, 0.9).unwrap(), [2.0; 6], "the same step twice");
    assert_eq!((replay.len(), replay.mean_reward()), (1, Some(2.0)));
}

#[test]
fn bounds_refuse_ranges_and_actions() {
    let accepted = ["ActionSpace", "a lower end below its upper end, both finite"];
    let wrong = [(1.0, 1.0), (2.0, 1.0), (f32::NAN, 1.0), (0.0, f32::NAN), (0.0, f32::INFINITY)];
    for (low, high) in wrong.into_iter().chain([(f32::NEG_INFINITY, 0.0), (f32::MIN, f32::MAX)]) {
        refused(ActionSpace::bounded(vec![0.0, low], vec![1.0, high]), "Config", &accepted);
    }
    refused(ActionSpace::bounded(vec![], vec![]), "Config", &["ActionSpace::low", "at least one"]);
    refused(ActionSpace::bounded(vec![0.0], vec![1.0; 2]), "Size", &["ActionSpace::high", "expected 1"]);
    let bounds = ActionSpace::bounded(vec![0.0, -4.0], vec![1.0, 4.0]).unwrap();
    refused(bounds.to_environment(&[0.0]), "Size", &["action has 1 values", "expected 2"]);
    for value in NOT_FINITE {
        refused(bounds.to_environment(&[0.0, value]), "NonFinite", &["action", "index 1", "finite"]);
    }
    assert_eq!(bounds.to_environment(&[f32::MAX, 0.5]).unwrap(), [1.0, 2.0]);
    assert_eq!(bounds.to_environment(&[f32::MIN, f32::MIN]).unwrap(), [0.0, -4.0]);
}

#[test]
fn agents_refuse_settings() {
    let default = || small(MpoConfig::default());
    let build =
        |config: MpoConfig| MpoAgent::new(config, 3, 2, &Device::flex(), 1).map(|agent| agent.updates());
    for (name, set, (values, accepted)) in NUMBERS {
        for value in values {
            let mut config = default();
            set(&mut config, value);
            refused(build(config), "Config", &[name, &format!("{value:?}"), accepted]);
        }
    }
    for (name, set, accepted) in COUNTS {
        let mut config = default();
        set(&mut config);
        refused(build(config), "Config", &[name, accepted]);
    }
    for (sizes, name) in [((0, 2), "observation_size is 0"), ((3, 0), "action_size is 0")] {
        let agent = MpoAgent::new(default(), sizes.0, sizes.1, &Device::flex(), 1);
        refused(agent.map(|agent| agent.updates()), "Config", &[name, "at least 1"]);
    }
    assert_eq!(build(default()).unwrap(), 0);
}

/// Settings "are checked when the agent is built", not after the first thousand steps.
#[test]
fn agents_refuse_a_constraint_that_their_policy_cannot_have() {
    let mut config = small(MpoConfig::default());
    config.actor.covariance = Covariance::Full;
    assert_eq!(config.m_step.constraint, Constraint::PerDimension);
    let agent = MpoAgent::new(config.clone(), 3, 2, &Device::flex(), 1);
    let words = ["the policy's covariance", "full", "diagonal", "Constraint::PerDimension"];
    refused(agent.map(|agent| agent.updates()), "Config", &words);
    // One dimension is the same either way.
    agent_of_one_dimension(config).act(&[0.0]).unwrap();
}

fn agent_of_one_dimension(config: MpoConfig) -> MpoAgent {
    let mut agent = agent(&config, 1, 1, 1);
    train(&mut agent, &random_replay(10, 10, 1, 1), 2);
    agent
}

/// An update with networks of the caller's own, on 2 observations and 1 action.
fn update_with(actor: LinearActor, critic: impl Critic) -> Result<u64> {
    let mut agent = MpoAgent::with_networks(quick(), actor, critic, 1)?;
    let replay = random_replay(10, 10, 2, 1);
    let batch = agent.sample(&replay, &mut rng(1))?;
    agent.update(&batch)?;
    Ok(agent.updates())
}

#[test]
fn agents_refuse_networks_that_say_they_take_nothing() {
    let parabola = || Parabola::new([[0.0], [0.0]], 1.0);
    let actor = LinearActor::new::<0, 1>([], 0.5);
    refused(update_with(actor, parabola()), "Config", &["Actor::observation_size is 0", "at least 1"]);
    let actor = LinearActor::new::<2, 0>([[], []], 0.5);
    refused(update_with(actor, parabola()), "Config", &["Actor::action_size is 0", "at least 1"]);
    assert_eq!(update_with(LinearActor::new([[0.0], [0.0]], 0.5), parabola()).unwrap(), 1);
}

#[test]
fn agents_refuse_a_critic_of_other_sizes_than_the_policy() {
    let config = small(MpoConfig::default());
    let cases = [((3, 1), "observation has 3", "expected 2"), ((2, 2), "action has 2", "expected 1")];
    for ((observation, action), place, expected) in cases {
        let mut rng = Rng::stream(1, Stream::Weights);
        let critic = QNetwork::new(&config.critic, observation, action, &Device::flex(), &mut rng).unwrap();
        refused(
            update_with(LinearActor::new([[0.0], [0.0]], 0.5), critic),
            "Size",
            &["the critic's", place, expected],
        );
    }
}

#[test]
fn agents_refuse_networks_without_autodiff() {
    let networks = || (LinearActor::new([[0.0], [0.0]], 0.5), Parabola::new([[0.0], [0.0]], 1.0));
    let words = ["the networks' devices", "one autodiff device"];
    refused(update_with(networks().0.valid(), networks().1), "Config", &words);
    refused(update_with(networks().0, networks().1.valid()), "Config", &words);
    refused(update_with(networks().0.valid(), networks().1.valid()), "Config", &words);
}

/// A policy and a critic without a single number to learn.
#[derive(Module, Debug)]
struct Fixed {
    value: f64,
}

impl Actor for Fixed {
    type Distribution = Gaussian;

    fn policy(&self, observations: Tensor<2>) -> Gaussian {
        let mean = observations.narrow(1, 0, 1);
        Gaussian { scale: Scale::Diagonal(mean.ones_like() * self.value), mean }
    }

    fn observation_size(&self) -> usize {
        2
    }

    fn action_size(&self) -> usize {
        1
    }
}

impl Critic for Fixed {
    fn values(&self, observations: Tensor<2>, _: Tensor<2>) -> Tensor<1> {
        observations.sum_dim(1).squeeze_dim(1) * self.value
    }

    fn observation_size(&self) -> usize {
        2
    }

    fn action_size(&self) -> usize {
        1
    }
}

#[test]
fn networks_without_parameters_are_refused() {
    let fixed = || Fixed { value: 0.5 };
    let words = ["the network's devices is []", "a network with parameters"];
    refused(update_with(LinearActor::new([[0.0], [0.0]], 0.5), fixed()), "Config", &words);
    let critic = Parabola::new([[0.5], [0.5]], 1.0);
    refused(MpoAgent::with_networks(quick(), fixed(), critic, 1), "Config", &words);
    refused(Policy::new(fixed()).mean_action(&[0.0, 0.0]), "Config", &words);
}

/// A critic that is known beforehand has nothing to learn.
#[test]
fn agents_take_frozen_networks_or_refuse_them() {
    let networks = || (LinearActor::new([[0.0], [0.0]], 0.5), Parabola::new([[0.5], [0.5]], 1.0));
    for (actor, critic) in [(networks().0, networks().1.no_grad()), (networks().0.no_grad(), networks().1)] {
        let result = update_with(actor, critic);
        assert!(matches!(result, Ok(1) | Err(mpo::Error::Config { .. })), "{result:?}");
    }
}

#[test]
fn trainers_refuse_settings_and_environments() {
    let good = TrainerConfig {
        environment_steps: 30,
        warm_up_steps: 10,
        evaluation_episodes: 1,
        updates_per_step: 1.0,
        ..TrainerConfig::default()
    };
    let build = |config: TrainerConfig, environments: [Faulty; 2]| {
        let [environment, evaluation] = environments;
        let agent = agent(&small(MpoConfig::default()), 3, 2, 1);
        let run = |mut trainer: Trainer<Faulty>| trainer.run().map(|summary| summary.counts.updates);
        Trainer::new(config, agent, environment)
            .and_then(|trainer| trainer.evaluate_in(evaluation))
            .and_then(run)
    };
    let fits = || [Faulty::new(3, 2), Faulty::new(3, 2)];
    assert_eq!(build(good.clone(), fits()).unwrap(), 20);
    for ([observation, action], place, sizes) in [
        ([0, 2], "Environment::observation_size is 0", "at least 1"),
        ([4, 2], "the environment's observation has 4", "expected 3"),
        ([3, 1], "the environment's action has 1", "expected 2"),
    ] {
        let kind = if observation == 0 { "Config" } else { "Size" };
        let wrong = || Faulty::new(observation, action);
        refused(build(good.clone(), [wrong(), Faulty::new(3, 2)]), kind, &[place, sizes]);
        refused(build(good.clone(), [Faulty::new(3, 2), wrong()]), kind, &[place, sizes]);
    }
    for (name, set, accepted) in OF_TRAINERS {
        let mut config = good.clone();
        set(&mut config);
        refused(build(config, fits()), "Config", &[name, accepted]);
    }
}

/// Whatever an environment answers: the run ends with an error, and the next one goes on from there.
#[test]
fn trainers_refuse_answers_of_environments() {
    let wrong = |value| [vec![value, 0.0, 0.0], vec![0.0, 0.0, value]];
    let mut faults: Vec<(Vec<f32>, f32, &str, &str)> = vec![
        (vec![], 1.0, "Size", "observation has 0 values, expected 3"),
        (vec![0.0; 4], 1.0, "Size", "observation has 4 values, expected 3"),
    ];
    for value in NOT_FINITE {
        faults.push((vec![0.0; 3], value, "NonFinite", "reward"));
        faults.extend(wrong(value).map(|observation| (observation, 1.0, "NonFinite", "observation")));
    }
    let config = TrainerConfig {
        environment_steps: 40,
        warm_up_steps: 5,
        evaluation_period: 20,
        evaluation_episodes: 1,
        updates_per_step: 1.0,
        ..TrainerConfig::default()
    };
    let agent = agent(&small(MpoConfig::default()), 3, 2, 1);
    // Calls 0 and 11 are resets; of the evaluation, whose first episode is after 20 steps, the first call is
    // one.
    for (call, evaluation) in [(0, false), (7, false), (11, false), (0, true), (7, true)] {
        for (observation, reward, kind, words) in &faults {
            if *words == "reward" && [0, 11].contains(&call) {
                continue;
            }
            let faulty = Faulty::new(3, 2).with_fault(call, observation.clone(), *reward);
            let (first, second) =
                if evaluation { (Faulty::new(3, 2), faulty) } else { (faulty, Faulty::new(3, 2)) };
            let mut trainer = Trainer::new(config.clone(), agent.clone(), first)
                .and_then(|trainer| trainer.evaluate_in(second))
                .unwrap();
            refused(trainer.run(), kind, &[words]);
            let steps = if evaluation { 20 } else { call.saturating_sub(1) };
            assert_eq!(trainer.replay().len(), steps, "call {call}");
            let summary = trainer.run().unwrap();
            assert_eq!((summary.counts.environment_steps, summary.counts.updates), (40, 35));
            assert_eq!((trainer.replay().len(), trainer.replay().mean_reward()), (40, Some(1.0)));
        }
    }
}

#[test]
fn trainers_refuse_evaluations_without_episodes() {
    let mut config = small(MpoConfig::default());
    config.evaluation = PolicyEvaluation::Retrace { steps: 4, lambda: 1.0 };
    let settings = TrainerConfig {
        environment_steps: 20,
        warm_up_steps: 1,
        evaluation_episodes: 1,
        updates_per_step: 1.0,
        ..TrainerConfig::default()
    };
    let environment = || Faulty::new(3, 2);
    let mut trainer = Trainer::new(settings, agent(&config, 3, 2, 1), environment())
        .and_then(|trainer| trainer.evaluate_in(environment()))
        .unwrap();
    refused(trainer.evaluate(0), "Config", &["episodes is 0", "at least 1"]);
    // The first update is due after two steps: fewer than its sequences have.
    let summary = trainer.run().unwrap();
    assert_eq!((summary.counts.environment_steps, summary.counts.updates), (20, 19));
    assert_eq!(trainer.evaluate(2).unwrap().mean_return, 10.0);
}

#[test]
fn files_that_cannot_be_written_are_named() {
    let folder = tempfile::tempdir().unwrap();
    // What should be a folder is a file.
    std::fs::write(folder.path().join("way"), "").unwrap();
    let blocked = folder.path().join("way").join("file");
    let name = blocked.to_str().unwrap();
    refused(EvaluationTable::create(&blocked).map(|_| ()), "File", &[name]);
    refused(MetricsTable::create(&blocked).map(|_| ()), "File", &[name]);
    refused(JsonLines::create(&blocked).map(|_| ()), "File", &[name]);
    // One that is missing is made.
    EvaluationTable::create(folder.path().join("new/evaluations.csv")).unwrap();
    let path = folder.path().join("missing").join("file");
    let name = path.to_str().unwrap();
    let config = TrainerConfig { environment_steps: 0, evaluation_episodes: 1, ..TrainerConfig::default() };
    let agent = agent(&small(MpoConfig::default()), 3, 2, 1);
    let mut trainer = Trainer::new(config, agent, Faulty::new(3, 2))
        .and_then(|trainer| trainer.evaluate_in(Faulty::new(3, 2)))
        .unwrap()
        .observe(LearningCurve::create(&path, "curve").unwrap());
    let error = trainer.run().unwrap_err().to_string();
    assert!(error.contains(name), "{error}");
    std::fs::create_dir(folder.path().join("missing")).unwrap();
    trainer.run().unwrap();
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("<svg"));
}

#[test]
fn agents_refuse_batches_of_wrong_shapes() {
    let [mut of_sequences, mut of_transitions, _] = presets().map(|preset| trained_agent(&preset));
    let before = [&of_sequences, &of_transitions].map(behaviour);
    let words = |place| [place, "has shape", "expected ["];
    for (agent, good) in [(&mut of_sequences, sequences()), (&mut of_transitions, transitions())] {
        for (place, spoil) in WRONG_SHAPES {
            let mut batch = good.clone();
            spoil(&mut batch);
            refused(agent.update(&batch), "Shape", &words(place));
        }
    }
    for apart in [vec![8], vec![2, 2], vec![3, 1]] {
        let mut batch = transitions();
        batch.improved.truncated = apart;
        let words = ["batch.improved.truncated", "ascending"];
        refused(of_transitions.update(&batch), "Config", &words);
    }
    // A replay of other sizes gives such batches.
    for agent in [&mut of_sequences, &mut of_transitions] {
        let batch = agent.sample(&random_replay(5, 9, 4, 2), &mut rng(1)).unwrap();
        refused(agent.update(&batch), "Shape", &["batch.observations"]);
    }
    assert_eq!([&of_sequences, &of_transitions].map(behaviour), before);
}

/// Rows that belong together would be taken for transitions of their own.
#[test]
fn agents_refuse_sequences_of_another_length_than_their_policy_evaluation_learns_from() {
    let [mut of_sequences, mut of_transitions, _] = presets().map(|preset| trained_agent(&preset));
    let before = [&of_sequences, &of_transitions].map(behaviour);
    for steps in [0, 2, 8, usize::MAX] {
        let batch = Batch { steps, ..transitions() };
        let words = [&*format!("batch.steps is {steps}"), "accepted: 1", "MpoConfig::evaluation is NStep"];
        refused(of_transitions.update(&batch), "Config", &words);
    }
    for steps in [0, 3, 21, usize::MAX] {
        let batch = Batch { steps, ..sequences() };
        let words = [&*format!("batch.steps is {steps}"), "at least 1", "a multiple"];
        refused(of_sequences.update(&batch), "Config", &words);
    }
    assert_eq!([&of_sequences, &of_transitions].map(behaviour), before);
    for steps in [1, 2, 10, 20] {
        of_sequences.update(&Batch { steps, ..sequences() }).unwrap();
    }
}

#[test]
fn agents_refuse_batches_on_other_devices() {
    let [mut of_sequences, mut of_transitions, _] = presets().map(|preset| trained_agent(&preset));
    let before = [&of_sequences, &of_transitions].map(behaviour);
    let elsewhere = Device::flex().autodiff();
    let words = ["batch.rewards", "on the agent's device, without autodiff"];
    let rewards = Tensor::zeros([8], &elsewhere);
    refused(of_transitions.update(&Batch { rewards, ..transitions() }), "Config", &words);
    let rewards = Tensor::zeros([20], &elsewhere);
    refused(of_sequences.update(&Batch { rewards, ..sequences() }), "Config", &words);
    assert_eq!([&of_sequences, &of_transitions].map(behaviour), before);
}

#[test]
fn agents_refuse_batches_with_nan() {
    for preset in presets() {
        for (name, batch) in spoilt(&preset, f32::NAN) {
            let mut agent = trained_agent(&preset);
            let before = networks(&agent);
            refused(agent.update(&batch), "NonFinite", &["finite"]);
            assert_eq!(networks(&agent), before, "{name}");
            agent.update(&good(&preset)).unwrap();
            assert_ne!(networks(&agent), before, "{name}");
        }
    }
}

/// "The object that returned it holds what it held before the call": to the last bit.
#[test]
fn refused_batches_leave_no_trace() {
    let mut traces = Vec::new();
    for preset in presets() {
        let agent = trained_agent(&preset);
        let before = behaviour(&agent);
        for (name, batch) in spoilt(&preset, f32::NAN) {
            let mut agent = agent.clone();
            let refusal = agent.update(&batch).unwrap_err();
            if behaviour(&agent) != before {
                traces.push(format!("NaN in {name}: {refusal}"));
            }
        }
    }
    assert!(traces.is_empty(), "{traces:#?}");
}

/// Accepted or refused: the agent goes on.
#[test]
fn agents_survive_numbers_without_measure() {
    let mut lost = Vec::new();
    for (index, preset) in presets().into_iter().enumerate() {
        for value in [1e8, 1e30, -1e30, f32::MAX, f32::INFINITY, f32::NEG_INFINITY] {
            for (name, batch) in spoilt(&preset, value) {
                let mut agent = trained_agent(&preset);
                let result = agent.update(&batch).map(|metrics| metrics.critic_loss);
                let next = agent.update(&good(&preset)).map(|metrics| metrics.critic_loss);
                let action = agent.mean_action(&[0.1, 0.2, 0.3]);
                if next.is_err() || action.is_err() {
                    lost.push(format!(
                        "preset {index}, {value:e} in {name}: {result:?}, {next:?}, {action:?}"
                    ));
                }
            }
        }
        for value in [1e30, f32::MAX, f32::MIN] {
            let mut agent = trained_agent(&preset);
            let _ = (agent.act(&[value; 3]), agent.mean_action(&[0.0, value, 0.0]));
            agent.act(&[0.0; 3]).unwrap();
        }
    }
    assert!(lost.is_empty(), "{lost:#?}");
}

/// Whatever is finite is learnt from, with the largest rewards that are accepted.
#[test]
fn observations_of_any_size_are_learnt_from() {
    for preset in presets() {
        for (value, reward) in [(1e25, 1.0), (-1e30, -1e12), (f32::MAX, 1e12)] {
            let config = TrainerConfig {
                environment_steps: 60,
                warm_up_steps: 5,
                evaluation_episodes: 1,
                tolerated_refused_updates: 0,
                ..TrainerConfig::default()
            };
            let environment = || Faulty::new(3, 2).with_fault(8, vec![value, 0.5, 0.5], reward);
            let agent = agent(&preset, 3, 2, 1);
            let mut trainer = Trainer::new(config, agent, environment())
                .and_then(|trainer| trainer.evaluate_in(environment()))
                .unwrap();
            let summary = trainer.run().unwrap();
            assert_eq!((summary.counts.environment_steps, trainer.replay().len()), (60, 60));
            trainer.agent().mean_action(&[0.1, 0.2, 0.3]).unwrap();
        }
    }
}

/// A reward beyond measure is refused where it comes, by its name and number, and nothing of it is stored.
#[test]
fn rewards_beyond_measure_are_named() {
    let config = TrainerConfig { environment_steps: 60, warm_up_steps: 5, ..TrainerConfig::default() };
    let environment = || Faulty::new(3, 2).with_fault(8, vec![0.5; 3], -3e38);
    let mut trainer = Trainer::new(config, agent(&presets()[0], 3, 2, 1), environment())
        .and_then(|trainer| trainer.evaluate_in(environment()))
        .unwrap();
    refused(trainer.run(), "Range", &["reward", "-3", "1e12"]);
    assert_eq!(trainer.replay().len(), 7);
    let mean = trainer.replay().mean_reward().unwrap();
    assert!((0.0..=1.0).contains(&mean), "{mean}");
    trainer.run().unwrap_err();
    let batch = trainer.agent().sample(trainer.replay(), &mut rng(1)).unwrap();
    trainer.into_agent().update(&batch).unwrap();
}
