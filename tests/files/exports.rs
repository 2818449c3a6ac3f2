//! Policies for other programs: ONNX models and PyTorch's parameters, which act as the policy does.

use std::fs;
use std::path::Path;
use std::process::Command;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use mpo::networks::{
    Activation, CategoricalActorConfig, Covariance, GaussianActorConfig, NetworkConfig, Normalised,
};
use mpo::{
    ActionSpace, Actor, Categorical, CategoricalActor, Distribution, Error, Gaussian, GaussianActor,
    HybridActor, IndependentActors, OnnxOptions, Policy, Rng, Scale, Stream,
};
use serde_json::json;
use tempfile::TempDir;

use crate::common::chain::Chain;
use crate::onnx::Model;

const OBSERVATION: usize = 4;
const ACTION: usize = 3;

fn rng(seed: u64) -> Rng {
    Rng::stream(seed, Stream::Weights)
}

fn config(covariance: Covariance, activation: Activation, layer_norm: bool) -> GaussianActorConfig {
    GaussianActorConfig {
        network: NetworkConfig {
            hidden: vec![7, 5],
            activation,
            layer_norm,
            normalise_observations: layer_norm,
        },
        covariance,
        bounded_mean: layer_norm,
        ..GaussianActorConfig::default()
    }
}

/// Of every kind.
fn configs() -> Vec<GaussianActorConfig> {
    let mut configs = Vec::new();
    for covariance in [Covariance::Diagonal, Covariance::Full] {
        for activation in [Activation::Relu, Activation::Elu, Activation::Tanh] {
            configs.extend([true, false].map(|layer_norm| config(covariance, activation, layer_norm)));
        }
    }
    // One layer; a mean that stays inside without the layers' normalisation; units of the observations alone.
    configs[0].network.hidden = vec![6];
    configs[1].bounded_mean = true;
    configs[3].network.normalise_observations = true;
    configs
}

/// As they are measured, with offsets and spreads of any size where a network normalises them, some beyond
/// all that was seen.
fn observations(network: &NetworkConfig, count: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut rng = rng(seed);
    let units = match network.normalise_observations {
        true => [(0.0, 1.0), (1e6, 20.0), (0.0, 1e-3), (0.0, -5e3)],
        false => [(0.0, 1.0); OBSERVATION],
    };
    let of = |(x, (offset, spread)): (f32, (f32, f32))| offset + spread * x;
    (0..count).map(|_| rng.normals(OBSERVATION).into_iter().zip(units).map(of).collect()).collect()
}

/// Any weights, rather than those of a network that starts near 0; what is known of the observations stays.
fn shaken<A: Actor>(actor: A, seed: u64) -> A {
    struct Shake(Vec<String>, Rng);
    impl ModuleMapper for Shake {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if self.0.iter().any(|name| name == "moments") {
                return param;
            }
            param.map(|old| {
                let noise = self.1.normals(old.shape().num_elements());
                let noise = Tensor::<1>::from_floats(noise.as_slice(), &old.device()).reshape(old.shape());
                old + noise * 0.5
            })
        }
    }
    actor.map(&mut Shake(Vec::new(), rng(seed)))
}

fn actor(config: &GaussianActorConfig, seed: u64) -> GaussianActor {
    let untrained = GaussianActor::new(config, OBSERVATION, ACTION, &Device::flex(), &mut rng(seed)).unwrap();
    shaken(seeing(untrained, &config.network).valid(), seed)
}

/// After some batches.
fn seeing<A: Actor>(actor: A, network: &NetworkConfig) -> A {
    (0..3).fold(actor, |actor, batch| {
        let seen = observations(network, 50, 100 + batch).concat();
        actor.observe(&Tensor::<1>::from_floats(seen.as_slice(), &Device::flex()).reshape([50, OBSERVATION]))
    })
}

/// Of one choice, of three, and of numbers with two.
fn policies_of_choices() -> (Vec<Policy<CategoricalActor>>, Vec<Policy<HybridActor>>) {
    let device = Device::flex();
    let mut alone = Vec::new();
    let mut hybrid = Vec::new();
    for gaussian in [configs()[0].clone(), configs()[7].clone()] {
        let network = gaussian.network.clone();
        let config = CategoricalActorConfig { network: network.clone(), uniform_share: 0.1 };
        let of = |choices: &[usize]| {
            CategoricalActor::new(&config, OBSERVATION, choices, &device, &mut rng(5)).unwrap()
        };
        for choices in [&[3][..], &[2, 5, 4]] {
            alone.push(Policy::new(shaken(seeing(of(choices), &network).valid(), 6)));
        }
        let numbers = GaussianActor::new(&gaussian, OBSERVATION, ACTION, &device, &mut rng(7)).unwrap();
        let both = IndependentActors::new(numbers, of(&[4, 3])).unwrap();
        let policy = Policy::new(shaken(seeing(both, &network).valid(), 8));
        hybrid.push(policy.with_action_space(bounds().with_choices([4, 3])).unwrap());
    }
    (alone, hybrid)
}

fn bounds() -> ActionSpace {
    ActionSpace::bounded(vec![-1.0, 2.0, -3e3], vec![3.5, 2.25, 1e3]).unwrap()
}

fn policy(config: &GaussianActorConfig, seed: u64) -> Policy {
    Policy::new(actor(config, seed)).with_action_space(bounds()).unwrap()
}

fn exported<A: Actor>(policy: &Policy<A>, distribution: bool) -> Model {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("policy.onnx");
    policy.export_onnx_with(&path, &OnnxOptions { distribution, task: "a \"task\"".into() }).unwrap();
    Model::new(fs::read(path).unwrap())
}

/// In units of the action range, or of a number beyond it.
fn near(found: &[f64], expected: &[f32], what: &str) {
    assert_eq!(found.len(), ACTION);
    let ranges = bounds();
    for part in 0..ACTION {
        let range = f64::from(ranges.high()[part] - ranges.low()[part]);
        let expected_part = f64::from(expected[part]);
        let distance = (found[part] - expected_part).abs() / range.max(expected_part.abs());
        assert!(distance < 1e-5, "{what}: {found:?}, not {expected:?}");
    }
}

/// The mean and the deviations of its components, in the environment's units.
fn distribution(gaussian: Gaussian, bounds: &ActionSpace) -> [Vec<f32>; 2] {
    let mean = gaussian.mode().into_data().try_into_vec::<f32>().unwrap();
    let variance = match gaussian.scale {
        Scale::Diagonal(deviation) => deviation.square(),
        Scale::Cholesky(factor) => factor.square().sum_dim(2).squeeze_dim(2),
    };
    let variance = variance.into_data().try_into_vec::<f32>().unwrap();
    let ends = || bounds.low().iter().zip(bounds.high());
    let mean = mean.iter().zip(ends()).map(|(mean, (low, high))| low + 0.5 * (mean + 1.0) * (high - low));
    let deviation =
        variance.iter().zip(ends()).map(|(variance, (low, high))| 0.5 * variance.sqrt() * (high - low));
    [mean.collect(), deviation.collect()]
}

fn of_gaussian(policy: &Policy, observation: &[f32]) -> [Vec<f32>; 2] {
    distribution(policy.at(observation).unwrap(), policy.action_space())
}

/// Those of each thing, choice after choice.
fn probabilities(categorical: &Categorical) -> Vec<f32> {
    let of_choice = |log: &Tensor<2>| log.clone().exp().into_data().try_into_vec::<f32>().unwrap();
    categorical.log_probabilities().iter().flat_map(of_choice).collect()
}

#[test]
fn models_act_as_the_policy() {
    for (seed, config) in configs().iter().enumerate() {
        let policy = policy(config, seed as u64);
        let model = exported(&policy, true);
        let mut actions = Vec::new();
        for observation in observations(&config.network, 20, 1) {
            actions.push(policy.act(&observation).unwrap());
            let [mean, deviation] = of_gaussian(&policy, &observation);
            near(&model.run(&observation, "action"), actions.last().unwrap(), &format!("{config:?}"));
            near(&model.run(&observation, "mean"), &mean, &format!("the mean of {config:?}"));
            near(&model.run(&observation, "deviation"), &deviation, &format!("the deviation of {config:?}"));
        }
        assert!(actions.iter().any(|action| action != &actions[0]), "{config:?}");
    }
}

#[test]
fn models_choose_as_the_policy() {
    let same = |found: &[f64], expected: &[f32], what: &str| {
        let far =
            found.iter().zip(expected).any(|(found, &expected)| (found - f64::from(expected)).abs() > 1e-5);
        assert!(found.len() == expected.len() && !far, "{what}: {found:?}, not {expected:?}");
    };
    let mut seen = std::collections::HashSet::new();
    let (alone, hybrid) = policies_of_choices();
    for policy in alone {
        let model = exported(&policy, true);
        for observation in observations(&policy.actor().config().network, 20, 1) {
            let action = policy.act(&observation).unwrap();
            same(&model.run(&observation, "action"), &action, "the action");
            let expected = probabilities(&policy.at(&observation).unwrap());
            same(&model.run(&observation, "probabilities"), &expected, "the probabilities");
            seen.insert(action.iter().map(|&index| index as usize).collect::<Vec<_>>());
        }
    }
    assert!(seen.len() > 10, "{seen:?}");
    for (policy, config) in hybrid.into_iter().zip([&configs()[0], &configs()[7]]) {
        let model = exported(&policy, true);
        for observation in observations(&config.network, 20, 1) {
            let (action, parts) = (policy.act(&observation).unwrap(), policy.at(&observation).unwrap());
            let found = model.run(&observation, "action");
            near(&found[..ACTION], &action[..ACTION], "the numbers");
            same(&found[ACTION..], &action[ACTION..], "the choices");
            let [mean, deviation] = distribution(parts.first, &bounds());
            near(&model.run(&observation, "mean"), &mean, "the mean");
            near(&model.run(&observation, "deviation"), &deviation, "the deviation");
            let expected = probabilities(&parts.second);
            same(&model.run(&observation, "probabilities"), &expected, "the probabilities");
        }
    }
}

/// Before the first batch observations are seen as they are.
#[test]
fn untrained_models_act_as_the_policy() {
    let config = config(Covariance::Diagonal, Activation::Elu, true);
    let untrained = GaussianActor::new(&config, OBSERVATION, ACTION, &Device::flex(), &mut rng(1)).unwrap();
    let policy = Policy::new(shaken(untrained.valid(), 1)).with_action_space(bounds()).unwrap();
    let observation = [0.5, -2.0, 1.5, 30.0];
    near(
        &exported(&policy, false).run(&observation, "action"),
        &policy.act(&observation).unwrap(),
        "untrained",
    );
}

#[test]
fn models_say_what_goes_in_and_out() {
    let policy = policy(&config(Covariance::Full, Activation::Tanh, true), 1);
    let named = |names: &[(&str, usize)]| -> Vec<(String, u64)> {
        names.iter().map(|&(name, size)| (name.to_owned(), size as u64)).collect()
    };
    let model = exported(&policy, false);
    assert_eq!(model.ends(11), named(&[("observation", OBSERVATION)]));
    assert_eq!(model.ends(12), named(&[("action", ACTION)]));
    assert!(!model.operators().contains(&"Softplus".to_owned()), "nothing of the deviation, unasked");
    let metadata = model.metadata();
    assert_eq!(metadata["mpo.crate_version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(metadata["mpo.task"], "a \"task\"");
    assert_eq!(metadata["mpo.action_low"], "[-1.0,2.0,-3000.0]");
    assert_eq!(metadata["mpo.action_high"], "[3.5,2.25,1000.0]");
    let settings: serde_json::Value = serde_json::from_str(&metadata["mpo.actor"]).unwrap();
    assert_eq!(settings, json!(policy.actor().config()));
    let outputs = named(&[("action", ACTION), ("mean", ACTION), ("deviation", ACTION)]);
    assert_eq!(exported(&policy, true).ends(12), outputs);
    let (alone, hybrid) = policies_of_choices();
    assert_eq!(exported(&alone[1], true).ends(12), named(&[("action", 3), ("probabilities", 11)]));
    assert_eq!(exported(&alone[1], false).metadata()["mpo.action_choices"], "[2,5,4]");
    assert_eq!(exported(&hybrid[0], false).ends(12), named(&[("action", ACTION + 2)]));
    let outputs = [outputs, named(&[("probabilities", 7)])].concat();
    assert_eq!(exported(&hybrid[0], true).ends(12)[1..], outputs[1..]);
}

#[test]
fn networks_of_ones_own_are_refused_as_models_and_nothing_is_written() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("policy.onnx");
    let refused = |result: mpo::Result<()>, words: &[&str]| {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{error:?}");
        let message = error.to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    };
    let own = Policy::new(Chain::new([4, 6], true, &mut rng(1)));
    refused(
        own.export_onnx(&path),
        &["Policy::export_onnx is one with the settings null", "a GaussianActor"],
    );
    // The settings of the default network, but more around it.
    let inner = actor(&config(Covariance::Diagonal, Activation::Relu, false), 1);
    let around = Policy::new(Normalised::new(inner, OBSERVATION, &Device::flex()).valid());
    refused(around.export_onnx(&path), &["one without first.weight, of shape [4, 7]", "a GaussianActor"]);
    let policy = policy(&config(Covariance::Diagonal, Activation::Relu, false), 1);
    let nowhere = policy.export_onnx(folder.path().join("missing/policy.onnx"));
    assert!(matches!(nowhere, Err(Error::File { .. })), "{nowhere:?}");
}

#[test]
fn pytorch_has_its_own_names_and_layout() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("policy.safetensors");
    let policy = policy(&config(Covariance::Full, Activation::Relu, true), 1);
    policy.export_safetensors(&path).unwrap();
    let contents = fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&contents).unwrap();
    let shape = |name: &str| file.tensor(name).unwrap().shape().to_vec();
    assert_eq!(shape("first.weight"), [7, 4]);
    assert_eq!(shape("hidden.norms.0.weight"), [7]);
    assert_eq!(shape("hidden.norms.0.bias"), [7]);
    assert_eq!(shape("hidden.layers.0.weight"), [5, 7]);
    assert_eq!(shape("mean.weight"), [3, 5]);
    assert_eq!(shape("moments.deviation"), [4]);
    assert_eq!(file.len(), 18);
    let weight = file.tensor("first.weight").unwrap().data().to_vec();
    let own = folder.path().join("policy.mpo");
    policy.save(&own).unwrap();
    let own = fs::read(own).unwrap();
    let own =
        safetensors::SafeTensors::deserialize(&own).unwrap().tensor("first.weight").unwrap().data().to_vec();
    let (weight, own) = (weight.as_chunks::<4>().0, own.as_chunks::<4>().0);
    for (output, input) in (0..7).flat_map(|output| (0..4).map(move |input| (output, input))) {
        assert_eq!(weight[4 * output + input], own[7 * input + output]);
    }
}

#[test]
fn parameters_of_pytorch_come_back_or_change_nothing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("policy.safetensors");
    for config in configs() {
        let observation = &observations(&config.network, 1, 1)[0];
        let saved = policy(&config, 1);
        saved.export_safetensors(&path).unwrap();
        let mut other = policy(&config, 2);
        let before = other.act(observation).unwrap();
        assert_ne!(before, saved.act(observation).unwrap());
        other.import_safetensors(&path).unwrap();
        assert_eq!(other.act(observation).unwrap(), saved.act(observation).unwrap());
    }
    // Networks of one's own too.
    let own = |hidden, offset, seed| Policy::new(Chain::new(hidden, offset, &mut rng(seed)));
    let saved = own([4, 6], true, 1);
    saved.export_safetensors(&path).unwrap();
    let mut other = own([4, 6], true, 2);
    other.import_safetensors(&path).unwrap();
    let observation = [0.1, 0.2];
    assert_eq!(other.act(&observation).unwrap(), saved.act(&observation).unwrap());
    let mut refused = |words: &[&str]| {
        let error = other.import_safetensors(&path).unwrap_err();
        assert!(matches!(error, Error::Format { .. } | Error::Damaged { .. }), "{error:?}");
        assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
        assert_eq!(other.act(&observation).unwrap(), saved.act(&observation).unwrap());
    };
    own([4, 6], false, 3).export_safetensors(&path).unwrap();
    refused(&["without offset, of shape [2]"]);
    own([4, 7], true, 3).export_safetensors(&path).unwrap();
    refused(&["second of shape [4, 7], not [4, 6]"]);
    policy(&configs()[0], 1).export_safetensors(&path).unwrap();
    refused(&["without first"]);
    fs::write(&path, "not a file of tensors").unwrap();
    refused(&["damaged"]);
}

/// The blocks of Python in the guide's chapter on deployment.
fn programs_of_the_guide() -> Vec<String> {
    let chapter = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide/deployment.md");
    let chapter = fs::read_to_string(chapter).unwrap();
    let blocks = chapter.split("```python\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// A model, and what the policy does.
fn write_case<A: Actor>(path: &Path, policy: &Policy<A>, network: &NetworkConfig) {
    policy.export_onnx(path.with_extension("onnx")).unwrap();
    let observations = observations(network, 20, 1);
    let actions: Vec<_> = observations.iter().map(|one| policy.act(one).unwrap()).collect();
    let expected = json!({ "observations": observations, "action": actions });
    fs::write(path.with_extension("json"), expected.to_string()).unwrap();
}

/// With ONNX Runtime, the format's own checker, and the guide's programs.
#[test]
#[ignore = "needs onnx, onnxruntime and safetensors in Python"]
fn python_acts_as_the_policy() {
    let folder = TempDir::new().unwrap();
    let (alone, hybrid) = policies_of_choices();
    for (index, policy) in alone.iter().enumerate() {
        let network = policy.actor().config().network.clone();
        write_case(&folder.path().join(format!("choices{index}")), policy, &network);
    }
    for (index, (policy, config)) in hybrid.iter().zip([&configs()[0], &configs()[7]]).enumerate() {
        write_case(&folder.path().join(format!("hybrid{index}")), policy, &config.network);
    }
    for (seed, config) in configs().iter().enumerate() {
        let policy = policy(config, seed as u64);
        let file = |suffix: &str| folder.path().join(format!("{seed:02}.{suffix}"));
        let options = OnnxOptions { distribution: true, task: "test".into() };
        policy.export_onnx_with(file("onnx"), &options).unwrap();
        policy.export_safetensors(file("safetensors")).unwrap();
        policy.save(file("mpo")).unwrap();
        let observations = observations(&config.network, 20, 1);
        let actions: Vec<_> = observations.iter().map(|one| policy.act(one).unwrap()).collect();
        let distributions: Vec<_> = observations.iter().map(|one| of_gaussian(&policy, one)).collect();
        let expected = json!({
            "observations": observations,
            "action": actions,
            "mean": distributions.iter().map(|[mean, _]| mean).collect::<Vec<_>>(),
            "deviation": distributions.iter().map(|[_, deviation]| deviation).collect::<Vec<_>>(),
            "low": policy.action_space().low(),
            "high": policy.action_space().high(),
            "actor": config,
        });
        fs::write(file("json"), expected.to_string()).unwrap();
    }
    let programs = programs_of_the_guide();
    assert_eq!(programs.len(), 3, "ONNX Runtime, NumPy, PyTorch");
    for (name, program) in ["with_onnx", "with_numpy", "with_pytorch"].iter().zip(programs) {
        fs::write(folder.path().join(format!("{name}.py")), program).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/python/exports.py");
    let python = std::env::var_os("MPO_PYTHON").unwrap_or_else(|| "python3".into());
    let status = Command::new(python).arg(script).arg(folder.path()).status().unwrap();
    assert!(status.success());
    // What PyTorch saved, where there is one.
    for (seed, config) in configs().iter().enumerate() {
        let back = folder.path().join(format!("{seed:02}.back.safetensors"));
        if back.exists() {
            let (expected, mut imported) = (policy(config, seed as u64), policy(config, 99));
            imported.import_safetensors(back).unwrap();
            let observation = &observations(&config.network, 1, 1)[0];
            assert_eq!(imported.act(observation).unwrap(), expected.act(observation).unwrap());
        }
    }
}
