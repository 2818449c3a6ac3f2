//! The algorithm's numbers against those of other software: see `fixtures/golden`. Every file and every case; the
//! folder may hold other cases of the same form (`MPO_GOLDEN_DIR`).

mod support {
    pub mod comparison;
    pub mod fixtures;
    pub mod tensors;
}

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use mpo::dual::{Dual, DualSolution};
use mpo::targets::{n_step_targets, retrace_targets, retrace_traces};
use mpo::{
    EStep, EStepConfig, Gaussian, PolicyGradient, Scale, Statistics, TemperatureSolver, action_penalty,
    policy_gradient,
};
use serde::Deserialize;
use support::comparison::Comparison;
use support::fixtures::{Array, Cases, read};
use support::tensors::{numbers, tensor, tracked};

// The dual.

#[derive(Deserialize)]
struct DualCase {
    eps: f64,
    #[serde(rename = "Q")]
    values: Array,
    prior: Option<Array>,
    eta: f64,
    g: f64,
    kl: f64,
    bound_active: bool,
    /// The weights at `eta`.
    q: Option<Array>,
}

impl DualCase {
    fn samples(&self) -> usize {
        self.values.shape[1]
    }

    fn dual(&self) -> Dual {
        let dual = Dual::new(self.values.values.clone(), self.samples(), self.eps).unwrap();
        match &self.prior {
            Some(prior) => dual.with_prior(prior.values.clone()).unwrap(),
            None => dual,
        }
    }

    /// mean_s KL(w_s ‖ p_s) from its definition.
    fn kl_of(&self, weights: &[f64]) -> f64 {
        let uniform = vec![1.0 / self.samples() as f64; weights.len()];
        let prior = self.prior.as_ref().map_or(&uniform, |prior| &prior.values);
        let terms = weights.iter().zip(prior).filter(|&(&w, _)| w > 0.0);
        terms.map(|(w, p)| w * (w / p).ln()).sum::<f64>() / self.values.shape[0] as f64
    }

    fn check(&self, place: &str, solution: &DualSolution, lower_bound: f64, comparison: &mut Comparison) {
        let dual = self.dual();
        assert_eq!(solution.interior, !self.bound_active, "{place}: {solution:?}");
        assert!(solution.kl <= self.eps, "{place}: infeasible, {solution:?}");
        if solution.interior {
            comparison.check("kl / epsilon", &[solution.kl / self.eps], &[1.0], 1e-6);
            // The KL divergence is met to 1e-8; a flat one says little of the temperature.
            let point = dual.evaluate(solution.temperature);
            let conditioning = point.kl / (point.curvature * solution.temperature);
            let deviation = (solution.temperature / self.eta - 1.0).abs();
            assert!(
                deviation <= 3e-8 * conditioning,
                "{place}: {solution:?} for {}",
                self.eta
            );
            comparison.check(
                "eta / conditioning",
                &[1.0 + deviation / conditioning],
                &[1.0],
                3e-8,
            );
        } else {
            assert_eq!(solution.temperature, lower_bound, "{place}");
            comparison.check("kl at the bound", &[solution.kl], &[self.kl], 1e-9);
        }
        // The certificate: above the optimum, by no more than the gap.
        let size = self
            .values
            .values
            .iter()
            .fold(self.eps * self.eta, |size, q| size.max(q.abs()));
        let excess = solution.value - self.g;
        let limits = -1e-14 * size..=solution.gap + 1e-14 * size;
        assert!(limits.contains(&excess), "{place}: {excess:e} not in {limits:?}");
        if solution.interior {
            assert!(
                solution.gap <= 1e-7 * self.eps * solution.temperature,
                "{place}: {solution:?}"
            );
        }
        comparison.check("g", &[solution.value / size], &[self.g / size], 1e-9);
    }

    fn check_weights(&self, solution: &DualSolution, comparison: &mut Comparison) {
        let weights = self.dual().weights(solution.temperature);
        for state in weights.chunks(self.samples()) {
            comparison.check("sum of weights", &[state.iter().sum()], &[1.0], 1e-14);
        }
        comparison.check("kl of the weights", &[self.kl_of(&weights)], &[solution.kl], 1e-9);
        if let Some(expected) = &self.q {
            comparison.check("weights", &weights, &expected.values, 1e-8);
        }
    }
}

fn compare_dual(name: &str) {
    let file: Cases<DualCase> = read(name);
    let mut comparison = Comparison::default();
    for (index, case) in file.enumerate() {
        let dual = case.dual();
        let cold = dual.solve(file.lower_bound, None).unwrap();
        case.check(
            &format!("{name}, case {index}"),
            &cold,
            file.lower_bound,
            &mut comparison,
        );
        case.check_weights(&cold, &mut comparison);
        let near = [0.5, 1.0, 2.0].map(|factor| factor * case.eta);
        let bad = [
            file.lower_bound,
            1e-300,
            1e300,
            0.0,
            -1.0,
            f64::NAN,
            f64::INFINITY,
        ];
        for start in near.into_iter().chain(bad) {
            let warm = dual.solve(file.lower_bound, Some(start)).unwrap();
            let place = format!("{name}, case {index}, started at {start:e}");
            case.check(&place, &warm, file.lower_bound, &mut comparison);
        }
    }
    println!("{name}: {comparison:?}");
}

#[test]
fn golden_dual() {
    compare_dual("dual.json");
}

#[test]
fn golden_dual_of_many_states() {
    compare_dual("dual_big.json");
}

#[test]
fn golden_dual_with_a_prior() {
    compare_dual("dual_prior.json");
}

// Acme's loss for an enumerated action set.

#[derive(Deserialize)]
struct CategoricalCase {
    epsilon: f64,
    params: BTreeMap<String, Array>,
    online_logits: Array,
    target_logits: Array,
    #[serde(rename = "q_DB")]
    values: Array,
    stats: BTreeMap<String, Array>,
    grad: CategoricalGradient,
}

#[derive(Deserialize)]
struct CategoricalGradient {
    params: BTreeMap<String, Array>,
    online_logits: Array,
}

fn softmax(logits: &Array) -> Vec<f64> {
    let states = logits.values.chunks(logits.shape[1]);
    let shares = states.map(|state| {
        let sum: f64 = state.iter().map(|logit| logit.exp()).sum();
        state.iter().map(move |logit| logit.exp() / sum)
    });
    shares.flatten().collect()
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The dual variable that Acme makes of a parameter.
fn dual_variable(parameter: f64) -> f64 {
    softplus(parameter) + 1e-8
}

#[test]
fn golden_acme_categorical_mpo_loss() {
    let file: Cases<CategoricalCase> = read("acme_categorical_mpo_loss.json");
    let mut comparison = Comparison::default();
    for (_, case) in file.enumerate() {
        let [states, actions] = case.online_logits.shape[..] else {
            panic!("logits are [state][action]")
        };
        let (online, target) = (softmax(&case.online_logits), softmax(&case.target_logits));
        let parameter = case.params["log_temperature"].scalar();
        let temperature = dual_variable(parameter);
        let dual = Dual::new(numbers(case.values.transposed::<2>()), actions, case.epsilon).unwrap();
        let dual = dual.with_prior(target.clone()).unwrap();
        let point = dual.evaluate(temperature);
        let weights = dual.weights(temperature);
        let entropy: f64 = weights.iter().zip(&online).map(|(w, p)| -w * p.ln()).sum();
        for (name, measured) in [
            ("dual_temperature", temperature),
            ("loss_temperature", point.value),
            ("kl_q_rel", point.kl / case.epsilon),
            ("loss_e_step", entropy / states as f64),
        ] {
            comparison.check(name, &[measured], &case.stats[name].values, 1e-11);
        }
        // Acme lets the cross-entropy's gradient through to the temperature: E_w[(Q - E_w[Q]) log π] / η² a state.
        let values = numbers(case.values.transposed::<2>());
        let leaks = (0..states).map(|state| {
            let of_state = state * actions..(state + 1) * actions;
            let mean: f64 = of_state.clone().map(|i| weights[i] * values[i]).sum();
            of_state
                .map(|i| weights[i] * (values[i] - mean) * online[i].ln())
                .sum::<f64>()
        });
        let leak = leaks.sum::<f64>() / (states as f64 * temperature * temperature);
        let gradient = (case.epsilon - point.kl + leak) * sigmoid(parameter);
        let expected = &case.grad.params["log_temperature"].values;
        comparison.check("gradient of log_temperature", &[gradient], expected, 1e-11);
        // Of the cross-entropy with the weights, and of the KL divergence from the target policy.
        let alpha = case.stats["dual_alpha"].scalar();
        let logits: Vec<f64> = (0..states * actions)
            .map(|i| (online[i] - weights[i] + alpha * (online[i] - target[i])) / states as f64)
            .collect();
        comparison.check(
            "gradient of online_logits",
            &logits,
            &case.grad.online_logits.values,
            1e-11,
        );
    }
    println!("{comparison:?}");
}

// Gaussians with full covariance.

#[derive(Deserialize)]
struct GaussianCase {
    #[serde(rename = "N")]
    samples: usize,
    mu: Array,
    #[serde(rename = "A")]
    factor: Array,
    mu_i: Array,
    #[serde(rename = "A_i")]
    factor_i: Array,
    #[serde(rename = "actions_NBn")]
    actions: Array,
    #[serde(rename = "weights_NB")]
    weights: Array,
    #[serde(rename = "log_prob_NB")]
    log_prob: Array,
    #[serde(rename = "log_prob_mean_part_NB")]
    mean_part: Array,
    #[serde(rename = "log_prob_cov_part_NB")]
    covariance_part: Array,
    entropy: Array,
    #[serde(rename = "C_mu_sigma_old")]
    kl_mean: Array,
    #[serde(rename = "C_mu_sigma_new")]
    kl_mean_new: Array,
    #[serde(rename = "C_sigma")]
    kl_covariance: Array,
    kl_full: Array,
    objective_decoupled: f64,
    objective_joint: f64,
    #[serde(rename = "grad_mu_A")]
    gradients: BTreeMap<String, (Option<Array>, Option<Array>)>,
}

/// What `gaussian_full.json` gives the gradients of, per state or per state and sample.
struct GaussianTerms {
    log_prob: Tensor<2>,
    mean_part: Tensor<2>,
    covariance_part: Tensor<2>,
    kl_mean: Tensor<2>,
    kl_mean_new: Tensor<2>,
    kl_covariance: Tensor<2>,
}

impl GaussianTerms {
    fn new(policy: &Gaussian, old: &Gaussian, actions: Tensor<3>) -> Self {
        let with = |mean: &Gaussian, scale: &Gaussian| Gaussian {
            mean: mean.mean.clone(),
            scale: scale.scale.clone(),
        };
        let kl = policy.decoupled_kl(old);
        let shift = (policy.mean.clone() - old.mean.clone()).unsqueeze_dim(2);
        let whitened = policy.scale.whiten(shift).squeeze_dim::<2>(2);
        Self {
            log_prob: policy.log_probability(actions.clone()),
            mean_part: with(policy, old).log_probability(actions.clone()),
            covariance_part: with(old, policy).log_probability(actions),
            kl_mean: kl.mean,
            kl_mean_new: whitened.square().sum_dim(1) * 0.5,
            kl_covariance: kl.covariance,
        }
    }

    /// The batch means by the file's names. The objectives are to be maximised.
    fn objectives(self, weights: Tensor<2>) -> Vec<(&'static str, Tensor<1>)> {
        // Burn's gradient of a division by a number is rounded to single precision, that of a product is not.
        let share = 1.0 / weights.dims()[0] as f64;
        let weighted = |log_prob: Tensor<2>| (log_prob * weights.clone()).sum() * share;
        let kl_full = self.kl_mean_new.clone() + self.kl_covariance.clone();
        vec![
            ("objective_joint", weighted(self.log_prob.clone())),
            (
                "objective_decoupled",
                weighted(self.mean_part + self.covariance_part),
            ),
            ("mean_log_prob", self.log_prob.mean()),
            ("C_mu_sigma_old", self.kl_mean.mean()),
            ("C_mu_sigma_new", self.kl_mean_new.mean()),
            ("C_sigma", self.kl_covariance.mean()),
            ("kl_full", kl_full.mean()),
        ]
    }
}

fn full(mean: Tensor<2>, factor: Tensor<3>) -> Gaussian {
    Gaussian {
        mean,
        scale: Scale::Cholesky(factor),
    }
}

fn scale_numbers(scale: Scale) -> Vec<f64> {
    match scale {
        Scale::Cholesky(factor) => numbers(factor),
        Scale::Diagonal(deviation) => numbers(deviation),
    }
}

#[test]
fn golden_gaussian_terms_and_gradients() {
    let file: Cases<GaussianCase> = read("gaussian_full.json");
    let mut comparison = Comparison::default();
    for (_, case) in file.enumerate() {
        let policy = full(case.mu.tensor(), case.factor.tensor());
        let old = full(case.mu_i.tensor(), case.factor_i.tensor());
        let terms = GaussianTerms::new(&policy, &old, case.actions.transposed());
        comparison.check("entropy", &numbers(policy.entropy()), &case.entropy.values, 1e-13);
        let kl_full = terms.kl_mean_new.clone() + terms.kl_covariance.clone();
        for (kind, measured, expected) in [
            ("log_prob", &terms.log_prob, &case.log_prob),
            ("mean part", &terms.mean_part, &case.mean_part),
            ("covariance part", &terms.covariance_part, &case.covariance_part),
            ("C_mu", &terms.kl_mean, &case.kl_mean),
            ("C_mu, new covariance", &terms.kl_mean_new, &case.kl_mean_new),
            ("C_sigma", &terms.kl_covariance, &case.kl_covariance),
            ("KL", &kl_full, &case.kl_full),
        ] {
            let samples = if kind.starts_with(['C', 'K']) {
                1
            } else {
                case.samples
            };
            assert_eq!(measured.dims()[1], samples, "{kind}");
            comparison.check(
                kind,
                &numbers(measured.clone().transpose()),
                &expected.values,
                1e-11,
            );
        }

        let mean = tracked(case.mu.tensor());
        let factor = tracked(case.factor.tensor());
        let policy = full(mean.clone(), factor.clone());
        let old = full(
            Tensor::from_inner(old.mean),
            Tensor::from_inner(case.factor_i.tensor()),
        );
        let actions = Tensor::from_inner(case.actions.transposed());
        let terms = GaussianTerms::new(&policy, &old, actions);
        for (name, objective) in terms.objectives(Tensor::from_inner(case.weights.transposed())) {
            match name {
                "objective_joint" => {
                    comparison.check(name, &numbers(objective.clone()), &[case.objective_joint], 1e-11)
                }
                "objective_decoupled" => {
                    comparison.check(
                        name,
                        &numbers(objective.clone()),
                        &[case.objective_decoupled],
                        1e-11,
                    );
                }
                _ => (),
            }
            let gradients = objective.backward();
            let (of_mean, of_factor) = &case.gradients[name];
            if let Some(expected) = of_mean {
                let measured = numbers(mean.grad(&gradients).unwrap());
                comparison.check("gradients of the means", &measured, &expected.values, 1e-10);
            }
            if let Some(expected) = of_factor {
                let measured = numbers(factor.grad(&gradients).unwrap());
                comparison.check("gradients of the factors", &measured, &expected.values, 1e-10);
            }
        }
    }
    println!("{comparison:?}");
}

#[test]
fn golden_gaussian_policy_gradient() {
    let file: Cases<GaussianCase> = read("gaussian_full.json");
    let mut comparison = Comparison::default();
    for (_, case) in file.enumerate() {
        let policy = full(case.mu.tensor(), case.factor.tensor());
        let old = full(case.mu_i.tensor(), case.factor_i.tensor());
        let statistics = Statistics::new(&old, case.actions.transposed(), case.weights.transposed());
        let gradient_of = |name: &str| case.gradients[name].clone();
        let objective = gradient_of("objective_decoupled");
        let kl_mean = gradient_of("C_mu_sigma_old").0.unwrap().values;
        let kl_covariance = gradient_of("C_sigma").1.unwrap().values;
        // The objective is maximised, the Lagrangian minimised.
        let lagrangian = |objective: &Array, multiplier: f64, kl: &[f64]| -> Vec<f64> {
            let terms = objective.values.iter().zip(kl);
            terms
                .map(|(of_objective, of_kl)| multiplier * of_kl - of_objective)
                .collect()
        };
        for (alpha_mean, alpha_covariance) in [(0.0, 0.0), (0.7, 0.0), (0.0, 3.0), (1.5, 40.0)] {
            let measured = policy_gradient(
                &policy,
                &old,
                &statistics,
                &tensor(vec![alpha_mean], [1]),
                &tensor(vec![alpha_covariance], [1]),
            );
            let expected = lagrangian(objective.0.as_ref().unwrap(), alpha_mean, &kl_mean);
            comparison.check("mean", &numbers(measured.mean), &expected, 1e-10);
            let expected = lagrangian(objective.1.as_ref().unwrap(), alpha_covariance, &kl_covariance);
            comparison.check("factor", &scale_numbers(measured.scale), &expected, 1e-10);
        }
    }
    println!("{comparison:?}");
}

// Targets of the policy evaluation.

#[derive(Deserialize)]
struct Targets {
    retrace: Vec<RetraceCase>,
    n_step: Vec<NStepCase>,
}

#[derive(Deserialize)]
struct RetraceCase {
    lam: f64,
    q_sa: Vec<f64>,
    v_next: Vec<f64>,
    r: Vec<f64>,
    discount: Vec<f64>,
    log_rho: Vec<f64>,
    c: Vec<f64>,
    target: Vec<f64>,
}

#[derive(Deserialize)]
struct NStepCase {
    n: usize,
    lambda_: f64,
    r: Vec<f64>,
    discount: Vec<f64>,
    v_next: Vec<f64>,
    target: Vec<f64>,
}

fn row(values: &[f64]) -> Tensor<2> {
    tensor(values.to_vec(), [1, values.len()])
}

/// Sequences of different lengths as the rows of one batch. Targets depend on what follows alone, so that any
/// numbers may stand in front of the shorter ones.
fn batch<T>(cases: &[T], values: impl Fn(&T) -> &Vec<f64>) -> Tensor<2> {
    let length = cases
        .iter()
        .map(|case| values(case).len())
        .max()
        .expect("at least one case");
    let rows = cases.iter().flat_map(|case| {
        let padding = (values(case).len()..length).map(|step| 0.5 + step as f64);
        padding.chain(values(case).iter().copied())
    });
    tensor(rows.collect(), [cases.len(), length])
}

/// The end of a row.
fn last(values: &Tensor<2>, row: usize, count: usize) -> Vec<f64> {
    let [_, length] = values.dims();
    numbers(values.clone().slice([row..row + 1, length - count..length]))
}

#[test]
fn golden_retrace() {
    let cases = read::<Targets>("retrace.json").retrace;
    let mut comparison = Comparison::default();
    let targets = retrace_targets(
        batch(&cases, |case| &case.r),
        batch(&cases, |case| &case.discount),
        batch(&cases, |case| &case.v_next),
        batch(&cases, |case| &case.q_sa),
        batch(&cases, |case| &case.c),
    );
    for (index, case) in cases.iter().enumerate() {
        // log π = log b + log ρ, whatever log b is.
        let behaviour = row(&case.q_sa);
        let traces = retrace_traces(row(&case.log_rho) + behaviour.clone(), behaviour, case.lam);
        comparison.check("traces", &numbers(traces.clone()), &case.c, 1e-13);
        let alone = retrace_targets(
            row(&case.r),
            row(&case.discount),
            row(&case.v_next),
            row(&case.q_sa),
            traces,
        );
        comparison.check("targets", &numbers(alone), &case.target, 1e-13);
        let batched = last(&targets, index, case.target.len());
        comparison.check("batched targets", &batched, &case.target, 1e-13);
    }
    println!("{comparison:?}");
}

#[test]
fn golden_n_step() {
    let cases = read::<Targets>("retrace.json").n_step;
    let mut comparison = Comparison::default();
    for (index, case) in cases.iter().enumerate() {
        let (rewards, discounts, next) = (row(&case.r), row(&case.discount), row(&case.v_next));
        let alone = n_step_targets(rewards, discounts, next, case.n, case.lambda_);
        comparison.check("targets", &numbers(alone), &case.target, 1e-13);
        let targets = n_step_targets(
            batch(&cases, |case| &case.r),
            batch(&cases, |case| &case.discount),
            batch(&cases, |case| &case.v_next),
            case.n,
            case.lambda_,
        );
        let batched = last(&targets, index, case.target.len());
        comparison.check("batched targets", &batched, &case.target, 1e-13);
    }
    assert!(!cases.is_empty());
    println!("{comparison:?}");
}

// Acme's loss for continuous actions.

#[derive(Deserialize)]
struct MpoCase {
    config: MpoConfig,
    params: BTreeMap<String, Option<Array>>,
    online_mean: Array,
    online_stddev: Array,
    target_mean: Array,
    target_stddev: Array,
    #[serde(rename = "actions_NBD")]
    actions: Array,
    #[serde(rename = "q_NB")]
    values: Array,
    out: MpoOutput,
    grad: MpoGradient,
}

#[derive(Deserialize)]
struct MpoConfig {
    per_dim_constraining: bool,
    action_penalization: bool,
    epsilon: f64,
    epsilon_penalty: f64,
    epsilon_mean: f64,
    epsilon_stddev: f64,
}

#[derive(Deserialize)]
struct MpoOutput {
    loss: f64,
    stats: BTreeMap<String, Option<Array>>,
    parts: BTreeMap<String, Option<Array>>,
}

#[derive(Deserialize)]
struct MpoGradient {
    params: BTreeMap<String, Option<Array>>,
    online_mean: Array,
    online_stddev: Array,
}

/// One of Acme's two E-steps: of the critic's values, or of the penalty for actions out of bounds.
struct AcmeEStep {
    temperature: f64,
    loss: f64,
    /// `[batch, samples]`.
    weights: Tensor<2>,
    /// The KL divergence of the weights as Acme reports it, in units of ε.
    relative_kl: f64,
    /// Of the loss with respect to the parameter.
    gradient: f64,
}

impl AcmeEStep {
    fn new(values: Tensor<2>, epsilon: f64, parameter: f64) -> Self {
        let [states, samples] = values.dims();
        let dual = Dual::new(numbers(values), samples, epsilon).unwrap();
        let temperature = dual_variable(parameter);
        let point = dual.evaluate(temperature);
        let weights = dual.weights(temperature);
        // Acme adds 1e-8 inside the logarithm.
        let terms = weights.iter().map(|w| w * (w * samples as f64 + 1e-8).ln());
        let kl = terms.sum::<f64>() / states as f64;
        assert!((kl - point.kl).abs() <= 2e-8, "{kl:e}, {point:?}");
        Self {
            temperature,
            loss: point.value,
            weights: tensor(weights, [states, samples]),
            relative_kl: kl / epsilon,
            gradient: (epsilon - point.kl) * sigmoid(parameter),
        }
    }
}

impl MpoCase {
    fn e_step(&self) -> AcmeEStep {
        AcmeEStep::new(
            self.values.transposed(),
            self.config.epsilon,
            self.parameters("log_temperature")[0],
        )
    }

    fn penalty(&self) -> Option<AcmeEStep> {
        self.config.action_penalization.then(|| {
            let cost = action_penalty(self.actions.transposed());
            let parameter = self.parameters("log_penalty_temperature")[0];
            AcmeEStep::new(cost, self.config.epsilon_penalty, parameter)
        })
    }

    fn parameters(&self, name: &str) -> &[f64] {
        &self.params[name].as_ref().unwrap().values
    }

    fn multipliers(&self, name: &str) -> Tensor<1> {
        let multipliers: Vec<f64> = self.parameters(name).iter().copied().map(dual_variable).collect();
        let count = multipliers.len();
        tensor(multipliers, [count])
    }

    fn online(&self) -> Gaussian {
        diagonal(self.online_mean.tensor(), self.online_stddev.tensor())
    }

    fn target(&self) -> Gaussian {
        diagonal(self.target_mean.tensor(), self.target_stddev.tensor())
    }
}

fn diagonal(mean: Tensor<2>, deviation: Tensor<2>) -> Gaussian {
    Gaussian {
        mean,
        scale: Scale::Diagonal(deviation),
    }
}

/// The values of an entry that Acme has reported.
fn reported<'a>(map: &'a BTreeMap<String, Option<Array>>, name: &str) -> &'a [f64] {
    &map[name].as_ref().unwrap_or_else(|| panic!("no {name}")).values
}

#[test]
fn golden_acme_e_step() {
    let file: Cases<MpoCase> = read("acme_mpo_loss.json");
    let mut comparison = Comparison::default();
    for (_, case) in file.enumerate() {
        let (parts, stats, gradients) = (&case.out.parts, &case.out.stats, &case.grad.params);
        let q = case.e_step();
        let weights = numbers(q.weights.clone().transpose());
        let mut loss = q.loss;
        for (kind, measured, expected) in [
            (
                "temperature",
                &[q.temperature][..],
                reported(parts, "temperature"),
            ),
            ("weights", &weights, reported(parts, "normalized_weights")),
            (
                "loss_temperature_q",
                &[q.loss],
                reported(parts, "loss_temperature_q"),
            ),
            ("kl_q_rel", &[q.relative_kl], reported(stats, "kl_q_rel")),
            ("gradient", &[q.gradient], reported(gradients, "log_temperature")),
        ] {
            comparison.check(kind, measured, expected, 1e-11);
        }
        if let Some(penalty) = case.penalty() {
            loss += penalty.loss;
            let cost = numbers(action_penalty(case.actions.transposed()).transpose());
            let weights = numbers(penalty.weights.transpose());
            for (kind, measured, expected) in [
                ("penalty_cost", &cost[..], reported(parts, "penalty_cost")),
                ("penalty_weights", &weights, reported(parts, "penalty_weights")),
                (
                    "penalty loss",
                    &[penalty.loss],
                    reported(parts, "loss_penalty_temperature"),
                ),
                (
                    "penalty_kl_q_rel",
                    &[penalty.relative_kl],
                    reported(stats, "penalty_kl_q_rel"),
                ),
                (
                    "penalty gradient",
                    &[penalty.gradient],
                    reported(gradients, "log_penalty_temperature"),
                ),
            ] {
                comparison.check(kind, measured, expected, 1e-11);
            }
        }
        comparison.check(
            "loss_temperature",
            &[loss],
            reported(stats, "loss_temperature"),
            1e-11,
        );
    }
    println!("{comparison:?}");
}

/// The E-step with Acme's solver for the temperature, in single precision.
#[test]
fn golden_acme_gradient_step() {
    const RATE: f64 = 0.01;
    let file: Cases<MpoCase> = read("acme_mpo_loss.json");
    let mut comparison = Comparison::default();
    for (_, case) in file.enumerate() {
        let parameter = case.parameters("log_temperature")[0];
        let mut e_step = EStep::new(EStepConfig {
            epsilon: case.config.epsilon,
            solver: TemperatureSolver::GradientStep {
                learning_rate: RATE,
                initial_temperature: softplus(parameter),
            },
            ..EStepConfig::default()
        })
        .unwrap();
        let values: Tensor<2> = case.values.transposed();
        let first = e_step.solve(values.clone()).unwrap();
        let weights: Vec<f64> = first.weights.transpose().into_data().iter().collect();
        let q = case.e_step();
        let DualSolution {
            temperature, value, ..
        } = first.dual;
        comparison.check("temperature", &[temperature], &[q.temperature], 1e-12);
        let expected = reported(&case.out.parts, "normalized_weights");
        comparison.check("weights", &weights, expected, 1e-6);
        let size = case
            .values
            .values
            .iter()
            .fold(0.0_f64, |size, q| size.max(q.abs()));
        comparison.check("dual", &[value / size], &[q.loss / size], 1e-6);
        // Adam's first step is the learning rate against the gradient's sign.
        let gradient = reported(&case.grad.params, "log_temperature")[0];
        let expected = dual_variable(parameter - RATE * gradient.signum());
        let second = e_step.solve(values).unwrap().dual.temperature;
        comparison.check("temperature after a step", &[second], &[expected], 1e-7);
    }
    println!("{comparison:?}");
}

#[test]
fn golden_acme_m_step() {
    let file: Cases<MpoCase> = read("acme_mpo_loss.json");
    let mut comparison = Comparison::default();
    for (_, case) in file.enumerate() {
        let (online, old, config) = (case.online(), case.target(), &case.config);
        let (parts, stats, gradients) = (&case.out.parts, &case.out.stats, &case.grad.params);
        let penalty = case.penalty();
        let e_step = case.e_step();
        let mut loss = e_step.loss + penalty.as_ref().map_or(0.0, |penalty| penalty.loss);
        let weights = match penalty {
            Some(penalty) => e_step.weights + penalty.weights,
            None => e_step.weights,
        };
        let actions: Tensor<3> = case.actions.transposed();
        let mut cross_entropy = |kind, mean: &Gaussian, scale: &Gaussian| {
            let policy = Gaussian {
                mean: mean.mean.clone(),
                scale: scale.scale.clone(),
            };
            let weighted = policy.log_probability(actions.clone()) * weights.clone();
            let value = numbers(-weighted.sum_dim(1).mean());
            comparison.check(kind, &value, reported(parts, kind), 1e-11);
            loss += value[0];
        };
        cross_entropy("loss_policy_mean", &online, &old);
        cross_entropy("loss_policy_stddev", &old, &online);

        let kl = if config.per_dim_constraining {
            online.decoupled_kl_per_dimension(&old)
        } else {
            online.decoupled_kl(&old)
        };
        let alpha_mean = case.multipliers("log_alpha_mean");
        let alpha_stddev = case.multipliers("log_alpha_stddev");
        for (name, kl, epsilon, alpha) in [
            ("mean", kl.mean, config.epsilon_mean, &alpha_mean),
            ("stddev", kl.covariance, config.epsilon_stddev, &alpha_stddev),
        ] {
            let mut check = |kind, measured: &[f64], expected: &[f64]| {
                comparison.check(kind, measured, expected, 1e-11);
            };
            check("kl", &numbers(kl.clone()), reported(parts, &format!("kl_{name}")));
            let mean = numbers(kl.mean_dim(0));
            let relative: Vec<f64> = mean.iter().map(|kl| kl / epsilon).collect();
            check("kl_rel", &relative, reported(stats, &format!("kl_{name}_rel")));
            let alpha = numbers(alpha.clone());
            let loss_kl: f64 = alpha.iter().zip(&mean).map(|(alpha, kl)| alpha * kl).sum();
            check("loss_kl", &[loss_kl], reported(parts, &format!("loss_kl_{name}")));
            let loss_alpha = alpha.iter().sum::<f64>() * epsilon - loss_kl;
            check(
                "loss_alpha",
                &[loss_alpha],
                reported(parts, &format!("loss_alpha_{name}")),
            );
            loss += loss_kl + loss_alpha;
            let parameter = format!("log_alpha_{name}");
            let slopes = case.parameters(&parameter).iter().zip(&mean);
            let slopes: Vec<f64> = slopes.map(|(&x, kl)| sigmoid(x) * (epsilon - kl)).collect();
            check("gradient of log_alpha", &slopes, reported(gradients, &parameter));
        }
        comparison.check("loss", &[loss], &[case.out.loss], 1e-11);

        let statistics = Statistics::new(&old, actions, weights);
        let PolicyGradient { mean, scale } =
            policy_gradient(&online, &old, &statistics, &alpha_mean, &alpha_stddev);
        comparison.check(
            "gradient of the means",
            &numbers(mean),
            &case.grad.online_mean.values,
            1e-11,
        );
        let expected = &case.grad.online_stddev.values;
        comparison.check(
            "gradient of the deviations",
            &scale_numbers(scale),
            expected,
            1e-11,
        );
    }
    println!("{comparison:?}");
}
