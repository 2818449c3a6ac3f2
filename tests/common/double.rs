//! Tensors in double precision on the CPU.

use burn::tensor::{DType, Device, Tensor, TensorData};

/// `values` as a tensor without gradients.
pub fn tensor<const D: usize>(values: Vec<f64>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), DType::F64))
}

/// `tensor` on the autodiff device, its gradient wanted.
pub fn tracked<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    Tensor::from_inner(tensor).require_grad()
}

/// The numbers of a tensor, which must have stayed in double precision.
pub fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().try_into_vec::<f64>().expect("double precision")
}
