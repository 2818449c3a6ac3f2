//! What a policy decides.

/// An action sampled from the policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// Its components in the policy's units, `[action]`: numbers, which may reach beyond [-1, 1], to which
    /// the environment's are clipped, then for each choice the index of what is chosen.
    pub values: Vec<f32>,
    /// log b(a|s), its log-probability given the noise of the actions before (see
    /// [`NoiseColour`](crate::NoiseColour)), which the replay keeps. An excursion's action is one of a few
    /// points, whose density is without bound: the largest number stands for it, and Retrace cuts its traces
    /// there.
    pub log_probability: f32,
}
