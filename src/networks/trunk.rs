//! From observations to what the last hidden layer gives out, for networks that take nothing else.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;

use super::layers::{Hidden, bias};
use super::moments::{Moments, normalised};
use super::on_host::{HiddenOnHost, Tape, panels};
use crate::host::{is_host, numbers, on_host};

/// From how many rows on packing the weights costs less than it saves.
const MANY_ROWS: usize = 32;

/// `[batch, hidden]` of `observations` `[batch, observation]`.
pub(super) fn features(
    moments: Option<&Moments>,
    first: &Linear,
    hidden: &Hidden,
    observations: Tensor<2>,
) -> Tensor<2> {
    let (rows, device) = (observations.dims()[0], observations.device());
    let observations = normalised(moments, observations);
    if rows < MANY_ROWS || !is_host(&observations) {
        return hidden.forward(first.forward(observations));
    }
    let features =
        HiddenOnHost::new(hidden).all_features(&numbers(observations), &panels(first), &numbers(bias(first)));
    let width = features.len() / rows;
    on_host(features, [rows, width], &device)
}

/// The same with the way back, of a network on the autodiff side and observations beneath it.
pub(super) fn recorded(
    moments: &Option<Moments>,
    first: &Linear,
    hidden: &Hidden,
    observations: Tensor<2>,
) -> Tape {
    let seen = normalised(moments.valid().as_ref(), observations);
    Tape::record(vec![(seen, first)], hidden)
}
