//! A full replay of the usual sizes.

use mpo::{Action, ReplayBuffer, Result, Rng, Step};

pub const OBSERVATION: usize = 17;
pub const ACTION: usize = 6;

/// A replay of this many random steps, in episodes of 1000.
pub fn filled_replay(steps: usize, rng: &mut Rng) -> Result<ReplayBuffer> {
    let mut replay = ReplayBuffer::new(steps + steps.div_ceil(1000).max(2), OBSERVATION, ACTION)?;
    for step in 0..steps {
        if step % 1000 == 0 {
            replay.begin_episode(&rng.normals(OBSERVATION))?;
        }
        let action = Action { values: rng.normals(ACTION), log_probability: rng.normal() as f32 };
        let step = Step {
            reward: rng.uniform(0.0, 1.0) as f32,
            observation: rng.normals(OBSERVATION),
            terminated: false,
            truncated: step % 1000 == 999,
        };
        replay.push(&action, &step)?;
    }
    Ok(replay)
}
