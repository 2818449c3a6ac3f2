//! The cases of the dual, and what a solution of one has to satisfy.

use mpo::dual::{Dual, DualSolution};
use serde::Deserialize;

use super::comparison::Comparison;
use super::fixtures::Array;

#[derive(Deserialize)]
pub struct DualCase {
    eps: f64,
    #[serde(rename = "Q")]
    values: Array,
    prior: Option<Array>,
    pub eta: f64,
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

    pub fn dual(&self) -> Dual {
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

    pub fn check(&self, place: &str, solution: &DualSolution, lower_bound: f64) {
        let fail = || -> String { format!("{place}: {solution:?}, expected η {}, g {}", self.eta, self.g) };
        assert_eq!(solution.interior, !self.bound_active, "{}", fail());
        assert!(solution.kl <= self.eps, "infeasible, {}", fail());
        if solution.interior {
            assert!(solution.kl >= (1.0 - 1e-6) * self.eps, "{}", fail());
            assert!(solution.gap <= 1e-6 * self.eps * solution.temperature, "{}", fail());
            // The KL divergence is met to 1e-8; where it is flat that says little of the temperature.
            let point = self.dual().evaluate(solution.temperature);
            let conditioning = point.kl / (point.curvature * solution.temperature);
            let deviation = (solution.temperature / self.eta - 1.0).abs();
            assert!(deviation <= 3e-8 * conditioning, "η is off by {deviation:e}, {}", fail());
        } else {
            assert_eq!(solution.temperature, lower_bound, "{}", fail());
            assert!((solution.kl - self.kl).abs() <= 1e-9, "{}", fail());
        }
        // The certificate: above the optimum, and by no more than the gap.
        let largest = self.values.values.iter().fold(self.eta, |largest, q| largest.max(q.abs()));
        let rounding = 1e-14 * largest;
        let excess = solution.value - self.g;
        assert!(excess >= -rounding, "g is off by {excess:e}, {}", fail());
        assert!(excess <= rounding + solution.gap, "g is off by {excess:e}, {}", fail());
    }

    pub fn check_weights(&self, place: &str, solution: &DualSolution) {
        let weights = self.dual().weights(solution.temperature);
        for state in weights.chunks(self.samples()) {
            let sum: f64 = state.iter().sum();
            assert!((sum - 1.0).abs() <= 1e-14, "{place}: weights sum to {sum}");
        }
        let kl = self.kl_of(&weights);
        assert!((kl - solution.kl).abs() <= 1e-9 * self.eps, "{place}: {kl} reported as {}", solution.kl);
        if let Some(expected) = &self.q {
            Comparison::new(1e-7).check("weights", &weights, &expected.values);
        }
    }
}
