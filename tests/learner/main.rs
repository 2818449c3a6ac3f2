//! The agent and its networks: what each setting does, what is learnt, and that a run is repeatable.

#[path = "../common"]
mod common {
    pub mod agents;
    pub mod chain;
    pub mod difference;
    pub mod double;
    pub mod networks;
    pub mod presets;
    pub mod refusals;
    pub mod replays;
    pub mod seals;
    pub mod tensors;
    pub mod training;
}

mod agent;
mod bandits;
mod chief;
mod choices;
mod closed_form;
mod critics;
mod frozen;
mod inputs;
mod networks;
mod optimizer;
mod parts;
mod policy;
mod repeatability;
mod side_by_side;
mod spaces;
mod twice;
mod weights;
