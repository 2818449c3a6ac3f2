//! What is saved: that it comes back, from interrupted runs too, and that damage is refused.

#[path = "../common"]
mod common {
    pub mod agents;
    pub mod chain;
    pub mod presets;
    pub mod replays;
    pub mod seals;
}

mod checkpoints;
mod exports;
mod forgeries;
mod forgery;
mod onnx;
mod rows;
