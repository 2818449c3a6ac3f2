//! The layers that actor and critic share.

use burn::module::{Module, Param, ParamId};
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::{Device, Tensor, activation};
use serde::{Deserialize, Serialize};

use super::moments::Moments;
use crate::checks::check;
use crate::error::Result;
use crate::host::tensor;
use crate::rng::Rng;

/// The hidden layers of an actor or a critic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// The sizes of the hidden layers. Accepted: at least one, of 1 to 65,536 units each. The paper's
    /// networks are 256-256 and an output layer; harder tasks take more.
    pub hidden: Vec<usize>,
    /// The function after each hidden layer.
    pub activation: Activation,
    /// Whether each hidden layer is normalised (LayerNorm) before its activation. It keeps the critic from
    /// running away early on: leave it on.
    pub layer_norm: bool,
    /// Whether the first layer sees observations in units of their spread, (s - mean) / standard deviation
    /// over what has been learnt from, cut off at ±10: a joint's velocity of 20 no longer hides the angle of
    /// 0.5 beside it, nor a range finder's 1e25 all else. Without it they are cut off at ±1,000:
    /// turn it off only where all of them are of size 1 already.
    pub normalise_observations: bool,
}

impl Default for NetworkConfig {
    /// As in the default preset.
    fn default() -> Self {
        Self {
            hidden: vec![256, 256],
            activation: Activation::Relu,
            layer_norm: true,
            normalise_observations: true,
        }
    }
}

/// The function after a hidden layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Activation {
    /// max(0, x), the paper's.
    Relu,
    /// x above 0, exp(x) - 1 below.
    Elu,
    /// tanh(x).
    Tanh,
}

impl Activation {
    /// Applies the function to each element.
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Relu => activation::relu(x),
            // Both in terms of operations that are far faster on a CPU than Burn's own, and as exact.
            Self::Elu => {
                let positive = activation::relu(x.clone());
                (x - positive.clone()).exp() + (positive - 1.0)
            }
            Self::Tanh => activation::sigmoid(x * 2.0) * 2.0 - 1.0,
        }
    }
}

/// Units of a hidden layer: a number of any size would end the process for want of memory.
const LARGEST_LAYER: usize = 1 << 16;

impl NetworkConfig {
    pub(crate) fn validate(&self) -> Result<()> {
        check(
            "NetworkConfig::hidden",
            &self.hidden,
            |hidden| !hidden.is_empty() && hidden.iter().all(|size| (1..=LARGEST_LAYER).contains(size)),
            "at least one layer, none of size 0 or above 65536",
        )
    }

    /// How many parameters a network with these hidden layers has, behind so many inputs, which are
    /// observations alone, and before so many outputs; none where that is beyond all numbers.
    pub(super) fn parameter_count(&self, inputs: usize, outputs: usize) -> Option<usize> {
        let hidden = self.hidden.iter();
        let sizes: Vec<usize> = [inputs].iter().chain(hidden.clone()).copied().chain([outputs]).collect();
        let layer = |pair: &[usize]| pair[0].checked_add(1)?.checked_mul(pair[1]);
        let layers = sizes.windows(2).try_fold(0_usize, |sum, pair| sum.checked_add(layer(pair)?))?;
        let moments = if self.normalise_observations { Moments::parameter_count(inputs)? } else { 0 };
        let mut normalised = hidden.filter(|_| self.layer_norm);
        normalised.try_fold(layers.checked_add(moments)?, |sum, &size| sum.checked_add(size.checked_mul(2)?))
    }
}

/// The hidden layers behind the first one's linear map, which actor and critic apply themselves.
#[derive(Module, Debug)]
pub(crate) struct Hidden {
    norms: Vec<LayerNorm>,
    layers: Vec<Linear>,
    #[module(skip)]
    activation: Activation,
}

impl Hidden {
    pub(crate) fn new(config: &NetworkConfig, device: &Device, rng: &mut Rng) -> Self {
        let pairs = config.hidden.iter().zip(&config.hidden[1..]);
        let normalised = config.hidden.iter().filter(|_| config.layer_norm);
        Self {
            norms: normalised.map(|&size| LayerNormConfig::new(size).init(device)).collect(),
            layers: pairs.map(|(&inputs, &outputs)| linear(inputs, outputs, 1.0, device, rng)).collect(),
            activation: config.activation,
        }
    }

    /// From the first layer's linear map to the last hidden layer, both `[batch, hidden]`.
    pub(crate) fn forward(&self, first: Tensor<2>) -> Tensor<2> {
        let mut x = self.activate(0, first);
        for (index, layer) in self.layers.iter().enumerate() {
            x = self.activate(index + 1, layer.forward(x));
        }
        x
    }

    fn activate(&self, layer: usize, x: Tensor<2>) -> Tensor<2> {
        match self.norms.get(layer) {
            Some(norm) => self.activation.forward(norm.forward(x)),
            None => self.activation.forward(x),
        }
    }

    pub(super) fn activation(&self) -> Activation {
        self.activation
    }

    /// One for each layer, where there are any.
    pub(super) fn norms(&self) -> &[LayerNorm] {
        &self.norms
    }

    /// The linear layers behind the first one.
    pub(super) fn layers(&self) -> &[Linear] {
        &self.layers
    }
}

/// The bias of a layer that has one, `[1, outputs]`.
pub(super) fn bias(layer: &Linear) -> Tensor<2> {
    match &layer.bias {
        Some(bias) => bias.val().unsqueeze(),
        None => Tensor::zeros([1, layer.weight.dims()[1]], &layer.weight.device()),
    }
}

/// A linear layer with weights uniform in ±`gain` / √`inputs` and no bias to start with, drawn from the
/// library's generator: Burn's own initialisation draws from one generator of the whole process, and so is
/// not repeatable.
pub fn linear(inputs: usize, outputs: usize, gain: f64, device: &Device, rng: &mut Rng) -> Linear {
    let bound = gain / (inputs as f64).sqrt();
    let weight: Vec<f32> = (0..inputs * outputs).map(|_| rng.uniform(-bound, bound) as f32).collect();
    let weight = tensor(weight, [inputs, outputs], device);
    Linear {
        weight: Param::initialized(ParamId::new(), weight.require_grad()),
        bias: Some(Param::initialized(ParamId::new(), Tensor::zeros([outputs], device).require_grad())),
    }
}
