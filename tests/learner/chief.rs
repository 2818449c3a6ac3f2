//! A chief and its workers: together they are the learner that has all their batches.

use crate::common::presets::small;
use crate::common::refusals::refused;
use crate::common::replays::{random_replay, rng};
use crate::common::tensors;
use burn::tensor::{Device, Tensor};
use mpo::{
    Actor, Batch, CategoricalActor, Chief, Contribution, Contributor, Critic, DiscreteQNetwork, Distribution,
    EStepConfig, Error, GaussianActor, ImproveAt, Improved, Learner, MpoConfig, PolicyEvaluation, QNetwork,
    ReplayBuffer, Rng, SharedParameters, Stream, TemperatureSolver,
};
use serde_json::{Value, json};

const OBSERVATION: usize = 3;

type Gaussians = Learner<GaussianActor, QNetwork>;

fn learner(config: &MpoConfig, weights: u64, seed: u64) -> Gaussians {
    let mut rng = Rng::stream(weights, Stream::Weights);
    let actor = GaussianActor::new(&config.actor, OBSERVATION, 2, &Device::flex(), &mut rng).unwrap();
    let critic = QNetwork::new(&config.critic, OBSERVATION, 2, &Device::flex(), &mut rng).unwrap();
    Learner::new(config.clone(), actor, critic, seed).unwrap()
}

fn choosing(config: &MpoConfig) -> Learner<CategoricalActor, DiscreteQNetwork> {
    let mut rng = Rng::stream(1, Stream::Weights);
    let actor = CategoricalActor::new(&config.choices, OBSERVATION, &[3], &Device::flex(), &mut rng).unwrap();
    let critic = DiscreteQNetwork::new(&config.critic, OBSERVATION, 3, &Device::flex(), &mut rng).unwrap();
    Learner::new(config.clone(), actor, critic, 1).unwrap()
}

/// Small, with targets that are copied on the way, and values whose changes are not lost beside them.
fn quick(config: MpoConfig) -> MpoConfig {
    MpoConfig { target_period: 4, discount: 0.9, ..small(config) }
}

fn with_solver(config: MpoConfig) -> MpoConfig {
    let solver = TemperatureSolver::GradientStep { learning_rate: 0.01, initial_temperature: 0.5 };
    MpoConfig { e_step: EStepConfig { solver, ..config.e_step.clone() }, ..config }
}

fn plain(mut config: MpoConfig) -> MpoConfig {
    config.actor.network.normalise_observations = false;
    config.critic.network.normalise_observations = false;
    config.critic.normalise_values = false;
    config
}

fn presets() -> Vec<(&'static str, MpoConfig)> {
    let retrace = PolicyEvaluation::Retrace { steps: 4, lambda: 1.0 };
    vec![
        ("default", MpoConfig::default()),
        ("simulation", MpoConfig::simulation()),
        ("paper", MpoConfig::paper()),
        ("parametric", MpoConfig::parametric()),
        ("not normalised", plain(MpoConfig::default())),
        ("Retrace", MpoConfig { evaluation: retrace, ..MpoConfig::default() }),
        ("a gradient step a batch", with_solver(MpoConfig::default())),
    ]
}

/// One update of all workers, each with a batch of its own; one that has no part in it contributes nothing.
fn update<A: Actor, C: Critic>(
    chief: &mut Chief<A, C>,
    workers: &mut [(Contributor<A, C>, Batch)],
) -> mpo::Metrics {
    loop {
        let mut contributions = Vec::new();
        for (worker, batch) in &mut *workers {
            contributions.extend(worker.contribute(|_| Ok(batch.clone())).unwrap());
        }
        let metrics = chief.apply(&contributions).unwrap();
        workers.iter_mut().for_each(|(worker, _)| worker.follow(chief.changes()).unwrap());
        if let Some(metrics) = metrics {
            return metrics;
        }
    }
}

fn joined<A: Actor, C: Critic>(chief: &Chief<A, C>, learner: Learner<A, C>) -> Contributor<A, C> {
    let mut worker = Contributor::new(learner).unwrap();
    worker.follow(&chief.parameters()).unwrap();
    worker
}

/// Of whatever kind, to the last bit.
#[test]
fn a_chief_with_one_worker_is_the_learner() {
    let replay = random_replay(20, 20, OBSERVATION, 2);
    for (name, config) in presets() {
        let config = quick(config);
        let (mut alone, mut draws) = (learner(&config, 1, 7), rng(1));
        let mut chief = Chief::new(learner(&config, 1, 0)).unwrap();
        // The weights that it begins with do not matter.
        let mut workers =
            vec![(joined(&chief, learner(&config, 2, 7)), alone.sample(&replay, &mut rng(1)).unwrap())];
        for update_number in 1..=10 {
            let batch = alone.sample(&replay, &mut draws).unwrap();
            workers[0].1 = batch.clone();
            let (next, metrics) = alone.step(&batch).unwrap();
            alone = next;
            let what = format!("{name}, update {update_number}");
            assert_eq!(update(&mut chief, &mut workers), metrics, "{what}");
            // Networks, targets, multipliers and what the E-step remembers.
            assert!(Chief::new(alone.clone()).unwrap().parameters() == chief.parameters(), "{what}");
            assert_eq!(chief.learner().updates(), alone.updates());
            assert_eq!(chief.learner().informed(), alone.informed(), "{what}");
            assert_eq!(workers[0].0.learner().informed(), alone.informed(), "{what}");
            assert_eq!(workers[0].0.learner().updates(), alone.updates());
            let act = |learner: &Gaussians| learner.policy().act(&[0.1, -0.2, 0.3]).unwrap();
            assert_eq!(act(chief.learner()), act(&alone), "{what}");
        }
        // It goes on alone as if it had always been.
        let batch = alone.sample(&replay, &mut draws).unwrap();
        let mut workers = vec![(joined(&chief, workers.remove(0).0.learner().clone()), batch)];
        update(&mut chief, &mut workers);
        assert!(chief.into_learner().updates() == 11);
    }
}

/// The same with choices, all of which are listed.
#[test]
fn a_chief_with_one_worker_is_the_learner_of_choices() {
    let (config, replay) = (quick(MpoConfig::default()), choices_replay());
    let (mut alone, mut draws) = (choosing(&config), rng(1));
    let mut chief = Chief::new(alone.clone()).unwrap();
    let batch = alone.sample(&replay, &mut rng(1)).unwrap();
    let mut workers = vec![(joined(&chief, alone.clone()), batch)];
    for _ in 0..10 {
        workers[0].1 = alone.sample(&replay, &mut draws).unwrap();
        alone = alone.step(&workers[0].1).unwrap().0;
        update(&mut chief, &mut workers);
        assert!(Chief::new(alone.clone()).unwrap().parameters() == chief.parameters());
    }
}

fn choices_replay() -> ReplayBuffer {
    let (mut rng, mut replay) = (rng(3), ReplayBuffer::new(500, OBSERVATION, 1).unwrap());
    replay.begin_episode(&rng.normals(OBSERVATION)).unwrap();
    for _ in 0..400 {
        let thing = rng.index(3) as f32;
        let action = mpo::Action { values: vec![thing], log_probability: -1.1 };
        let observation = rng.normals(OBSERVATION);
        let reward = thing * observation[0];
        replay
            .push(&action, &mpo::Step { observation, reward, terminated: false, truncated: false })
            .unwrap();
    }
    replay
}

/// A batch of which no row is truncated, so that rows have noise in their own order.
fn batch<A: Actor, C: Critic>(learner: &Learner<A, C>, replay: &ReplayBuffer, draws: &mut Rng) -> Batch {
    let batch = learner.sample(replay, draws).unwrap();
    Batch { improved: Improved { truncated: Vec::new(), ..batch.improved.clone() }, ..batch }
}

/// Its first rows, and the others.
fn parts(batch: &Batch, rows: usize) -> [Batch; 2] {
    [(0, rows), (rows, batch.rows() - rows)].map(|(start, count)| {
        let of = |tensor: &Tensor<1>| tensor.clone().narrow(0, start, count);
        let rows = |tensor: &Tensor<2>| tensor.clone().narrow(0, start, count);
        let improved = &batch.improved;
        Batch {
            steps: batch.steps,
            observations: rows(&batch.observations),
            actions: rows(&batch.actions),
            rewards: of(&batch.rewards),
            discounts: of(&batch.discounts),
            log_probabilities: of(&batch.log_probabilities),
            continued: of(&batch.continued),
            next_observations: rows(&batch.next_observations),
            improved: Improved { observations: rows(&improved.observations), truncated: Vec::new() },
        }
    })
}

/// What the policy and the critic of a learner say of a batch.
fn said<A: Actor, C: Critic>(learner: &Learner<A, C>, batch: &Batch) -> [Vec<f32>; 2] {
    let (seen, taken) = (batch.observations.clone(), batch.actions.clone());
    let policy = learner.actor().valid().policy(seen.clone());
    let probabilities = policy.log_probability(taken.clone().unsqueeze_dim::<3>(1));
    [tensors::numbers(&probabilities), tensors::numbers(&learner.critic().valid().values(seen, taken))]
}

/// How far two workers, with 24 and with 40 rows of each batch, come from the learner that has all 64, in 10
/// updates: as a part of how much that has changed its mind about some states and actions since the first
/// one, of the policy and of the critic.
fn apart<A: Actor, C: Critic>(mut alone: Learner<A, C>, replay: &ReplayBuffer) -> [f64; 2] {
    let distance = |one: &[f32], other: &[f32]| {
        one.iter().zip(other).map(|(one, other)| f64::from(one - other).powi(2)).sum::<f64>().sqrt()
    };
    let asked = batch(&alone, replay, &mut rng(99));
    let mut begin = None;
    let mut chief = Chief::new(alone.clone()).unwrap();
    for seed in 0..10 {
        let whole = batch(&alone, replay, &mut rng(seed));
        let [first, second] = parts(&whole, 24);
        // A learner whose sampled actions are those that the second part's rows have in the whole batch.
        let later = alone.step(&first).unwrap().0;
        let workers = [(alone.clone(), first), (later, second)];
        let mut workers = workers.map(|(learner, batch)| (joined(&chief, learner), batch));
        let metrics = update(&mut chief, &mut workers);
        let (next, expected) = alone.step(&whole).unwrap();
        assert!((metrics.critic_loss / expected.critic_loss - 1.0).abs() < 1e-2, "{metrics:?}, {expected:?}");
        alone = next;
        begin = begin.or_else(|| Some(said(&alone, &asked)));
    }
    let begin = begin.unwrap();
    let [alone, together] = [&alone, chief.learner()].map(|learner| said(learner, &asked));
    [0, 1].map(|which| distance(&alone[which], &together[which]) / distance(&alone[which], &begin[which]))
}

/// The larger, printed.
fn largest(name: &str, apart: [f64; 2]) -> f64 {
    println!("{name}: {:.1e} of the policy, {:.1e} of the critic", apart[0], apart[1]);
    apart[0].max(apart[1])
}

/// Whatever is a mean over rows is that of all rows: observations, targets, divergences, gradients, in as
/// many turns as there are. What remains is rounding, which Adam makes more of where gradients are next to
/// nothing.
#[test]
fn two_workers_are_the_learner_of_both_batches() {
    let replay = random_replay(20, 20, OBSERVATION, 2);
    let next = |config| MpoConfig { improve_at: ImproveAt::NextStates, ..config };
    for (name, config) in [
        ("parametric", MpoConfig::parametric()),
        ("parametric, not normalised", plain(MpoConfig::parametric())),
        ("a gradient step a batch", with_solver(MpoConfig::default())),
        ("a gradient step a batch, not normalised", with_solver(plain(MpoConfig::default()))),
        ("the paper's turns, a gradient step a batch", next(with_solver(MpoConfig::paper()))),
    ] {
        let off = largest(name, apart(learner(&quick(config), 1, 7), &replay));
        assert!(off < 1e-4, "{name}: {off}");
    }
    // Where values are normalised, nothing is worth more than another before the first targets are copied,
    // and without a cost the policy's gradient is nothing but rounding until then.
    for config in [MpoConfig::parametric(), with_solver(MpoConfig::default())].map(plain) {
        let off = largest("choices", apart(choosing(&quick(config)), &choices_replay()));
        assert!(off < 1e-4, "choices: {off}");
    }
}

/// Each worker finds the temperature of its own batch: near that of both, and not the same.
#[test]
fn temperatures_are_each_workers_own() {
    let replay = random_replay(20, 20, OBSERVATION, 2);
    for (name, config) in [("default", MpoConfig::default()), ("simulation", MpoConfig::simulation())] {
        let off = largest(name, apart(learner(&quick(config), 1, 7), &replay));
        assert!(off > 3e-3 && off < 0.3, "{name}: {off}");
    }
}

/// One that comes in the midst of an update has no part in that, and the same part as any other from then on.
#[test]
fn workers_come_and_go() {
    let (config, replay) = (quick(MpoConfig::default()), random_replay(20, 20, OBSERVATION, 2));
    let mut chief = Chief::new(learner(&config, 1, 0)).unwrap();
    let drawn = |seed| learner(&config, 1, 0).sample(&replay, &mut rng(seed)).unwrap();
    let mut first = joined(&chief, learner(&config, 2, 1));
    let begun = first.contribute(|_| Ok(drawn(1))).unwrap().unwrap();
    // Asked again, the same again.
    assert_eq!(first.contribute(|_| panic!("drawn twice")).unwrap().unwrap(), begun);
    chief.apply(&[begun]).unwrap();
    first.follow(chief.changes()).unwrap();
    let mut late = joined(&chief, learner(&config, 3, 2));
    while chief.learner().updates() == 0 {
        assert_eq!(late.contribute(|_| panic!("no update begins here")).unwrap(), None);
        let contribution = first.contribute(|_| panic!("no update begins here")).unwrap().unwrap();
        let again = first.contribute(|_| panic!("no update begins here")).unwrap().unwrap();
        assert_eq!(contribution, again);
        chief.apply(&[contribution]).unwrap();
        first.follow(chief.changes()).unwrap();
        late.follow(chief.changes()).unwrap();
    }
    let mut other = joined(&chief, learner(&config, 4, 2));
    for round in 0..3 {
        let one = late.contribute(|_| Ok(drawn(2))).unwrap().unwrap();
        assert_eq!(other.contribute(|_| Ok(drawn(2))).unwrap().unwrap(), one, "round {round}");
        chief.apply(&[first.contribute(|_| Ok(drawn(1))).unwrap().unwrap(), one]).unwrap();
        for worker in [&mut first, &mut late, &mut other] {
            worker.follow(chief.changes()).unwrap();
        }
    }
    assert_eq!(chief.learner().updates(), 2);

    // Without a round it has no part in the rest, and needs all parameters.
    chief.apply(&[first.contribute(|_| Ok(drawn(3))).unwrap().unwrap()]).unwrap();
    first.follow(chief.changes()).unwrap();
    assert!(late.contribute(|_| Ok(drawn(3))).unwrap().is_some());
    chief.apply(&[first.contribute(|_| Ok(drawn(3))).unwrap().unwrap()]).unwrap();
    refused(late.follow(chief.changes()), "Config", &["SharedParameters::base"]);
    late.follow(&chief.parameters()).unwrap();
    assert_eq!(late.contribute(|_| Ok(drawn(3))).unwrap(), None);

    // None of those that began the update is left: another begins, at the parameters of the last one.
    let mut expected = chief.learner().clone();
    let version = chief.version();
    chief.abandon().unwrap();
    assert!(chief.version() > version && chief.version().is_multiple_of(3));
    late.follow(&chief.parameters()).unwrap();
    let mut workers = [(late, drawn(4))];
    update(&mut chief, &mut workers);
    assert_eq!(chief.learner().updates(), 3);
    expected = expected.step(&drawn(4)).unwrap().0;
    assert_eq!(expected.updates(), 3);
}

/// With no worker that follows it an update cannot be made, nor before there are parameters.
#[test]
fn what_comes_in_the_wrong_order_is_refused() {
    let config = quick(MpoConfig::default());
    let mut chief = Chief::new(learner(&config, 1, 0)).unwrap();
    let mut worker = Contributor::new(learner(&config, 1, 1)).unwrap();
    refused(worker.contribute(|_| panic!("drawn")), "Order", &["the chief's parameters come first"]);
    refused(chief.apply(&[]), "Config", &["contributions", "at least 1"]);
    worker.follow(&chief.parameters()).unwrap();
    refused(
        worker.contribute(|_| Err(Error::Order { place: "the test", expected: "a batch" })),
        "Order",
        &["the test"],
    );
    // It tries again.
    let replay = random_replay(20, 20, OBSERVATION, 2);
    let mut bad = chief.learner().sample(&replay, &mut rng(1)).unwrap();
    let good = bad.clone();
    bad.rewards = bad.rewards * f32::NAN;
    refused(worker.contribute(|_| Ok(bad)), "NonFinite", &["a contribution"]);
    let other = parts(&good, 3)[0].clone();
    let wide = Tensor::zeros([3, OBSERVATION + 1], &Device::flex());
    refused(
        worker.contribute(|_| Ok(Batch { observations: wide, ..other })),
        "Shape",
        &["batch.observations"],
    );
    assert!(worker.contribute(|_| Ok(good)).unwrap().is_some());
}

/// What serde writes of it, changed and read again.
fn forged<T>(message: &T, change: impl FnOnce(&mut Value)) -> T
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let mut value = serde_json::to_value(message).unwrap();
    change(&mut value);
    serde_json::from_value(value).unwrap()
}

/// In every round: the reason is named, nothing changes, and the right one is still taken.
#[test]
fn wrong_contributions_are_refused() {
    for config in
        [MpoConfig::default(), MpoConfig { improve_at: ImproveAt::NextStates, ..MpoConfig::paper() }]
    {
        let (config, replay) = (quick(config), random_replay(20, 20, OBSERVATION, 2));
        let mut chief = Chief::new(learner(&config, 1, 0)).unwrap();
        let batch = chief.learner().sample(&replay, &mut rng(1)).unwrap();
        let mut worker = joined(&chief, learner(&config, 2, 1));
        let mut solved = None;
        while chief.learner().updates() == 0 {
            let right = worker.contribute(|_| Ok(batch.clone())).unwrap().unwrap();
            let (before, version) = (chief.parameters(), chief.version());
            let mut refuse = |wrong: &Contribution, kind, words: &[&str]| {
                refused(chief.check(wrong), kind, words);
                refused(chief.apply(&[right.clone(), wrong.clone()]), kind, words);
                assert!(chief.parameters() == before && chief.version() == version);
            };
            for other in [version + 1, version.wrapping_sub(1), u64::MAX] {
                let wrong = forged(&right, |value| value["header"]["version"] = json!(other));
                refuse(&wrong, "Config", &["Contribution::version", "the chief's version"]);
            }
            for rows in [0, usize::MAX, (1 << 24) + 1] {
                let wrong = forged(&right, |value| value["header"]["rows"] = json!(rows));
                refuse(&wrong, "Config", &["Contribution::rows"]);
            }
            for change in [
                |numbers: &mut Vec<Value>| numbers.push(json!(0.0)),
                |numbers: &mut Vec<Value>| drop(numbers.pop()),
                |numbers: &mut Vec<Value>| numbers.clear(),
            ] {
                let wrong = forged(&right, |value| change(value["numbers"].as_array_mut().unwrap()));
                refuse(&wrong, "Size", &["a contribution"]);
            }
            // Beyond single precision, and so infinite.
            let wrong = forged(&right, |value| value["numbers"][1] = json!(1e300));
            refuse(&wrong, "NonFinite", &["a contribution", "index 1"]);
            let dual = serde_json::to_value(&right).unwrap()["header"]["dual"].clone();
            let other = if dual.is_null() { solved.clone().unwrap_or(Value::Null) } else { Value::Null };
            if dual != other {
                let wrong = forged(&right, |value| value["header"]["dual"] = other);
                refuse(&wrong, "Config", &["Contribution::dual"]);
            }
            if !dual.is_null() {
                let wrong = forged(&right, |value| value["header"]["dual"]["temperature"] = json!(-1.0));
                refuse(&wrong, "Config", &["Contribution::dual", "temperature"]);
                solved = Some(dual);
            }
            chief.apply(&[right]).unwrap();
            worker.follow(chief.changes()).unwrap();
        }
    }
}

/// Numbers that are finite each, and what comes of them is not: the chief stays as it was, and begins anew.
#[test]
fn what_comes_of_contributions_has_to_be_finite() {
    let (config, replay) = (quick(MpoConfig::default()), random_replay(20, 20, OBSERVATION, 2));
    let mut chief = Chief::new(learner(&config, 1, 0)).unwrap();
    let batch = chief.learner().sample(&replay, &mut rng(1)).unwrap();
    let begin = chief.parameters();
    let mut worker = joined(&chief, learner(&config, 2, 1));
    for _ in 0..2 {
        chief.apply(&[worker.contribute(|_| Ok(batch.clone())).unwrap().unwrap()]).unwrap();
        worker.follow(chief.changes()).unwrap();
    }
    let right = worker.contribute(|_| panic!("drawn")).unwrap().unwrap();
    // Its square is not a number in single precision.
    let large = forged(&right, |value| value["numbers"][0] = json!(1e30));
    let before = chief.parameters();
    refused(chief.apply(&[large]), "NonFinite", &["the policy's gradient"]);
    assert!(chief.parameters() == before);
    chief.abandon().unwrap();
    worker.follow(chief.changes()).unwrap();
    assert_eq!(numbers(&chief.parameters()), numbers(&begin));
    let mut workers = [(worker, batch)];
    update(&mut chief, &mut workers);
    assert_eq!(chief.learner().updates(), 1);
}

fn numbers(parameters: &SharedParameters) -> Value {
    serde_json::to_value(parameters).unwrap()["numbers"].clone()
}

/// The worker stays as it was, and follows the right ones.
#[test]
fn wrong_parameters_are_refused() {
    let (config, replay) = (quick(MpoConfig::default()), random_replay(20, 20, OBSERVATION, 2));
    let mut chief = Chief::new(learner(&config, 1, 0)).unwrap();
    let batch = chief.learner().sample(&replay, &mut rng(1)).unwrap();
    let complete = chief.parameters();
    let mut worker = joined(&chief, learner(&config, 2, 1));
    chief.apply(&[worker.contribute(|_| Ok(batch.clone())).unwrap().unwrap()]).unwrap();
    let changes = chief.changes().clone();
    assert!(
        serde_json::to_vec(&changes).unwrap().len() * 2 < serde_json::to_vec(&complete).unwrap().len() * 3
    );
    let count = numbers(&complete).as_array().unwrap().len();
    let mut refuse = |wrong: &SharedParameters, kind, words: &[&str]| {
        refused(worker.follow(wrong), kind, words);
        assert_eq!(worker.version(), Some(0));
    };
    for runs in [json!([[0, count - 1]]), json!([[1, count - 1]]), json!([]), json!([[0, 1], [1, count - 1]])]
    {
        let wrong = forged(&complete, |value| value["header"]["runs"] = runs);
        refuse(&wrong, "Config", &["SharedParameters::runs", "all there are"]);
    }
    for runs in
        [json!([[count, 1]]), json!([[usize::MAX, 2]]), json!([[1, usize::MAX]]), json!([[5, 2], [6, 1]])]
    {
        let wrong = forged(&changes, |value| value["header"]["runs"] = runs);
        refuse(&wrong, "Config", &["SharedParameters::runs", "ascending"]);
    }
    let wrong = forged(&changes, |value| value["header"]["base"] = json!(7));
    refuse(&wrong, "Config", &["SharedParameters::base"]);
    let wrong = forged(&changes, |value| value["numbers"].as_array_mut().unwrap().push(json!(1.0)));
    refuse(&wrong, "Size", &["the shared parameters"]);
    let wrong = forged(&complete, |value| value["numbers"][3] = json!(1e300));
    refuse(&wrong, "NonFinite", &["the shared parameters", "index 3"]);
    let wrong = forged(&changes, |value| value["header"]["e_step"]["config"]["epsilon"] = json!(0.2));
    refuse(&wrong, "Config", &["EStep::config"]);
    let wrong = forged(&changes, |value| value["header"]["e_step"]["last"] = json!(-1.0));
    refuse(&wrong, "Config", &["EStep::last"]);
    let wrong = forged(&changes, |value| value["header"]["informed"] = json!(1.5));
    refuse(&wrong, "Config", &["SharedParameters::informed"]);
    worker.follow(&changes).unwrap();
    assert_eq!(worker.version(), Some(1));
    let contribution = worker.contribute(|_| panic!("drawn")).unwrap();
    assert!(
        contribution.is_some_and(|contribution| contribution.rows() == 64 && contribution.version() == 1)
    );
}
