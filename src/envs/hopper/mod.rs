//! The hopper tasks: what is observed, rewarded and started from.

mod capsules;
mod chain;
mod constraints;
mod contacts;
#[cfg(feature = "gif")]
mod drawing;
mod matrix;
mod model;
mod physics;
mod solver;

use std::f64::consts::PI;

use self::chain::Chain;
use self::model::{FOOT, JOINT, JOINTS, MOTORS, TORSO};
use self::physics::State;
use super::JointState;
use super::reward::{Falloff, tolerance};
use super::task::{ControlTask, Task};
use crate::rng::Rng;

/// How far the torso is to be above the foot where the hopper stands (m).
const STAND_HEIGHT: f64 = 0.6;
/// The speed it is to hop with (m/s).
const HOP_SPEED: f64 = 2.0;

/// A planar robot with one leg: `hopper` of the DeepMind Control Suite.
///
/// - **Action** (4): the torques at waist, hip, knee and ankle, -1 to 1 standing for 30, 40, 30 and 10 N m to
///   either side. Beyond that the torques grow no further; the reward counts the action as given.
/// - **Observation** (15): the torso's height (m) and pitch, the angles of waist, hip, knee and ankle, the
///   torso's velocities along and upwards (m/s), the five angular velocities (rad/s), and ln(1 + force in N)
///   on toe and heel.
/// - **Reward**: 0 to 1. To stand: where the torso is 0.6 m to 2 m above the foot, more the smaller the
///   action. To hop: where it stands so, more the faster it moves forward, in full from 2 m/s on.
/// - **Episode**: 1000 steps of 0.02 s, then truncated; it never terminates. It starts in any pose, lying
///   mostly.
///
/// The state, [`JointState<7>`](JointState), is (x, height, pitch, waist, hip, knee, ankle) and its rate; x
/// and height are those of the torso, where an upright one is at height 0. See the [module](super) for the
/// sources.
///
/// ```
/// use mpo::Environment;
/// use mpo::envs::Hopper;
///
/// let mut hopper = Hopper::stand();
/// assert_eq!(hopper.reset(1)?.len(), 15);
/// let step = hopper.step(&[0.1, -0.2, 0.3, 0.0])?;
/// assert!((0.0..=1.0).contains(&step.reward));
/// # Ok::<(), mpo::envs::ControlError>(())
/// ```
pub type Hopper = ControlTask<Goal, JOINTS, MOTORS, 15>;

/// What is rewarded, the only difference between the tasks.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    Stand,
    Hop,
}

impl Hopper {
    /// The task to stand up and stay standing.
    pub fn stand() -> Self {
        Self::new(Goal::Stand)
    }

    /// The task to stand up and hop forward.
    pub fn hop() -> Self {
        Self::new(Goal::Hop)
    }
}

impl Task<JOINTS, MOTORS, 15> for Goal {
    type State = State;

    #[inline]
    fn joints(state: &State) -> &JointState<JOINTS> {
        &state.joints
    }

    fn step(state: &State, action: &[f64; MOTORS]) -> State {
        state.step(action)
    }

    #[inline]
    fn observation(state: &State) -> [f64; 15] {
        let mut observation = [0.0; 15];
        observation[..6].copy_from_slice(&state.joints.qpos[1..]);
        observation[6..13].copy_from_slice(&state.joints.qvel);
        observation[13..].copy_from_slice(&state.touch.map(f64::ln_1p));
        observation
    }

    #[inline]
    fn reward(&self, joints: &JointState<JOINTS>, action: &[f64; MOTORS]) -> f64 {
        let chain = Chain::new(&joints.qpos);
        let height = chain.centre(TORSO)[1] - chain.centre(FOOT)[1];
        if !(STAND_HEIGHT..=2.0).contains(&height) {
            return 0.0;
        }
        match self {
            Goal::Stand => {
                let small = action.map(|torque| tolerance(torque, 0.0..=0.0, 1.0, Falloff::Quadratic));
                (4.0 + small.iter().sum::<f64>() / MOTORS as f64) / 5.0
            }
            Goal::Hop => {
                let speed = chain.speed(&joints.qvel);
                tolerance(speed, HOP_SPEED..=f64::INFINITY, HOP_SPEED / 2.0, Falloff::Linear)
            }
        }
    }

    fn start(&self, rng: &mut Rng) -> JointState<JOINTS> {
        let pitch = rng.uniform(-PI, PI);
        let [waist, hip, knee, ankle] = JOINT.map(|joint| {
            let [low, high] = joint.range.map(f64::to_radians);
            rng.uniform(low, high)
        });
        JointState { qpos: [0.0, 0.0, pitch, waist, hip, knee, ankle], qvel: [0.0; JOINTS] }
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;
    use crate::experience::environment::Environment;

    const STRAIGHT: JointState<7> = JointState { qpos: [0.0; 7], qvel: [0.0; 7] };

    #[test]
    fn the_rewards_have_their_closed_forms() {
        let stand = |joints: JointState<7>, action| Goal::Stand.reward(&joints, action);
        assert_eq!(stand(STRAIGHT, &[0.0; 4]), 1.0);
        assert_relative_eq!(stand(STRAIGHT, &[1.0, -3.0, 1.0, -1.0]), 0.8, max_relative = 1e-15);
        assert_relative_eq!(stand(STRAIGHT, &[0.5, 0.0, 0.0, 0.0]), 0.9875, max_relative = 1e-15);
        let hop = |speed: f64| {
            let qvel = [speed, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
            Goal::Hop.reward(&JointState { qvel, ..STRAIGHT }, &[0.3; 4])
        };
        for (speed, expected) in [(3.0, 1.0), (2.0, 1.0), (1.5, 0.75), (1.0, 0.5), (0.0, 0.0), (-1.0, 0.0)] {
            assert_relative_eq!(hop(speed), expected, max_relative = 1e-14);
        }
        // Lying on its side, or with the torso less than 0.6 m above the foot, it earns nothing.
        let lying = JointState { qpos: [0.0, 0.0, PI / 2.0, 0.0, 0.0, 0.0, 0.0], qvel: [5.0; 7] };
        let folded = JointState { qpos: [0.0, 0.0, 0.0, 0.0, -1.5, 2.6, 0.0], qvel: [5.0; 7] };
        for joints in [lying, folded] {
            assert_eq!((stand(joints, &[0.0; 4]), Goal::Hop.reward(&joints, &[0.0; 4])), (0.0, 0.0));
        }
    }

    #[test]
    fn the_observation_has_its_order() {
        let mut hopper = Hopper::hop();
        let state = JointState {
            qpos: [9.0, 0.5, 0.1, 0.2, -0.3, 0.4, 0.5],
            qvel: [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
        };
        let observation = hopper.reset_to(state).unwrap();
        // In the air toe and heel feel nothing; x is not observed.
        let expected = [0.5, 0.1, 0.2, -0.3, 0.4, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 0.0, 0.0];
        assert_eq!(observation, expected);
    }

    #[test]
    fn it_starts_at_rest_in_any_pose() {
        let mut hopper = Hopper::stand();
        let ranges = [[-180.0, 180.0], [-30.0, 30.0], [-170.0, 10.0], [5.0, 150.0], [-45.0, 45.0]];
        let mut halves = [[0; 2]; 5];
        for seed in 0..2000 {
            hopper.reset(seed).unwrap();
            let JointState { qpos, qvel } = hopper.state();
            assert_eq!((qpos[0], qpos[1], qvel), (0.0, 0.0, [0.0; 7]));
            for (count, (angle, [low, high])) in halves.iter_mut().zip(qpos[2..].iter().zip(ranges)) {
                let share = (angle.to_degrees() - low) / (high - low);
                assert!((0.0..=1.0).contains(&share));
                count[usize::from(share > 0.5)] += 1;
            }
        }
        // 1000 each, with a standard deviation of 22.
        assert!(halves.as_flattened().iter().all(|count| (880..1120).contains(count)), "{halves:?}");
    }
}
