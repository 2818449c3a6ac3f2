//! The cases of Acme's losses.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use mpo::dual::Dual;
use mpo::{Gaussian, action_penalty};
use serde::Deserialize;

use super::fixtures::Array;
use super::gaussian::diagonal;
use crate::common::double::{numbers, tensor};

/// Named values, some of which a configuration does not have.
#[derive(Deserialize)]
pub struct Values(BTreeMap<String, Option<Array>>);

impl Values {
    pub fn of(&self, name: &str) -> &[f64] {
        let values = self.0.get(name).and_then(Option::as_ref);
        &values.unwrap_or_else(|| panic!("no {name}")).values
    }

    pub fn scalar(&self, name: &str) -> f64 {
        let [value] = *self.of(name) else { panic!("{name} is not one number") };
        value
    }
}

/// For an enumerated action set.
#[derive(Deserialize)]
pub struct CategoricalCase {
    pub epsilon: f64,
    pub epsilon_policy: f64,
    pub params: Values,
    pub online_logits: Array,
    pub target_logits: Array,
    #[serde(rename = "q_DB")]
    pub values: Array,
    pub stats: Values,
    pub grad: CategoricalGradient,
}

#[derive(Deserialize)]
pub struct CategoricalGradient {
    pub params: Values,
    pub online_logits: Array,
}

/// For continuous actions.
#[derive(Deserialize)]
pub struct MpoCase {
    pub config: MpoConfig,
    pub params: Values,
    online_mean: Array,
    online_stddev: Array,
    target_mean: Array,
    target_stddev: Array,
    #[serde(rename = "actions_NBD")]
    actions: Array,
    #[serde(rename = "q_NB")]
    values: Array,
    pub out: MpoOutput,
    pub grad: MpoGradient,
}

#[derive(Deserialize)]
pub struct MpoConfig {
    pub per_dim_constraining: bool,
    pub action_penalization: bool,
    pub epsilon: f64,
    pub epsilon_penalty: f64,
    pub epsilon_mean: f64,
    pub epsilon_stddev: f64,
}

#[derive(Deserialize)]
pub struct MpoOutput {
    pub loss: f64,
    pub stats: Values,
    pub parts: Values,
}

#[derive(Deserialize)]
pub struct MpoGradient {
    pub params: Values,
    pub online_mean: Array,
    pub online_stddev: Array,
}

/// One of Acme's two E-steps: of the critic's values, or of the penalty for actions out of bounds.
pub struct AcmeEStep {
    pub temperature: f64,
    pub loss: f64,
    /// `[batch, samples]`.
    pub weights: Tensor<2>,
    /// The KL divergence of the weights as Acme reports it, in units of ε.
    pub relative_kl: f64,
    /// Of the loss with respect to the parameter.
    pub gradient: f64,
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
    /// The critic's values, `[batch, samples]`.
    pub fn values(&self) -> Tensor<2> {
        self.values.transposed()
    }

    /// `[batch, samples, action]`.
    pub fn actions(&self) -> Tensor<3> {
        self.actions.transposed()
    }

    pub fn e_step(&self) -> AcmeEStep {
        AcmeEStep::new(self.values(), self.config.epsilon, self.params.scalar("log_temperature"))
    }

    pub fn penalty(&self) -> Option<AcmeEStep> {
        self.config.action_penalization.then(|| {
            let parameter = self.params.scalar("log_penalty_temperature");
            let cost = action_penalty(self.actions());
            AcmeEStep::new(cost, self.config.epsilon_penalty, parameter)
        })
    }

    pub fn multipliers(&self, name: &str) -> Tensor<1> {
        let parameters = self.params.of(name).iter().copied();
        let multipliers: Vec<f64> = parameters.map(dual_variable).collect();
        let count = multipliers.len();
        tensor(multipliers, [count])
    }

    pub fn online(&self) -> Gaussian {
        diagonal(self.online_mean.tensor(), self.online_stddev.tensor())
    }

    pub fn target(&self) -> Gaussian {
        diagonal(self.target_mean.tensor(), self.target_stddev.tensor())
    }
}

/// The dual variable that Acme makes of a parameter.
pub fn dual_variable(parameter: f64) -> f64 {
    softplus(parameter) + 1e-8
}

pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The derivative of `softplus`.
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The probabilities of `logits` `[state][action]`.
pub fn softmax(logits: &Array) -> Vec<f64> {
    let states = logits.values.chunks(logits.shape[1]);
    let shares = states.map(|state| {
        let sum: f64 = state.iter().map(|logit| logit.exp()).sum();
        state.iter().map(move |logit| logit.exp() / sum)
    });
    shares.flatten().collect()
}
