//! Policies for PyTorch: the same parameters under the names and in the layout of its own modules.

use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

use super::Policy;
use crate::error::Result;
use crate::files::file::Refusal;
use crate::files::tensor_file::{Tensors, read_plain, write_plain};
use crate::networks::{Actor, parameters, with_parameters};

impl<A: Actor> Policy<A> {
    /// Writes the network's parameters as a safetensors file whose names and shapes are those of PyTorch: a
    /// Burn `Linear`'s weight is turned to `[outputs, inputs]`, a LayerNorm's `gamma` and `beta` are called
    /// `weight` and `bias`. A `torch.nn.Module` with fields of the same names takes it by
    /// `load_state_dict(load_file(path))` (the chapter on deployment has one). What stood there before is
    /// replaced at once, or not at all.
    ///
    /// # Errors
    /// If the file cannot be written, or two parameters of the network have the same name.
    pub fn export_safetensors(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut numbers = parameters(&self.actor)?.into_iter();
        let mut tensors = Tensors::default();
        for place in places(&self.actor) {
            let count = place.shape.iter().product();
            let numbers = place.to_pytorch(numbers.by_ref().take(count).collect());
            let shape = place.shape_in_pytorch();
            tensors.add(place.name, shape, numbers)?;
        }
        write_plain(path.as_ref(), &tensors)
    }

    /// Takes over the parameters of a file as [`export_safetensors`](Self::export_safetensors) writes it,
    /// such as of a network that was trained in PyTorch: `save_file(module.state_dict(), path)`. The bounds
    /// stay this policy's.
    ///
    /// # Errors
    /// If the file cannot be read or is not in the format of safetensors, or a parameter is missing, too
    /// many, of another shape, not finite or not in single precision; it is named. The policy then stays as
    /// it was.
    pub fn import_safetensors(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let mut tensors = read_plain(path)?;
        let numbers = places(&self.actor).into_iter().map(|place| {
            let numbers = tensors.take(&place.name, &place.shape_in_pytorch())?;
            Ok(place.of_pytorch(numbers))
        });
        let numbers = numbers.collect::<Result<Vec<_>, _>>().and_then(|numbers| {
            tensors.finished()?;
            Ok(numbers.concat())
        });
        let numbers = numbers.map_err(|refusal: Refusal| refusal.of(path))?;
        self.actor = with_parameters(self.actor.clone(), numbers);
        Ok(())
    }
}

/// The place of a parameter, by PyTorch's name for it.
struct Place {
    name: String,
    /// In Burn.
    shape: Vec<usize>,
    /// Whether PyTorch has the weight's rows for columns.
    transposed: bool,
}

impl Place {
    fn shape_in_pytorch(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if self.transposed {
            shape.reverse();
        }
        shape
    }

    fn to_pytorch(&self, numbers: Vec<f32>) -> Vec<f32> {
        if self.transposed { transposed(&numbers, self.shape[1]) } else { numbers }
    }

    fn of_pytorch(&self, numbers: Vec<f32>) -> Vec<f32> {
        if self.transposed { transposed(&numbers, self.shape[0]) } else { numbers }
    }
}

/// The columns of a matrix of so many columns, one after another.
fn transposed(numbers: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| numbers.iter().skip(column).step_by(columns).copied()).collect()
}

/// Those of a network, in the order of its parameters.
fn places<M: Module>(module: &M) -> Vec<Place> {
    #[derive(Default)]
    struct Walk {
        path: Vec<String>,
        /// What each name of the path is a field of, such as `Struct:Linear`.
        owners: Vec<String>,
        found: Vec<Place>,
    }
    impl ModuleVisitor for Walk {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let owner = self.owners.last().map_or("", String::as_str);
            let mut path = self.path.clone();
            if let (true, Some(last)) = (owner.ends_with("Norm"), path.last_mut()) {
                match last.as_str() {
                    "gamma" => *last = "weight".into(),
                    "beta" => *last = "bias".into(),
                    _ => {}
                }
            }
            let shape = param.val().dims().to_vec();
            let transposed = owner == "Struct:Linear" && shape.len() == 2;
            self.found.push(Place { name: path.join("."), shape, transposed });
        }

        fn enter_module(&mut self, name: &str, owner: &str) {
            self.path.push(name.to_owned());
            self.owners.push(owner.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _owner: &str) {
            self.path.pop();
            self.owners.pop();
        }
    }
    let mut walk = Walk::default();
    module.visit(&mut walk);
    walk.found
}
