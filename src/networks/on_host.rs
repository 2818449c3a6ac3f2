//! The hidden layers on plain numbers, in a CPU's memory: values without gradients, and gradients in closed
//! form which are those of autodiff. Most of an update's time is spent here.

use std::collections::HashMap;

use burn::module::ParamId;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Gradients, Tensor};
use rayon::prelude::*;

use super::layers::{Activation, Hidden, bias as bias_of};
use super::rows::{self, Norm, Record};
use crate::host::{numbers, on_host};
use crate::mathematics::product::{Left, Panels, Products};

/// The hidden layers behind the first one's product.
pub(super) struct HiddenOnHost {
    /// A LayerNorm for each layer, where there are any.
    norms: Vec<Norm>,
    /// Weights and bias of the layers behind the first.
    layers: Vec<(Panels, Vec<f32>)>,
    activation: Activation,
}

/// How many rows are computed at a time: what two layers of 256 units give out for them, packed too, and the
/// weights between fit into a core's second cache.
pub(super) const ROWS_A_BLOCK: usize = 64;

/// Where a thread computes.
#[derive(Default)]
pub(super) struct Workspace {
    products: Products,
    rows: [Vec<f32>; 2],
}

impl HiddenOnHost {
    pub(super) fn new(hidden: &Hidden) -> Self {
        let layer = |layer: &Linear| (panels(layer), numbers(bias_of(layer)));
        Self {
            norms: hidden.norms().iter().map(on_rows).collect(),
            layers: hidden.layers().iter().map(layer).collect(),
            activation: hidden.activation(),
        }
    }

    /// What the last hidden layer gives out for rows of inputs of the first one. Each row of `addend`, the
    /// first layer's bias and what else it adds, is for as many rows of inputs as there are of them for
    /// one.
    pub(super) fn features<'a>(
        &self,
        inputs: &[f32],
        first: &Panels,
        addend: &[f32],
        workspace: &'a mut Workspace,
    ) -> &'a [f32] {
        let Workspace { products, rows: [current, next] } = workspace;
        let count = inputs.len() / first.rows();
        current.resize(count * first.columns(), 0.0);
        products.compute_into(Left::Rows(inputs), first, current);
        rows::forward(current, first.columns(), addend, self.norms.first(), self.activation);
        for (index, (weights, bias)) in self.layers.iter().enumerate() {
            next.resize(count * weights.columns(), 0.0);
            products.compute_into(Left::Rows(current), weights, next);
            rows::forward(next, weights.columns(), bias, self.norms.get(index + 1), self.activation);
            std::mem::swap(current, next);
        }
        current
    }

    /// The same for many rows with one `bias`, by all threads.
    pub(super) fn all_features(&self, inputs: &[f32], first: &Panels, bias: &[f32]) -> Vec<f32> {
        let width = self.layers.last().map_or(first.columns(), |(weights, _)| weights.columns());
        let mut features = vec![0.0; inputs.len() / first.rows() * width];
        features
            .par_chunks_mut(ROWS_A_BLOCK * width)
            .zip(inputs.par_chunks(ROWS_A_BLOCK * first.rows()))
            .for_each_init(Workspace::default, |workspace, (features, inputs)| {
                features.copy_from_slice(self.features(inputs, first, bias, workspace));
            });
        features
    }
}

/// What the way back through a network's hidden layers needs of the way forth.
pub(super) struct Tape {
    /// What goes into the first layer, each with the part of it that it goes through.
    inputs: Vec<(Vec<f32>, Linear)>,
    layers: Vec<Recorded>,
    activation: Activation,
    /// What the last layer gives out. There autodiff begins.
    features: Tensor<2>,
}

/// A hidden layer.
struct Recorded {
    /// What comes before the LayerNorm; none for the first layer.
    linear: Option<Linear>,
    norm: Option<LayerNorm>,
    output: Vec<f32>,
    record: Record,
}

impl Tape {
    /// The way of inputs without gradients through the first layer, which has a part for each, and the
    /// others of a network on the autodiff side.
    pub(super) fn record(inputs: Vec<(Tensor<2>, &Linear)>, hidden: &Hidden) -> Self {
        let device = inputs.first().map(|(input, _)| input.device()).unwrap_or_default();
        let inputs = inputs.into_iter().map(|(input, layer)| (numbers(input), layer.clone()));
        let inputs: Vec<_> = inputs.collect();
        let mut products = Products::default();
        let mut parts =
            inputs.iter().map(|(input, layer)| products.compute(Left::Rows(input), &panels(layer)));
        let mut sums = parts.next().unwrap_or_default();
        parts.for_each(|part| sums.iter_mut().zip(part).for_each(|(sum, x)| *sum += x));
        let biased = inputs.iter().map(|(_, layer)| layer).find(|layer| layer.bias.is_some());
        let mut bias = biased.map(|layer| numbers(bias_of(layer))).unwrap_or_default();

        let mut layers: Vec<Recorded> = Vec::new();
        for linear in [None].into_iter().chain(hidden.layers().iter().map(Some)) {
            if let (Some(linear), Some(below)) = (linear, layers.last()) {
                sums = products.compute(Left::Rows(&below.output), &panels(linear));
                bias = numbers(bias_of(linear));
            }
            let norm = hidden.norms().get(layers.len());
            let on_rows = norm.map(on_rows);
            let mut output = std::mem::take(&mut sums);
            let record =
                rows::recorded(&mut output, bias.len(), &bias, on_rows.as_ref(), hidden.activation());
            layers.push(Recorded { linear: linear.cloned(), norm: norm.cloned(), output, record });
        }
        let features = layers.last().map(|layer| layer.output.clone()).unwrap_or_default();
        let shape = [features.len() / bias.len(), bias.len()];
        let features = Tensor::from_inner(on_host(features, shape, &device)).require_grad();
        Self { inputs, layers, activation: hidden.activation(), features }
    }

    /// What the last hidden layer gives out, `[batch, hidden]`, with gradients from here on.
    pub(super) fn features(&self) -> Tensor<2> {
        self.features.clone()
    }

    /// The gradients with respect to the parameters of these layers, where a loss has such `gradients` with
    /// respect to the features.
    pub(super) fn backward(self, gradients: &mut Gradients) -> HashMap<ParamId, Tensor<1>> {
        let Self { inputs, mut layers, activation, features } = self;
        let device = features.device().inner();
        let mut found = HashMap::new();
        let mut insert = |id, numbers: Vec<f32>| {
            let shape = [numbers.len()];
            found.insert(id, on_host::<1>(numbers, shape, &device));
        };
        let mut products = Products::default();
        let mut slopes = features.grad_remove(gradients).map(numbers);
        while let (Some(layer), Some(mut at_layer)) = (layers.pop(), slopes.take()) {
            let Recorded { linear, norm, output, record } = layer;
            let width = linear.as_ref().or(inputs.first().map(|(_, part)| part)).map_or(1, outputs);
            let on_rows = norm.as_ref().map(on_rows);
            let sums = rows::backward(&mut at_layer, &output, width, &record, on_rows.as_ref(), activation);
            if let Some(LayerNorm { gamma, beta, .. }) = norm {
                insert(gamma.id, sums.gamma);
                beta.into_iter().for_each(|beta| insert(beta.id, sums.beta.clone()));
            }
            let right = Panels::new(&at_layer, width);
            let mut through = |input: &[f32], layer: &Linear| {
                let columns = layer.weight.dims()[0];
                insert(layer.weight.id, products.compute(Left::Transposed(input, columns), &right));
                layer.bias.iter().for_each(|bias| insert(bias.id, sums.bias.clone()));
            };
            match (linear, layers.last()) {
                (Some(linear), Some(below)) => {
                    through(&below.output, &linear);
                    let weights = Panels::transposed(&numbers(linear.weight.val()), width);
                    slopes = Some(products.compute(Left::Rows(&at_layer), &weights));
                }
                _ => inputs.iter().for_each(|(input, part)| through(input, part)),
            }
        }
        found
    }
}

/// How many numbers a layer gives out.
fn outputs(layer: &Linear) -> usize {
    layer.weight.dims()[1]
}

fn on_rows(norm: &LayerNorm) -> Norm {
    let gamma = numbers(norm.gamma.val());
    let beta = norm.beta.as_ref().map_or_else(|| vec![0.0; gamma.len()], |beta| numbers(beta.val()));
    Norm { gamma, beta }
}

/// A layer's weights.
pub(super) fn panels(layer: &Linear) -> Panels {
    Panels::new(&numbers(layer.weight.val()), outputs(layer))
}
