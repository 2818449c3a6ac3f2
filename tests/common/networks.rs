//! Networks of one's own: a policy that is linear in the observation, and a critic that is a parabola.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor};
use mpo::{Actor, Critic, Gaussian, Scale};

fn parameter<const D: usize>(tensor: Tensor<D>) -> Param<Tensor<D>> {
    Param::initialized(ParamId::new(), tensor.require_grad())
}

/// μ = s W and log σ, the same at every state. For one-hot observations W is a table of the states' means.
#[derive(Module, Debug)]
pub struct LinearActor {
    /// `[observation, action]`
    pub weights: Param<Tensor<2>>,
    /// `[1, action]`
    pub log_deviation: Param<Tensor<2>>,
}

impl LinearActor {
    pub fn new<const S: usize, const N: usize>(weights: [[f32; N]; S], deviation: f32) -> Self {
        let device = Device::flex().autodiff();
        Self {
            weights: parameter(Tensor::from_floats(weights, &device)),
            log_deviation: parameter(Tensor::full([1, N], deviation.ln(), &device)),
        }
    }
}

impl Actor for LinearActor {
    type Distribution = Gaussian;

    fn policy(&self, observations: Tensor<2>) -> Gaussian {
        let mean = observations.matmul(self.weights.val());
        let deviation = self.log_deviation.val().exp().expand(mean.dims());
        Gaussian { mean, scale: Scale::Diagonal(deviation) }
    }

    fn observation_size(&self) -> usize {
        self.weights.dims()[0]
    }

    fn action_size(&self) -> usize {
        self.weights.dims()[1]
    }
}

/// Q(s, a) = offset - curvature ‖a - s W‖², which insists on the actions that a critic is promised.
#[derive(Module, Debug)]
pub struct Parabola {
    /// `[observation, action]`
    pub centre: Param<Tensor<2>>,
    /// `[1]`
    pub offset: Param<Tensor<1>>,
    curvature: f64,
}

impl Parabola {
    pub fn new<const S: usize, const N: usize>(centre: [[f32; N]; S], curvature: f64) -> Self {
        let device = Device::flex().autodiff();
        Self {
            centre: parameter(Tensor::from_floats(centre, &device)),
            offset: parameter(Tensor::zeros([1], &device)),
            curvature,
        }
    }
}

impl Critic for Parabola {
    fn values(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<1> {
        let outside = actions.clone().abs().max().into_scalar::<f32>();
        assert!(outside <= 1.0 || outside.is_nan(), "an action was not clipped: {outside}");
        let distance = actions - observations.matmul(self.centre.val());
        let square: Tensor<1> = distance.square().sum_dim(1).squeeze_dim(1);
        square * -self.curvature + self.offset.val()
    }

    fn observation_size(&self) -> usize {
        self.centre.dims()[0]
    }

    fn action_size(&self) -> usize {
        self.centre.dims()[1]
    }
}
