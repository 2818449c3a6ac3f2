//! The library's files: whole and undamaged, or refused.

pub(crate) mod file;
pub(crate) mod protobuf;
pub(crate) mod records;
pub(crate) mod tensor_file;
