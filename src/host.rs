//! Between the host's numbers and the device's tensors: nothing else in the crate moves numbers from one to
//! the other.

use burn::tensor::{DType, Device, Element, Int, Tensor, TensorData};
use tracing::trace;

use crate::backends::is_cpu;
use crate::checks::check_finite;
use crate::error::{Error, Result};

/// Under which target transfers are traced, so that they can be counted.
const TRANSFERS: &str = "mpo::transfers";

/// A tensor of these numbers, on `device`.
pub(crate) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    trace!(target: TRANSFERS, numbers = values.len(), "to the device");
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// A tensor of these rows' numbers, `[rows]`, on `device`.
pub(crate) fn indices(rows: impl Iterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i64> = rows.map(|row| row as i64).collect();
    trace!(target: TRANSFERS, numbers = rows.len(), "to the device");
    let shape = [rows.len()];
    Tensor::from_data(TensorData::new(rows, shape), device)
}

/// The tensor's numbers, row after row. It waits for all that the device still has to compute for them, which
/// may fail; `place` says what they are.
pub(crate) fn to_host<E: Element, const D: usize>(place: &'static str, tensor: Tensor<D>) -> Result<Vec<E>> {
    trace!(target: TRANSFERS, numbers = tensor.shape().num_elements(), "to the host");
    let data = tensor.try_into_data().map_err(|error| Error::Device { place, reason: error.to_string() })?;
    let numbers = data.convert::<E>().try_into_vec();
    numbers.map_err(|error| Error::Device { place, reason: format!("{error:?}") })
}

/// Whether a tensor's numbers lie in the host's memory, in single precision and without gradients, where they
/// cost no more to read than a copy.
pub(crate) fn is_host<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && is_cpu(&tensor.device())
}

/// A tensor of these numbers, which stay in the host's memory.
pub(crate) fn on_host<const D: usize>(numbers: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(numbers, shape), device)
}

/// A copy of the numbers of a tensor that [`is_host`], or of one beneath autodiff that is.
pub(crate) fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let tensor = if tensor.device().is_autodiff() { tensor.inner() } else { tensor };
    tensor.into_data().try_into_vec().expect("single precision")
}

/// Reads numbers of the device, all at once: those `guarded`, which have to be finite, and those `measured`,
/// `[1]` each.
pub(crate) fn read<const M: usize>(
    guarded: impl IntoIterator<Item = (&'static str, Option<Tensor<1>>)>,
    measured: [Tensor<1>; M],
) -> Result<[f32; M]> {
    let guarded = guarded.into_iter().filter_map(|(place, number)| Some((place, number?)));
    let (places, mut numbers): (Vec<_>, Vec<_>) = guarded.unzip();
    numbers.extend(measured);
    let numbers = to_host("an update", Tensor::cat(numbers, 0))?;
    let (guarded, measured) = numbers.split_at(places.len());
    places.into_iter().zip(guarded).try_for_each(|(place, &number)| check_finite(place, &[number]))?;
    Ok(std::array::from_fn(|index| measured[index]))
}
