//! Adam with global gradient clipping.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::backward::Backward;
use super::parameters::{flat, from_flat};
use crate::checks::{check, check_positive};
use crate::error::Result;
use crate::host::{tensor, to_host};

/// Settings of an [`Optimizer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Adam's learning rate. Accepted: above 0. 3e-4 is the paper's.
    pub learning_rate: f64,
    /// The largest Euclidean norm of the gradient over all parameters; larger gradients are scaled down to
    /// it. Accepted: above 0, or none. The paper clips the actor's to 0.1.
    #[serde(default)]
    pub gradient_norm: Option<f64>,
    /// Adam's ε, beside the root of the average squared gradient. Accepted: above 0. 1e-8 is Adam's own.
    /// While rewards are nearly always 0 the critic's gradients vanish, and Adam takes full steps along what
    /// noise is left of them: it can end where all actions are worth the same to the last bit, and nothing is
    /// learnt for long. 1.5e-4 (Rainbow, arXiv 1710.02298) makes small steps of small gradients.
    #[serde(default = "adams_own")]
    pub epsilon: f64,
}

fn adams_own() -> f64 {
    1e-8
}

/// Adam (β₁ 0.9, β₂ 0.999) with the gradient clipped by its global norm.
///
/// Works on all parameters of a module as on one long vector, in the order in which the module lists them.
#[derive(Debug, Clone)]
pub struct Optimizer {
    config: OptimizerConfig,
    steps: u64,
    /// The averages of the gradient and of its square; none before the first step.
    averages: Option<[Tensor<1>; 2]>,
    /// The sum of the squared norms of the gradients since it was last taken.
    squared_norms: Option<Tensor<1>>,
}

impl Optimizer {
    /// An optimizer without history.
    ///
    /// # Errors
    /// If a setting lies outside its accepted range.
    pub fn new(config: OptimizerConfig) -> Result<Self> {
        let positive = |&x: &f64| x > 0.0 && x.is_finite();
        check_positive("OptimizerConfig::learning_rate", config.learning_rate)?;
        let in_single_precision = |&x: &f64| positive(&f64::from(x as f32));
        let accepted = "a positive, finite number in single precision";
        check("OptimizerConfig::epsilon", config.epsilon, in_single_precision, accepted)?;
        if let Some(norm) = config.gradient_norm {
            check("OptimizerConfig::gradient_norm", norm, positive, "a positive, finite number, or none")?;
        }
        Ok(Self { config, steps: 0, averages: None, squared_norms: None })
    }

    /// One step of `module`, whose parameters lie on one device, against the gradient of `loss`, a tensor of
    /// one element. An optimizer is for one module, or for its clones.
    ///
    /// A module without trainable parameters stays as it is.
    pub fn step<M: Module>(&mut self, module: M, loss: Tensor<1>) -> M {
        let gradient = Backward::autodiff(module.clone()).gradient(loss);
        self.descend(module, gradient)
    }

    /// One step of `module` against a gradient of [`Backward::gradient`].
    pub fn descend<M: Module>(&mut self, module: M, gradient: Option<Tensor<1>>) -> M {
        let Some(mut gradient) = gradient else { return module };
        // Over a dimension: GPUs add up whole tensors in any order, and runs would not be repeatable.
        let squared_norm = gradient.clone().square().sum_dim(0);
        if let Some(max_norm) = self.config.gradient_norm {
            // Without reading the norm back from the device.
            gradient = gradient * ((squared_norm.clone().sqrt() + 1e-6).recip() * max_norm).clamp_max(1.0);
        }
        self.squared_norms = Some(match self.squared_norms.take() {
            Some(before) => before + squared_norm,
            None => squared_norm,
        });
        let step = self.adam(gradient) * self.config.learning_rate;
        match flat(&module) {
            Some(parameters) => from_flat(module, parameters - step),
            None => module,
        }
    }

    /// Adam's direction for this gradient (arXiv 1412.6980, in the form of the end of its section 2).
    fn adam(&mut self, gradient: Tensor<1>) -> Tensor<1> {
        const RATES: [f32; 2] = [0.9, 0.999];
        let averages = self.averages.take();
        let [first, second] = averages.unwrap_or_else(|| [(); 2].map(|()| gradient.zeros_like()));
        let follow =
            |average: Tensor<1>, latest: Tensor<1>, rate: f32| average * rate + latest * (1.0 - rate);
        let first = follow(first, gradient.clone(), RATES[0]);
        let second = follow(second, gradient.square(), RATES[1]);
        self.averages = Some([first.clone(), second.clone()]);
        self.steps = self.steps.saturating_add(1);
        let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let [first_share, second_share] = RATES.map(|rate| 1.0 - rate.powi(steps));
        let second_share = second_share.sqrt();
        let epsilon = self.config.epsilon as f32;
        first * (second_share / first_share) / (second.sqrt() + epsilon * second_share)
    }

    /// How many steps were made.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// What it has learnt of the gradients, to be saved: both averages, one after the other.
    pub(crate) fn averages(&self) -> Result<Vec<f32>> {
        let averages = self.averages.iter().flatten();
        let averages = averages.map(|average| to_host("the optimizer's averages", average.clone()));
        Ok(averages.collect::<Result<Vec<_>>>()?.concat())
    }

    /// This optimizer with such a history, of a module with half as many parameters as there are `averages`.
    pub(crate) fn with_history(mut self, steps: u64, averages: &[f32], device: &Device) -> Self {
        let averages = averages.chunks(averages.len().div_ceil(2).max(1));
        let mut averages = averages.map(|average| tensor(average.to_vec(), [average.len()], device));
        self.averages = averages.next().zip(averages.next()).map(|(first, second)| [first, second]);
        self.steps = steps;
        self
    }

    /// The sum of the squared norms, before clipping, of the gradients since the last call; none without a
    /// gradient. Where it is not finite, neither are Adam's averages from then on, and what it trains stands
    /// still unnoticed.
    pub(crate) fn take_squared_norms(&mut self) -> Option<Tensor<1>> {
        self.squared_norms.take()
    }
}
