//! The convex dual of the E-step, in plain `f64` arithmetic.
//!
//! Maximising E_s E_q\[Q\] subject to E_s KL(q ‖ π) ≤ ε has the solution q ∝ π exp(Q/η), where the
//! temperature η minimises the dual (replication paper, eq. 8; arXiv 1806.06920, eq. 9), here in its stable
//! form
//!
//! ```text
//! g(η) = η ε + mean_s [ max_j Q_sj + η log Σ_j p_sj exp((Q_sj - max_j Q_sj) / η) ]
//! ```
//!
//! with p_sj = 1/M for M sampled actions, or the policy's probabilities for an enumerated action set. Its
//! derivatives are g' = ε - mean_s KL(w_s ‖ p_s) and g'' = mean_s Var_w(Q_s) / η³, so that a feasible η
//! (KL ≤ ε) carries its own certificate: the duality gap is exactly η (ε - KL).

use crate::checks::{check, check_any, check_not_negative, check_positive, check_size};
use crate::error::{Error, Result};

/// How close to ε the KL divergence of the solution comes, relative to ε (from below, so that the solution is
/// feasible). The relative duality gap is of the same size.
const TOLERANCE: f64 = 1e-8;

/// More than any problem was seen to take; what is left then is still feasible, and its gap is reported.
const MAX_EVALUATIONS: usize = 200;

/// How the dual is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum DualForm {
    /// With the largest value of each state taken out of the exponential.
    #[default]
    Stable,
    /// Eq. 8 of the replication paper as printed, in single precision: exp(Q/η) overflows where Q/η > 88.
    /// Only for reproducing the paper's figure 5.
    Unstable,
}

/// The dual problem of one batch of action values.
#[derive(Debug, Clone)]
pub struct Dual {
    /// Q_sj - max_j Q_sj, state after state.
    below_max: Vec<f64>,
    /// max_j Q_sj for each state.
    max: Vec<f64>,
    /// p_sj, state after state; empty where every action counts 1/M.
    prior: Vec<f64>,
    samples: usize,
    epsilon: f64,
    form: DualForm,
}

/// The dual and its first two derivatives at one temperature.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct DualPoint {
    /// g(η).
    pub value: f64,
    /// mean_s KL(w_s ‖ p_s), which is ε - g'(η).
    pub kl: f64,
    /// g''(η).
    pub curvature: f64,
}

/// A minimum of the dual.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct DualSolution {
    /// The minimising temperature η, or the lower bound. 0 stands for the limit η → 0: weights on the best
    /// actions alone.
    pub temperature: f64,
    /// g(η).
    pub value: f64,
    /// mean_s KL(w_s ‖ p_s) at η, at most ε.
    pub kl: f64,
    /// The duality gap η (ε - KL): how far the solution is from the optimum, in units of Q, at most.
    pub gap: f64,
    /// Whether the constraint is active inside the domain: false where the infimum is at the lower bound, as
    /// for constant values or ε ≥ log M.
    pub interior: bool,
}

impl Dual {
    /// The dual for `values` of M = `samples` sampled actions a state, state after state.
    ///
    /// # Errors
    /// If there is no state or action, the number of values is no multiple of `samples`, a value is not
    /// finite, or `epsilon` is not positive and finite.
    pub fn new(values: impl IntoIterator<Item = f64>, samples: usize, epsilon: f64) -> Result<Self> {
        check_positive("epsilon", epsilon)?;
        check_any("samples", samples as u64)?;
        let mut below_max: Vec<f64> = values.into_iter().collect();
        check("values", below_max.len(), |&count| count > 0, "at least one state")?;
        check_size("values of the last state", (below_max.len() - 1) % samples + 1, samples)?;
        let mut max = Vec::with_capacity(below_max.len() / samples);
        if let Some(index) = below_max.iter().position(|value| !value.is_finite()) {
            return Err(Error::NonFinite { place: "values", index, value: below_max[index] });
        }
        for state in below_max.chunks_mut(samples) {
            let top = state.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            state.iter_mut().for_each(|value| *value -= top);
            max.push(top);
        }
        Ok(Self { below_max, max, prior: Vec::new(), samples, epsilon, form: DualForm::Stable })
    }

    /// Weighs the actions by `prior`, the policy's probabilities of an enumerated action set, in place of
    /// 1/M.
    ///
    /// # Errors
    /// If the sizes differ, or a state's probabilities are negative or do not sum to 1 (within 1e-5).
    pub fn with_prior(mut self, mut prior: Vec<f64>) -> Result<Self> {
        check_size("prior", prior.len(), self.below_max.len())?;
        for state in prior.chunks_mut(self.samples) {
            let sum: f64 = state.iter().sum();
            let valid = state.iter().all(|&p| p >= 0.0) && (sum - 1.0).abs() <= 1e-5;
            check("prior", sum, |_| valid, "probabilities of each state that sum to 1")?;
            state.iter_mut().for_each(|p| *p /= sum);
        }
        // What the policy never does must not count as its best action.
        let states = self.below_max.chunks_mut(self.samples).zip(prior.chunks(self.samples));
        for ((values, prior), max) in states.zip(&mut self.max) {
            let possible = values.iter().zip(prior).filter(|&(_, &p)| p > 0.0);
            let top = possible.map(|(&value, _)| value).fold(f64::NEG_INFINITY, f64::max);
            values.iter_mut().for_each(|value| *value = (*value - top).min(0.0));
            *max += top;
        }
        self.prior = prior;
        Ok(self)
    }

    /// Computes the dual in another form.
    pub fn with_form(mut self, form: DualForm) -> Self {
        self.form = form;
        self
    }

    /// The number of states.
    pub fn states(&self) -> usize {
        self.max.len()
    }

    /// g, KL and g'' at a positive temperature.
    pub fn evaluate(&self, temperature: f64) -> DualPoint {
        let mut log_partition = 0.0;
        let mut kl = 0.0;
        let mut variance = 0.0;
        for state in 0..self.states() {
            let [log_z, mean, second] = match self.form {
                DualForm::Stable => self.moments(state, temperature),
                DualForm::Unstable => self.moments_as_printed(state, temperature),
            };
            log_partition += log_z;
            kl += mean - log_z;
            variance += second - mean * mean;
        }
        let states = self.states() as f64;
        let max = match self.form {
            DualForm::Stable => self.max.iter().sum::<f64>() / states,
            DualForm::Unstable => 0.0,
        };
        DualPoint {
            value: temperature * self.epsilon + max + temperature * log_partition / states,
            // Rounding alone can make these slightly negative; an overflow of the unstable form is
            // infeasible.
            kl: if kl.is_nan() { f64::INFINITY } else { (kl / states).max(0.0) },
            curvature: (variance / states).max(0.0) / temperature,
        }
    }

    /// The minimum of g over η ≥ `lower_bound`, by Newton steps on log KL as a function of log η, safeguarded
    /// by a bracket. `start` is a first guess, such as the last batch's temperature.
    ///
    /// # Errors
    /// If `lower_bound` is negative or not finite.
    pub fn solve(&self, lower_bound: f64, start: Option<f64>) -> Result<DualSolution> {
        check_not_negative("lower_bound", lower_bound)?;
        // Hoeffding: KL(w ‖ p) ≤ range² / (8 η²), so that the KL divergence is feasible at `high`.
        let ranges =
            self.below_max.chunks(self.samples).map(|state| state.iter().copied().fold(0.0, f64::min));
        let mean_square = ranges.map(|range| range * range).sum::<f64>() / self.states() as f64;
        let mut high = (mean_square / (8.0 * self.epsilon)).sqrt();
        if self.limit() <= self.epsilon || high <= lower_bound || high < f64::MIN_POSITIVE {
            return Ok(self.at_bound(lower_bound));
        }
        if lower_bound > 0.0 && self.evaluate(lower_bound).kl <= self.epsilon {
            return Ok(self.at_bound(lower_bound));
        }

        // Only the unstable form overflows here: it has no solution below about |Q| / 88.
        while self.evaluate(high).kl.is_infinite() {
            high *= 2.0;
        }

        let mut low = lower_bound;
        let mut best = None;
        let target = self.epsilon * (1.0 - 0.5 * TOLERANCE);
        let mut temperature = start.filter(|&start| start > low && start < high).unwrap_or(high);
        for _ in 0..MAX_EVALUATIONS {
            let point = self.evaluate(temperature);
            if point.kl <= self.epsilon {
                high = temperature;
                best = Some(point);
                if point.kl >= self.epsilon * (1.0 - TOLERANCE) {
                    break;
                }
            } else {
                low = temperature;
            }
            // d log KL / d log η = -g'' η / KL.
            let slope = point.curvature * temperature / point.kl;
            let newton = temperature * ((point.kl / target).ln() / slope).exp();
            let next = if newton > low && newton < high {
                newton
            } else if low > 0.0 {
                low.sqrt() * high.sqrt()
            } else {
                0.125 * high
            };
            if next == temperature || next <= low || next >= high {
                break;
            }
            temperature = next;
        }
        let point = best.unwrap_or_else(|| self.evaluate(high));
        Ok(DualSolution {
            temperature: high,
            value: point.value,
            kl: point.kl,
            gap: (high * (self.epsilon - point.kl)).max(0.0),
            interior: true,
        })
    }

    /// The weights w_sj = p_sj exp(Q_sj/η) / Σ_k p_sk exp(Q_sk/η), state after state; each state's sum to 1.
    /// The temperature 0 stands for the limit: the best actions share the whole weight.
    pub fn weights(&self, temperature: f64) -> Vec<f64> {
        let mut weights = Vec::with_capacity(self.below_max.len());
        for state in 0..self.states() {
            let start = weights.len();
            weights.extend((0..self.samples).map(|action| {
                let below = self.below_max[state * self.samples + action];
                let factor =
                    if temperature > 0.0 { (below / temperature).exp() } else { f64::from(below == 0.0) };
                self.prior(state, action) * factor
            }));
            let sum: f64 = weights[start..].iter().sum();
            weights[start..].iter_mut().for_each(|weight| *weight /= sum);
        }
        weights
    }

    /// p_sj (Q_sj - E_p Q_s), state after state; each state's sum to 0. Of samples they are M / (M - 1) times
    /// as large: the mean over the samples is made of them too, and with the factor the expectation over all
    /// samples is that of p (Q - E_p Q) itself.
    pub fn advantages(&self) -> Vec<f64> {
        let samples = self.samples as f64;
        let factor = if self.prior.is_empty() && self.samples > 1 { samples / (samples - 1.0) } else { 1.0 };
        let mut advantages = Vec::with_capacity(self.below_max.len());
        for (state, values) in self.below_max.chunks(self.samples).enumerate() {
            let of_each = values.iter().enumerate();
            let mean: f64 = of_each.clone().map(|(action, value)| self.prior(state, action) * value).sum();
            advantages
                .extend(of_each.map(|(action, value)| factor * self.prior(state, action) * (value - mean)));
        }
        advantages
    }

    fn prior(&self, state: usize, action: usize) -> f64 {
        match self.prior.get(state * self.samples + action) {
            Some(&prior) => prior,
            None => 1.0 / self.samples as f64,
        }
    }

    /// mean_s KL(w_s ‖ p_s) as η → 0: the weight is on the best actions alone.
    fn limit(&self) -> f64 {
        let at_best = |state: usize| -> f64 {
            let actions = 0..self.samples;
            let best = actions.filter(|&action| self.below_max[state * self.samples + action] == 0.0);
            best.map(|action| self.prior(state, action)).sum()
        };
        let kl: f64 = (0..self.states()).map(|state| -at_best(state).ln()).sum();
        // Rounding alone can make this slightly negative.
        (kl / self.states() as f64).max(0.0)
    }

    fn at_bound(&self, lower_bound: f64) -> DualSolution {
        let (value, kl) = if lower_bound > 0.0 {
            // The unstable form may overflow here.
            let point = self.clone().with_form(DualForm::Stable).evaluate(lower_bound);
            (point.value, point.kl)
        } else {
            (self.max.iter().sum::<f64>() / self.states() as f64, self.limit())
        };
        DualSolution {
            temperature: lower_bound,
            value,
            kl,
            gap: (lower_bound * (self.epsilon - kl)).max(0.0),
            interior: false,
        }
    }

    /// log Σ p exp(t), E_w\[t\] and E_w\[t²\] of one state with t = (Q - max Q) / η.
    fn moments(&self, state: usize, temperature: f64) -> [f64; 3] {
        let values = &self.below_max[state * self.samples..][..self.samples];
        let mut sums = [0.0; 3];
        let mut add = |below: f64, prior: f64| {
            let t = below / temperature;
            let mass = prior * t.exp();
            // exp(t) is 0 where t overflows: such an action has no weight.
            if mass > 0.0 {
                sums[0] += mass;
                sums[1] += mass * t;
                sums[2] += mass * t * t;
            }
        };
        if self.prior.is_empty() {
            values.iter().for_each(|&below| add(below, 1.0));
            sums.iter_mut().for_each(|sum| *sum /= self.samples as f64);
        } else {
            let prior = &self.prior[state * self.samples..][..self.samples];
            values.iter().zip(prior).for_each(|(&below, &prior)| add(below, prior));
        }
        [sums[0].ln(), sums[1] / sums[0], sums[2] / sums[0]]
    }

    /// The same with t = Q / η in single precision: not a number where exp(t) overflows.
    fn moments_as_printed(&self, state: usize, temperature: f64) -> [f64; 3] {
        let mut sums = [0.0_f32; 3];
        for action in 0..self.samples {
            let value = self.max[state] + self.below_max[state * self.samples + action];
            let t = value as f32 / temperature as f32;
            let mass = self.prior(state, action) as f32 * t.exp();
            sums[0] += mass;
            sums[1] += mass * t;
            sums[2] += mass * t * t;
        }
        [sums[0].ln().into(), (sums[1] / sums[0]).into(), (sums[2] / sums[0]).into()]
    }
}
