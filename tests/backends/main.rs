//! Devices: that every backend computes the same, and how often an update waits for its own.

#[path = "../common"]
mod common {
    pub mod agents;
    pub mod presets;
    pub mod replays;
    pub mod tensors;
}

mod conformance;
mod devices;
mod transfers;
