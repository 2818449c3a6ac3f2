//! Values as distributions over bins.

use burn::tensor::Tensor;
use mpo::networks::{BinTarget, QNetworkConfig, ValueDistribution};

use crate::common::double::{numbers, tensor, tracked};

fn all() -> impl Iterator<Item = ValueDistribution> {
    let targets = [
        BinTarget::TwoHot,
        BinTarget::HlGauss { deviation: 0.8 },
        BinTarget::HlGauss { deviation: 1.0 },
        BinTarget::HlGauss { deviation: 2.5 },
    ];
    let sizes = [(51, 10.0), (101, 5.0), (41, 0.3)];
    targets
        .into_iter()
        .flat_map(move |target| sizes.map(|(bins, range)| ValueDistribution { bins, range, target }))
}

/// Over the whole range, its ends included, to 1e-6 of it; what lies beyond is at its ends.
#[test]
fn a_targets_distribution_has_its_mean() {
    for distribution in all() {
        let ValueDistribution { bins, range, .. } = distribution;
        let targets: Vec<f64> = (-1200..=1200).map(|step| f64::from(step) / 1000.0 * range).collect();
        let count = targets.len();
        let found = distribution.distributions(tensor(targets.clone(), [count]));
        for shares in numbers(found.clone()).chunks(bins) {
            assert!(shares.iter().all(|&share| (0.0..=1.0).contains(&share)));
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
        // 0 as a logit too small to count.
        let means = numbers(distribution.means((found + 1e-300).log()));
        for (target, mean) in targets.iter().zip(means) {
            let expected = target.clamp(-range, range);
            assert!((mean - expected).abs() < 1e-6 * range, "{distribution:?}: {mean}, expected {expected}");
        }
    }
}

#[test]
fn two_bins_share_what_lies_between_them() {
    let distribution = ValueDistribution { bins: 5, range: 2.0, target: BinTarget::TwoHot };
    let shares = numbers(distribution.distributions(tensor(vec![0.25, -2.0, 7.0], [3])));
    assert_eq!(shares, [0.0, 0.0, 0.75, 0.25, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
}

/// ∂/∂logits = (softmax - the target's distribution) / batch.
#[test]
fn the_loss_is_the_cross_entropy() {
    for distribution in all() {
        let bins = distribution.bins;
        let logits: Vec<f64> = (0..2 * bins).map(|place| (0.7 * place as f64).sin() * 2.0).collect();
        let targets = tensor(vec![0.13, -0.2], [2]);
        let tracked: Tensor<2> = tracked(tensor(logits.clone(), [2, bins]));
        let gradients = distribution.loss(tracked.clone(), Tensor::from_inner(targets.clone())).backward();
        let found = numbers(tracked.grad(&gradients).unwrap());
        let shares = numbers(distribution.distributions(targets));
        for state in 0..2 {
            let sum: f64 = logits[state * bins..][..bins].iter().map(|logit| logit.exp()).sum();
            for place in state * bins..(state + 1) * bins {
                let expected = (logits[place].exp() / sum - shares[place]) / 2.0;
                assert!((found[place] - expected).abs() < 1e-12);
            }
        }
    }
}

#[test]
fn bins_that_are_none_are_refused() {
    let gauss = |deviation| BinTarget::HlGauss { deviation };
    for (bins, range, target, words) in [
        (1, 10.0, BinTarget::TwoHot, "bins is 1"),
        (5000, 10.0, BinTarget::TwoHot, "bins is 5000"),
        (51, 0.0, BinTarget::TwoHot, "range is 0"),
        (51, f64::NAN, BinTarget::TwoHot, "range is NaN"),
        (51, 10.0, gauss(0.1), "deviation is 0.1"),
        (51, 10.0, gauss(f64::NAN), "deviation is NaN"),
        (13, 10.0, gauss(1.0), "more than HlGauss::deviation times 12"),
    ] {
        let distribution = Some(ValueDistribution { bins, range, target });
        let config = QNetworkConfig { distribution, ..QNetworkConfig::default() };
        let rng = &mut mpo::Rng::stream(1, mpo::Stream::Weights);
        let error = mpo::QNetwork::new(&config, 2, 1, &burn::tensor::Device::flex(), rng).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}
