//! The training loop: what it does, what observers hear, what is refused, and what is left where something
//! fails.

#[path = "../common"]
mod common {
    pub mod agents;
    pub mod networks;
    pub mod presets;
    pub mod refusals;
    pub mod replays;
    pub mod tensors;
    pub mod training;
}

mod bad_input;
mod environments;
mod failures;
mod folders;
mod observers;
mod offline;
mod presets;
mod real_time;
mod rows;
mod sources;
mod tensorboard;
mod trainer;
mod trainers;
