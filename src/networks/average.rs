//! Networks that follow others slowly.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Moves every parameter of `average` by the share `rate` towards that of `latest`: θ̄ ← θ̄ + rate (θ - θ̄), the
/// exponential average of the parameters over about 1 / rate calls. Both are clones of one module, on one device.
pub fn follow<M: Module>(average: M, latest: &M, rate: f64) -> M {
    struct Collect(GradientsParams);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.register(param.id, param.val());
        }
    }
    struct Follow {
        latest: GradientsParams,
        rate: f64,
    }
    impl ModuleMapper for Follow {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            match self.latest.remove::<D>(param.id) {
                Some(latest) => param.map(|average| average.clone() + (latest - average) * self.rate),
                None => param,
            }
        }
    }
    let mut collect = Collect(GradientsParams::new());
    latest.visit(&mut collect);
    average.map(&mut Follow { latest: collect.0, rate })
}
