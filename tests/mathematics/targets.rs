//! Properties of the targets and the loss of the policy evaluation.

use crate::common::difference::largest_difference;
use crate::common::double::{numbers, tensor, tracked};
use burn::tensor::Tensor;
use mpo::networks::CriticLoss;
use mpo::targets::{mean_value, n_step_targets, retrace_targets, retrace_traces, td_targets};
use proptest::collection::vec;
use proptest::prelude::*;

/// Sequences of one length, row after row.
#[derive(Debug, Clone)]
struct Sequences {
    length: usize,
    rewards: Vec<f64>,
    discounts: Vec<f64>,
    next_values: Vec<f64>,
    values: Vec<f64>,
    traces: Vec<f64>,
}

/// Sequences with some terminations in them.
fn sequences() -> impl Strategy<Value = Sequences> {
    (1..5_usize, 1..9_usize).prop_flat_map(|(rows, length)| {
        let size = rows * length;
        let numbers = || vec(-2.0..2.0_f64, size);
        let discount = prop_oneof![4 => 0.5..1.0_f64, 1 => Just(0.0)];
        (numbers(), vec(discount, size), numbers(), numbers(), vec(0.0..1.0_f64, size)).prop_map(
            move |(rewards, discounts, next_values, values, traces)| Sequences {
                length,
                rewards,
                discounts,
                next_values,
                values,
                traces,
            },
        )
    })
}

impl Sequences {
    fn tensor(&self, values: &[f64]) -> Tensor<2> {
        tensor(values.to_vec(), [values.len() / self.length, self.length])
    }

    fn retrace(&self) -> Vec<f64> {
        let [rewards, discounts, next, values, traces] =
            [&self.rewards, &self.discounts, &self.next_values, &self.values, &self.traces]
                .map(|values| self.tensor(values));
        numbers(retrace_targets(rewards, discounts, next, values, traces))
    }

    fn n_step(&self, steps: usize, lambda: f64) -> Vec<f64> {
        let [rewards, discounts, next] =
            [&self.rewards, &self.discounts, &self.next_values].map(|values| self.tensor(values));
        numbers(n_step_targets(rewards, discounts, next, steps, lambda))
    }

    fn td(&self) -> Vec<f64> {
        let [rewards, discounts, next] = [&self.rewards, &self.discounts, &self.next_values]
            .map(|values| tensor(values.clone(), [values.len()]));
        numbers(td_targets(rewards, discounts, next))
    }

    /// The rest of the row from a step on.
    fn rest(&self, step: usize) -> std::ops::Range<usize> {
        step..(step / self.length + 1) * self.length
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn td_targets_are_reward_and_discounted_value(sequences in sequences()) {
        let terms = sequences.rewards.iter().zip(&sequences.discounts).zip(&sequences.next_values);
        let expected: Vec<f64> = terms.map(|((r, d), v)| r + d * v).collect();
        prop_assert!(largest_difference(&sequences.td(), &expected) <= 1e-15);
    }

    /// Without traces nothing but the next step counts.
    /// Where all steps are alike, it is what their targets come to: r + d V = V.
    #[test]
    fn the_mean_value_is_its_own_target(reward in -9.0..9.0_f64, discounts in vec(0.0..0.999_f64, 1..20)) {
        let count = discounts.len();
        let discount = discounts.iter().sum::<f64>() / count as f64;
        let value = mean_value(tensor(vec![reward; count], [count]), tensor(discounts, [count]));
        let target = td_targets(tensor(vec![reward], [1]), tensor(vec![discount], [1]), value.clone());
        let (value, target) = (numbers(value)[0], numbers(target)[0]);
        prop_assert!((value - target).abs() <= 1e-9 * (1.0 + value.abs()), "{value}, {target}");
    }

    #[test]
    fn retrace_without_traces_is_td(sequences in sequences()) {
        let cut = Sequences { traces: vec![0.0; sequences.traces.len()], ..sequences };
        prop_assert!(largest_difference(&cut.retrace(), &cut.td()) <= 1e-14);
        prop_assert!(largest_difference(&cut.n_step(1, 1.0), &cut.td()) <= 1e-14);
        prop_assert!(largest_difference(&cut.n_step(cut.length, 0.0), &cut.td()) <= 1e-14);
    }

    /// The sum of eq. 11: Q(t) + Σ_j γ^(j-t) c_{t+1} ... c_j [r_j + γ V(j+1) - Q(j)].
    #[test]
    fn retrace_is_the_sum_of_corrections(sequences in sequences()) {
        let expected: Vec<f64> = (0..sequences.rewards.len())
            .map(|start| {
                let mut weight = 1.0;
                let mut target = sequences.values[start];
                for step in sequences.rest(start) {
                    if step > start {
                        weight *= sequences.discounts[step - 1] * sequences.traces[step];
                    }
                    let bootstrap = sequences.discounts[step] * sequences.next_values[step];
                    target += weight * (sequences.rewards[step] + bootstrap - sequences.values[step]);
                }
                target
            })
            .collect();
        prop_assert!(largest_difference(&sequences.retrace(), &expected) <= 1e-12);
    }

    /// On-policy, and with values that agree with their own expectation, Retrace is the plain return.
    #[test]
    fn retrace_on_policy_is_the_return(sequences in sequences()) {
        let mut on_policy = Sequences { traces: vec![1.0; sequences.traces.len()], ..sequences };
        for step in 0..on_policy.values.len() {
            if step % on_policy.length > 0 {
                on_policy.values[step] = on_policy.next_values[step - 1];
            }
        }
        let returns = on_policy.n_step(on_policy.length, 1.0);
        prop_assert!(largest_difference(&on_policy.retrace(), &returns) <= 1e-12);
    }

    /// The recursion with λ is a weighted mean of the plain returns over 1, 2, ... steps.
    #[test]
    fn n_step_targets_mix_the_returns(sequences in sequences(), steps in 1..10_usize, lambda in 0.0..1.0_f64) {
        let expected: Vec<f64> = (0..sequences.rewards.len())
            .map(|start| {
                let rest = sequences.rest(start);
                let last = (start + steps).min(rest.end) - 1;
                let (mut discount, mut share, mut rewards, mut target) = (1.0, 1.0, 0.0, 0.0);
                for step in start..=last {
                    rewards += discount * sequences.rewards[step];
                    discount *= sequences.discounts[step];
                    let bootstrapped = rewards + discount * sequences.next_values[step];
                    // The last return has what is left of the weight.
                    target += share * if step == last { 1.0 } else { 1.0 - lambda } * bootstrapped;
                    share *= lambda;
                }
                target
            })
            .collect();
        prop_assert!(largest_difference(&sequences.n_step(steps, lambda), &expected) <= 1e-12);
    }

    /// What comes after a termination does not matter.
    #[test]
    fn terminations_stop_the_bootstrap(sequences in sequences(), noise in vec(-9.0..9.0_f64, 40), at in 0..8_usize) {
        let mut ended = sequences.clone();
        let at = at % ended.length;
        for row in ended.discounts.chunks_mut(sequences.length) {
            row[at] = 0.0;
        }
        let mut other = ended.clone();
        for (step, noise) in noise.iter().enumerate().take(ended.rewards.len()) {
            let place = step % other.length;
            if place >= at {
                other.next_values[step] += noise;
            }
            if place > at {
                other.rewards[step] += noise;
                other.values[step] -= noise;
            }
        }
        let steps = ended.length;
        let pairs = [(ended.retrace(), other.retrace()), (ended.n_step(steps, 0.9), other.n_step(steps, 0.9))];
        for (ended, other) in pairs {
            for (ended, other) in ended.chunks(steps).zip(other.chunks(steps)) {
                prop_assert_eq!(&ended[..=at], &other[..=at]);
            }
        }
        let at_end = ended.retrace()[at];
        prop_assert!((at_end - ended.rewards[at]).abs() <= 1e-15);
    }

    /// c = λ min(1, π / b), whatever the size of the log-probabilities.
    #[test]
    fn traces_are_cut_ratios(
        pairs in vec((-800.0..800.0_f64, prop_oneof![-3.0..3.0_f64, -800.0..800.0_f64]), 1..9),
        lambda in 0.0..1.0_f64,
    ) {
        let target: Vec<f64> = pairs.iter().map(|(behaviour, ratio)| behaviour + ratio).collect();
        let behaviour: Vec<f64> = pairs.iter().map(|(behaviour, _)| *behaviour).collect();
        let expected: Vec<f64> = pairs.iter().map(|(_, ratio)| lambda * ratio.exp().min(1.0)).collect();
        let [target, behaviour] = [target, behaviour].map(|values| tensor(values, [1, pairs.len()]));
        let traces = numbers(retrace_traces(target, behaviour, lambda));
        prop_assert!(largest_difference(&traces, &expected) <= 1e-12);
    }

    #[test]
    fn critic_losses_have_their_closed_form_and_gradient(
        pairs in vec((-5.0..5.0_f64, prop_oneof![-1.0..1.0_f64, -20.0..20.0_f64]), 1..9),
    ) {
        let errors: Vec<f64> = pairs.iter().map(|(_, error)| *error).collect();
        let targets: Vec<f64> = pairs.iter().map(|(target, _)| *target).collect();
        let values: Vec<f64> = pairs.iter().map(|(target, error)| target + error).collect();
        let count = pairs.len();
        let mean = |of: fn(f64) -> f64| errors.iter().map(|&error| of(error)).sum::<f64>() / count as f64;
        let huber = |e: f64| if e.abs() <= 1.0 { 0.5 * e * e } else { e.abs() - 0.5 };
        for (loss, expected, slope) in [
            (CriticLoss::Squared, mean(|e| 0.5 * e * e), (|e| e) as fn(f64) -> f64),
            (CriticLoss::Huber, mean(huber), |e| e.clamp(-1.0, 1.0)),
        ] {
            let leaf = tracked(tensor(values.clone(), [count]));
            let loss = loss.of(leaf.clone() - Tensor::from_inner(tensor(targets.clone(), [count])));
            prop_assert!((numbers(loss.clone())[0] - expected).abs() <= 1e-12 * (1.0 + expected));
            let gradient = numbers(leaf.grad(&loss.backward()).unwrap());
            let slopes: Vec<f64> = errors.iter().map(|&error| slope(error) / count as f64).collect();
            prop_assert!(largest_difference(&gradient, &slopes) <= 1e-12);
        }
    }
}
