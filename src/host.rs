//! Between the host's numbers and the device's tensors.

use burn::tensor::{Device, Tensor, TensorData};

/// A tensor of these numbers, on `device`.
pub(crate) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The tensor's numbers, row after row.
pub(crate) fn to_host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().unwrap_or_default()
}

/// Whether `device` is the CPU, where reading a tensor costs no more than a copy. An autodiff device is not.
#[cfg_attr(
    feature = "ndarray",
    expect(deprecated, reason = "Burn prefers flex; ndarray is supported here while Burn has it")
)]
pub(crate) fn is_cpu(device: &Device) -> bool {
    let cpus: &[Device] = &[
        #[cfg(feature = "flex")]
        Device::flex(),
        #[cfg(feature = "ndarray")]
        Device::ndarray(),
    ];
    cpus.contains(device)
}
