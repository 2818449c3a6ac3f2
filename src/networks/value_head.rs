//! What a critic's outputs say, and how they learn: numbers or distributions, in the critic's unit.

use burn::module::{Param, ParamId};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};

use super::critic::CriticLoss;
use super::layers::linear;
use super::value_units::{ValueUnits, rescaled};
use crate::host::tensor;
use crate::mathematics::bins::ValueDistribution;
use crate::rng::Rng;

/// How outputs are read: for each value one number, or one for each bin.
#[derive(Debug, Clone, Copy)]
pub(super) struct ValueHead {
    pub(super) loss: CriticLoss,
    pub(super) distribution: Option<ValueDistribution>,
}

impl ValueHead {
    /// How many outputs a value takes.
    pub(super) fn outputs(&self) -> usize {
        self.distribution.map_or(1, |distribution| distribution.bins)
    }

    /// An output layer for so many values, behind `inputs` hidden units. Bins begin as likely as under
    /// Student's t-distribution: narrow enough for means that are soon right, and no bin out of reach.
    pub(super) fn layer(
        &self,
        inputs: usize,
        values: usize,
        gain: f64,
        device: &Device,
        rng: &mut Rng,
    ) -> Linear {
        let mut layer = linear(inputs, values * self.outputs(), gain, device, rng);
        if let Some(distribution) = self.distribution {
            let likely = |centre: &f32| -2.0 * (1.0 + centre * centre / 3.0).ln();
            let bias: Vec<f32> = distribution.centres().iter().map(likely).collect();
            let bias = tensor(bias.repeat(values), [values * self.outputs()], device);
            layer.bias = Some(Param::initialized(ParamId::new(), bias.require_grad()));
        }
        layer
    }

    /// The output layer and its unit after they have taken note of the `targets`: numbers stay what they
    /// were.
    pub(super) fn follow(
        &self,
        output: Linear,
        units: Option<ValueUnits>,
        targets: &Tensor<1>,
    ) -> (Linear, Option<ValueUnits>) {
        let Some(units) = units else { return (output, None) };
        let (units, factor, shift) = units.follow(targets);
        match self.distribution {
            None => (rescaled(output, factor, shift), Some(units)),
            Some(_) => (output, Some(units)),
        }
    }

    /// `[rows]` of outputs `[rows, outputs]`.
    pub(super) fn values(&self, outputs: Tensor<2>, units: Option<&ValueUnits>) -> Tensor<1> {
        let outputs = match self.distribution {
            Some(distribution) => distribution.means(outputs),
            None => outputs.squeeze_dim(1),
        };
        match units {
            Some(units) => units.values(outputs),
            None => outputs,
        }
    }

    /// The loss of outputs `[batch, outputs]` with gradients, for `targets` `[batch]`, a tensor of one
    /// element.
    pub(super) fn loss(
        &self,
        outputs: Tensor<2>,
        targets: Tensor<1>,
        units: Option<&ValueUnits>,
    ) -> Tensor<1> {
        let targets = Tensor::from_inner(targets);
        match (self.distribution, units) {
            (None, Some(units)) => self.loss.of(units.errors(outputs.squeeze_dim(1), targets)),
            (None, None) => self.loss.of(outputs.squeeze_dim(1) - targets),
            (Some(distribution), Some(units)) => {
                let targets = units.in_units(targets.unsqueeze_dim(1)).squeeze_dim(1);
                distribution.loss(outputs, targets)
            }
            (Some(distribution), None) => distribution.loss(outputs, targets),
        }
    }
}
