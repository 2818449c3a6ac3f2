//! Properties of the default networks.

use crate::common::difference::largest_difference;
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use mpo::networks::{
    Activation, Covariance, CriticLoss, GaussianActorConfig, NetworkConfig, Optimizer, OptimizerConfig,
    QNetworkConfig, sampled_values,
};
use mpo::{Actor, Critic, Distribution, Error, GaussianActor, QNetwork, Rng, Scale, Stream};

const OBSERVATION: usize = 5;
const ACTION: usize = 3;

/// All kinds of hidden layers.
fn networks() -> impl Iterator<Item = NetworkConfig> {
    let activations = [Activation::Relu, Activation::Elu, Activation::Tanh];
    let kinds = activations.into_iter().flat_map(|activation| [(activation, false), (activation, true)]);
    kinds.map(|(activation, layer_norm)| NetworkConfig {
        hidden: vec![32, 24],
        activation,
        layer_norm,
        normalise_observations: false,
    })
}

fn critic(network: &NetworkConfig) -> QNetwork {
    critic_with_values(network, false)
}

fn of_critic(network: &NetworkConfig, normalise_values: bool) -> QNetworkConfig {
    QNetworkConfig {
        network: network.clone(),
        normalise_values,
        loss: CriticLoss::Squared,
        distribution: None,
    }
}

fn critic_with_values(network: &NetworkConfig, normalise_values: bool) -> QNetwork {
    let rng = &mut Rng::stream(1, Stream::Weights);
    QNetwork::new(&of_critic(network, normalise_values), OBSERVATION, ACTION, &Device::flex(), rng).unwrap()
}

fn actor(network: NetworkConfig, covariance: Covariance) -> mpo::Result<GaussianActor> {
    actor_with_mean(network, covariance, false)
}

fn actor_with_mean(
    network: NetworkConfig,
    covariance: Covariance,
    bounded_mean: bool,
) -> mpo::Result<GaussianActor> {
    let config = GaussianActorConfig {
        network,
        covariance,
        initial_standard_deviation: 0.5,
        minimum_standard_deviation: 1e-3,
        bounded_mean,
    };
    GaussianActor::new(&config, OBSERVATION, ACTION, &Device::flex(), &mut Rng::stream(2, Stream::Weights))
}

fn normals<const D: usize>(rng: &mut Rng, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(rng.normals(shape.iter().product()), shape), &Device::flex())
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// A critic that leaves the values of several actions to the trait.
#[derive(Module, Debug)]
struct Plain {
    network: QNetwork,
}

impl Critic for Plain {
    fn values(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<1> {
        self.network.values(observations, actions)
    }

    fn observation_size(&self) -> usize {
        self.network.observation_size()
    }

    fn action_size(&self) -> usize {
        self.network.action_size()
    }
}

#[test]
fn values_of_samples_are_the_values_of_each() {
    let (states, samples) = (7, 4);
    for config in networks() {
        let rng = &mut Rng::stream(3, Stream::ActionSamples);
        let critic = critic(&config).valid();
        let observations: Tensor<2> = normals(rng, [states, OBSERVATION]);
        let actions: Tensor<3> = normals(rng, [states, samples, ACTION]);
        let together = critic.values_of_samples(observations.clone(), actions.clone());
        assert_eq!(together.dims(), [states, samples]);
        let each: Vec<f32> = (0..states * samples)
            .flat_map(|index| {
                let (state, sample) = (index / samples, index % samples);
                let observation = observations.clone().slice([state..state + 1, 0..OBSERVATION]);
                let action = actions.clone().slice([state..state + 1, sample..sample + 1, 0..ACTION]);
                numbers(critic.values(observation, action.reshape([1, ACTION])))
            })
            .collect();
        let together = numbers(together);
        assert!(largest_difference(&together, &each) <= 1e-6, "{config:?}");
        let plain = Plain { network: critic };
        let by_default = numbers(plain.values_of_samples(observations, actions));
        assert!(largest_difference(&by_default, &each) <= 1e-6, "{config:?}");
        let spread = together.iter().fold(f32::MIN, |a, &b| a.max(b))
            - together.iter().fold(f32::MAX, |a, &b| a.min(b));
        assert!(spread > 0.1, "all values are alike: {together:?}");
    }
}

/// Evaluation in pieces changes not a bit.
#[test]
fn sampled_values_are_bitwise_those_of_one_batch() {
    for config in networks() {
        let critic = critic(&config).valid();
        let plain = Plain { network: critic.clone() };
        for (states, samples) in [(256, 20), (257, 20), (1000, 1), (3, 600), (1, 20)] {
            let rng = &mut Rng::stream(4, Stream::ActionSamples);
            let observations: Tensor<2> = normals(rng, [states, OBSERVATION]);
            let actions: Tensor<3> = normals(rng, [states, samples, ACTION]);
            let [pieces, whole, plain_pieces, plain_whole] = [
                sampled_values(&critic, observations.clone(), actions.clone()),
                critic.values_of_samples(observations.clone(), actions.clone()),
                sampled_values(&plain, observations.clone(), actions.clone()),
                plain.values_of_samples(observations, actions),
            ]
            .map(|values| {
                assert_eq!(values.dims(), [states, samples]);
                numbers(values).into_iter().map(f32::to_bits).collect::<Vec<_>>()
            });
            assert!(pieces == whole, "{config:?}, {states} x {samples}");
            assert!(plain_pieces == plain_whole, "{config:?}, {states} x {samples}, by the trait");
        }
    }
}

/// An untrained policy is near mean 0 and its initial deviation; factors are lower-triangular.
#[test]
fn untrained_policies_start_where_they_are_told() {
    for config in networks() {
        for covariance in [Covariance::Diagonal, Covariance::Full] {
            let actor = actor(config.clone(), covariance).unwrap();
            assert_eq!((actor.observation_size(), actor.action_size()), (OBSERVATION, ACTION));
            let states = 6;
            let observations = normals(&mut Rng::stream(5, Stream::Weights), [states, OBSERVATION]);
            let policy = actor.valid().policy(observations);
            assert!(numbers(policy.mean).iter().all(|mean| mean.abs() < 0.05));
            let deviations = numbers(policy.scale.diagonal());
            assert_eq!(deviations.len(), states * ACTION);
            assert!(deviations.iter().all(|deviation| (deviation - 0.501).abs() < 0.02), "{deviations:?}");
            let factor = match (covariance, policy.scale) {
                (Covariance::Full, Scale::Cholesky(factor)) => numbers(factor),
                (Covariance::Diagonal, Scale::Diagonal(_)) => continue,
                (_, other) => panic!("{covariance:?}: {other:?}"),
            };
            for (place, entry) in factor.iter().enumerate() {
                let (row, column) = (place / ACTION % ACTION, place % ACTION);
                assert_eq!(*entry == 0.0, column > row, "{factor:?}");
            }
        }
    }
}

/// Networks that normalise observations are others that are given them so, here by their definition in double
/// precision, after a step of training too: what they have seen is no parameter to be trained.
#[test]
fn networks_normalise_observations() {
    let rng = &mut Rng::stream(6, Stream::Replay);
    let observations = normals(rng, [20, OBSERVATION]) * 30.0 + 5.0;
    let actions = normals(rng, [20, 5, ACTION]);
    let rows: Vec<Vec<f64>> = numbers(observations.clone())
        .chunks(OBSERVATION)
        .map(|row| row.iter().copied().map(f64::from).collect())
        .collect();
    let moments: Vec<(f64, f64)> = (0..OBSERVATION)
        .map(|column| {
            let mean = rows.iter().map(|row| row[column]).sum::<f64>() / 20.0;
            (mean, (rows.iter().map(|row| (row[column] - mean).powi(2)).sum::<f64>() / 20.0).sqrt())
        })
        .collect();
    let normalised = rows.iter().flatten().zip(moments.iter().cycle());
    let normalised: Vec<f32> =
        normalised.map(|(number, (mean, deviation))| ((number - mean) / deviation) as f32).collect();
    let normalised = Tensor::<2>::from_data(TensorData::new(normalised, [20, OBSERVATION]), &Device::flex());
    for plain in networks() {
        let network = NetworkConfig { normalise_observations: true, ..plain.clone() };
        let config = |network: &NetworkConfig| GaussianActorConfig {
            network: network.clone(),
            covariance: Covariance::Diagonal,
            initial_standard_deviation: 0.5,
            minimum_standard_deviation: 1e-3,
            bounded_mean: false,
        };
        let of = |network: &NetworkConfig, observations: &Tensor<2>, seen: bool| {
            let (mut critic, device) = (critic(network), Device::flex());
            let rng = &mut Rng::stream(1, Stream::Weights);
            let mut actor = GaussianActor::new(&config(network), OBSERVATION, ACTION, &device, rng).unwrap();
            if seen {
                (critic, actor) = (critic.observe(observations), actor.observe(observations));
            }
            let first: Tensor<2> = actions.clone().slice([0..20, 0..1]).squeeze_dim(1);
            let config = OptimizerConfig { learning_rate: 0.1, gradient_norm: None, epsilon: 1e-3 };
            let [given, taken] = [observations, &first].map(|inner| Tensor::from_inner(inner.clone()));
            let loss = critic.values(given, taken).square().mean() * 100.0;
            critic = Optimizer::new(config).unwrap().step(critic, loss);
            let mut all = numbers(critic.valid().values(observations.clone(), first));
            all.extend(numbers(critic.valid().values_of_samples(observations.clone(), actions.clone())));
            all.extend(numbers(actor.valid().policy(observations.clone()).mean));
            all
        };
        let with = of(&network, &observations, true);
        let given = of(&plain, &normalised, false);
        let largest = with.iter().fold(1.0_f32, |most, value| most.max(value.abs()));
        let off = largest_difference(&with, &given);
        assert!(off < f64::from(1e-5 * largest), "{network:?}: {off} of {largest}");
        let unseen = of(&network, &observations, false);
        assert!(largest_difference(&with, &unseen) > 1e-2, "{network:?}");
        // Where nothing is kept of them, observing changes nothing.
        assert_eq!(of(&plain, &observations, true), of(&plain, &observations, false));
    }
}

#[test]
fn bounded_means_are_the_tanh_of_the_others() {
    for (network, covariance) in networks().zip([Covariance::Diagonal, Covariance::Full].into_iter().cycle())
    {
        // Observations large enough for means well beyond 1.
        let observations = normals(&mut Rng::stream(5, Stream::Replay), [20, OBSERVATION]) * 500.0;
        let of = |bounded_mean| {
            let actor = actor_with_mean(network.clone(), covariance, bounded_mean).unwrap();
            let policy = actor.policy(Tensor::from_inner(observations.clone())).inner();
            (numbers(policy.mean), numbers(policy.scale.diagonal()))
        };
        let ((free, spread), (bounded, same_spread)) = (of(false), of(true));
        assert_eq!(spread, same_spread);
        for (free, bounded) in free.into_iter().zip(bounded) {
            assert!((f64::from(bounded) - f64::from(free).tanh()).abs() < 1e-6, "{bounded}, tanh {free}");
        }
    }
}

#[test]
fn bad_sizes_are_refused_by_name() {
    let refused = |error: Error| match error {
        Error::Config { field, .. } => field,
        other => panic!("{other:?}"),
    };
    let good = networks().next().unwrap();
    let rng = &mut Rng::stream(6, Stream::Weights);
    for hidden in [vec![], vec![8, 0]] {
        let config = NetworkConfig { hidden, ..good.clone() };
        let error =
            QNetwork::new(&of_critic(&config, false), OBSERVATION, ACTION, &Device::flex(), rng).unwrap_err();
        assert_eq!(refused(error), "NetworkConfig::hidden");
        let error = actor(config, Covariance::Full).unwrap_err();
        assert_eq!(refused(error), "NetworkConfig::hidden");
    }
    for (observation, action, field) in [(0, ACTION, "observation_size"), (OBSERVATION, 0, "action_size")] {
        let error =
            QNetwork::new(&of_critic(&good, false), observation, action, &Device::flex(), rng).unwrap_err();
        assert_eq!(refused(error), field);
    }
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        for (initial_standard_deviation, minimum_standard_deviation, expected) in [
            (bad, 1e-3, "GaussianActorConfig::initial_standard_deviation"),
            (0.5, bad, "GaussianActorConfig::minimum_standard_deviation"),
        ] {
            let config = GaussianActorConfig {
                network: good.clone(),
                covariance: Covariance::Full,
                initial_standard_deviation,
                minimum_standard_deviation,
                bounded_mean: false,
            };
            let error = GaussianActor::new(&config, OBSERVATION, ACTION, &Device::flex(), rng).unwrap_err();
            assert_eq!(refused(error), expected);
        }
    }
}

/// Targets of any size and offset move the units of a critic, and none of its values once a batch has been
/// seen.
#[test]
fn the_units_of_values_change_no_value() {
    let rng = &mut Rng::stream(7, Stream::Replay);
    let (observations, actions) = (normals(rng, [20, OBSERVATION]), normals(rng, [20, ACTION]));
    for network in networks() {
        let first: Tensor<1> = normals(rng, [20, 1]).squeeze_dim(1);
        let critic = critic_with_values(&network, true);
        let (mut critic, mut largest) = (critic.observe_targets(&first), 0.0_f32);
        for (mean, deviation) in [(0.0_f32, 1e-3_f32), (-3.0, 0.01), (0.0, 1.0), (200.0, 50.0), (1e4, 1e3)] {
            let targets: Tensor<1> = normals(rng, [20, 1]).squeeze_dim::<1>(1) * deviation + mean;
            let values =
                |critic: &QNetwork| numbers(critic.valid().values(observations.clone(), actions.clone()));
            let before = values(&critic);
            critic = critic.observe_targets(&targets);
            let loss = critic.loss(observations.clone(), actions.clone(), targets);
            // Single precision, of the largest numbers that the units were made of.
            largest =
                before.iter().fold(largest.max(mean.abs() + deviation), |most, value| most.max(value.abs()));
            assert!(
                largest_difference(&before, &values(&critic)) < f64::from(1e-5 * largest),
                "{network:?}: {before:?}"
            );
            let config = OptimizerConfig { learning_rate: 1e-2, gradient_norm: None, epsilon: 1e-8 };
            critic = Optimizer::new(config).unwrap().step(critic, loss);
        }
    }
}

/// Rewards that are all the same, as many tasks begin, are what the values are about after the first batch:
/// nothing is left to be learnt in units of a spread that is not there.
#[test]
fn the_first_targets_say_where_values_begin() {
    let rng = &mut Rng::stream(7, Stream::Replay);
    let (observations, actions) = (normals(rng, [20, OBSERVATION]), normals(rng, [20, ACTION]));
    for network in networks() {
        let targets = Tensor::full([20], -5.0, &Device::flex());
        let critic = critic_with_values(&network, true).observe_targets(&targets);
        for value in numbers(critic.valid().values(observations.clone(), actions.clone())) {
            assert!((value + 5.0).abs() < 0.01, "{network:?}: {value}");
        }
    }
}

/// The unit is the targets' standard deviation; a critic that does not normalise has none.
#[test]
fn errors_are_weighed_in_units_of_the_targets_spread() {
    let rng = &mut Rng::stream(9, Stream::Replay);
    let (observations, actions) = (normals(rng, [4, OBSERVATION]), normals(rng, [4, ACTION]));
    let targets = Tensor::<1>::from_floats([90.0, 110.0, 130.0, 70.0], &Device::flex());
    let unit = 500.0_f32.sqrt();
    for network in networks() {
        for (normalise_values, expected) in [(true, 3.0 / unit), (false, 3.0)] {
            let critic = critic_with_values(&network, normalise_values).observe_targets(&targets);
            let loss = critic.loss(observations.clone(), actions.clone(), targets.clone());
            let critic = critic.valid();
            let of = |values: [[f32; 2]; 1]| {
                numbers(critic.in_units(Tensor::from_floats(values, &Device::flex())))
            };
            let [low, high] = of([[95.0, 98.0]])[..] else { unreachable!() };
            assert!((high - low - expected).abs() < 1e-6, "{low}, {high}, expected {expected}");
            let values = numbers(critic.values(observations.clone(), actions.clone()));
            let errors = values.iter().zip([90.0, 110.0, 130.0, 70.0]);
            let square =
                errors.map(|(value, target)| (f64::from(*value) - target).powi(2)).sum::<f64>() / 4.0;
            let expected = 0.5 * square * (f64::from(expected) / 3.0).powi(2);
            let loss = loss.into_scalar::<f64>();
            assert!((loss / expected - 1.0).abs() < 1e-4, "{loss}, expected {expected}");
        }
    }
}

/// A hundred steps on values of any size leave the same relative error where values are normalised.
#[test]
fn values_of_all_sizes_are_learnt_alike() {
    let rng = &mut Rng::stream(8, Stream::Replay);
    let (observations, actions) = (normals(rng, [64, OBSERVATION]), normals(rng, [64, ACTION]));
    let shape: Tensor<1> = observations.clone().sum_dim(1).tanh().squeeze_dim(1);
    let network = NetworkConfig { hidden: vec![64, 64], ..networks().nth(1).unwrap() };
    let remaining = |normalise_values, size: f32| {
        let mut critic = critic_with_values(&network, normalise_values);
        let config = OptimizerConfig { learning_rate: 3e-3, gradient_norm: None, epsilon: 1e-8 };
        let mut optimizer = Optimizer::new(config).unwrap();
        let targets = shape.clone() * size;
        for _ in 0..100 {
            critic = critic.observe_targets(&targets);
            let loss = critic.loss(observations.clone(), actions.clone(), targets.clone());
            critic = optimizer.step(critic, loss);
        }
        let errors = critic.valid().values(observations.clone(), actions.clone()) - targets;
        errors.square().mean().sqrt().into_scalar::<f32>() / size
    };
    for size in [0.05, 1.0, 50.0] {
        let error = remaining(true, size);
        assert!(error < 0.1, "{size}: {error}");
    }
    let error = remaining(false, 50.0);
    assert!(error > 0.3, "large values take long without: {error}");
}
