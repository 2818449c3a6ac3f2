//! Critics of other kinds: values as distributions, and several critics as one.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use mpo::networks::{
    Backward, BinTarget, Combine, Ensemble, NetworkConfig, QNetworkConfig, ValueDistribution,
    with_own_gradients,
};
use mpo::{ActionSpace, Critic, GaussianActor, MpoAgent, MpoConfig, QNetwork, Rng, Stream};

use crate::common::refusals::refused;
use crate::common::replays::{random_replay, rng};
use crate::common::tensors::numbers;
use crate::common::training::{quick, train};

const OBSERVATION: usize = 3;

fn bins(target: BinTarget) -> Option<ValueDistribution> {
    Some(ValueDistribution { target, ..ValueDistribution::default() })
}

fn critic(config: &QNetworkConfig, space: &ActionSpace, seed: u64) -> QNetwork {
    let rng = &mut Rng::stream(seed, Stream::Weights);
    QNetwork::for_actions(config, OBSERVATION, space, &Device::flex(), rng).unwrap()
}

fn normals<const D: usize>(rng: &mut Rng, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(rng.normals(shape.iter().product()), shape), &Device::flex())
}

fn alike<const D: usize>(one: Tensor<D>, other: Tensor<D>, what: &str) {
    let largest = other.clone().abs().max().into_scalar::<f32>();
    let off = (one - other).abs().max().into_scalar::<f32>();
    assert!(off <= 4e-6 * largest + 2e-6, "{what}: off by {off}, the largest is {largest}");
}

/// Numbers, then choices, where the space has them.
fn actions(rng: &mut Rng, space: &ActionSpace, rows: usize) -> Tensor<2> {
    let mut values = Vec::new();
    for _ in 0..rows {
        values.extend(rng.normals(space.bounded_size()));
        values.extend(space.choices().iter().map(|&things| rng.index(things) as f32));
    }
    Tensor::from_data(TensorData::new(values, [rows, space.size()]), &Device::flex())
}

/// On a CPU in a way of their own, and as Burn computes: values, loss and gradient, of distributions and
/// numbers, of actions with choices and without.
#[test]
fn own_code_computes_what_burn_computes() {
    let spaces = [
        ActionSpace::symmetric(2),
        ActionSpace::symmetric(1).with_choices([3]),
        ActionSpace::multi_discrete([4, 2]),
    ];
    let kinds = [None, bins(BinTarget::TwoHot), bins(BinTarget::HlGauss { deviation: 0.8 })];
    for (space, distribution) in spaces.iter().flat_map(|space| kinds.map(|kind| (space, kind))) {
        for on in [false, true] {
            let network = NetworkConfig {
                hidden: vec![33, 9],
                layer_norm: on,
                normalise_observations: on,
                ..NetworkConfig::default()
            };
            let config =
                QNetworkConfig { network, normalise_values: on, distribution, ..QNetworkConfig::default() };
            let (rng, what) = (&mut rng(2), format!("{space:?}, {distribution:?}, {on}"));
            let (seen, taken) = (normals(rng, [60, OBSERVATION]), actions(rng, space, 60));
            let targets = normals::<1>(rng, [60]) * 3.0 + 10.0;
            let critic = critic(&config, space, 1).observe(&seen).observe_targets(&targets);
            let (loss, backward) = critic.differentiable_loss(seen.clone(), taken.clone(), targets.clone());
            let burns = with_own_gradients(&critic);
            let burns_loss = burns.loss(seen.clone(), taken, targets);
            alike(loss.clone().inner(), burns_loss.clone().inner(), &what);
            let by_autodiff = Backward::autodiff(burns).gradient(burns_loss).unwrap();
            alike(backward.gradient(loss).unwrap(), by_autodiff, &what);
            let sampled = actions(rng, space, 60 * 5).reshape([60, 5, space.size()]);
            let noted = critic.valid();
            let one = noted.sampled_values(seen.clone(), sampled.clone());
            alike(one.clone(), noted.values_of_samples(seen.clone(), sampled.clone()), &what);
            let third = noted.values(seen, sampled.narrow(1, 2, 1).squeeze_dim(1));
            alike(one.narrow(1, 2, 1).squeeze_dim(1), third, &what);
            assert_eq!(noted.action_space(), *space);
        }
    }
}

/// The value of each of its actions is what a critic of distributions says after it has learnt, in whatever
/// unit the rewards are, far from 0 too.
#[test]
fn distributions_learn_values_in_any_unit() {
    let one = ActionSpace::symmetric(1);
    let network = NetworkConfig { hidden: vec![64], ..NetworkConfig::default() };
    let kinds = [bins(BinTarget::TwoHot), bins(BinTarget::HlGauss { deviation: 0.8 })];
    let units = [(1.0, 0.0), (1e-3, 0.5), (1e3, -2e4)];
    for (distribution, (unit, offset)) in kinds.into_iter().flat_map(|kind| units.map(|unit| (kind, unit))) {
        let config = QNetworkConfig { network: network.clone(), distribution, ..QNetworkConfig::default() };
        let mut optimizer = mpo::networks::Optimizer::new(MpoConfig::default().critic_optimizer).unwrap();
        let (rng, mut critic) = (&mut rng(3), critic(&config, &one, 1));
        let value = |taken: Tensor<2>| taken.square().squeeze_dim::<1>(1) * -2.0 * unit + offset;
        for _ in 0..1200 {
            let (seen, taken) = (normals(rng, [128, OBSERVATION]), normals(rng, [128, 1]).tanh());
            let targets = value(taken.clone());
            critic = critic.observe(&seen).observe_targets(&targets);
            let (loss, backward) = critic.differentiable_loss(seen, taken, targets);
            critic = optimizer.descend(critic, backward.gradient(loss));
        }
        let (seen, taken) = (normals(rng, [200, OBSERVATION]), normals(rng, [200, 1]).tanh());
        let errors = (critic.valid().values(seen, taken.clone()) - value(taken)) / unit;
        let error = errors.square().mean().sqrt().into_scalar::<f32>();
        println!("{distribution:?}, {unit}: {error}");
        // Of values with a standard deviation of 0.6.
        assert!(error < 0.12, "{distribution:?}, {unit}: {error}");
    }
}

fn ensemble(members: usize, combine: Combine, config: &QNetworkConfig) -> Ensemble<QNetwork> {
    let space = ActionSpace::symmetric(2);
    let critics = (1..=members as u64).map(|seed| critic(config, &space, seed)).collect();
    Ensemble::new(critics, combine).unwrap()
}

#[test]
fn ensembles_are_the_mean_or_the_least_of_their_critics() {
    let config = QNetworkConfig { normalise_values: false, ..QNetworkConfig::default() };
    let (rng, space) = (&mut rng(4), ActionSpace::symmetric(2));
    let (seen, sampled) = (normals(rng, [7, OBSERVATION]), actions(rng, &space, 21).reshape([7, 3, 2]));
    for combine in [Combine::Mean, Combine::Minimum] {
        let ensemble = ensemble(3, combine, &config).valid();
        let each: Vec<Vec<f32>> = ensemble
            .critics()
            .iter()
            .map(|critic| numbers(&critic.values_of_samples(seen.clone(), sampled.clone())))
            .collect();
        assert!(each[0] != each[1] && each[1] != each[2]);
        let expected = |place: usize| match combine {
            Combine::Minimum => each.iter().map(|values| values[place]).fold(f32::INFINITY, f32::min),
            _ => each.iter().map(|values| values[place]).sum::<f32>() / 3.0,
        };
        for values in [
            numbers(&ensemble.values_of_samples(seen.clone(), sampled.clone())),
            numbers(&ensemble.sampled_values(seen.clone(), sampled.clone())),
        ] {
            let off = values.iter().enumerate().map(|(place, value)| (value - expected(place)).abs());
            assert!(off.fold(0.0, f32::max) < 1e-5, "{combine:?}");
        }
        let alone = numbers(&ensemble.values(seen.clone(), sampled.clone().narrow(1, 0, 1).squeeze_dim(1)));
        assert!((alone[2] - expected(6)).abs() < 1e-5);
    }
}

/// An update moves each critic as it would move it alone, and nothing that the others think has a part in it.
#[test]
fn the_critics_of_an_ensemble_learn_as_they_would_alone() {
    let rng = &mut rng(5);
    let (seen, taken) = (normals(rng, [50, OBSERVATION]), normals(rng, [50, 2]));
    let targets = normals::<1>(rng, [50]);
    let whole = ensemble(2, Combine::Minimum, &QNetworkConfig::default());
    let whole = whole.observe(&seen).observe_targets(&targets);
    let mut expected = Vec::new();
    for critic in whole.critics() {
        let (loss, backward) = critic.differentiable_loss(seen.clone(), taken.clone(), targets.clone());
        expected.extend(numbers(&backward.gradient(loss).unwrap()));
    }
    let (loss, backward) = whole.differentiable_loss(seen.clone(), taken.clone(), targets.clone());
    assert_eq!(numbers(&backward.gradient(loss).unwrap()), expected);
    assert_ne!(numbers(&whole.critics()[0].valid().values(seen.clone(), taken.clone())), [0.0; 50]);
    // By autodiff too, as a critic of the caller's own is.
    let copy = with_own_gradients(&whole);
    let loss = copy.loss(seen, taken, targets);
    let by_autodiff = numbers(&Backward::autodiff(copy).gradient(loss).unwrap());
    let largest = expected.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    assert!(
        by_autodiff.iter().zip(&expected).all(|(one, other)| (one - other).abs() < 1e-5 * largest + 1e-7)
    );
}

/// With whichever critic, an agent learns, and goes on from a file to the same bits.
#[test]
fn agents_learn_with_other_critics_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.mpo");
    let agent = |distribution| {
        let (mut config, weights) = (quick(), &mut Rng::stream(1, Stream::Weights));
        config.critic.distribution = distribution;
        let actor = GaussianActor::new(&config.actor, OBSERVATION, 2, &Device::flex(), weights).unwrap();
        let critic = ensemble(2, Combine::Minimum, &config.critic);
        MpoAgent::with_networks(config, actor, critic, 1).unwrap()
    };
    // The reward is least where the first component is ½, and grows from there.
    let replay = random_replay(40, 10, OBSERVATION, 2);
    for distribution in [None, bins(BinTarget::TwoHot), bins(BinTarget::HlGauss { deviation: 0.8 })] {
        let mut whole = agent(distribution);
        train(&mut whole, &replay, 60);
        assert!(whole.mean_action(&[0.1, 0.2, 0.3]).unwrap()[0] < -0.2, "{distribution:?}");
        whole.save(&path).unwrap();
        let mut other = agent(distribution);
        other.restore(&path).unwrap();
        for agent in [&mut whole, &mut other] {
            train(agent, &replay, 3);
        }
        assert_eq!(
            whole.mean_action(&[0.1, 0.2, 0.3]).unwrap(),
            other.mean_action(&[0.1, 0.2, 0.3]).unwrap()
        );
    }
}

#[test]
fn critics_that_do_not_fit_make_no_ensemble() {
    let config = QNetworkConfig::default();
    refused(Ensemble::<QNetwork>::new(Vec::new(), Combine::Mean), "Config", &["Ensemble", "at least 1"]);
    let of = |spaces: [ActionSpace; 2]| {
        Ensemble::new(spaces.iter().map(|space| critic(&config, space, 1)).collect(), Combine::Mean)
    };
    refused(of([ActionSpace::symmetric(2), ActionSpace::symmetric(1)]), "Size", &["1 values", "expected 2"]);
    let (three, two) = (ActionSpace::discrete(3), ActionSpace::discrete(2));
    refused(of([three, two]), "Shape", &["choices", "[2]", "[3]"]);
}
