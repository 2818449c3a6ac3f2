//! Devices by the names of their backends, and what the machine is asked for besides.

use burn::tensor::Device;

use crate::error::{Error, Result};
pub use crate::memory::leave_allocator_alone;

/// The backends that this build has, each by the name of the feature that brings it. An application may use
/// any other backend of Burn's that it enables itself: everything here works on the [`Device`] it is given.
pub const BACKENDS: &[&str] = &[
    #[cfg(feature = "flex")]
    "flex",
    #[cfg(feature = "ndarray")]
    "ndarray",
    #[cfg(feature = "wgpu")]
    "wgpu",
    #[cfg(feature = "vulkan")]
    "vulkan",
    #[cfg(feature = "cuda")]
    "cuda",
];

/// Every backend that has a feature.
const ALL: [&str; 5] = ["flex", "ndarray", "wgpu", "vulkan", "cuda"];

/// The backend to take where nobody says: the first of [`BACKENDS`], or `flex`, of which [`device`] then says
/// that it is not there.
pub fn default_backend() -> &'static str {
    BACKENDS.first().copied().unwrap_or(ALL[0])
}

/// The device of this name, `backend` or `backend:index`, such as `flex` or `cuda:1`; the index 0, the first
/// device that the backend finds, may be left out.
///
/// ```
/// # fn main() -> mpo::Result<()> {
/// let device = mpo::device(mpo::devices::default_backend())?;
/// # let _ = device;
/// println!("{}", mpo::device("gpu").unwrap_err()); // there is no such backend; there are ...
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If there is no such backend, it is not compiled in, or it finds no device of that index on this machine.
pub fn device(name: &str) -> Result<Device> {
    let (backend, index) = name.split_once(':').unwrap_or((name, "0"));
    let refuse = |reason| Error::Backend { name: name.into(), reason };
    let index: usize =
        index.parse().map_err(|_| refuse("the index has to be a number, as in cuda:1".into()))?;
    let Some(devices) = devices(backend) else {
        return Err(refuse(match (ALL.contains(&backend), BACKENDS) {
            (false, _) => format!("there is no such backend; there are {}", ALL.join(", ")),
            (true, []) => format!("this build has no backend at all: enable the feature `{backend}`"),
            (true, compiled) => {
                format!("this build has only {}: enable the feature `{backend}`", compiled.join(", "))
            }
        }));
    };
    let count = match devices.len() {
        1 => "1 device".into(),
        count => format!("{count} devices"),
    };
    let device = devices.into_iter().nth(index);
    device.ok_or_else(|| refuse(format!("this machine has {count} for it, counted from 0")))
}

/// The devices of a backend on this machine; none where it is not compiled in.
fn devices(backend: &str) -> Option<Vec<Device>> {
    #[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
    use burn::tensor::DeviceType;
    match backend {
        #[cfg(feature = "flex")]
        "flex" => Some(vec![Device::flex()]),
        #[cfg(feature = "ndarray")]
        #[expect(deprecated, reason = "Burn prefers flex; ndarray is supported here while Burn has it")]
        "ndarray" => Some(vec![Device::ndarray()]),
        #[cfg(feature = "wgpu")]
        "wgpu" => Some(Device::enumerate(DeviceType::Wgpu).into_vec()),
        #[cfg(feature = "vulkan")]
        "vulkan" => Some(Device::enumerate(DeviceType::Vulkan).into_vec()),
        #[cfg(feature = "cuda")]
        "cuda" => Some(Device::enumerate(DeviceType::Cuda).into_vec()),
        _ => None,
    }
}

/// Whether `device`, not an autodiff one, is the CPU, where reading a tensor costs no more than a copy.
pub(crate) fn is_cpu(device: &Device) -> bool {
    // By the name of Burn's own backend: an application may have enabled it itself, without this crate's
    // feature.
    let name = format!("{device:?}");
    ["Device<Flex", "Device<NdArray"].into_iter().any(|cpu| name.starts_with(cpu))
}

/// `work` on the threads that compute for this device, where it is a CPU: what it splits up then need not be
/// handed over piece by piece.
pub(crate) fn on_its_threads<T: Send>(device: &Device, work: impl FnOnce() -> T + Send) -> T {
    if is_cpu(device) { rayon::scope(|_| work()) } else { work() }
}

/// Two results that do not depend on each other: side by side on a CPU, one after the other on a device with
/// a queue of its own.
pub(crate) fn both<A: Send, B: Send>(
    device: &Device,
    first: impl FnOnce() -> A + Send,
    second: impl FnOnce() -> B + Send,
) -> (A, B) {
    if is_cpu(device) { rayon::join(first, second) } else { (first(), second()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever enabled it: tests have Burn's flex even without this crate's feature.
    #[test]
    fn backends_of_the_cpu_are_known() {
        assert!(is_cpu(&Device::flex()));
        for backend in ["flex", "ndarray"] {
            assert!(devices(backend).into_iter().flatten().all(|device| is_cpu(&device)), "{backend}");
        }
    }
}
