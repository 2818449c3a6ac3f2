//! The equations: compared with reference values, and the laws that hold for any input.

#[path = "../common"]
mod common {
    pub mod difference;
    pub mod double;
}

mod categorical;
mod dual;
mod estep;
mod gaussian;
mod golden;
mod mstep;
mod policies;
mod policy_gradient;
mod targets;
