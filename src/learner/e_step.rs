//! The E-step: action values to weights.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::checks::{check, check_not_negative, check_positive, check_shape};
use crate::error::Result;
use crate::host::{tensor, to_host};
use crate::mathematics::dual::{Dual, DualForm, DualSolution};

/// Settings of the [`EStep`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EStepConfig {
    /// What stands for the improved policy. The other settings are of the non-parametric kind.
    pub kind: EStepKind,
    /// ε, the KL divergence (in nats) by which the weights may depart from the policy that sampled the
    /// actions. Accepted: above 0. Larger values follow the critic faster and trust it more; 0.1 is the usual
    /// choice, and log M (all weight on the best of M actions) the largest that makes a difference.
    pub epsilon: f64,
    /// How the temperature is found.
    pub solver: TemperatureSolver,
    /// How the dual is computed; anything but the stable form is for comparison only.
    pub form: DualForm,
    /// The lowest temperature that [`Exact`](TemperatureSolver::Exact) may choose, in the unit of the
    /// values that it is given; an agent gives it those of its critic, in units of their spread where that
    /// [normalises values](crate::networks::QNetworkConfig::normalise_values). Accepted: 0 or more. 0
    /// leaves the temperature free; else differences far below it count as none: they are the critic's
    /// noise.
    pub minimum_temperature: f64,
}

impl Default for EStepConfig {
    /// As in the default preset.
    fn default() -> Self {
        Self {
            kind: EStepKind::NonParametric,
            epsilon: 0.1,
            solver: TemperatureSolver::Exact,
            form: DualForm::Stable,
            minimum_temperature: 0.005,
        }
    }
}

/// What stands for the improved policy q.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EStepKind {
    /// Weights of the sampled actions, which the M-step fits the policy to.
    #[default]
    NonParametric,
    /// The policy network itself, which follows the likelihood-ratio gradient of the advantage inside the
    /// M-step's trust regions (arXiv 1806.06920, appendix D.4 and Algorithm 3): there is no temperature, and
    /// the M-step is a copy.
    Parametric,
}

/// How the [`EStep`] finds the temperature of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub enum TemperatureSolver {
    /// Minimises the batch's dual to a relative gap of 1e-6 or better.
    #[default]
    Exact,
    /// One Adam step a batch on x, with η = softplus(x) + 1e-8: the usual approximation (Acme, arXiv
    /// 2006.00979), for comparison. It knows no lowest temperature, and so no optimum at one:
    /// [`DualSolution::interior`] always holds.
    GradientStep {
        /// Adam's learning rate on x; 0.01 is usual.
        learning_rate: f64,
        /// The temperature to start from; it should be of the order of the values' spread.
        initial_temperature: f64,
    },
}

/// The E-step. The non-parametric one (replication paper, eq. 6-8) finds weights of the sampled actions that
/// raise the expected value as far as ε allows; the parametric one (arXiv 1806.06920, Algorithm 3) finds
/// their advantages.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mpo::{EStep, EStepConfig};
///
/// # fn main() -> mpo::Result<()> {
/// let values = Tensor::from_floats([[0.0, 1.0, 2.0], [5.0, 5.0, 8.0]], &Device::flex());
/// let solution = EStep::new(EStepConfig::default())?.solve(values, None)?;
/// assert!((solution.dual.kl - 0.1).abs() < 1e-6);
/// assert!(solution.dual.interior);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EStep {
    config: EStepConfig,
    /// The last batch's temperature: the exact solver starts from it.
    last: Option<f64>,
    descent: Descent,
}

/// What an [`EStep`] found for one batch.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EStepSolution {
    /// `[batch, samples]`: the weights q, those of each state summing to 1. Of the parametric kind they are
    /// advantages, which sum to 0: (Q - mean of Q) / (M - 1) for M sampled actions, π (Q - E_π Q) where the
    /// actions are all that there are.
    pub weights: Tensor<2>,
    /// What the weights are for.
    pub objective: Objective,
    /// Temperature, dual value, realised KL divergence, duality gap, and whether the optimum is interior. The
    /// parametric kind has no dual: all numbers are 0, and interior says whether any action is worth more
    /// than another.
    pub dual: DualSolution,
}

/// What the policy is to raise by an E-step's weights w of actions a.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Objective {
    /// Their likelihood, Σ_j w_j log π(a_j|s).
    Likelihood,
    /// Their probability, Σ_j w_j π(a_j|s) / π_k(a_j|s): the expected advantage, of which the weights are
    /// samples.
    Advantage,
}

impl EStep {
    /// An E-step with these settings.
    ///
    /// # Errors
    /// If a setting lies outside its accepted range.
    pub fn new(config: EStepConfig) -> Result<Self> {
        check_positive("EStepConfig::epsilon", config.epsilon)?;
        check_not_negative("EStepConfig::minimum_temperature", config.minimum_temperature)?;
        let mut descent = Descent::default();
        if let TemperatureSolver::GradientStep { learning_rate, initial_temperature } = config.solver {
            check_positive("GradientStep::learning_rate", learning_rate)?;
            check_positive("GradientStep::initial_temperature", initial_temperature)?;
            descent = Descent::from_temperature(initial_temperature);
        }
        Ok(Self { config, last: None, descent })
    }

    /// The settings.
    pub fn config(&self) -> &EStepConfig {
        &self.config
    }

    /// Weighs the sampled actions of each state by their `values` Q'(s, a), `[batch, samples]`. Where the
    /// actions are all that there are, rather than samples, `prior` holds the policy's probability of each,
    /// `[batch, actions]`, in place of 1/M.
    ///
    /// # Errors
    /// If there is no state or action, a value is not finite, `prior` has another shape than the values, or
    /// the probabilities of a state are negative or do not sum to 1; the E-step then stays as it was.
    pub fn solve(&mut self, values: Tensor<2>, prior: Option<Tensor<2>>) -> Result<EStepSolution> {
        let solution = self.solution(values, prior)?;
        self.follow(&solution.dual);
        Ok(solution)
    }

    /// What [`solve`](Self::solve) finds, before this E-step [follows](Self::follow) it.
    pub(crate) fn solution(&self, values: Tensor<2>, prior: Option<Tensor<2>>) -> Result<EStepSolution> {
        let (shape, device) = (values.dims(), values.device());
        check_shape("action values", &shape, &shape)?;
        let EStepConfig { epsilon, minimum_temperature, form, .. } = self.config;
        let mut dual = Dual::new(to_host("action values", values)?, shape[1], epsilon)?.with_form(form);
        if let Some(prior) = prior {
            check_shape("the prior", &prior.dims(), &shape)?;
            dual = dual.with_prior(to_host("the prior", prior)?)?;
        }
        let on_device = |weights: Vec<f64>| {
            tensor(weights.into_iter().map(|weight| weight as f32).collect(), shape, &device)
        };
        if self.config.kind == EStepKind::Parametric {
            let advantages = dual.advantages();
            let interior = advantages.iter().any(|&advantage| advantage != 0.0);
            let dual = DualSolution { temperature: 0.0, value: 0.0, kl: 0.0, gap: 0.0, interior };
            return Ok(EStepSolution {
                weights: on_device(advantages),
                objective: Objective::Advantage,
                dual,
            });
        }
        let solution = match self.config.solver {
            TemperatureSolver::GradientStep { .. } => self.descent.solution(&dual, epsilon),
            TemperatureSolver::Exact => dual.solve(minimum_temperature, self.last)?,
        };
        let weights = on_device(dual.weights(solution.temperature));
        Ok(EStepSolution { weights, objective: Objective::Likelihood, dual: solution })
    }

    /// Checks that this is the state of an E-step with the settings of `own`.
    pub(crate) fn check_like(&self, own: &Self) -> Result<()> {
        check("EStep::config", &self.config, |config| **config == own.config, "the worker's own settings")?;
        let temperature = self.last.unwrap_or(1.0);
        check_positive("EStep::last", temperature)
    }

    /// Takes what a batch's dual came to as what the next one begins with.
    pub(crate) fn follow(&mut self, dual: &DualSolution) {
        if self.config.kind == EStepKind::Parametric {
            return;
        }
        if let TemperatureSolver::GradientStep { learning_rate, .. } = self.config.solver {
            self.descent.step(dual.kl, learning_rate, self.config.epsilon);
        }
        if dual.interior {
            self.last = Some(dual.temperature);
        }
    }
}

/// Adam on x with η = softplus(x) + 1e-8.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Descent {
    x: f64,
    first: f64,
    second: f64,
    steps: i32,
}

impl Descent {
    const FLOOR: f64 = 1e-8;

    fn from_temperature(temperature: f64) -> Self {
        // The inverse of softplus: log(exp(η) - 1) = η + log(1 - exp(-η)).
        let x = temperature + (-(-temperature).exp_m1()).ln();
        Self { x, ..Self::default() }
    }

    /// The solution at the temperature before the step, as the weights of a batch do not wait for its own
    /// step.
    fn solution(&self, dual: &Dual, epsilon: f64) -> DualSolution {
        let temperature = self.x.max(0.0) + (-self.x.abs()).exp().ln_1p() + Self::FLOOR;
        let point = dual.evaluate(temperature);
        DualSolution {
            temperature,
            value: point.value,
            kl: point.kl,
            gap: (temperature * (epsilon - point.kl)).max(0.0),
            interior: true,
        }
    }

    /// A step of x, after a batch whose weights diverge by `kl`.
    fn step(&mut self, kl: f64, learning_rate: f64, epsilon: f64) {
        let gradient = (epsilon - kl) / (1.0 + (-self.x).exp());
        // Only the unstable form has infinite gradients, and no step then.
        if gradient.is_finite() {
            self.steps = self.steps.saturating_add(1);
            self.first += 0.1 * (gradient - self.first);
            self.second += 0.001 * (gradient * gradient - self.second);
            let first = self.first / (1.0 - 0.9_f64.powi(self.steps));
            let second = self.second / (1.0 - 0.999_f64.powi(self.steps));
            self.x -= learning_rate * first / (second.sqrt() + 1e-8);
        }
    }
}
