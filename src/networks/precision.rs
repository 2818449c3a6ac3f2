//! Networks in fewer bits.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{FloatDType, Tensor};
use serde::{Deserialize, Serialize};

/// In how many bits a network is evaluated where no gradient is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Precision {
    /// 32 bits.
    #[default]
    Single,
    /// 16 bits (IEEE half precision): 11 significant ones, numbers up to 65,504.
    Half,
    /// 16 bits (bfloat16): 8 significant ones, numbers as large as in single precision.
    Brain,
}

impl Precision {
    /// Burn's name for it.
    pub fn dtype(self) -> FloatDType {
        match self {
            Self::Single => FloatDType::F32,
            Self::Half => FloatDType::F16,
            Self::Brain => FloatDType::BF16,
        }
    }
}

/// A module with its parameters rounded to this precision.
pub fn in_precision<M: Module>(module: M, precision: Precision) -> M {
    struct Cast(FloatDType);
    impl ModuleMapper for Cast {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|value| value.cast(self.0))
        }
    }
    match precision {
        Precision::Single => module,
        _ => module.map(&mut Cast(precision.dtype())),
    }
}
