//! Networks that follow others slowly.

use std::collections::HashSet;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Moves every parameter of `average` by the share `rate` towards that of `latest`: θ̄ ← θ̄ + rate (θ - θ̄), the
/// exponential average of the parameters over about 1 / rate calls. Both are clones of one module, on one device.
///
/// Where `latest` is on the autodiff side of it, what has no gradients there is taken over as it is: the statistics by which
/// a network normalises are averages already, and those of long ago would not fit what it sees.
pub fn follow<M: Module>(average: M, latest: &M, rate: f64) -> M {
    struct Collect {
        latest: GradientsParams,
        untrained: HashSet<ParamId>,
    }
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            if value.is_autodiff() && !value.is_require_grad() {
                self.untrained.insert(param.id);
            }
            self.latest.register(param.id, value.inner());
        }
    }
    struct Follow {
        collected: Collect,
        rate: f64,
    }
    impl ModuleMapper for Follow {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            match self.collected.latest.remove::<D>(param.id) {
                Some(latest) if self.collected.untrained.contains(&param.id) => param.map(|_| latest),
                Some(latest) => param.map(|average| average.clone() + (latest - average) * self.rate),
                None => param,
            }
        }
    }
    let mut collected = Collect { latest: GradientsParams::new(), untrained: HashSet::new() };
    latest.visit(&mut collected);
    average.map(&mut Follow { collected, rate })
}
