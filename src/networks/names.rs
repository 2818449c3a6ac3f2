//! The names of a network's parameters.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// The name and the shape of each parameter, in the order of [`flat`](super::parameters::flat). A name says
/// where the parameter stands, by the names of the fields and the places in lists: `hidden.layers.0.weight`.
pub(crate) fn names<M: Module>(module: &M) -> Vec<(String, Vec<usize>)> {
    #[derive(Default)]
    struct Walk {
        path: Vec<String>,
        found: Vec<(String, Vec<usize>)>,
    }
    impl ModuleVisitor for Walk {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.found.push((self.path.join("."), param.val().dims().to_vec()));
        }

        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
    }
    let mut walk = Walk::default();
    module.visit(&mut walk);
    walk.found
}
