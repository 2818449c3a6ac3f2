//! What a policy does: [`Action`].

/// An action sampled from a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// Its components in the policy's units, `[action]`; they may reach beyond [-1, 1], to which the
    /// environment's are clipped.
    pub values: Vec<f32>,
    /// Its log-probability given the noise of the actions before (see [`NoiseColour`](crate::NoiseColour)),
    /// which the replay keeps. An excursion's action is one of a few points, whose density is without bound:
    /// the largest number stands for it, and Retrace cuts its traces there.
    pub log_probability: f32,
}
