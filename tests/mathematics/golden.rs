//! The algorithm's numbers against those of other software: see `fixtures/golden`. Every file and every case;
//! the folder may hold other cases of the same form (`MPO_GOLDEN_DIR`).

mod acme;
mod comparison;
mod dual;
mod fixtures;
mod gaussian;
mod targets;

use crate::common::double::{numbers, tensor, tracked};
use acme::{CategoricalCase, MpoCase, dual_variable, sigmoid, softmax, softplus};
use burn::tensor::Tensor;
use comparison::Comparison;
use dual::DualCase;
use fixtures::{Array, Cases, read};
use gaussian::{GaussianCase, GaussianTerms, combined, full, scale_numbers};
use mpo::dual::Dual;
use mpo::targets::{n_step_targets, retrace_targets, retrace_traces};
use mpo::{Categorical, Constraint, Distribution, Multipliers};
use mpo::{EStep, EStepConfig, Statistics, TemperatureSolver, action_penalty, policy_gradient};
use targets::{Targets, batch, last, row};

/// Of sums, products and solved systems in double precision, with room for differences that cancel.
const TOLERANCE: f64 = 1e-9;

fn compare_dual(name: &str) {
    let file: Cases<DualCase> = read(name);
    for (index, case) in file.enumerate() {
        let place = format!("{name}, case {index}");
        let dual = case.dual();
        let cold = dual.solve(file.lower_bound, None).unwrap();
        case.check(&place, &cold, file.lower_bound);
        case.check_weights(&place, &cold);
        let near = [0.5, 1.0, 2.0].map(|factor| factor * case.eta);
        let bad = [file.lower_bound, 1e-300, 1e300, 0.0, -1.0, f64::NAN, f64::INFINITY];
        for start in near.into_iter().chain(bad) {
            let warm = dual.solve(file.lower_bound, Some(start)).unwrap();
            case.check(&format!("{place}, started at {start:e}"), &warm, file.lower_bound);
        }
    }
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

#[test]
fn golden_acme_categorical_mpo_loss() {
    let file: Cases<CategoricalCase> = read("acme_categorical_mpo_loss.json");
    let mut comparison = Comparison::new(TOLERANCE);
    for (_, case) in file.enumerate() {
        let [states, actions] = case.online_logits.shape[..] else { panic!("logits are [state][action]") };
        let (online, target) = (softmax(&case.online_logits), softmax(&case.target_logits));
        let parameter = case.params.scalar("log_temperature");
        let temperature = dual_variable(parameter);
        let values = numbers(case.values.transposed::<2>());
        let dual = Dual::new(values.clone(), actions, case.epsilon).unwrap();
        let dual = dual.with_prior(target.clone()).unwrap();
        let point = dual.evaluate(temperature);
        let weights = dual.weights(temperature);
        let cross_entropy: f64 = weights.iter().zip(&online).map(|(w, p)| -w * p.ln()).sum();
        for (name, measured) in [
            ("dual_temperature", temperature),
            ("loss_temperature", point.value),
            ("kl_q_rel", point.kl / case.epsilon),
            ("loss_e_step", cross_entropy / states as f64),
        ] {
            comparison.check(name, &[measured], case.stats.of(name));
        }
        // Acme lets the cross-entropy's gradient through to the temperature: E_w[(Q - E_w[Q]) log π] / η² a
        // state.
        let leaks = (0..states).map(|state| {
            let of_state = state * actions..(state + 1) * actions;
            let mean: f64 = of_state.clone().map(|i| weights[i] * values[i]).sum();
            of_state.map(|i| weights[i] * (values[i] - mean) * online[i].ln()).sum::<f64>()
        });
        let leak = leaks.sum::<f64>() / (states as f64 * temperature * temperature);
        let gradient = (case.epsilon - point.kl + leak) * sigmoid(parameter);
        comparison.check("gradient", &[gradient], case.grad.params.of("log_temperature"));
        // Of the cross-entropy with the weights, and of the KL divergence from the target policy.
        let alpha = case.stats.scalar("dual_alpha");
        let logits: Vec<f64> = (0..states * actions)
            .map(|i| (online[i] - weights[i] + alpha * (online[i] - target[i])) / states as f64)
            .collect();
        comparison.check("gradient of logits", &logits, &case.grad.online_logits.values);
        // The same by the policy's own M-step, in which everything is enumerated.
        let policies = [&case.online_logits, &case.target_logits].map(|logits| logits.tensor::<2>());
        let (online, old) =
            (tracked(policies[0].clone()), Categorical::new(vec![policies[1].clone()]).unwrap());
        let statistics = old.statistics(
            old.enumerate().expect("a single choice").actions,
            tensor(weights, [states, actions]),
        );
        let multipliers = Multipliers { mean: tensor(vec![alpha], [1]), covariance: tensor(vec![0.0], [1]) };
        let policy = Categorical::new(vec![online.clone()]).unwrap();
        let kl = policy.clone().inner().divergence(&old, Constraint::Joint).unwrap().mean.mean();
        comparison.check("kl", &[numbers(kl)[0] / case.epsilon_policy], case.stats.of("kl_mean_rel"));
        let gradients = policy.lagrangian(&old, &statistics, &multipliers).backward();
        let logits = numbers(online.grad(&gradients).unwrap());
        comparison.check("gradient by the M-step", &logits, &case.grad.online_logits.values);
    }
    println!("{comparison:?}");
}

#[test]
fn golden_gaussian_terms() {
    let file: Cases<GaussianCase> = read("gaussian_full.json");
    let mut comparison = Comparison::new(TOLERANCE);
    for (_, case) in file.enumerate() {
        let policy = full(case.mu.tensor(), case.factor.tensor());
        let old = full(case.mu_i.tensor(), case.factor_i.tensor());
        let terms = GaussianTerms::new(&policy, &old, case.actions.transposed());
        comparison.check("entropy", &numbers(policy.entropy()), &case.entropy.values);
        let mut check = |kind, measured: &Tensor<2>, expected: &Array, columns| {
            assert_eq!(measured.dims()[1], columns, "{kind}");
            comparison.check(kind, &numbers(measured.clone().transpose()), &expected.values);
        };
        check("log_prob", &terms.log_prob, &case.log_prob, case.samples);
        check("mean part", &terms.mean_part, &case.mean_part, case.samples);
        check("covariance part", &terms.covariance_part, &case.covariance_part, case.samples);
        check("C_mu", &terms.kl_mean, &case.kl_mean, 1);
        check("C_mu, new covariance", &terms.kl_mean_new, &case.kl_mean_new, 1);
        check("C_sigma", &terms.kl_covariance, &case.kl_covariance, 1);
        check("KL", &terms.kl_full(), &case.kl_full, 1);
        for (name, expected) in
            [("objective_decoupled", &case.objective_decoupled), ("objective_joint", &case.objective_joint)]
        {
            let objective = numbers(terms.objective(name, case.weights.transposed()));
            comparison.check(name, &objective, &expected.values);
        }
    }
    println!("{comparison:?}");
}

#[test]
fn golden_gaussian_gradients() {
    let file: Cases<GaussianCase> = read("gaussian_full.json");
    let mut comparison = Comparison::new(TOLERANCE);
    for (_, case) in file.enumerate() {
        let (mean, factor) = (tracked(case.mu.tensor()), tracked(case.factor.tensor()));
        let policy = full(mean.clone(), factor.clone());
        let old = full(Tensor::from_inner(case.mu_i.tensor()), Tensor::from_inner(case.factor_i.tensor()));
        let actions: Tensor<3> = Tensor::from_inner(case.actions.transposed());
        let weights = Tensor::from_inner(case.weights.transposed());
        assert!(!case.gradients.is_empty());
        for (name, (of_mean, of_factor)) in &case.gradients {
            let terms = GaussianTerms::new(&policy, &old, actions.clone());
            let gradients = terms.objective(name, weights.clone()).backward();
            // What an objective does not depend on has no gradient, or a zero one.
            let measured = mean.grad(&gradients).map_or(vec![0.0; case.mu.values.len()], numbers);
            let expected = of_mean.as_ref().map_or(vec![0.0; measured.len()], |of| of.values.clone());
            comparison.check("means", &measured, &expected);
            let measured = factor.grad(&gradients).map_or(vec![0.0; case.factor.values.len()], numbers);
            let expected = of_factor.as_ref().map_or(vec![0.0; measured.len()], |of| of.values.clone());
            comparison.check("factors", &measured, &expected);
        }
    }
    println!("{comparison:?}");
}

#[test]
fn golden_gaussian_policy_gradient() {
    let file: Cases<GaussianCase> = read("gaussian_full.json");
    let mut comparison = Comparison::new(TOLERANCE);
    for (_, case) in file.enumerate() {
        let policy = full(case.mu.tensor(), case.factor.tensor());
        let old = full(case.mu_i.tensor(), case.factor_i.tensor());
        let statistics = Statistics::new(&old, case.actions.transposed(), case.weights.transposed());
        let (objective_mean, objective_factor) = &case.gradients["objective_decoupled"];
        let (kl_mean, kl_factor) = (&case.gradients["C_mu_sigma_old"].0, &case.gradients["C_sigma"].1);
        // The objective is maximised, the Lagrangian minimised.
        let lagrangian = |objective: &Option<Array>, multiplier: f64, kl: &Option<Array>| -> Vec<f64> {
            let [objective, kl] = [objective, kl].map(|array| array.as_ref().unwrap().values.iter());
            objective.zip(kl).map(|(objective, kl)| multiplier * kl - objective).collect()
        };
        for (alpha_mean, alpha_covariance) in [(0.0, 0.0), (0.7, 0.0), (0.0, 3.0), (1.5, 40.0)] {
            let multipliers = [alpha_mean, alpha_covariance].map(|alpha| tensor(vec![alpha], [1]));
            let measured = policy_gradient(&policy, &old, &statistics, &multipliers[0], &multipliers[1]);
            let expected = lagrangian(objective_mean, alpha_mean, kl_mean);
            comparison.check("means", &numbers(measured.mean), &expected);
            let expected = lagrangian(objective_factor, alpha_covariance, kl_factor);
            comparison.check("factors", &scale_numbers(measured.scale), &expected);
        }
    }
    println!("{comparison:?}");
}

#[test]
fn golden_retrace() {
    let cases = read::<Targets>("retrace.json").retrace;
    let mut comparison = Comparison::new(1e-12);
    let batched = retrace_targets(
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
        comparison.check("traces", &numbers(traces.clone()), &case.c);
        let [rewards, discounts, next, values] =
            [&case.r, &case.discount, &case.v_next, &case.q_sa].map(|values| row(values));
        let alone = retrace_targets(rewards, discounts, next, values, traces);
        comparison.check("targets", &numbers(alone), &case.target);
        comparison.check("batched targets", &last(&batched, index, case.target.len()), &case.target);
    }
    println!("{comparison:?}");
}

#[test]
fn golden_n_step() {
    let cases = read::<Targets>("retrace.json").n_step;
    let mut comparison = Comparison::new(1e-12);
    assert!(!cases.is_empty());
    for (index, case) in cases.iter().enumerate() {
        let [rewards, discounts, next] = [&case.r, &case.discount, &case.v_next].map(|values| row(values));
        let alone = n_step_targets(rewards, discounts, next, case.n, case.lambda_);
        comparison.check("targets", &numbers(alone), &case.target);
        let batched = n_step_targets(
            batch(&cases, |case| &case.r),
            batch(&cases, |case| &case.discount),
            batch(&cases, |case| &case.v_next),
            case.n,
            case.lambda_,
        );
        comparison.check("batched targets", &last(&batched, index, case.target.len()), &case.target);
    }
    println!("{comparison:?}");
}

#[test]
fn golden_acme_e_step() {
    let file: Cases<MpoCase> = read("acme_mpo_loss.json");
    let mut comparison = Comparison::new(TOLERANCE);
    for (_, case) in file.enumerate() {
        let (parts, stats, gradients) = (&case.out.parts, &case.out.stats, &case.grad.params);
        let mut check = |kind, measured: &[f64], expected| comparison.check(kind, measured, expected);
        let q = case.e_step();
        check("temperature", &[q.temperature], parts.of("temperature"));
        check("weights", &numbers(q.weights.transpose()), parts.of("normalized_weights"));
        check("loss", &[q.loss], parts.of("loss_temperature_q"));
        check("kl", &[q.relative_kl], stats.of("kl_q_rel"));
        check("gradient", &[q.gradient], gradients.of("log_temperature"));
        let mut loss = q.loss;
        if let Some(penalty) = case.penalty() {
            loss += penalty.loss;
            let cost = action_penalty(case.actions()).transpose();
            check("penalty", &numbers(cost), parts.of("penalty_cost"));
            check("penalty weights", &numbers(penalty.weights.transpose()), parts.of("penalty_weights"));
            check("penalty loss", &[penalty.loss], parts.of("loss_penalty_temperature"));
            check("penalty kl", &[penalty.relative_kl], stats.of("penalty_kl_q_rel"));
            check("penalty gradient", &[penalty.gradient], gradients.of("log_penalty_temperature"));
        }
        check("loss_temperature", &[loss], stats.of("loss_temperature"));
    }
    println!("{comparison:?}");
}

/// The E-step with Acme's solver for the temperature. It gives the weights in single precision.
#[test]
fn golden_acme_gradient_step() {
    let file: Cases<MpoCase> = read("acme_mpo_loss.json");
    let mut comparison = Comparison::new(1e-6);
    for (_, case) in file.enumerate() {
        let parameter = case.params.scalar("log_temperature");
        let learning_rate = 0.01;
        let solver =
            TemperatureSolver::GradientStep { learning_rate, initial_temperature: softplus(parameter) };
        let mut e_step =
            EStep::new(EStepConfig { epsilon: case.config.epsilon, solver, ..EStepConfig::default() })
                .unwrap();
        let first = e_step.solve(case.values(), None).unwrap();
        comparison.check("temperature", &[first.dual.temperature], case.out.parts.of("temperature"));
        let weights: Vec<f64> = first.weights.transpose().into_data().iter().collect();
        comparison.check("weights", &weights, case.out.parts.of("normalized_weights"));
        let largest = numbers(case.values().abs().max())[0];
        let error = (first.dual.value - case.out.parts.scalar("loss_temperature_q")).abs();
        assert!(error <= 1e-6 * largest, "the dual is off by {error:e}");
        // Adam's first step is the learning rate against the gradient's sign.
        let sign = case.grad.params.scalar("log_temperature").signum();
        let second = e_step.solve(case.values(), None).unwrap().dual.temperature;
        let expected = dual_variable(parameter - learning_rate * sign);
        comparison.check("temperature after a step", &[second], &[expected]);
    }
    println!("{comparison:?}");
}

#[test]
fn golden_acme_m_step() {
    let file: Cases<MpoCase> = read("acme_mpo_loss.json");
    let mut comparison = Comparison::new(TOLERANCE);
    for (_, case) in file.enumerate() {
        let (online, old, config) = (case.online(), case.target(), &case.config);
        let (parts, stats, gradients) = (&case.out.parts, &case.out.stats, &case.grad.params);
        let mut check = |kind, measured: &[f64], expected: &[f64]| comparison.check(kind, measured, expected);
        let (e_step, penalty) = (case.e_step(), case.penalty());
        let mut loss = e_step.loss + penalty.as_ref().map_or(0.0, |penalty| penalty.loss);
        let mut weights = e_step.weights;
        if let Some(penalty) = penalty {
            weights = weights + penalty.weights;
        }
        for (name, policy) in
            [("loss_policy_mean", combined(&online, &old)), ("loss_policy_stddev", combined(&old, &online))]
        {
            let weighted = policy.log_probability(case.actions()) * weights.clone();
            let cross_entropy = numbers(-weighted.sum_dim(1).mean());
            check(name, &cross_entropy, parts.of(name));
            loss += cross_entropy[0];
        }

        let kl = match config.per_dim_constraining {
            true => online.decoupled_kl_per_dimension(&old).unwrap(),
            false => online.decoupled_kl(&old),
        };
        let multipliers = ["log_alpha_mean", "log_alpha_stddev"].map(|name| case.multipliers(name));
        for (name, kl, epsilon, multipliers) in [
            ("mean", kl.mean, config.epsilon_mean, &multipliers[0]),
            ("stddev", kl.covariance, config.epsilon_stddev, &multipliers[1]),
        ] {
            check("kl", &numbers(kl.clone()), parts.of(&format!("kl_{name}")));
            let mean = numbers(kl.mean_dim(0));
            let relative: Vec<f64> = mean.iter().map(|kl| kl / epsilon).collect();
            check("kl_rel", &relative, stats.of(&format!("kl_{name}_rel")));
            let multipliers = numbers(multipliers.clone());
            let loss_kl: f64 = multipliers.iter().zip(&mean).map(|(alpha, kl)| alpha * kl).sum();
            check("loss_kl", &[loss_kl], parts.of(&format!("loss_kl_{name}")));
            let loss_alpha = multipliers.iter().sum::<f64>() * epsilon - loss_kl;
            check("loss_alpha", &[loss_alpha], parts.of(&format!("loss_alpha_{name}")));
            loss += loss_kl + loss_alpha;
            let parameters = format!("log_alpha_{name}");
            let slopes = case.params.of(&parameters).iter().zip(&mean);
            let slopes: Vec<f64> = slopes.map(|(&x, kl)| sigmoid(x) * (epsilon - kl)).collect();
            check("gradient of log_alpha", &slopes, gradients.of(&parameters));
        }
        check("loss", &[loss], &[case.out.loss]);

        let statistics = Statistics::new(&old, case.actions(), weights);
        let gradient = policy_gradient(&online, &old, &statistics, &multipliers[0], &multipliers[1]);
        check("gradient of means", &numbers(gradient.mean), &case.grad.online_mean.values);
        let deviations = scale_numbers(gradient.scale);
        check("gradient of deviations", &deviations, &case.grad.online_stddev.values);
    }
    println!("{comparison:?}");
}
