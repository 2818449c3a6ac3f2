//! From an environment's step to a batch that is learnt from.

pub(crate) mod action;
pub(crate) mod batch;
pub(crate) mod checked;
pub(crate) mod environment;
pub(crate) mod environments;
pub(crate) mod recorded;
pub(crate) mod replay;
pub(crate) mod vector;
pub(crate) mod worker;
pub(crate) mod wrappers;
