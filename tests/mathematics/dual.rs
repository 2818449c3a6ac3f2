//! Properties of the E-step's dual.

use mpo::Error;
use mpo::dual::{Dual, DualForm};
use proptest::collection::vec;
use proptest::prelude::*;

/// Values of several states, state after state.
#[derive(Debug, Clone)]
struct Values {
    values: Vec<f64>,
    samples: usize,
}

impl Values {
    fn dual(&self, epsilon: f64) -> Dual {
        Dual::new(self.values.clone(), self.samples, epsilon).unwrap()
    }

    fn states(&self) -> usize {
        self.values.len() / self.samples
    }

    /// c Q + b(s).
    fn map(&self, factor: f64, shift: impl Fn(usize) -> f64) -> Self {
        let values = self.values.iter().enumerate();
        Self {
            values: values.map(|(index, value)| factor * value + shift(index / self.samples)).collect(),
            samples: self.samples,
        }
    }
}

/// Numbers between -1 and 1 for a few states.
fn values() -> impl Strategy<Value = Values> {
    (1..5_usize, 2..9_usize).prop_flat_map(|(states, samples)| {
        vec(-1.0..1.0_f64, states * samples).prop_map(move |values| Values { values, samples })
    })
}

/// Values with ties at the top of most states.
fn tied_values() -> impl Strategy<Value = Values> {
    (1..5_usize, 1..9_usize).prop_flat_map(|(states, samples)| {
        let values = vec((0..3).prop_map(f64::from), states * samples);
        values.prop_map(move |values| Values { values, samples })
    })
}

/// 10^x.
fn power(exponents: std::ops::Range<f64>) -> impl Strategy<Value = f64> {
    exponents.prop_map(|exponent| 10_f64.powf(exponent))
}

/// A policy over the actions of each state.
fn prior(values: &Values, logits: &[f64]) -> Vec<f64> {
    let states = logits[..values.values.len()].chunks(values.samples);
    let shares = states.map(|state| {
        let sum: f64 = state.iter().map(|logit| logit.exp()).sum();
        state.iter().map(move |logit| logit.exp() / sum)
    });
    shares.flatten().collect()
}

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance
}

/// Values of any scale and offset, with or without ties, and what to solve them with.
#[derive(Debug)]
struct Problem {
    values: Values,
    scale: f64,
    epsilon: f64,
    bound: f64,
    start: Option<f64>,
}

fn problem() -> impl Strategy<Value = Problem> {
    let scaled =
        (prop_oneof![values(), tied_values()], power(-6.0..6.0), prop_oneof![Just(0.0), -1e6..1e6_f64]);
    let bound = prop_oneof![Just(0.0), power(-8.0..1.0)];
    let start = prop_oneof![Just(None), power(-12.0..12.0).prop_map(Some)];
    (scaled, power(-4.0..0.7), bound, start).prop_map(|((values, scale, offset), epsilon, bound, start)| {
        let values = values.map(scale, |_| offset);
        Problem { values, scale, epsilon, bound, start }
    })
}

impl Problem {
    fn check_finite(&self, form: DualForm) -> Result<(), TestCaseError> {
        let dual = self.values.dual(self.epsilon).with_form(form);
        let solution = dual.solve(self.bound, self.start).unwrap();
        let not_negative = [solution.temperature, solution.kl, solution.gap];
        let finite = not_negative.iter().all(|&number| (0.0..f64::INFINITY).contains(&number));
        prop_assert!(finite && solution.value.is_finite(), "{solution:?}");
        prop_assert!(solution.temperature >= self.bound, "{solution:?}");
        // In the single precision of the form as printed the divergence is noise where offsets are large.
        prop_assert!(solution.kl <= self.epsilon || form == DualForm::Unstable, "{solution:?}");
        for state in dual.weights(solution.temperature).chunks(self.values.samples) {
            prop_assert!(state.iter().all(|&weight| weight >= 0.0));
            prop_assert!(close(state.iter().sum(), 1.0, 1e-14));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn temperature_scales_with_the_values(
        values in values(),
        factor in power(-6.0..6.0),
        shifts in vec(-3.0..3.0_f64, 4),
        epsilon in power(-3.0..-0.4),
    ) {
        let reference = values.dual(epsilon).solve(0.0, None).unwrap();
        prop_assert!(reference.interior);
        let dual = values.map(factor, |state| factor * shifts[state]).dual(epsilon);
        let scaled = dual.solve(0.0, None).unwrap();
        // The KL divergence is met to 1e-8.
        let point = dual.evaluate(scaled.temperature);
        let conditioning = point.kl / (point.curvature * scaled.temperature);
        let deviation = scaled.temperature / (factor * reference.temperature) - 1.0;
        prop_assert!(deviation.abs() <= 3e-8 * conditioning, "{deviation:e}, conditioning {conditioning}");
        let shift = shifts[..values.states()].iter().sum::<f64>() / values.states() as f64;
        let deviation = scaled.value / factor - reference.value - shift;
        prop_assert!(deviation.abs() <= 1e-8 * (1.0 + reference.temperature), "{deviation:e}");
    }

    #[test]
    fn constant_values_have_uniform_weights(
        (states, samples) in (1..5_usize, 1..9_usize),
        value in -1e6..1e6_f64,
        temperature in power(-6.0..6.0),
        epsilon in power(-6.0..1.0),
        bound in prop_oneof![Just(0.0), power(-6.0..2.0)],
    ) {
        let dual = Dual::new(std::iter::repeat_n(value, states * samples), samples, epsilon).unwrap();
        for temperature in [0.0, temperature] {
            for weight in dual.weights(temperature) {
                prop_assert!(close(weight, 1.0 / samples as f64, 1e-15));
            }
        }
        let solution = dual.solve(bound, Some(temperature)).unwrap();
        prop_assert!(!solution.interior);
        prop_assert_eq!(solution.temperature, bound);
        prop_assert!(close(solution.kl, 0.0, 1e-15));
        prop_assert!(close(solution.value, value + bound * epsilon, 1e-12 * (1.0 + value.abs())));
    }

    /// One good action among many has a solution in closed form but for the root of a monotonic function.
    #[test]
    fn one_hot_values_have_the_known_temperature(
        states in 1..4_usize,
        samples in 2..40_usize,
        height in power(-6.0..6.0),
        share in 0.001..0.99_f64,
    ) {
        let others = (samples - 1) as f64;
        let epsilon = share * (samples as f64).ln();
        let kl = |best: f64| {
            best * (best * samples as f64).ln() + (1.0 - best) * ((1.0 - best) * samples as f64 / others).ln()
        };
        let (mut low, mut high) = (1.0 / samples as f64, 1.0 - f64::EPSILON);
        for _ in 0..100 {
            let middle = 0.5 * (low + high);
            *(if kl(middle) < epsilon { &mut low } else { &mut high }) = middle;
        }
        let temperature = height / (high * others / (1.0 - high)).ln();

        let values = (0..states * samples).map(|index| if index % samples == 1 { height } else { 0.0 });
        let dual = Dual::new(values, samples, epsilon).unwrap();
        let solution = dual.solve(0.0, None).unwrap();
        prop_assert!(solution.interior);
        let deviation = solution.temperature / temperature - 1.0;
        prop_assert!(deviation.abs() <= 1e-6, "{deviation:e}");
        let weights = dual.weights(solution.temperature);
        prop_assert!(close(weights[1], high, 1e-6), "{} for {high}", weights[1]);
    }

    /// From ε = mean_s log(M / ties) on, all weight is on the best actions.
    #[test]
    fn large_epsilon_leaves_the_best_actions(
        values in tied_values(),
        scale in power(-6.0..6.0),
        excess in 1e-9..1.0_f64,
        bound in prop_oneof![Just(0.0), Just(1e-9)],
    ) {
        let values = values.map(scale, |_| 0.0);
        let states = values.values.chunks(values.samples);
        let best: Vec<Vec<bool>> = states
            .map(|state| {
                let top = state.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                state.iter().map(|&value| value == top).collect()
            })
            .collect();
        let ties = |state: &Vec<bool>| state.iter().filter(|&&best| best).count() as f64;
        let kls = best.iter().map(|state| (values.samples as f64 / ties(state)).ln());
        let limit = kls.sum::<f64>() / best.len() as f64;

        let dual = values.dual(limit + excess);
        let solution = dual.solve(bound, Some(scale)).unwrap();
        prop_assert!(!solution.interior);
        prop_assert_eq!(solution.temperature, bound);
        prop_assert!(close(solution.kl, limit, 1e-12));
        let weights = dual.weights(solution.temperature);
        for (state, weights) in best.iter().zip(weights.chunks(values.samples)) {
            for (best, weight) in state.iter().zip(weights) {
                prop_assert!(close(*weight, f64::from(*best) / ties(state), 1e-15), "{weights:?}");
            }
        }
        if limit > 0.01 {
            let interior = values.dual(0.99 * limit).solve(0.0, None).unwrap();
            prop_assert!(interior.interior && interior.temperature > 0.0, "{interior:?}");
        }
    }

    #[test]
    fn derivatives_match_finite_differences(
        values in values(),
        logits in vec(-2.0..2.0_f64, 32),
        enumerated in any::<bool>(),
        temperature in power(-1.5..1.5),
        epsilon in power(-3.0..0.0),
    ) {
        let mut dual = values.dual(epsilon);
        if enumerated {
            dual = dual.with_prior(prior(&values, &logits)).unwrap();
        }
        let step = 1e-4;
        let [low, point, high] = [-step, 0.0, step].map(|step: f64| dual.evaluate(temperature * step.exp()));
        // d g / d log η = η g' = η (ε - KL), and d KL / d log η = -η g''.
        let slope = (high.value - low.value) / (2.0 * step);
        let expected = temperature * (epsilon - point.kl);
        prop_assert!(close(slope, expected, 1e-6 * temperature * (epsilon + point.kl) + 1e-10), "{slope:e} {expected:e}");
        let slope = (high.kl - low.kl) / (2.0 * step);
        let expected = -temperature * point.curvature;
        prop_assert!(close(slope, expected, 1e-6 * (point.kl - expected) + 1e-10), "{slope:e} {expected:e}");
    }

    /// For every feasible temperature η (ε - KL) bounds how far g(η) is above the minimum.
    #[test]
    fn the_gap_is_a_certificate(
        values in values(),
        logits in vec(-2.0..2.0_f64, 32),
        enumerated in any::<bool>(),
        epsilon in power(-3.0..-0.4),
        factor in power(-3.0..3.0),
    ) {
        let mut dual = values.dual(epsilon);
        if enumerated {
            dual = dual.with_prior(prior(&values, &logits)).unwrap();
        }
        let solution = dual.solve(0.0, None).unwrap();
        prop_assert!(solution.gap <= 1e-7 * epsilon * solution.temperature);
        prop_assert!(close(solution.gap, solution.temperature * (epsilon - solution.kl), 1e-15));
        let temperature = factor * if solution.interior { solution.temperature } else { 1.0 };
        let point = dual.evaluate(temperature);
        let rounding = 1e-14 * (1.0 + temperature);
        let excess = point.value - solution.value;
        prop_assert!(excess >= -solution.gap - rounding, "below the minimum by {excess:e}");
        if point.kl <= epsilon {
            let gap = temperature * (epsilon - point.kl);
            prop_assert!(excess <= gap + rounding, "{excess:e} above the minimum, gap {gap:e}");
        } else {
            prop_assert!(temperature < solution.temperature);
        }
    }

    #[test]
    fn finite_values_give_finite_numbers(problem in problem()) {
        let Problem { values, epsilon, scale, .. } = &problem;
        problem.check_finite(DualForm::Stable)?;
        let point = values.dual(*epsilon).evaluate(*scale);
        prop_assert!([point.value, point.kl, point.curvature].iter().all(|number| number.is_finite()));
    }

    #[test]
    fn finite_values_give_finite_numbers_in_the_form_as_printed(problem in problem()) {
        problem.check_finite(DualForm::Unstable)?;
    }

    /// What the policy never does has no weight, however good it is, and changes nothing for the rest.
    #[test]
    fn impossible_actions_do_not_count(
        values in values(),
        logits in vec(-2.0..2.0_f64, 32),
        impossible in prop_oneof![-1e6..1e6_f64, -1.0..1.0_f64],
        epsilon in power(-3.0..0.0),
    ) {
        let prior = prior(&values, &logits);
        let reference = values.dual(epsilon).with_prior(prior.clone()).unwrap();
        let insert = |of: &[f64], extra: f64| -> Vec<f64> {
            of.chunks(values.samples).flat_map(|state| state.iter().copied().chain([extra])).collect()
        };
        let dual = Dual::new(insert(&values.values, impossible), values.samples + 1, epsilon).unwrap();
        let dual = dual.with_prior(insert(&prior, 0.0)).unwrap();
        let (expected, solution) = (reference.solve(0.0, None).unwrap(), dual.solve(0.0, None).unwrap());
        prop_assert_eq!(solution.interior, expected.interior);
        prop_assert!(close(solution.value, expected.value, 1e-7), "{solution:?} {expected:?}");
        let temperature = 0.5;
        let weights = insert(&reference.weights(temperature), 0.0);
        for (weight, expected) in dual.weights(temperature).iter().zip(&weights) {
            prop_assert!(close(*weight, *expected, 1e-9));
        }
    }

    /// A uniform prior is no prior, and a policy's probabilities may come with the rounding of single
    /// precision.
    #[test]
    fn the_divergence_is_that_of_the_weights(
        values in values(),
        error in prop_oneof![Just(0.0), -9e-7..9e-7_f64],
        epsilon in power(-3.0..-0.4),
    ) {
        let prior = vec![(1.0 + error) / values.samples as f64; values.values.len()];
        let dual = values.dual(epsilon).with_prior(prior).unwrap();
        let solution = dual.solve(0.0, None).unwrap();
        let expected = values.dual(epsilon).solve(0.0, None).unwrap();
        prop_assume!(expected.interior);
        prop_assert!(close(solution.kl, epsilon, 2e-8 * epsilon));
        let weights = dual.weights(solution.temperature);
        let terms = weights.iter().filter(|&&w| w > 0.0).map(|w| w * (w * values.samples as f64).ln());
        let kl = terms.sum::<f64>() / values.states() as f64;
        prop_assert!(close(kl, solution.kl, 1e-7 * epsilon), "{kl} reported as {}", solution.kl);
        prop_assert!(close(solution.value, expected.value, 1e-7), "{solution:?} {expected:?}");
    }
}

/// One state, or several, of one action each: nothing to choose from.
#[test]
fn a_single_action_has_all_the_weight() {
    let dual = Dual::new([3.0, -1.0], 1, 0.1).unwrap();
    let solution = dual.solve(0.0, None).unwrap();
    assert!(!solution.interior);
    assert_eq!((solution.temperature, solution.value, solution.kl), (0.0, 1.0, 0.0));
    assert_eq!(dual.weights(0.0), [1.0, 1.0]);
    assert_eq!(dual.states(), 2);
}

/// The refused field and its value.
fn refused<T: std::fmt::Debug>(result: mpo::Result<T>) -> (&'static str, String) {
    match result.unwrap_err() {
        Error::Config { field, value, .. } => (field, value),
        Error::Size { place, size, .. } => (place, size.to_string()),
        Error::NonFinite { place, index, value } => (place, format!("{value} at {index}")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn bad_input_is_refused_by_name() {
    let dual = || Dual::new([1.0, 2.0, 3.0, 5.0], 2, 0.1).unwrap();
    for epsilon in [0.0, -0.0, -0.1, f64::NAN, f64::INFINITY] {
        let expected = ("epsilon", format!("{epsilon:?}"));
        assert_eq!(refused(Dual::new([1.0, 2.0], 2, epsilon)), expected);
    }
    assert_eq!(refused(Dual::new([1.0], 0, 0.1)), ("samples", "0".into()));
    assert_eq!(refused(Dual::new([], 2, 0.1)), ("values", "0".into()));
    let uneven = Dual::new([1.0, 2.0, 3.0], 2, 0.1);
    assert_eq!(refused(uneven), ("values of the last state", "1".into()));
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let values = [1.0, 2.0, 3.0, bad];
        assert_eq!(refused(Dual::new(values, 2, 0.1)), ("values", format!("{bad} at 3")));
    }
    for bound in [-1e-9, f64::NAN, f64::INFINITY] {
        let expected = ("lower_bound", format!("{bound:?}"));
        assert_eq!(refused(dual().solve(bound, None)), expected);
    }
    assert_eq!(refused(dual().with_prior(vec![0.5, 0.5])), ("prior", "2".into()));
    for (state, sum) in [
        ([0.5, 0.6], "1.1"),
        ([1.5, -0.5], "1.0"),
        ([0.0, 0.0], "0.0"),
        ([f64::NAN, 1.0], "NaN"),
        ([f64::INFINITY, 0.0], "inf"),
    ] {
        let prior = [[0.5, 0.5], state].concat();
        assert_eq!(refused(dual().with_prior(prior)), ("prior", sum.into()));
    }
}
