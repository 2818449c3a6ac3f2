//! From an environment's step to a batch that is learnt from.

pub(crate) mod action;
pub(crate) mod batch;
pub(crate) mod environment;
pub(crate) mod replay;
pub(crate) mod worker;
