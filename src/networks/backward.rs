//! The way back from a loss to a network's parameters.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Gradients, Tensor};
use std::collections::HashMap;

use super::on_host::Tape;

/// How the gradient of a loss comes back to the parameters of the network that gave the numbers it is made
/// of: by autodiff, or in closed form as far as the network knows one.
pub struct Backward<M> {
    network: M,
    tapes: Vec<Tape>,
}

impl<M: Module> Backward<M> {
    /// By autodiff, for a network with [gradients of its own](super::with_own_gradients).
    pub fn autodiff(network: M) -> Self {
        Self { network, tapes: Vec::new() }
    }

    /// By autodiff to the features of the tape, in closed form from there.
    pub(super) fn recorded(network: M, tape: Tape) -> Self {
        Self { network, tapes: vec![tape] }
    }

    /// That of a network that `join` makes of others, for a loss that is made of theirs.
    pub(super) fn joined<N>(parts: Vec<Backward<N>>, join: impl FnOnce(Vec<N>) -> M) -> Self {
        let (networks, tapes): (Vec<_>, Vec<_>) =
            parts.into_iter().map(|Backward { network, tapes }| (network, tapes)).unzip();
        Self { network: join(networks), tapes: tapes.into_iter().flatten().collect() }
    }

    /// That of a network that `join` makes of this one and another, for a loss that is made of what both
    /// give.
    pub(super) fn with<N, O>(self, other: Backward<N>, join: impl FnOnce(M, N) -> O) -> Backward<O> {
        let Self { network, mut tapes } = self;
        tapes.extend(other.tapes);
        Backward { network: join(network, other.network), tapes }
    }

    /// The gradient of this loss, of one element, over all parameters, one after another in the order in
    /// which the module lists them: 0 where the loss does not depend on one, and none at all where nothing
    /// is trainable.
    pub fn gradient(self, loss: Tensor<1>) -> Option<Tensor<1>> {
        if !loss.is_tracked() {
            return None;
        }
        let mut by_autodiff = loss.backward();
        let of_tapes = self.tapes.into_iter().flat_map(|tape| tape.backward(&mut by_autodiff));
        let in_closed_form = of_tapes.collect();
        let mut collect = Collect { by_autodiff, in_closed_form, flat: Vec::new() };
        self.network.visit(&mut collect);
        (!collect.flat.is_empty()).then(|| Tensor::cat(collect.flat, 0))
    }
}

struct Collect {
    by_autodiff: Gradients,
    in_closed_form: HashMap<ParamId, Tensor<1>>,
    flat: Vec<Tensor<1>>,
}

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let by_autodiff = value.grad_remove(&mut self.by_autodiff).map(|gradient| gradient.flatten(0, D - 1));
        let in_closed_form = || self.in_closed_form.remove(&param.id).filter(|_| value.is_require_grad());
        let gradient = by_autodiff.or_else(in_closed_form);
        self.flat.push(gradient.unwrap_or_else(|| value.clone().inner().zeros_like().flatten(0, D - 1)));
    }
}
