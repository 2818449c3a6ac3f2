//! Control tasks in pure Rust.
