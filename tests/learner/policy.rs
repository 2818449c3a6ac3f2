//! Policies: the average that is deployed, saved to files and loaded from them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::chain::Chain;
use crate::common::networks::{LinearActor, Parabola};
use crate::common::refusals;
use crate::common::replays::{random_replay, rng};
use crate::common::seals::{rewritten, sealed};
use crate::common::tensors::numbers;
use crate::common::training::{quick, train};
use crate::twice::{ACTION, OBSERVATION, Twice};
use burn::module::Module;
use burn::tensor::Device;
use mpo::networks::{Activation, Covariance, NetworkConfig};
use mpo::{ActionSpace, Error, MpoAgent, MpoConfig, Policy, Rng, Stream};
use proptest::prelude::*;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use tempfile::TempDir;

const OBSERVATION_SIZE: usize = 3;
const ACTION_SIZE: usize = 2;

fn agent(covariance: Covariance, hidden: Vec<usize>, layer_norm: bool) -> MpoAgent {
    let network =
        NetworkConfig { hidden, activation: Activation::Elu, layer_norm, normalise_observations: layer_norm };
    let mut config = MpoConfig::paper();
    config.actor.network = network;
    config.actor.covariance = covariance;
    MpoAgent::new(config, OBSERVATION_SIZE, ACTION_SIZE, &Device::flex(), 7).unwrap()
}

fn saved(folder: &TempDir, agent: &MpoAgent) -> PathBuf {
    let path = folder.path().join("policy.mpo");
    agent.policy().save(&path).unwrap();
    path
}

fn refused(path: &Path, words: &[&str]) {
    let error = Policy::load(path, &Device::flex()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. } | Error::Format { .. }), "{error:?}");
    for word in words {
        assert!(error.to_string().contains(word), "{error}");
    }
}

/// The numbers of a tensor of a file, row after row.
fn tensor(file: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let tensor = file.tensor(name).unwrap();
    let (numbers, _) = tensor.data().as_chunks();
    numbers.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes))).collect()
}

#[test]
fn a_loaded_policy_is_the_saved_one_to_the_bit() {
    let mut rng = Rng::stream(1, Stream::Replay);
    for covariance in [Covariance::Diagonal, Covariance::Full] {
        for (hidden, layer_norm) in [(vec![5], true), (vec![4, 6, 3], true), (vec![8, 8], false)] {
            let folder = TempDir::new().unwrap();
            let agent = agent(covariance, hidden.clone(), layer_norm);
            let loaded = Policy::load(saved(&folder, &agent), &Device::flex()).unwrap();
            assert_eq!(loaded.actor().config(), agent.policy().actor().config());
            for _ in 0..10 {
                let observation = rng.normals(OBSERVATION_SIZE);
                let (ours, theirs) =
                    (loaded.at(&observation).unwrap(), agent.policy().at(&observation).unwrap());
                ours.mean.into_data().assert_eq(&theirs.mean.into_data(), true);
                ours.scale.diagonal().into_data().assert_eq(&theirs.scale.diagonal().into_data(), true);
                let mean = loaded.mean_action(&observation).unwrap();
                assert_eq!(mean, agent.mean_action(&observation).unwrap());
            }
        }
    }
}

#[test]
fn the_file_is_small_and_alone_in_its_folder() {
    let folder = TempDir::new().unwrap();
    let path = saved(&folder, &agent(Covariance::Diagonal, vec![256, 256], true));
    // Mean and deviation of three numbers, the count of batches, two layers with their normalisation, the
    // first of three inputs, two outputs of two, four bytes each.
    let parameters = 2 * 3 + 1 + (3 + 1) * 256 + 2 * 256 + (256 + 1) * 256 + 2 * 256 + (256 + 1) * 4;
    let length = fs::metadata(&path).unwrap().len();
    // Names, shapes and settings.
    assert!((4 * parameters..4 * parameters + 2500).contains(&length), "{length}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn saving_replaces_the_file_and_errors_leave_it() {
    let folder = TempDir::new().unwrap();
    let first = agent(Covariance::Diagonal, vec![4], false);
    let path = saved(&folder, &first);
    let second = agent(Covariance::Diagonal, vec![5], false);
    second.policy().save(&path).unwrap();
    assert_eq!(Policy::load(&path, &Device::flex()).unwrap().actor().config().network.hidden, [5]);
    // A folder stands where the new contents are written first.
    fs::create_dir(folder.path().join("policy.mpo.part")).unwrap();
    assert!(matches!(first.policy().save(&path), Err(Error::File { .. })));
    assert_eq!(Policy::load(&path, &Device::flex()).unwrap().actor().config().network.hidden, [5]);
    let missing = folder.path().join("missing");
    assert!(matches!(Policy::load(missing, &Device::flex()), Err(Error::File { .. })));
}

#[test]
fn truncated_and_flipped_files_are_refused_everywhere() {
    let folder = TempDir::new().unwrap();
    let path = saved(&folder, &agent(Covariance::Full, vec![2], true));
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        refused(&path, &["policy.mpo"]);
    }
    // Every bit of the checksum and of what stands before it, one of every other byte.
    for bit in (0..8 * whole.len()).filter(|bit| bit / 8 < 64 || bit % 8 == bit / 8 % 8) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, bytes).unwrap();
        refused(&path, &["policy.mpo"]);
    }
    fs::write(&path, [whole.as_slice(), b"!"].concat()).unwrap();
    refused(&path, &["damaged"]);
}

#[test]
fn other_versions_and_other_files_are_named() {
    let folder = TempDir::new().unwrap();
    let path = saved(&folder, &agent(Covariance::Full, vec![2], true));
    let whole = fs::read(&path).unwrap();
    let changes = [
        (r#""format_version\":2"#, r#""format_version\":3"#),
        (concat!(r#"\"#, '"', env!("CARGO_PKG_VERSION"), r#"\"#, '"'), r#"\"7.8.9\""#),
    ];
    fs::write(&path, rewritten(&whole, &changes)).unwrap();
    refused(&path, &["version 3", "mpo 7.8.9", "version 2", "mpo 0.2"]);
    fs::write(&path, b"mpo policy\x01\0\0\0 and the rest").unwrap();
    refused(&path, &["version 1", "mpo 0.1", "version 2"]);
    fs::write(&path, rewritten(&whole, &[("mpo policy", "mpo broom")])).unwrap();
    refused(&path, &["is an mpo broom file", "a policy file"]);
    fs::write(&path, "a letter").unwrap();
    refused(&path, &["not an mpo policy file"]);
    // Tensors of another program.
    let numbers = safetensors::tensor::TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap();
    fs::write(&path, safetensors::serialize([("first.bias", numbers)], None).unwrap()).unwrap();
    refused(&path, &["not an mpo policy file"]);
    // Not a number, in the last parameter.
    let mut broken = whole;
    let last = broken.len() - 4;
    broken[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, sealed(broken)).unwrap();
    refused(&path, &["NaN", "moments.remainder"]);
}

/// As docs/checkpoints.md has them.
#[test]
fn other_programs_read_names_shapes_and_bounds() {
    let folder = TempDir::new().unwrap();
    let agent = agent(Covariance::Full, vec![5, 4], true);
    let bounds = ActionSpace::bounded(vec![-1.0, 0.1], vec![3.5, 0.7]).unwrap();
    let path = folder.path().join("policy.mpo");
    agent.policy().clone().with_action_space(bounds).unwrap().save(&path).unwrap();
    let contents = fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&contents).unwrap();
    let mut found: Vec<_> = file.iter().map(|(name, tensor)| (name, tensor.shape().to_vec())).collect();
    found.sort();
    let expected: [(&str, &[usize]); 18] = [
        ("diagonal.bias", &[2]),
        ("diagonal.weight", &[4, 2]),
        ("first.bias", &[5]),
        ("first.weight", &[3, 5]),
        ("hidden.layers.0.bias", &[4]),
        ("hidden.layers.0.weight", &[5, 4]),
        ("hidden.norms.0.beta", &[5]),
        ("hidden.norms.0.gamma", &[5]),
        ("hidden.norms.1.beta", &[4]),
        ("hidden.norms.1.gamma", &[4]),
        ("lower.bias", &[1]),
        ("lower.weight", &[4, 1]),
        ("mean.bias", &[2]),
        ("mean.weight", &[4, 2]),
        ("moments.batches", &[1]),
        ("moments.deviation", &[3]),
        ("moments.mean", &[3]),
        ("moments.remainder", &[3]),
    ];
    assert_eq!(found, expected.map(|(name, shape)| (name, shape.to_vec())));
    assert!(file.iter().all(|(_, tensor)| tensor.dtype() == Dtype::F32));
    let (_, metadata) = SafeTensors::read_metadata(&contents).unwrap();
    let header: Value = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["mpo"]).unwrap();
    for (name, expected) in [
        ("kind", "\"mpo policy\""),
        ("format_version", "2"),
        ("crate_version", concat!('"', env!("CARGO_PKG_VERSION"), '"')),
        ("observation_size", "3"),
        ("action_size", "2"),
        ("action_low", "[-1.0,0.1]"),
        ("action_high", "[3.5,0.7]"),
    ] {
        assert_eq!(header[name].to_string(), expected);
    }
    assert_eq!(header["actor"], serde_json::to_value(agent.policy().actor().config()).unwrap());
}

/// The mean as another program would compute it from what stands in the file.
#[test]
fn weights_are_inputs_by_outputs() {
    let folder = TempDir::new().unwrap();
    let agent = agent(Covariance::Diagonal, vec![5], false);
    let contents = fs::read(saved(&folder, &agent)).unwrap();
    let file = SafeTensors::deserialize(&contents).unwrap();
    let layer = |name: &str, inputs: &[f64]| -> Vec<f64> {
        let [weight, bias] = ["weight", "bias"].map(|part| tensor(&file, &format!("{name}.{part}")));
        let output = |output: usize| {
            let weights = weight.iter().skip(output).step_by(bias.len());
            inputs.iter().zip(weights).map(|(input, weight)| input * weight).sum::<f64>() + bias[output]
        };
        (0..bias.len()).map(output).collect()
    };
    let observation = [0.3, -1.2, 0.7];
    let elu = |x: f64| if x > 0.0 { x } else { x.exp_m1() };
    let hidden: Vec<f64> = layer("first", &observation).into_iter().map(elu).collect();
    let mean = agent.policy().mean_action(&observation.map(|number| number as f32)).unwrap();
    for (found, expected) in mean.iter().zip(layer("mean", &hidden)) {
        assert!((f64::from(*found) - expected).abs() < 1e-7 && expected != 0.0, "{found}, not {expected}");
    }
}

#[test]
fn actions_are_in_the_environments_units_and_inside_its_bounds() {
    let policy = Policy::new(LinearActor::new([[0.5, -3.0]], 1.0));
    assert_eq!(policy.action_space(), &ActionSpace::symmetric(2));
    assert_eq!(policy.act(&[1.0]).unwrap(), [0.5, -1.0]);
    let bounds = ActionSpace::bounded(vec![-2.0, 10.0], vec![6.0, 20.0]).unwrap();
    let policy = policy.with_action_space(bounds).unwrap();
    for (observation, mean, action) in [
        (1.0, [0.5, -3.0], [4.0, 10.0]),
        (-0.25, [-0.125, 0.75], [1.5, 18.75]),
        (-2.0, [-1.0, 6.0], [-2.0, 20.0]),
    ] {
        assert_eq!(policy.mean_action(&[observation]).unwrap(), mean);
        assert_eq!(policy.act(&[observation]).unwrap(), action);
    }
    refusals::refused(policy.act(&[1.0, 2.0]), "Size", &["observation", "2", "1"]);
    refusals::refused(policy.act(&[f32::NAN]), "NonFinite", &["observation"]);
    let other = policy.with_action_space(ActionSpace::symmetric(3));
    refusals::refused(other, "Size", &["the action space", "3 values", "expected 2"]);
}

#[test]
fn networks_of_ones_own_come_back_with_their_bounds() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("policy.mpo");
    let bounds = ActionSpace::bounded(vec![-2.0, 10.0], vec![6.0, 20.0]).unwrap();
    let policy = Policy::new(Chain::new([4, 6], true, &mut rng(1))).with_action_space(bounds).unwrap();
    policy.save(&path).unwrap();
    let mut restored = Policy::new(Chain::new([4, 6], true, &mut rng(2)));
    restored.restore(&path).unwrap();
    assert_eq!(restored.action_space(), policy.action_space());
    assert_eq!(restored.act(&[0.01, -0.02]).unwrap(), policy.act(&[0.01, -0.02]).unwrap());
    assert_eq!(restored.mean_action(&[0.3, 2.0]).unwrap(), policy.mean_action(&[0.3, 2.0]).unwrap());
    // The same policy is the same file.
    let contents = fs::read(&path).unwrap();
    restored.save(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), contents);
    refused(&path, &["of a network with the settings null", "Policy::restore"]);
}

/// Each by its name, with both shapes; the policy then is as it was.
#[test]
fn other_networks_are_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("policy.mpo");
    let policy = |hidden, offset| Policy::new(Chain::new(hidden, offset, &mut rng(1)));
    for ((hidden, offset), words) in [
        // As many numbers in all.
        (([6, 4], false), ["first of shape [2, 6], not [2, 4]", "name and shape"]),
        (([4, 7], false), ["second of shape [4, 7], not [4, 6]", "name and shape"]),
        (([4, 6], true), ["offset, of shape [2], which is not expected", "name and shape"]),
    ] {
        policy(hidden, offset).save(&path).unwrap();
        let mut other = policy([4, 6], false);
        let before = other.mean_action(&[0.3, 2.0]).unwrap();
        let error = other.restore(&path).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
        assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
        assert_eq!(other.mean_action(&[0.3, 2.0]).unwrap(), before);
    }
    policy([4, 6], false).save(&path).unwrap();
    let error = policy([4, 6], true).restore(&path).unwrap_err();
    assert!(error.to_string().contains("without offset, of shape [2]"), "{error}");
    // Of the same names and shapes, but another function.
    let folder = TempDir::new().unwrap();
    let own = agent(Covariance::Diagonal, vec![4], false);
    let mut config = own.config().clone();
    config.actor.network.activation = Activation::Tanh;
    let other = MpoAgent::new(config, OBSERVATION_SIZE, ACTION_SIZE, &Device::flex(), 7).unwrap();
    let path = saved(&folder, &other);
    let mut policy = own.policy().clone();
    let error = policy.restore(&path).unwrap_err();
    assert!(error.to_string().contains("actor.network.activation = \"Tanh\", not \"Elu\""), "{error}");
    policy.restore(saved(&folder, &own)).unwrap();
}

/// An agent's networks too.
#[test]
fn agents_of_swapped_layers_are_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("agent.mpo");
    let agent = |hidden| {
        let config = MpoConfig { m_step: MpoConfig::paper().m_step, ..quick() };
        let critic = Parabola::new([[0.0; 2]; 2], 1.0);
        MpoAgent::with_networks(config, Chain::new(hidden, false, &mut rng(1)), critic, 1).unwrap()
    };
    agent([6, 4]).save(&path).unwrap();
    let error = agent([4, 6]).restore(&path).unwrap_err();
    assert!(error.to_string().contains("actor.first of shape [2, 6], not [2, 4]"), "{error}");
    agent([6, 4]).restore(&path).unwrap();
}

/// The parameters of a network without gradients, layer after layer.
fn layers(actor: &Twice) -> Vec<f32> {
    let layers = [&actor.inputs, &actor.first, &actor.second, &actor.outputs];
    let numbers_of = |layer: &burn::nn::Linear| {
        [numbers(&layer.weight.val()), numbers(&layer.bias.as_ref().unwrap().val())].concat()
    };
    layers.map(numbers_of).concat()
}

/// Each parameter by itself, also where two of them are clones of each other and have one id.
#[test]
fn the_average_is_of_each_parameter() {
    let replay = random_replay(20, 20, OBSERVATION, ACTION);
    for average_rate in [1.0, 0.25] {
        let actor = Twice::new(OBSERVATION, 8, ACTION, 1);
        let critic = Twice::new(OBSERVATION + ACTION, 8, 1, 2);
        let config = MpoConfig { average_rate, ..quick() };
        let mut agent = MpoAgent::with_networks(config, actor, critic, 3).unwrap();
        let mut expected: Vec<f32> = Vec::new();
        for update in 1..=10_u16 {
            train(&mut agent, &replay, 1);
            let latest = layers(&agent.actor().valid());
            // A plain average at first.
            let rate = f32::max(average_rate as f32, 1.0 / f32::from(update));
            if rate == 1.0 {
                expected = latest;
            } else {
                expected
                    .iter_mut()
                    .zip(latest)
                    .for_each(|(average, latest)| *average += (latest - *average) * rate);
            }
            let average = layers(agent.policy().actor());
            for (place, (average, expected)) in average.iter().zip(&expected).enumerate() {
                let near = (average - expected).abs() <= if rate == 1.0 { 0.0 } else { 1e-6 };
                assert!(near, "rate {rate}, update {update}, parameter {place}: {average}, not {expected}");
            }
        }
        let trained = agent.actor().valid();
        assert_ne!(numbers(&trained.first.weight.val()), numbers(&trained.second.weight.val()));
    }
}

proptest! {
    /// Files that were written wrongly, rather than damaged: their checksum fits.
    #[test]
    fn no_contents_make_loading_panic(place in 0_usize..3000, replacement in any::<[u8; 3]>(), cut in 0_usize..40) {
        let folder = TempDir::new().unwrap();
        let path = saved(&folder, &agent(Covariance::Diagonal, vec![2], true));
        let mut contents = fs::read(&path).unwrap();
        contents.truncate(contents.len() - cut);
        let place = place % (contents.len() - 3);
        contents[place..place + 3].copy_from_slice(&replacement);
        fs::write(&path, sealed(contents)).unwrap();
        match Policy::load(&path, &Device::flex()) {
            Ok(policy) => {
                let observation = vec![0.1; mpo::Actor::observation_size(policy.actor())];
                let _ = policy.mean_action(&observation);
            }
            Err(error) => prop_assert!(matches!(error, Error::Damaged { .. } | Error::Format { .. }), "{}", error),
        }
    }

    /// Sizes of a header that would make a network larger than any memory.
    #[test]
    fn sizes_beyond_the_file_are_refused(observation in any::<u64>(), action in any::<u64>(), hidden in any::<u64>()) {
        let folder = TempDir::new().unwrap();
        let path = saved(&folder, &agent(Covariance::Full, vec![2], true));
        let changes = [
            (r#"observation_size\":3"#, format!(r#"observation_size\":{observation}"#)),
            (r#"action_size\":2"#, format!(r#"action_size\":{action}"#)),
            (r#"hidden\":[2]"#, format!(r#"hidden\":[{hidden}]"#)),
        ];
        let changes = changes.each_ref().map(|(old, new)| (*old, new.as_str()));
        fs::write(&path, rewritten(&fs::read(&path).unwrap(), &changes)).unwrap();
        refused(&path, &["damaged"]);
    }

    /// To the last bit.
    #[test]
    fn any_bounds_come_back(ends in prop::collection::vec((any::<f32>(), any::<f32>()), 1..4)) {
        let (low, high): (Vec<_>, Vec<_>) = ends.into_iter().map(|(a, b)| (a.min(b), a.max(b))).unzip();
        let bounds = ActionSpace::bounded(low, high);
        prop_assume!(bounds.is_ok());
        let bounds = bounds.unwrap();
        let folder = TempDir::new().unwrap();
        let policy = |seed| {
            let mut config = MpoConfig::default();
            config.actor.network.hidden = vec![1];
            config.critic.network.hidden = vec![1];
            let agent = MpoAgent::new(config, 1, bounds.size(), &Device::flex(), seed).unwrap();
            agent.policy().clone()
        };
        let path = folder.path().join("policy.mpo");
        policy(1).with_action_space(bounds.clone()).unwrap().save(&path).unwrap();
        let loaded = Policy::load(&path, &Device::flex()).unwrap();
        prop_assert_eq!(loaded.action_space(), &bounds);
    }
}

/// An agent's file too has the bounds that its policies are for.
#[test]
fn agents_keep_their_bounds() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("agent.mpo");
    let bounds = ActionSpace::bounded(vec![0.0, -3.0], vec![12.0, 5.0]).unwrap();
    let new = || agent(Covariance::Diagonal, vec![8], true);
    let saved = new().with_action_space(bounds.clone()).unwrap();
    saved.save(&path).unwrap();
    let mut restored = new();
    restored.restore(&path).unwrap();
    let observation = [0.1, -0.2, 0.3];
    assert_eq!(restored.policy().action_space(), &bounds);
    assert_eq!(restored.behaviour().policy().action_space(), &bounds);
    assert_eq!(restored.policy().act(&observation).unwrap(), saved.policy().act(&observation).unwrap());
    assert_ne!(restored.policy().act(&observation).unwrap(), new().policy().act(&observation).unwrap());
}
