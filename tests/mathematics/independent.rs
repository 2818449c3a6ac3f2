//! A policy over numbers and choices at once is the product of its parts.

use burn::tensor::Tensor;
use mpo::{Categorical, Constraint, Distribution, Gaussian, Independent, Multipliers, Rng, Scale, Stream};

use crate::common::difference::largest_difference;
use crate::common::double::{numbers, tensor, tracked};
use crate::policies::{gradient_of, normals, policy, tracked_scale};

const STATES: usize = 3;
const SAMPLES: usize = 7;

type Hybrid = Independent<Gaussian, Categorical>;

fn hybrid(rng: &mut Rng) -> Hybrid {
    let choices = [3, 2].map(|things| normals(rng, [STATES, things])).to_vec();
    Independent { first: policy(rng, STATES, 2, false), second: Categorical::new(choices).unwrap() }
}

fn of_first(tensor: Tensor<3>) -> Tensor<3> {
    tensor.narrow(2, 0, 2)
}

fn of_second(tensor: Tensor<3>) -> Tensor<3> {
    tensor.narrow(2, 2, 2)
}

#[test]
fn it_is_the_product_of_its_parts() {
    let rng = &mut Rng::stream(1, Stream::Replay);
    let (new, old, noise) = (hybrid(rng), hybrid(rng), normals(rng, [STATES, SAMPLES, 4]));
    assert_eq!((new.states(), new.action_size()), (STATES, 4));
    let actions = new.sample(noise.clone());
    let [first, second] = [new.first.sample(of_first(noise.clone())), new.second.sample(of_second(noise))];
    assert_eq!(numbers(of_first(actions.clone())), numbers(first.clone()));
    assert_eq!(numbers(of_second(actions.clone())), numbers(second.clone()));
    let sum = new.first.log_probability(first.clone()) + new.second.log_probability(second.clone());
    assert_eq!(numbers(new.log_probability(actions.clone())), numbers(sum));
    // Given a density of the noise, which is that of the numbers alone.
    let one = actions.narrow(1, 0, 1);
    let given = new.first.log_probability_given(of_first(one.clone()), 0.4)
        + new.second.log_probability(of_second(one.clone())).squeeze_dim(1);
    assert_eq!(numbers(new.log_probability_given(one, 0.4)), numbers(given));
    assert_eq!(numbers(new.mode()), numbers(Tensor::cat(vec![new.first.mode(), new.second.mode()], 1)));
    assert_eq!(numbers(new.narrow(1, 2).mode()), numbers(new.mode().narrow(0, 1, 2)));
    for constraint in [Constraint::Joint, Constraint::PerDimension] {
        let all = new.divergence(&old, constraint).unwrap();
        let first = new.first.divergence(&old.first, constraint).unwrap();
        let second = new.second.divergence(&old.second, constraint).unwrap();
        for (all, first, second) in
            [(all.mean, first.mean, second.mean), (all.covariance, first.covariance, second.covariance)]
        {
            let expected = match constraint {
                Constraint::Joint => first + second,
                Constraint::PerDimension => Tensor::cat(vec![first, second], 1),
            };
            assert_eq!(numbers(all), numbers(expected));
        }
    }
}

/// Each part has the gradient that it has alone, with the multipliers of its own components.
#[test]
fn each_part_is_fitted_as_it_would_be_alone() {
    let rng = &mut Rng::stream(2, Stream::Replay);
    let (new, old) = (hybrid(rng), hybrid(rng));
    let actions = old.sample(normals(rng, [STATES, SAMPLES, 4]));
    let weights = normals(rng, [STATES, SAMPLES]).exp();
    let statistics = old.statistics(actions.clone(), weights.clone());
    for alphas in [vec![0.5], vec![0.5, 1.0, 2.0, 4.0]] {
        let count = alphas.len();
        let multipliers = |alphas: &[f64]| Multipliers {
            mean: tensor(alphas.to_vec(), [alphas.len()]),
            covariance: tensor(alphas.to_vec(), [alphas.len()]),
        };
        let gradients = |of: &dyn Fn(Gaussian, Categorical) -> Tensor<1>| {
            let mean = tracked(new.first.mean.clone());
            let scale = tracked_scale(new.first.scale.clone());
            let logits: Vec<Tensor<2>> =
                new.second.log_probabilities().iter().cloned().map(tracked).collect();
            let gaussian = Gaussian { mean: mean.clone(), scale: scale.clone() };
            let gradients = of(gaussian, Categorical::new(logits.clone()).unwrap()).backward();
            let Scale::Diagonal(of_scale) = gradient_of(&scale, &gradients) else { panic!("a diagonal") };
            let mut all = numbers(mean.grad(&gradients).unwrap());
            all.extend(numbers(of_scale));
            logits.iter().for_each(|logits| all.extend(numbers(logits.grad(&gradients).unwrap())));
            all
        };
        let together = gradients(&|first, second| {
            Independent { first, second }.lagrangian(&old, &statistics, &multipliers(&alphas))
        });
        let ends = if count == 1 { [0..1, 0..1] } else { [0..2, 2..4] };
        let alone = gradients(&|first, second| {
            let one = old.first.statistics(of_first(actions.clone()), weights.clone());
            let other = old.second.statistics(of_second(actions.clone()), weights.clone());
            first.lagrangian(&old.first, &one, &multipliers(&alphas[ends[0].clone()]))
                + second.lagrangian(&old.second, &other, &multipliers(&alphas[ends[1].clone()]))
        });
        assert!(largest_difference(&together, &alone) < 1e-14, "{together:?}, {alone:?}");
    }
}
