//! Tensors to numbers.

use burn::tensor::Tensor;

pub fn numbers<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.clone().into_data().convert::<f32>().try_into_vec().unwrap()
}
