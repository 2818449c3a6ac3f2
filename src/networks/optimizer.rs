//! Adam with global gradient clipping.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::{Result, check};

/// Settings of an [`Optimizer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OptimizerConfig {
    /// Adam's learning rate. Accepted: above 0. 3e-4 is the paper's; 1e-4 is steadier on hard tasks.
    pub learning_rate: f64,
    /// The largest Euclidean norm of the gradient over all parameters; larger gradients are scaled down to it.
    /// Accepted: above 0, or none. The paper clips the actor's to 0.1.
    pub gradient_norm: Option<f64>,
}

/// Adam (β₁ 0.9, β₂ 0.999, ε 1e-8) with the gradient clipped by its global norm.
#[derive(Clone)]
pub struct Optimizer {
    config: OptimizerConfig,
    adam: ModuleOptimizer,
    /// The sum of the squared norms of the gradients since it was last taken.
    squared_norms: Option<Tensor<1>>,
}

impl std::fmt::Debug for Optimizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Optimizer").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Optimizer {
    /// An optimizer without history.
    ///
    /// # Errors
    /// Where a setting lies outside its accepted range.
    pub fn new(config: OptimizerConfig) -> Result<Self> {
        let positive = |&x: &f64| x > 0.0 && x.is_finite();
        check("OptimizerConfig::learning_rate", config.learning_rate, positive, "a positive, finite number")?;
        if let Some(norm) = config.gradient_norm {
            check("OptimizerConfig::gradient_norm", norm, positive, "a positive, finite number, or none")?;
        }
        Ok(Self { config, adam: AdamConfig::new().with_epsilon(1e-8).init(), squared_norms: None })
    }

    /// One step of `module` against the gradient of `loss`, a tensor of one element.
    ///
    /// A module without trainable parameters stays as it is.
    pub fn step<M: Module>(&mut self, module: M, loss: Tensor<1>) -> M {
        if !loss.is_tracked() {
            return module;
        }
        let mut gradients = GradientsParams::from_grads(loss.backward(), &module);
        if let Some(squared_norm) = squared_norm(&module, &gradients) {
            if let Some(max_norm) = self.config.gradient_norm {
                gradients = clip_global_norm(&module, gradients, &squared_norm, max_norm);
            }
            self.squared_norms = Some(match self.squared_norms.take() {
                Some(before) => before + squared_norm,
                None => squared_norm,
            });
        }
        self.adam.step(self.config.learning_rate, module, gradients)
    }

    /// The sum of the squared norms, before clipping, of the gradients since the last call; none without a gradient. Where
    /// it is not finite, neither are Adam's averages from then on, and what it trains stands still unnoticed.
    pub(crate) fn take_squared_norms(&mut self) -> Option<Tensor<1>> {
        self.squared_norms.take()
    }
}

/// The squared Euclidean norm of all gradients of `module`; none without a gradient.
fn squared_norm<M: Module>(module: &M, gradients: &GradientsParams) -> Option<Tensor<1>> {
    struct SquaredNorm<'a> {
        gradients: &'a GradientsParams,
        sum: Option<Tensor<1>>,
    }
    impl ModuleVisitor for SquaredNorm<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.get::<D>(param.id) {
                let square = gradient.square().sum();
                self.sum = Some(match self.sum.take() {
                    Some(sum) => sum + square,
                    None => square,
                });
            }
        }
    }
    let mut norm = SquaredNorm { gradients, sum: None };
    module.visit(&mut norm);
    norm.sum
}

/// Scales all gradients of `module` so that their joint Euclidean norm is at most `max_norm`, without reading them
/// back from the device.
fn clip_global_norm<M: Module>(
    module: &M,
    gradients: GradientsParams,
    squared_norm: &Tensor<1>,
    max_norm: f64,
) -> GradientsParams {
    struct Rescale {
        gradients: GradientsParams,
        factor: Tensor<1>,
    }
    impl ModuleVisitor for Rescale {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.remove::<D>(param.id) {
                let factor = self.factor.clone().reshape([1; D]);
                self.gradients.register(param.id, gradient * factor);
            }
        }
    }

    let factor = ((squared_norm.clone().sqrt() + 1e-6).recip() * max_norm).clamp_max(1.0);
    let mut rescale = Rescale { gradients, factor };
    module.visit(&mut rescale);
    rescale.gradients
}
