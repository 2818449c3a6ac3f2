//! The equations: compared with reference values, and the laws that hold for any input.

#[path = "../common"]
mod common {
    pub mod difference;
    pub mod double;
}

mod bins;
mod categorical;
mod dual;
mod estep;
mod gaussian;
mod golden;
mod independent;
mod mstep;
mod parametric;
mod policies;
mod policy_gradient;
mod targets;
