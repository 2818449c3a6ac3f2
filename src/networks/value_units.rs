//! Values as distances from the mean of the targets, in units of their standard deviation (PopArt, arXiv
//! 1602.07714).

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};

use super::moments::Moments;
use super::parameters::in_place_of;

/// What a critic's output is measured in: Q = mean + deviation · output, both of the latest targets.
#[derive(Module, Debug)]
pub(crate) struct ValueUnits {
    targets: Moments,
}

impl ValueUnits {
    /// Of no targets yet.
    pub(crate) fn new(device: &Device) -> Self {
        Self { targets: Moments::new(1, device) }
    }

    /// With this mean, `[1]`, where there were no targets yet.
    pub(crate) fn start_from(self, mean: &Tensor<1>) -> Self {
        Self { targets: self.targets.start_from(mean.clone()) }
    }

    /// Values from outputs.
    pub(crate) fn values<const D: usize>(&self, outputs: Tensor<D>) -> Tensor<D> {
        outputs * self.targets.deviation().unsqueeze() + self.targets.mean().unsqueeze()
    }

    /// (Q - y) / unit of outputs and targets, `[batch]` each: without the mean, which may be large beside all
    /// errors.
    pub(crate) fn errors(&self, outputs: Tensor<1>, targets: Tensor<1>) -> Tensor<1> {
        let unit = self.targets.unit();
        let scale = self.targets.deviation() / unit.clone();
        outputs * scale - self.targets.centred(targets) / unit
    }

    /// (Q - mean) / unit.
    pub(crate) fn in_units(&self, values: Tensor<2>) -> Tensor<2> {
        self.targets.centred(values) / self.targets.unit().unsqueeze()
    }

    /// These after the targets of a batch, `[batch]`, and what makes outputs say the same values in them:
    /// factor · output + shift, `[1]` each. While there was no spread the outputs stay, as they meant
    /// nothing.
    pub(crate) fn follow(self, targets: &Tensor<1>) -> (Self, Tensor<1>, Tensor<1>) {
        let before = self.targets;
        let after = before.clone().follow(targets);
        let [deviation, new_deviation, further] =
            [before.deviation(), after.deviation(), after.mean_beyond(&before)].map(Tensor::inner);
        let known = deviation.clone().sign();
        let new_deviation = new_deviation.clamp_min(f32::MIN_POSITIVE);
        let factor = deviation / new_deviation.clone() + (-known.clone() + 1.0);
        let shift = -(further * known / new_deviation);
        (Self { targets: after }, factor, shift)
    }
}

/// A layer with its outputs turned into factor · output + shift, `[1]` each, without gradients. It stays
/// trainable, or not, as it is.
pub fn rescaled(layer: Linear, factor: Tensor<1>, shift: Tensor<1>) -> Linear {
    let Linear { weight, bias } = layer;
    let weight = weight.map(|old| in_place_of(&old, old.clone().inner() * factor.clone().unsqueeze()));
    let bias = bias.map(|bias| bias.map(|old| in_place_of(&old, old.clone().inner() * factor + shift)));
    Linear { weight, bias }
}
