//! Environments in Python: what they are told and answer, what goes wrong, and that nothing is left of them.
//!
//! `troubles` and `refusals` need Python alone, and say so where there is none; `tasks` and `training` need
//! Gymnasium and dm_control, in the interpreter that `MPO_PYTHON` names:
//! `cargo test --release --test gymnasium -- --include-ignored`.

mod orphans;
mod python;
mod refusals;
mod tasks;
mod training;
mod troubles;
