//! What the default networks compute on a CPU in a way of their own is what Burn computes operation by
//! operation.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use mpo::networks::{
    Activation, Backward, Covariance, CriticLoss, GaussianActorConfig, NetworkConfig, QNetworkConfig,
    with_own_gradients,
};
use mpo::{Actor, Critic, Distribution, GaussianActor, QNetwork, Rng, Stream};

const OBSERVATION: usize = 5;
const ACTION: usize = 3;

/// Widths around those of registers, one hidden layer to three, all activations.
fn networks() -> impl Iterator<Item = NetworkConfig> {
    let hidden = [vec![32], vec![33, 7], vec![64, 40, 3]];
    let activations = [Activation::Relu, Activation::Elu, Activation::Tanh];
    let each =
        hidden.into_iter().flat_map(move |hidden| activations.map(|activation| (hidden.clone(), activation)));
    each.flat_map(|(hidden, activation)| {
        [false, true].map(|on| NetworkConfig {
            hidden: hidden.clone(),
            activation,
            layer_norm: on,
            normalise_observations: on,
        })
    })
}

fn critic(network: NetworkConfig) -> QNetwork {
    let config = QNetworkConfig {
        normalise_values: network.layer_norm,
        network,
        loss: CriticLoss::Huber,
        distribution: None,
    };
    let rng = &mut Rng::stream(1, Stream::Weights);
    QNetwork::new(&config, OBSERVATION, ACTION, &Device::flex(), rng).unwrap()
}

fn normals<const D: usize>(rng: &mut Rng, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(rng.normals(shape.iter().product()), shape), &Device::flex())
}

/// Neither is off by more than rounding: beside the largest of all, and beside 1, from which Burn's tanh
/// comes.
fn assert_alike<const D: usize>(one: Tensor<D>, other: Tensor<D>, what: &str) {
    let largest = other.clone().abs().max().into_scalar::<f32>();
    let off = (one - other).abs().max().into_scalar::<f32>();
    assert!(off <= 2e-6 * largest + 1.2e-7, "{what}: off by {off}, the largest is {largest}");
}

#[test]
fn gradients_of_critics_are_those_of_autodiff() {
    for network in networks() {
        let rng = &mut Rng::stream(2, Stream::Replay);
        for batch in [1, 2, 100] {
            let (observations, actions) = (normals(rng, [batch, OBSERVATION]), normals(rng, [batch, ACTION]));
            let targets = normals::<1>(rng, [batch]) * 3.0 + 10.0;
            let critic = critic(network.clone()).observe(&observations).observe_targets(&targets);
            let (own_loss, backward) =
                critic.differentiable_loss(observations.clone(), actions.clone(), targets.clone());
            let burns = with_own_gradients(&critic);
            let loss = burns.loss(observations, actions, targets);
            let what = format!("{network:?}, {batch} rows");
            assert_alike(own_loss.clone().inner(), loss.clone().inner(), &what);
            let gradient = backward.gradient(own_loss).unwrap();
            assert_eq!(gradient.dims(), [critic.num_params()]);
            assert_alike(gradient, Backward::autodiff(burns).gradient(loss).unwrap(), &what);
        }
    }
}

#[test]
fn gradients_of_policies_are_those_of_autodiff() {
    for network in networks() {
        for covariance in [Covariance::Diagonal, Covariance::Full] {
            let config = GaussianActorConfig {
                network: network.clone(),
                covariance,
                bounded_mean: network.layer_norm,
                ..GaussianActorConfig::default()
            };
            let rng = &mut Rng::stream(3, Stream::Weights);
            let actor = GaussianActor::new(&config, OBSERVATION, ACTION, &Device::flex(), rng).unwrap();
            for batch in [1, 100] {
                let observations: Tensor<2> = normals(rng, [batch, OBSERVATION]);
                let actions: Tensor<3> = normals(rng, [batch, 2, ACTION]);
                let actor = actor.clone().observe(&observations);
                // The likelihood of some actions: mean and covariance both take part in it.
                let loss = |policy: mpo::Gaussian| {
                    policy
                        .log_probability(Tensor::from_inner(actions.clone()))
                        .sum_dim(0)
                        .sum_dim(1)
                        .reshape([1])
                };
                let (policy, backward) = actor.differentiable_policy(observations.clone());
                let own = with_own_gradients(&actor);
                let burns = own.policy(Tensor::from_inner(observations.clone()));
                let what = format!("{config:?}, {batch} rows");
                assert_alike(policy.mean.clone().inner(), burns.mean.clone().inner(), &what);
                assert_alike(policy.scale.diagonal().inner(), burns.scale.diagonal().inner(), &what);
                let gradient = backward.gradient(loss(policy)).unwrap();
                assert_alike(gradient, Backward::autodiff(own).gradient(loss(burns)).unwrap(), &what);
                let evaluated = actor.valid().policy(observations.clone());
                let burns = actor.policy(Tensor::from_inner(observations)).inner();
                assert_alike(evaluated.mean, burns.mean, &what);
            }
        }
    }
}

#[test]
fn values_of_samples_are_those_of_one_batch() {
    for network in networks() {
        let critic = critic(network.clone());
        let rng = &mut Rng::stream(4, Stream::ActionSamples);
        for (states, samples) in [(256, 20), (257, 3), (1000, 1), (3, 600), (1, 1)] {
            let (observations, actions) =
                (normals(rng, [states, OBSERVATION]), normals(rng, [states, samples, ACTION]));
            let critic = critic.clone().observe(&observations).valid();
            let own = critic.sampled_values(observations.clone(), actions.clone());
            let burns = critic.values_of_samples(observations, actions);
            assert_alike(own, burns, &format!("{network:?}, {states} states, {samples} samples"));
        }
    }
}

/// Nothing on the way makes a number of what is none.
#[test]
fn what_is_not_a_number_is_not_lost() {
    for network in networks() {
        let critic = critic(network).valid();
        let rng = &mut Rng::stream(5, Stream::ActionSamples);
        let mut numbers: Vec<f32> = rng.normals(4 * 2 * ACTION);
        numbers[7] = f32::NAN;
        let actions = Tensor::from_data(TensorData::new(numbers, [4, 2, ACTION]), &Device::flex());
        let values: Vec<f32> =
            critic.sampled_values(normals(rng, [4, OBSERVATION]), actions).into_data().iter().collect();
        for (index, value) in values.into_iter().enumerate() {
            assert_eq!(value.is_nan(), index == 2, "{index}: {value}");
        }
    }
}
