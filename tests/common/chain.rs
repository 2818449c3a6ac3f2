//! A policy of one's own: three linear maps without biases, so that 4 and 6 hidden units take as many numbers
//! as 6 and 4.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor};
use mpo::{Actor, Gaussian, Rng, Scale};

#[derive(Module, Debug)]
pub struct Chain {
    first: Param<Tensor<2>>,
    second: Param<Tensor<2>>,
    third: Param<Tensor<2>>,
    offset: Option<Param<Tensor<1>>>,
}

impl Chain {
    /// Of two observations and two actions.
    pub fn new(hidden: [usize; 2], offset: bool, rng: &mut Rng) -> Self {
        let device = Device::flex().autodiff();
        let mut layer = |rows: usize, columns: usize| {
            let numbers = Tensor::<1>::from_floats(rng.normals(rows * columns).as_slice(), &device);
            Param::initialized(ParamId::new(), numbers.reshape([rows, columns]).require_grad())
        };
        Self {
            first: layer(2, hidden[0]),
            second: layer(hidden[0], hidden[1]),
            third: layer(hidden[1], 2),
            offset: offset.then(|| Param::initialized(ParamId::new(), Tensor::ones([2], &device))),
        }
    }
}

impl Actor for Chain {
    type Distribution = Gaussian;

    fn policy(&self, observations: Tensor<2>) -> Gaussian {
        let mean = observations.matmul(self.first.val()).matmul(self.second.val()).matmul(self.third.val());
        let mean = match &self.offset {
            Some(offset) => mean + offset.val().unsqueeze(),
            None => mean,
        };
        Gaussian { scale: Scale::Diagonal(mean.ones_like()), mean }
    }

    fn observation_size(&self) -> usize {
        2
    }

    fn action_size(&self) -> usize {
        2
    }
}
