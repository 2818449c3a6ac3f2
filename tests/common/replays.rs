//! Replays to learn from, without an environment.

use mpo::{Action, ReplayBuffer, Rng, Step, Stream};

pub fn rng(seed: u64) -> Rng {
    Rng::stream(seed, Stream::Replay)
}

/// `episodes` of `steps` steps each with random observations and actions.
pub fn random_replay(
    episodes: usize,
    steps: usize,
    observation_size: usize,
    action_size: usize,
) -> ReplayBuffer {
    let mut rng = rng(0);
    let mut replay = ReplayBuffer::new(episodes * (steps + 1), observation_size, action_size).unwrap();
    for episode in 0..episodes {
        replay.begin_episode(&rng.normals(observation_size)).unwrap();
        for step in 1..=steps {
            let action = rng.normals(action_size);
            let last = step == steps;
            let step = Step {
                observation: rng.normals(observation_size),
                reward: (action[0] - 0.5).abs().min(2.0),
                terminated: last && episode % 2 == 0,
                truncated: last && episode % 2 == 1,
            };
            let log_probability = -action.iter().map(|a| 0.5 * a * a + 0.919).sum::<f32>();
            let action = Action { values: action, log_probability };
            replay.push(&action, &step).unwrap();
        }
    }
    replay
}
