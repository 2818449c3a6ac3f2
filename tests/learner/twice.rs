//! Networks of one's own in which one layer is a clone of another: equal parameters under equal ids.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use mpo::networks::{Activation, linear};
use mpo::{Actor, Critic, Gaussian, Scale};

use crate::common::replays::rng;

pub const OBSERVATION: usize = 6;
pub const ACTION: usize = 2;

/// The second layer is a clone of the first.
#[derive(Module, Debug)]
pub struct Twice {
    pub inputs: Linear,
    pub first: Linear,
    pub second: Linear,
    pub outputs: Linear,
}

impl Twice {
    pub fn new(inputs: usize, width: usize, outputs: usize, seed: u64) -> Self {
        let (device, mut rng) = (Device::flex().autodiff(), rng(seed));
        let mut layer = |inputs, outputs| linear(inputs, outputs, 1.0, &device, &mut rng);
        let [inputs, twice, outputs] = [layer(inputs, width), layer(width, width), layer(width, outputs)];
        Self { inputs, first: twice.clone(), second: twice, outputs }
    }

    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let layers = [&self.inputs, &self.first, &self.second].into_iter();
        self.outputs.forward(layers.fold(x, |x, layer| Activation::Tanh.forward(layer.forward(x))))
    }
}

impl Actor for Twice {
    type Distribution = Gaussian;

    fn policy(&self, observations: Tensor<2>) -> Gaussian {
        let mean = self.forward(observations);
        let deviation = mean.clone() * 0.0 + 0.5;
        Gaussian { mean, scale: Scale::Diagonal(deviation) }
    }

    fn observation_size(&self) -> usize {
        OBSERVATION
    }

    fn action_size(&self) -> usize {
        ACTION
    }
}

impl Critic for Twice {
    fn values(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<1> {
        self.forward(Tensor::cat(vec![observations, actions], 1)).squeeze_dim(1)
    }

    fn observation_size(&self) -> usize {
        OBSERVATION
    }

    fn action_size(&self) -> usize {
        ACTION
    }
}
