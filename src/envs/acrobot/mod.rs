//! The acrobot task: what is observed, rewarded and started from.

#[cfg(feature = "gif")]
mod drawing;
mod physics;

use std::f64::consts::PI;

use self::physics::{LENGTH, State};
use super::reward::{Falloff, tolerance};
use super::task::{ControlTask, Task};
use crate::rng::Rng;

/// Where the shoulder is fixed and where the tip is to be, in the vertical plane (m).
const SHOULDER: [f64; 2] = [0.0, 2.0];
const TARGET: [f64; 2] = [0.0, 4.0];
const TARGET_RADIUS: f64 = 0.2;

/// Two links that hang from a shoulder, with a motor at the elbow alone: `acrobot` of the DeepMind Control
/// Suite.
///
/// - **Action** (1): the torque at the elbow, -1 to 1 standing for -2 N m to 2 N m. Beyond that the torque
///   grows no further.
/// - **Observation** (6): the sines of the upper and the lower link's angle, their cosines (both angles from
///   upright), and the angular velocities of shoulder and elbow (rad/s).
/// - **Reward**: 1 where the tip is within 0.2 m of the target, which it reaches only upright, and less the
///   farther it is away.
/// - **Episode**: 1000 steps of 0.01 s, then truncated; it never terminates.
///
/// The state, [`JointState<2>`](super::JointState), is the angle of the shoulder (0 upright) and of the
/// elbow (0 straight), and their rates. See the [module](super) for the sources.
///
/// ```
/// use mpo::Environment;
/// use mpo::envs::{Acrobot, JointState};
///
/// let mut acrobot = Acrobot::swingup();
/// acrobot.reset_to(JointState { qpos: [0.0, 0.0], qvel: [0.0, 0.0] })?;
/// assert_eq!(acrobot.step(&[0.0])?.reward, 1.0);
/// # Ok::<(), mpo::envs::ControlError>(())
/// ```
pub type Acrobot = ControlTask<Swingup, 2, 1, 6>;

/// The one task.
#[derive(Debug, Clone, Copy)]
pub struct Swingup;

impl Acrobot {
    /// The task to swing both links up and keep them there, from rest in any position.
    pub fn swingup() -> Self {
        Self::new(Swingup)
    }
}

impl Task<2, 1, 6> for Swingup {
    type State = State;

    #[inline]
    fn joints(state: &State) -> &State {
        state
    }

    fn step(state: &State, &[torque]: &[f64; 1]) -> State {
        physics::step(state, torque)
    }

    #[inline]
    fn observation(&State { qpos: [upper, elbow], qvel: [spin, bend] }: &State) -> [f64; 6] {
        let lower = upper + elbow;
        [upper.sin(), lower.sin(), upper.cos(), lower.cos(), spin, bend]
    }

    /// The Control Suite's smooth reward: how near the tip is to the target.
    #[inline]
    fn reward(&self, state: &State, _action: &[f64; 1]) -> f64 {
        let [_, tip] = elbow_and_tip(state);
        let distance = (tip[0] - TARGET[0]).hypot(tip[1] - TARGET[1]);
        tolerance(distance, 0.0..=TARGET_RADIUS, 1.0, Falloff::Gaussian)
    }

    fn start(&self, rng: &mut Rng) -> State {
        State { qpos: [rng.uniform(-PI, PI), rng.uniform(-PI, PI)], qvel: [0.0; 2] }
    }
}

/// The positions of the elbow and of the lower link's tip, in the vertical plane (m).
fn elbow_and_tip(state: &State) -> [[f64; 2]; 2] {
    let [upper, bend] = state.qpos;
    let lower = upper + bend;
    let elbow = [SHOULDER[0] + LENGTH * upper.sin(), SHOULDER[1] + LENGTH * upper.cos()];
    [elbow, [elbow[0] + LENGTH * lower.sin(), elbow[1] + LENGTH * lower.cos()]]
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;
    use crate::experience::environment::Environment;

    #[test]
    fn the_reward_has_its_closed_form() {
        let at = |qpos| Swingup.reward(&State { qpos, qvel: [3.0; 2] }, &[0.0]);
        assert_eq!(at([0.0, 0.0]), 1.0);
        // A tip 0.2 m off still counts in full: both links turned by 2 asin(0.05).
        assert_eq!(at([0.1, 0.0]), 1.0);
        // Folded, the tip is at the shoulder, 1.8 m outside the target: 10^-(1.8^2). Hanging: 10^-(3.8^2).
        assert_relative_eq!(at([1.0, PI]), 10f64.powf(-3.24), max_relative = 1e-12);
        assert_relative_eq!(at([PI, 0.0]), 10f64.powf(-14.44), max_relative = 1e-12);
    }

    #[test]
    fn the_observation_has_its_order() {
        let mut acrobot = Acrobot::swingup();
        let state = State { qpos: [0.25, 0.5], qvel: [-3.0, 4.0] };
        let observation = acrobot.reset_to(state).unwrap();
        assert_eq!(observation, [0.25f32.sin(), 0.75f32.sin(), 0.25f32.cos(), 0.75f32.cos(), -3.0, 4.0]);
        assert_eq!(acrobot.state(), state);
    }

    #[test]
    fn it_starts_at_rest_in_any_position() {
        let mut acrobot = Acrobot::swingup();
        let mut quarters = [[0; 4]; 2];
        for seed in 0..4000 {
            acrobot.reset(seed).unwrap();
            assert_eq!(acrobot.state().qvel, [0.0; 2]);
            for (count, angle) in quarters.iter_mut().zip(acrobot.state().qpos) {
                assert!(angle.abs() <= PI);
                count[((angle + PI) / (PI / 2.0)).min(3.0) as usize] += 1;
            }
        }
        // 1000 each, with a standard deviation of 27.
        assert!(quarters.as_flattened().iter().all(|count| (860..1140).contains(count)), "{quarters:?}");
    }
}
