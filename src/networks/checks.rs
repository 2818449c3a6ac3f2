//! What has to hold of networks before and after they learn.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::parameters::flat;
use super::{Actor, Critic};
use crate::error::{Result, check, check_size};

/// The sum of all parameters, not finite where one of them is not.
pub(crate) fn parameter_sum<M: Module>(module: &M) -> Tensor<1> {
    let sum = flat(module).map(Tensor::sum);
    sum.unwrap_or_else(|| Tensor::zeros([1], &module.devices()[0].clone().inner()))
}

/// The first device of a network.
pub(crate) fn device_of<M: Module>(network: &M) -> Result<Device> {
    let devices = network.devices();
    check("the network's devices", &devices, |devices| !devices.is_empty(), "a network with parameters")?;
    Ok(devices[0].clone())
}

/// The device of both networks, which fit each other and can be trained: Burn panics over it later.
pub(crate) fn shared_device<A: Actor, C: Critic>(actor: &A, critic: &C) -> Result<Device> {
    let (observation, n) = (actor.observation_size(), actor.action_size());
    check("Actor::observation_size", observation, |&size| size > 0, "at least 1")?;
    check("Actor::action_size", n, |&size| size > 0, "at least 1")?;
    check_size("the critic's observation", critic.observation_size(), observation)?;
    check_size("the critic's action", critic.action_size(), n)?;
    let device = device_of(actor)?;
    device_of(critic)?;
    let devices = [actor.devices(), critic.devices()].concat();
    let one = |devices: &&Vec<Device>| devices.iter().all(|other| other.is_autodiff() && *other == device);
    check("the networks' devices", &devices, one, "one autodiff device")?;
    Ok(device)
}
