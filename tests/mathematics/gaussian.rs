//! Properties of Gaussian policies.

use crate::common::double::{numbers, tensor, tracked};
use crate::policies::{diagonal_matrix, entries, gradient_of, normals, policy, tracked_scale};
use burn::tensor::{DType, Tensor};
use mpo::Distribution;
use mpo::{DecoupledKl, Gaussian, Rng, Scale, Scatter, Statistics, Stream, policy_gradient};
use proptest::prelude::*;

const LOG_TWO_PI: f64 = 1.837_877_066_409_345_5;

/// The largest difference, in units of the largest expected value above 1.
fn deviation(measured: Vec<f64>, expected: Vec<f64>) -> f64 {
    assert_eq!(measured.len(), expected.len());
    let scale = expected.iter().fold(1.0_f64, |scale, value| scale.max(value.abs()));
    let larger = |a: f64, b: f64| if b > a || b.is_nan() { b } else { a };
    measured.iter().zip(&expected).map(|(a, b)| (a - b).abs() / scale).fold(0.0, larger)
}

/// A factor or standard deviations as a factor.
fn factor(scale: &Scale) -> Tensor<3> {
    match scale {
        Scale::Diagonal(deviation) => diagonal_matrix(deviation.clone()),
        Scale::Cholesky(factor) => factor.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// log N(μ + L z) = -|z|² / 2 - Σ log L_ii - n log(2π) / 2, and whitening gives z back.
    #[test]
    fn samples_have_the_density_of_their_noise(
        seed in any::<u64>(), states in 1..4_usize, samples in 1..5_usize, n in 1..7_usize, full in any::<bool>(),
    ) {
        let rng = &mut Rng::stream(seed, Stream::Weights);
        let policy = policy(rng, states, n, full);
        let noise: Tensor<3> = normals(rng, [states, samples, n]);
        let actions = policy.sample(noise.clone());
        let by_hand = factor(&policy.scale).matmul(noise.clone().transpose()).transpose()
            + policy.mean.clone().unsqueeze_dim(1);
        prop_assert!(deviation(numbers(actions.clone()), numbers(by_hand)) <= 1e-13);

        let whitened = policy.scale.whiten((actions.clone() - policy.mean.clone().unsqueeze_dim(1)).transpose());
        prop_assert!(deviation(numbers(whitened.transpose()), numbers(noise.clone())) <= 1e-10);
        let squares: Tensor<2> = noise.square().sum_dim(2).squeeze_dim(2);
        let log_det = numbers(policy.scale.half_log_det());
        let expected = numbers(squares);
        let expected = expected.iter().enumerate().map(|(index, square)| {
            -0.5 * square - log_det[index / samples] - 0.5 * n as f64 * LOG_TWO_PI
        });
        let measured = policy.log_probability(actions);
        prop_assert_eq!(measured.dims(), [states, samples]);
        prop_assert!(deviation(numbers(measured), expected.collect()) <= 1e-10);

        let diagonal = numbers(policy.scale.diagonal());
        let by_hand: Vec<f64> = diagonal.chunks(n).map(|row| row.iter().map(|x| x.ln()).sum()).collect();
        let entropy = by_hand.iter().map(|log_det| log_det + 0.5 * n as f64 * (1.0 + LOG_TWO_PI)).collect();
        prop_assert!(deviation(log_det, by_hand) <= 1e-13);
        prop_assert!(deviation(numbers(policy.entropy()), entropy) <= 1e-13);
    }

    /// A diagonal covariance is a full one without correlations; the divergences add up over the dimensions.
    #[test]
    fn diagonal_policies_are_full_ones_without_correlation(
        seed in any::<u64>(), states in 1..4_usize, n in 1..7_usize,
    ) {
        let rng = &mut Rng::stream(seed, Stream::Weights);
        let (new, old) = (policy(rng, states, n, false), policy(rng, states, n, false));
        let noise: Tensor<3> = normals(rng, [states, 3, n]);
        let full = |policy: &Gaussian| Gaussian {
            mean: policy.mean.clone(),
            scale: Scale::Cholesky(factor(&policy.scale)),
        };
        let actions = old.sample(noise.clone());
        prop_assert!(deviation(numbers(full(&old).sample(noise)), numbers(actions.clone())) <= 1e-13);
        let log_probability = numbers(full(&new).log_probability(actions.clone()));
        prop_assert!(deviation(log_probability, numbers(new.log_probability(actions))) <= 1e-12);
        prop_assert!(deviation(numbers(full(&new).entropy()), numbers(new.entropy())) <= 1e-13);

        let DecoupledKl { mean, covariance } = new.decoupled_kl(&old);
        let by_dimension = new.decoupled_kl_per_dimension(&old).unwrap();
        prop_assert_eq!((mean.dims(), by_dimension.mean.dims()), ([states, 1], [states, n]));
        prop_assert!(deviation(numbers(by_dimension.mean.sum_dim(1)), numbers(mean.clone())) <= 1e-12);
        prop_assert!(deviation(numbers(by_dimension.covariance.sum_dim(1)), numbers(covariance.clone())) <= 1e-12);
        for (new, old) in [(full(&new), full(&old)), (new.clone(), full(&old)), (full(&new), old.clone())] {
            let mixed = new.decoupled_kl(&old);
            prop_assert!(deviation(numbers(mixed.mean), numbers(mean.clone())) <= 1e-12);
            prop_assert!(deviation(numbers(mixed.covariance), numbers(covariance.clone())) <= 1e-12);
        }
    }

    /// The diagonal of L says nothing of a component by itself.
    #[test]
    fn full_covariances_have_no_divergence_of_a_dimension(seed in any::<u64>(), n in 1..7_usize) {
        let rng = &mut Rng::stream(seed, Stream::Weights);
        let [diagonal, full] = [false, true].map(|full| policy(rng, 2, n, full));
        for (new, old, place) in [
            (&full, &diagonal, "the policy's covariance is full"),
            (&diagonal, &full, "the old policy's covariance is full"),
            (&full, &full, "the policy's covariance is full"),
        ] {
            let error = new.decoupled_kl_per_dimension(old).unwrap_err().to_string();
            prop_assert!(error.starts_with(place) && error.contains("accepted: diagonal"), "{}", error);
        }
    }

    #[test]
    fn divergences_are_positive_but_for_equal_policies(
        seed in any::<u64>(), states in 1..4_usize, n in 1..7_usize, full in any::<bool>(), step in -8.0..0.0_f64,
    ) {
        let rng = &mut Rng::stream(seed, Stream::Weights);
        let (old, other) = (policy(rng, states, n, full), policy(rng, states, n, full));
        // From hardly different to very different.
        let share = 10_f64.powf(step);
        let new = Gaussian {
            mean: old.mean.clone() * (1.0 - share) + other.mean * share,
            scale: match (&old.scale, &other.scale) {
                (Scale::Cholesky(a), Scale::Cholesky(b)) => {
                    Scale::Cholesky(a.clone() * (1.0 - share) + b.clone() * share)
                }
                (a, b) => Scale::Diagonal(a.diagonal() * (1.0 - share) + b.diagonal() * share),
            },
        };
        let per_dimension = |new: &Gaussian, old: &Gaussian| (!full).then(|| new.decoupled_kl_per_dimension(old).unwrap());
        for kl in [Some(new.decoupled_kl(&old)), per_dimension(&new, &old)].into_iter().flatten() {
            for kl in [kl.mean, kl.covariance] {
                let smallest = numbers(kl.clone().min())[0];
                prop_assert!(smallest >= -1e-13, "{smallest:e}");
                prop_assert!(step < -3.0 || numbers(kl.min())[0] > 0.0);
            }
        }
        for kl in [Some(old.decoupled_kl(&old)), per_dimension(&old, &old)].into_iter().flatten() {
            prop_assert_eq!(numbers(kl.mean.abs().max()), vec![0.0]);
            prop_assert!(numbers(kl.covariance.abs().max())[0] <= 1e-13);
        }
    }
}

/// The points of an even grid over ±9 standard deviations, far finer than the narrowest direction, and the
/// volume of a cell.
fn grid(mean: &[f64], deviation: &[f64], points: usize) -> (Vec<f64>, f64) {
    let steps: Vec<f64> = deviation.iter().map(|deviation| 18.0 * deviation / (points - 1) as f64).collect();
    let count = points.pow(mean.len() as u32);
    let coordinates = (0..count).flat_map(|index| {
        (0..mean.len()).map({
            let steps = &steps;
            move |axis| {
                let place = index / points.pow(axis as u32) % points;
                mean[axis] + steps[axis] * (place as f64 - (points - 1) as f64 / 2.0)
            }
        })
    });
    (coordinates.collect(), steps.iter().product())
}

/// Mass, mean, covariance and entropy of a policy by integration over a grid.
fn check_integrals(mean: Vec<f64>, deviation: &[f64], scale: Scale, covariance: &[f64], points: usize) {
    let n = mean.len();
    let policy = Gaussian { mean: tensor(mean.clone(), [1, n]), scale };
    let (actions, volume) = grid(&mean, deviation, points);
    let log_probability = numbers(policy.log_probability(tensor(actions.clone(), [1, actions.len() / n, n])));
    let densities: Vec<f64> = log_probability.iter().map(|log| log.exp() * volume).collect();
    let expectation = |of: &dyn Fn(&[f64], usize) -> f64| -> f64 {
        actions.chunks(n).enumerate().map(|(index, action)| densities[index] * of(action, index)).sum()
    };
    let close = |measured: f64, expected: f64| {
        assert!((measured - expected).abs() <= 1e-10, "{measured} in place of {expected}, n = {n}");
    };
    close(expectation(&|_, _| 1.0), 1.0);
    close(expectation(&|_, index| -log_probability[index]), numbers(policy.entropy())[0]);
    for row in 0..n {
        close(expectation(&|action, _| action[row]), mean[row]);
        for column in 0..n {
            let product = |action: &[f64], _| (action[row] - mean[row]) * (action[column] - mean[column]);
            close(expectation(&product), covariance[row * n + column]);
        }
    }
}

#[test]
fn densities_integrate_to_one() {
    for deviation in [0.05, 0.7, 3.0] {
        let variance = [deviation * deviation];
        let diagonal = Scale::Diagonal(tensor(vec![deviation], [1, 1]));
        let full = Scale::Cholesky(tensor(vec![deviation], [1, 1, 1]));
        for scale in [diagonal, full] {
            check_integrals(vec![-0.4], &[deviation], scale, &variance, 400);
        }
    }
    let diagonal = Scale::Diagonal(tensor(vec![0.2, 1.5], [1, 2]));
    check_integrals(vec![0.3, -1.0], &[0.2, 1.5], diagonal, &[0.04, 0.0, 0.0, 2.25], 150);
    // L = [[0.8, 0], [-0.7, 0.3]].
    let full = Scale::Cholesky(tensor(vec![0.8, 0.0, -0.7, 0.3], [1, 2, 2]));
    let (covariance, deviation) = ([0.64, -0.56, -0.56, 0.58], [0.8, 0.58_f64.sqrt()]);
    check_integrals(vec![1.0, 0.2], &deviation, full, &covariance, 240);
}

/// Within five standard errors, of a fixed seed.
#[test]
fn samples_have_the_mean_and_the_covariance() {
    const SAMPLES: usize = 50_000;
    let (states, n) = (2, 3);
    for full in [false, true] {
        let rng = &mut Rng::stream(7, Stream::Weights);
        let policy = policy(rng, states, n, full);
        let actions = policy.sample(normals(rng, [states, SAMPLES, n]));
        let mean = actions.clone().mean_dim(1);
        let centred = actions - mean.clone();
        let covariance = numbers(centred.clone().transpose().matmul(centred) / SAMPLES as f64);
        let factor = factor(&policy.scale);
        let expected = numbers(factor.clone().matmul(factor.transpose()));
        let (mean, expected_mean) = (numbers(mean), numbers(policy.mean));
        let error = 5.0 / (SAMPLES as f64).sqrt();
        for state in 0..states {
            let entry = |row: usize, column: usize| (state * n + row) * n + column;
            for row in 0..n {
                let variance = expected[entry(row, row)];
                let off = (mean[state * n + row] - expected_mean[state * n + row]).abs();
                assert!(off <= error * variance.sqrt(), "a mean is off by {off}");
                for column in 0..n {
                    let place = entry(row, column);
                    let spread = variance * expected[entry(column, column)] + expected[place].powi(2);
                    let off = (covariance[place] - expected[place]).abs();
                    assert!(off <= error * spread.sqrt(), "a covariance is off by {off}");
                }
            }
        }
    }
}

/// Factors of covariances that are nearly singular, each for two states.
fn nearly_singular() -> Vec<Tensor<3>> {
    let small = 1e-6;
    let correlation: f64 = 0.999_999;
    let rest = (1.0 - correlation * correlation).sqrt();
    let negative = vec![1.0, 0.0, -correlation, rest];
    let matrices = [
        vec![small],
        vec![small, 0.0, 0.5, small],
        vec![1.0, 0.0, 0.5, small],
        vec![1.0, 0.0, correlation, rest],
        negative,
        vec![small, 0.0, 0.0, small, small, 0.0, -small, small, small],
        vec![1.0, 0.0, 0.0, correlation, rest, 0.0, correlation, 0.5 * rest, 0.5 * rest],
    ];
    let factors = matrices.into_iter().map(|matrix| {
        let n = matrix.len().isqrt();
        tensor([matrix.clone(), matrix].concat(), [2, n, n])
    });
    factors.collect()
}

#[test]
fn nearly_singular_covariances_give_finite_numbers() {
    let finite = |what: &str, values: Tensor<1>| {
        let values: Vec<f64> = values.into_data().iter().collect();
        assert!(values.iter().all(|value| value.is_finite()), "{what}: {values:?}");
    };
    for (factor, dtype) in
        nearly_singular().into_iter().flat_map(|f| [(f.clone(), DType::F64), (f, DType::F32)])
    {
        let [states, n, _] = factor.dims();
        let rng = &mut Rng::stream(3, Stream::Weights);
        let full = |factor: Tensor<3>| Gaussian {
            mean: tensor(vec![0.1; states * n], [states, n]).cast(dtype),
            scale: Scale::Cholesky(factor.cast(dtype)),
        };
        // The same policy a little wider, and its diagonal.
        let (old, new) = (full(factor.clone()), full(factor * 1.01));
        let diagonal = |policy: &Gaussian| Gaussian {
            mean: policy.mean.clone(),
            scale: Scale::Diagonal(policy.scale.diagonal()),
        };
        for (old, new) in [(diagonal(&old), diagonal(&new)), (old, new)] {
            let noise: Tensor<3> = normals(rng, [states, 20, n]);
            let actions = old.sample(noise.clone().cast(dtype));
            let log_probability = old.log_probability(actions.clone());
            finite("log-probability", log_probability.clone().flatten(0, 1));
            if dtype == DType::F64 {
                let squares = numbers(noise.square().sum_dim(2));
                let log_det = numbers(old.scale.half_log_det())[0];
                let constant = log_det + 0.5 * n as f64 * LOG_TWO_PI;
                let expected = squares.iter().map(|square| -0.5 * square - constant).collect();
                // The worst condition number of a factor here is 5e11.
                assert!(deviation(numbers(log_probability), expected) <= 1e-4);
            }
            finite("entropy", new.entropy());
            let kl = new.decoupled_kl(&old);
            finite("mean", kl.mean.flatten(0, 1));
            // Σ = 1.01² Σ_k whatever Σ_k is.
            let expected = n as f64 * (0.5 / 1.0201 - 0.5 + 1.01_f64.ln());
            let covariance: Vec<f64> = kl.covariance.into_data().iter().collect();
            let tolerance = if dtype == DType::F64 { 1e-9 } else { 1e-5 };
            assert!(deviation(covariance, vec![expected; states]) <= tolerance);

            let weights: Tensor<2> = tensor(vec![0.05; states * 20], [states, 20]);
            let statistics = Statistics::new(&old, actions.clone(), weights.cast(dtype));
            assert!(matches!(
                (&statistics.scatter, &old.scale),
                (Scatter::Full(_), Scale::Cholesky(_)) | (Scatter::Diagonal(_), Scale::Diagonal(_))
            ));
            let multiplier = tensor(vec![0.3], [1]).cast(dtype);
            let gradient = policy_gradient(&new, &old, &statistics, &multiplier, &multiplier);
            finite("gradient of the mean", gradient.mean.flatten(0, 1));
            finite("gradient of the scale", entries(&gradient.scale));

            let mean = tracked(new.mean);
            let policy = Gaussian { mean: mean.clone(), scale: tracked_scale(new.scale) };
            let gradients = policy.log_probability(Tensor::from_inner(actions)).sum().backward();
            finite("autodiff, mean", mean.grad(&gradients).unwrap().flatten(0, 1));
            finite("autodiff, scale", entries(&gradient_of(&policy.scale, &gradients)));
        }
    }
}
