//! Pure mathematics, without networks or settings: the dual, distributions, targets.

pub(crate) mod advantage;
pub(crate) mod bins;
pub(crate) mod categorical;
pub(crate) mod distribution;
pub mod dual;
pub(crate) mod gaussian;
pub(crate) mod independent;
pub(crate) mod product;
pub mod targets;
