//! The choice of a backend on the command line.

use mpo::Device;
use mpo::device;
use mpo::devices::{BACKENDS, default_backend};

/// What computes.
#[derive(clap::Args)]
pub struct Backend {
    /// What computes, as NAME or NAME:INDEX.
    #[arg(
        long = "backend",
        value_name = "NAME[:INDEX]",
        value_parser = device,
        default_value = default_backend(),
        help = format!("What computes: {}, or the n-th device of one, as in wgpu:1", BACKENDS.join(", ")),
    )]
    pub device: Device,
}
