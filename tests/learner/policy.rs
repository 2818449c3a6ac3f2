//! Policies: the average that is deployed, saved to files and loaded from them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::replays::random_replay;
use crate::common::tensors::numbers;
use crate::common::training::{quick, train};
use crate::twice::{ACTION, OBSERVATION, Twice};
use burn::module::Module;
use burn::tensor::Device;
use mpo::networks::{Activation, Covariance, NetworkConfig};
use mpo::{Error, MpoAgent, MpoConfig, Policy, Rng, Stream};
use proptest::prelude::*;
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

/// The contents with a checksum that fits them.
fn sealed(mut contents: Vec<u8>) -> Vec<u8> {
    let checksum = crc32fast::hash(&contents);
    contents.extend(checksum.to_le_bytes());
    contents
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
    assert!((4 * parameters..4 * parameters + 400).contains(&length), "{length}");
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
    for bit in 0..8 * whole.len() {
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
    let mut newer = whole[..whole.len() - 4].to_vec();
    newer[b"mpo policy".len()] = 2;
    fs::write(&path, sealed(newer)).unwrap();
    refused(&path, &["version 2", "version 1", "mpo 0.1"]);
    fs::write(&path, "a letter").unwrap();
    refused(&path, &["not an mpo policy file"]);
    // Not a number, in the last parameter.
    let mut broken = whole[..whole.len() - 4].to_vec();
    let last = broken.len() - 4;
    broken[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, sealed(broken)).unwrap();
    refused(&path, &["NaN"]);
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
    fn no_contents_make_loading_panic(place in 0_usize..400, replacement in any::<[u8; 3]>(), cut in 0_usize..40) {
        let folder = TempDir::new().unwrap();
        let path = saved(&folder, &agent(Covariance::Diagonal, vec![2], true));
        let whole = fs::read(&path).unwrap();
        let mut contents = whole[..whole.len() - 4 - cut].to_vec();
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
        let whole = fs::read(&path).unwrap();
        let start = b"mpo policy".len() + 12;
        let length = u64::from_le_bytes(whole[start - 8..start].try_into().unwrap()) as usize;
        let header = String::from_utf8(whole[start..start + length].to_vec()).unwrap();
        let header = header
            .replace("\"observation_size\":3", &format!("\"observation_size\":{observation}"))
            .replace("\"action_size\":2", &format!("\"action_size\":{action}"))
            .replace("\"hidden\":[2]", &format!("\"hidden\":[{hidden}]"));
        prop_assert!(header.contains(&observation.to_string()) && header.contains(&hidden.to_string()));
        let size = (header.len() as u64).to_le_bytes();
        let rest = &whole[start + length..whole.len() - 4];
        let contents = [&whole[..start - 8], &size, header.as_bytes(), rest].concat();
        fs::write(&path, sealed(contents)).unwrap();
        refused(&path, &["damaged"]);
    }
}
