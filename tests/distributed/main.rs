//! Learning from collectors: in this process, in others, and with all that goes wrong between them.

#[path = "../common"]
mod common {
    pub mod agents;
    pub mod presets;
    pub mod tensors;
}

mod chief;
mod faults;
mod lock_step;
mod parts;
mod processes;
mod proxy;
mod strangers;
