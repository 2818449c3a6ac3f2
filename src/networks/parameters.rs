//! The parameters of a network as plain numbers, in the order in which the module lists them.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::error::Result;
use crate::host::{tensor, to_host};

/// All parameters, one after another.
pub(crate) fn parameters<M: Module>(module: &M) -> Result<Vec<f32>> {
    struct Read(Vec<Result<Vec<f32>>>);
    impl ModuleVisitor for Read {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(to_host("the parameters", param.val().inner()));
        }
    }
    let mut read = Read(Vec::new());
    module.visit(&mut read);
    Ok(read.0.into_iter().collect::<Result<Vec<_>>>()?.concat())
}

/// The module with these parameters, as many as [`parameters`] reads from it, in place of its own.
pub(crate) fn with_parameters<M: Module>(module: M, numbers: &[f32]) -> M {
    struct Write<'a>(&'a [f32]);
    impl ModuleMapper for Write<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|old| {
                let (numbers, rest) = self.0.split_at(old.shape().num_elements());
                self.0 = rest;
                let new = tensor(numbers.to_vec(), old.dims(), &old.device()).cast(old.dtype());
                if old.is_require_grad() { new.require_grad() } else { new }
            })
        }
    }
    module.map(&mut Write(numbers))
}
