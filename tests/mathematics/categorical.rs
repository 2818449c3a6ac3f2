//! Policies over choices: their laws, and what the E-step, the M-step and the targets make of them.

use burn::tensor::{Tensor, TensorData};
use mpo::{Categorical, Constraint, Distribution, EStep, EStepConfig, Multipliers, Rng, Stream};

use crate::common::difference::largest_difference;
use crate::common::double::{numbers, tensor, tracked};
use crate::policies::normals;

fn rng(seed: u64) -> Rng {
    Rng::stream(seed, Stream::Replay)
}

/// Choices of so many things each, in random states.
fn logits(rng: &mut Rng, states: usize, choices: &[usize]) -> Vec<Tensor<2>> {
    choices.iter().map(|&things| normals(rng, [states, things])).collect()
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|x| x.exp()).sum();
    logits.iter().map(|x| x.exp() / sum).collect()
}

fn multipliers(mean: Vec<f64>) -> Multipliers {
    let count = mean.len();
    Multipliers { mean: tensor(mean, [count]), covariance: tensor(vec![7.0; count], [count]) }
}

#[test]
fn samples_come_as_often_as_they_are_probable() {
    const SAMPLES: usize = 200_000;
    let (rng, choices) = (&mut rng(1), [2, 3, 40]);
    let policy = Categorical::new(logits(rng, 2, &choices)).unwrap();
    let actions = policy.sample(normals(rng, [2, SAMPLES, 3]));
    let drawn = numbers(actions.clone());
    for state in 0..2 {
        for (choice, &things) in choices.iter().enumerate() {
            let expected = numbers(policy.log_probabilities()[choice].clone().exp());
            let mut counts = vec![0.0; things];
            (0..SAMPLES)
                .for_each(|sample| counts[drawn[(state * SAMPLES + sample) * 3 + choice] as usize] += 1.0);
            let shares: Vec<f64> = counts.iter().map(|count| count / SAMPLES as f64).collect();
            let off = largest_difference(&shares, &expected[state * things..][..things]);
            assert!(off < 0.005, "state {state}, choice {choice}: {off}");
        }
    }
    // Their log-probability is that of all choices together.
    let log = numbers(policy.log_probability(actions.narrow(1, 0, 5)));
    let by_choice: Vec<Vec<f64>> =
        policy.log_probabilities().iter().map(|log| numbers(log.clone())).collect();
    for (place, &found) in log.iter().enumerate() {
        let (state, sample) = (place / 5, place % 5);
        let of = |choice: usize| {
            by_choice[choice]
                [state * choices[choice] + drawn[(state * SAMPLES + sample) * 3 + choice] as usize]
        };
        assert!((found - (0..3).map(of).sum::<f64>()).abs() < 1e-12);
    }
}

/// However far out the noise, in double and in single precision.
#[test]
fn samples_are_things_that_there_are_and_have_a_probability() {
    let logits = vec![40.0, 0.0, -1e4, 3.0, 3.0, -1e4];
    let noise = vec![-1e9, -9.0, -6.0, -1.0, 0.0, 1.0, 5.0, 6.0, 9.0, 1e9];
    let double = Categorical::new(vec![tensor(logits.clone(), [1, 6])]).unwrap();
    let single: Vec<f32> = logits.iter().map(|&x| x as f32).collect();
    let device = burn::tensor::Device::flex();
    let single = Categorical::new(vec![Tensor::from_data(TensorData::new(single, [1, 6]), &device)]).unwrap();
    let single_noise: Vec<f32> = noise.iter().map(|&z| z as f32).collect();
    let drawn = [
        numbers(double.sample(tensor(noise, [1, 10, 1]))),
        single
            .sample(Tensor::from_data(TensorData::new(single_noise, [1, 10, 1]), &device))
            .into_data()
            .convert::<f64>()
            .try_into_vec()
            .unwrap(),
    ];
    for drawn in drawn {
        assert!(drawn.iter().all(|&thing| [0.0, 1.0, 3.0, 4.0].contains(&thing)), "{drawn:?}");
        assert!(drawn.is_sorted(), "{drawn:?}");
    }
}

#[test]
fn the_mode_is_the_likeliest_and_the_spread_is_of_1_where_all_are_alike() {
    let policy = Categorical::new(vec![
        tensor(vec![0.0, 2.0, 1.0, 5.0, 2.0, 1.0], [2, 3]),
        tensor(vec![0.0; 8], [2, 4]),
    ])
    .unwrap();
    assert_eq!(numbers(policy.mode()), [1.0, 0.0, 0.0, 0.0]);
    let spread = numbers(policy.spread());
    assert!(spread[0] < 0.9 && spread[2] < 0.3 && (spread[1] - 1.0).abs() < 1e-12, "{spread:?}");
    // Mixed with the uniform distribution every thing has its share, and the order stays.
    let mixed =
        Categorical::new(vec![tensor(vec![0.0, 200.0, -1e4, 1.0], [1, 4])]).unwrap().mixed_with_uniform(0.2);
    let shares = numbers(mixed.log_probabilities()[0].clone().exp());
    assert!(largest_difference(&shares, &[0.05, 0.85, 0.05, 0.05]) < 1e-12, "{shares:?}");
}

/// Σ p_k log(p_k / p): from the old to the new, a choice by itself or all together, and no other half.
#[test]
fn the_divergence_is_that_from_the_old_policy() {
    let (rng, choices) = (&mut rng(2), [2, 5]);
    let (new, old) = (
        Categorical::new(logits(rng, 4, &choices)).unwrap(),
        Categorical::new(logits(rng, 4, &choices)).unwrap(),
    );
    let expected: Vec<f64> = (0..8)
        .map(|place| {
            let (state, things) = (place / 2, choices[place % 2]);
            let [new, old] = [&new, &old].map(|policy| {
                numbers(policy.log_probabilities()[place % 2].clone())[state * things..][..things].to_vec()
            });
            old.iter().zip(new).map(|(old, new)| old.exp() * (old - new)).sum()
        })
        .collect();
    let each = new.divergence(&old, Constraint::PerDimension).unwrap();
    assert!(largest_difference(&numbers(each.mean), &expected) < 1e-12);
    assert_eq!(numbers(each.covariance), [0.0; 8]);
    let all = new.divergence(&old, Constraint::Joint).unwrap();
    let sums: Vec<f64> = expected.chunks(2).map(|pair| pair.iter().sum()).collect();
    assert!(largest_difference(&numbers(all.mean), &sums) < 1e-12);
}

/// ∂/∂logits = [(Σw + α) p - (w + α p_k)] / batch, and that of finite differences of the Lagrangian itself.
#[test]
fn the_gradient_of_the_lagrangian_is_that_in_closed_form() {
    const STATES: usize = 3;
    let (rng, choices) = (&mut rng(3), [2, 4]);
    let old = Categorical::new(logits(rng, STATES, &choices)).unwrap();
    let start = logits(rng, STATES, &choices);
    let actions = old.sample(normals(rng, [STATES, 6, 2]));
    let weights = normals(rng, [STATES, 6]).exp();
    for alpha in [vec![0.7], vec![0.7, 3.0]] {
        let multipliers = multipliers(alpha.clone());
        let statistics = old.statistics(actions.clone(), weights.clone());
        let tracked: Vec<Tensor<2>> = start.iter().cloned().map(tracked).collect();
        let lagrangian =
            Categorical::new(tracked.clone()).unwrap().lagrangian(&old, &statistics, &multipliers);
        let gradients = lagrangian.backward();
        let constraint = if alpha.len() == 1 { Constraint::Joint } else { Constraint::PerDimension };
        let by_hand = |logits: &[Tensor<2>]| {
            let policy = Categorical::new(logits.to_vec()).unwrap();
            let likelihood = (policy.log_probability(actions.clone()) * weights.clone()).sum_dim(1).mean();
            let kl = policy.divergence(&old, constraint).unwrap().mean * multipliers.mean.clone().unsqueeze();
            numbers(kl.sum_dim(1).mean() - likelihood)[0]
        };
        for (choice, &things) in choices.iter().enumerate() {
            let found = numbers(tracked[choice].grad(&gradients).unwrap());
            let held = alpha[choice.min(alpha.len() - 1)];
            let counted = numbers(statistics[choice].clone());
            let [new, before] = [&start[choice], &old.log_probabilities()[choice]]
                .map(|logits| numbers(logits.clone()).chunks(things).flat_map(softmax).collect::<Vec<_>>());
            for place in 0..STATES * things {
                let state = place / things * things;
                let total: f64 = counted[state..state + things].iter().sum();
                let closed = (total + held) * new[place] - (counted[place] + held * before[place]);
                assert!((found[place] - closed / STATES as f64).abs() < 1e-12, "{found:?}");
                let moved = |step: f64| {
                    let mut logits = start.clone();
                    let mut values = numbers(logits[choice].clone());
                    values[place] += step;
                    logits[choice] = tensor(values, [STATES, things]);
                    by_hand(&logits)
                };
                let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((found[place] - difference).abs() < 1e-8, "{} {difference}", found[place]);
            }
        }
    }
}

/// A policy of 1/4 and 3/4 between values of 0 and 1, whatever is added to both.
#[test]
fn an_enumerated_problem_is_solved_as_by_hand() {
    // At η = 1 / log 3 the odds of the second thing are 3 · 3 = 9: weights of 1/10 and 9/10.
    let kl = 0.1 * (0.1_f64 / 0.25).ln() + 0.9 * (0.9_f64 / 0.75).ln();
    let policy = Categorical::new(vec![tensor(vec![0.0, 3.0_f64.ln()], [1, 2])]).unwrap();
    let listed = policy.enumerate().unwrap();
    assert_eq!(numbers(listed.actions), [0.0, 1.0]);
    let config = EStepConfig { epsilon: kl, minimum_temperature: 0.0, ..EStepConfig::default() };
    for shift in [0.0, -50.0] {
        let values = tensor(vec![shift, shift + 1.0], [1, 2]);
        let solution =
            EStep::new(config.clone()).unwrap().solve(values, Some(listed.probabilities.clone())).unwrap();
        assert!((solution.dual.temperature - 1.0 / 3.0_f64.ln()).abs() < 1e-6, "{:?}", solution.dual);
        let weights: Vec<f64> = solution.weights.into_data().convert::<f64>().try_into_vec().unwrap();
        assert!(largest_difference(&weights, &[0.1, 0.9]) < 1e-6, "{weights:?}");
    }
}

/// With 2 to 1,000 things, single precision in the policy's softmax included: the constraint holds, and
/// weights are π exp(Q/η) up to their sum.
#[test]
fn enumerations_of_any_size_are_weighed_by_the_policy() {
    for things in [2, 3, 10, 100, 1000] {
        let (rng, states) = (&mut rng(4), 8);
        let single = |rng: &mut Rng, scale: f32| -> Tensor<2> {
            let numbers = TensorData::new(rng.normals(states * things), [states, things]);
            Tensor::from_data(numbers, &burn::tensor::Device::flex()) * scale
        };
        let policy = Categorical::new(vec![single(rng, 3.0)]).unwrap();
        let values = single(rng, 1.0);
        let prior = policy.enumerate().unwrap().probabilities;
        let mut e_step = EStep::new(EStepConfig::default()).unwrap();
        let solution = e_step.solve(values.clone(), Some(prior.clone())).unwrap();
        assert!((solution.dual.kl - 0.1).abs() < 1e-6, "{things}: {:?}", solution.dual);
        let [weights, values, prior] = [solution.weights, values, prior]
            .map(|tensor| -> Vec<f64> { tensor.into_data().convert::<f64>().try_into_vec().unwrap() });
        for state in (0..states).map(|state| state * things..(state + 1) * things) {
            let shares = values[state.clone()].iter().zip(&prior[state.clone()]);
            let shares: Vec<f64> = shares.map(|(q, p)| p * (q / solution.dual.temperature).exp()).collect();
            let sum: f64 = shares.iter().sum();
            let off = weights[state].iter().zip(shares).map(|(w, share)| (w - share / sum).abs());
            assert!(off.fold(0.0, f64::max) < 1e-6, "{things}");
        }
    }
}

#[test]
fn no_choice_or_other_states_are_refused() {
    let refused = |logits: Vec<Tensor<2>>| Categorical::new(logits).unwrap_err().to_string();
    let of = |states| Tensor::<2>::zeros([states, 3], &burn::tensor::Device::flex());
    assert!(refused(Vec::new()).contains("the choices of a Categorical"));
    assert!(refused(vec![of(2), of(4)]).contains("the states of a choice"));
}
