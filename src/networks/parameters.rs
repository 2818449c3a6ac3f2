//! The parameters of a network as one vector, in the order in which the module lists them. By their place,
//! not by their id: layers that are clones of each other have the same.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};

use crate::checks::check;
use crate::error::Result;
use crate::host::{tensor, to_host};

/// All parameters, one after another, without gradients; none where there are none.
pub(crate) fn flat<M: Module>(module: &M) -> Option<Tensor<1>> {
    struct Collect(Vec<Tensor<1>>);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.val().inner().flatten(0, D - 1));
        }
    }
    let mut collect = Collect(Vec::new());
    module.visit(&mut collect);
    (!collect.0.is_empty()).then(|| Tensor::cat(collect.0, 0))
}

/// The module with the parameters of a vector as [`flat`] gives it, in place of its own.
pub(crate) fn from_flat<M: Module>(module: M, vector: Tensor<1>) -> M {
    struct Take {
        vector: Tensor<1>,
        start: usize,
    }
    impl ModuleMapper for Take {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|old| {
                let (shape, count) = (old.shape(), old.shape().num_elements());
                let new = self.vector.clone().narrow(0, self.start, count).reshape(shape);
                self.start += count;
                in_place_of(&old, new)
            })
        }
    }
    module.map(&mut Take { vector, start: 0 })
}

/// A new value for a parameter: with no history, and with gradients only where the old one has them.
pub(super) fn in_place_of<const D: usize>(old: &Tensor<D>, new: Tensor<D>) -> Tensor<D> {
    let new = new.cast(old.dtype());
    let new = if old.device().is_autodiff() { Tensor::from_inner(new) } else { new };
    new.set_require_grad(old.is_require_grad())
}

/// Whether any parameter has a gradient.
pub(crate) fn is_trainable<M: Module>(module: &M) -> bool {
    struct Any(bool);
    impl ModuleVisitor for Any {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 |= param.val().is_require_grad();
        }
    }
    let mut any = Any(false);
    module.visit(&mut any);
    any.0
}

/// The sum of all parameters, not finite where one of them is not.
pub(crate) fn parameter_sum<M: Module>(module: &M) -> Tensor<1> {
    let sum = flat(module).map(Tensor::sum);
    sum.unwrap_or_else(|| Tensor::zeros([1], &module.devices()[0].clone().inner()))
}

/// The first device of a network.
pub(crate) fn device_of<M: Module>(network: &M) -> Result<Device> {
    let devices = network.devices();
    check("the network's devices", &devices, |devices| !devices.is_empty(), "a network with parameters")?;
    Ok(devices[0].clone())
}

/// All parameters as numbers.
pub(crate) fn parameters<M: Module>(module: &M) -> Result<Vec<f32>> {
    flat(module).map_or(Ok(Vec::new()), |vector| to_host("the parameters", vector))
}

/// The module with these parameters, as many as [`parameters`] reads from it, in place of its own.
pub(crate) fn with_parameters<M: Module>(module: M, numbers: Vec<f32>) -> M {
    match device_of(&module) {
        Ok(device) => {
            let count = numbers.len();
            from_flat(module, tensor(numbers, [count], &device.inner()))
        }
        Err(_) => module,
    }
}

/// A copy of a module whose gradients are computed apart from the original's, on another thread too. A loop
/// that trains clones of one module side by side makes each its own copy before its loss: otherwise they may
/// wait for each other for ever.
// Burn keeps a graph for all that was computed from the same parameters, with a lock that no thread can take
// twice and that `backward` holds to its end (burn-autodiff 0.22, runtime/graph.rs). Modules that share
// parameters hang in two ways: one thread in `backward` holds the graph and wants the list of all graphs,
// another that merges that graph with a second one holds the list and wants the graph; or a matrix product
// within `backward` waits for Rayon, and the thread takes up other work there that wants the graph which it
// holds itself. A copy's graph is known to nobody else, so that neither happens: what a thread takes up
// meanwhile has graphs of its own, and the list is held by those alone who wait for nothing.
pub fn with_own_gradients<M: Module>(module: &M) -> M {
    struct Leaves;
    impl ModuleMapper for Leaves {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|old| in_place_of(&old, old.clone().inner()))
        }
    }
    module.clone().map(&mut Leaves)
}
