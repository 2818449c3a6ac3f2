//! The simulation of the hopper in time.

use std::array;

use super::chain::Chain;
use super::constraints::{Row, collect};
use super::matrix::{Vector, solve};
use super::model::{DAMPING, JOINT, JOINTS, MOTORS, WAIST};
use super::solver::minimise;
use crate::envs::dynamics::JointState;

/// The time of one step of the simulation, in seconds.
const TIME_STEP: f64 = 0.005;
const STEPS: usize = 4;
/// The time of a control step, in seconds.
#[cfg(feature = "gif")]
pub(super) const CONTROL_STEP: f64 = TIME_STEP * STEPS as f64;

/// The hopper, and what it felt.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    pub joints: JointState<JOINTS>,
    /// The normal forces on toe and heel, in newtons.
    pub touch: [f64; 2],
    /// The last acceleration, the first guess of the next.
    acceleration: Vector,
}

impl State {
    /// The state one control step later, for an action in [-1, 1].
    pub(super) fn step(&self, action: &[f64; MOTORS]) -> Self {
        // Room for most states; it is used again in every step.
        let mut rows = Vec::with_capacity(16);
        (0..STEPS).fold(self.clone(), |state, _| {
            Forces::new(&state.joints, action, &state.acceleration, &mut rows).integrate(&state.joints)
        })
    }
}

impl From<JointState<JOINTS>> for State {
    /// A state without a past: the touch is that of motors at rest.
    fn from(joints: JointState<JOINTS>) -> Self {
        let acceleration = [0.0; JOINTS];
        let forces = Forces::new(&joints, &[0.0; MOTORS], &acceleration, &mut Vec::new());
        Self { joints, touch: forces.touch, acceleration }
    }
}

/// All that acts in a state.
struct Forces {
    inertia: [Vector; JOINTS],
    total: Vector,
    acceleration: Vector,
    touch: [f64; 2],
}

impl Forces {
    /// The constraints of the state are left in `rows`.
    fn new(joints: &JointState<JOINTS>, action: &[f64; MOTORS], guess: &Vector, rows: &mut Vec<Row>) -> Self {
        let chain = Chain::new(&joints.qpos);
        let inertia = chain.inertia();
        let mut total = chain.bias(&joints.qvel).map(|force| -force);
        for (motor, constants) in JOINT.iter().enumerate() {
            let joint = WAIST + motor;
            total[joint] += constants.gear * action[motor] - DAMPING * joints.qvel[joint];
        }
        collect(joints, &chain, rows);
        let mut touch = [0.0; 2];
        if rows.is_empty() {
            return Self { inertia, total, acceleration: *guess, touch };
        }
        let acceleration = minimise(&inertia, &total, rows, guess);
        for row in rows.iter() {
            let force = row.force(&acceleration);
            for (total, entry) in total.iter_mut().zip(&row.jacobian) {
                *total += force * entry;
            }
            for (touch, felt) in touch.iter_mut().zip(row.felt) {
                *touch += felt * force;
            }
        }
        Self { inertia, total, acceleration, touch }
    }

    /// Semi-implicit Euler, with the joints' damping taken at the new velocity.
    fn integrate(self, joints: &JointState<JOINTS>) -> State {
        let mut inertia = self.inertia;
        for (joint, row) in inertia.iter_mut().enumerate().skip(WAIST) {
            row[joint] += TIME_STEP * DAMPING;
        }
        let acceleration = solve(inertia, self.total);
        let qvel: Vector = array::from_fn(|joint| joints.qvel[joint] + TIME_STEP * acceleration[joint]);
        let qpos = array::from_fn(|joint| joints.qpos[joint] + TIME_STEP * qvel[joint]);
        State { joints: JointState { qpos, qvel }, touch: self.touch, acceleration: self.acceleration }
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;
    use crate::envs::hopper::model::{BODIES, BODY};

    fn upright(height: f64) -> JointState<JOINTS> {
        let knee = 5f64.to_radians();
        JointState { qpos: [0.0, height, 0.0, 0.0, 0.0, knee, 0.0], qvel: [0.0; JOINTS] }
    }

    fn centre_of_mass(joints: &JointState<JOINTS>) -> [f64; 2] {
        let chain = Chain::new(&joints.qpos);
        let mass: f64 = BODY.iter().map(|body| body.mass).sum();
        let sum =
            |axis: usize| (0..BODIES).map(|body| BODY[body].mass * chain.centre(body)[axis]).sum::<f64>();
        [sum(0) / mass, sum(1) / mass]
    }

    #[test]
    fn in_the_air_the_centre_of_mass_falls_freely() {
        let mut joints = upright(3.0);
        joints.qvel = [0.5, 1.0, 0.3, 0.0, 0.0, 0.0, 0.0];
        let [x, z] = centre_of_mass(&joints);
        let mut state = State::from(joints);
        let speed = Chain::new(&joints.qpos).speed(&joints.qvel);
        let rise = {
            let moved = centre_of_mass(&JointState {
                qpos: array::from_fn(|joint| joints.qpos[joint] + 1e-6 * joints.qvel[joint]),
                ..joints
            });
            (moved[1] - z) / 1e-6
        };
        for _ in 0..10 {
            state = state.step(&[1.0, -1.0, 0.5, 0.2]);
            assert_eq!(state.touch, [0.0; 2]);
        }
        // 0.2 s; what the centre of mass does does not depend on the motors. Euler's steps err by their size.
        let [end_x, end_z] = centre_of_mass(&state.joints);
        assert_abs_diff_eq!(end_x, x + 0.2 * speed, epsilon = 5e-3);
        assert_abs_diff_eq!(end_z, z + 0.2 * rise - 0.5 * 9.81 * 0.04, epsilon = 1e-2);
    }

    #[test]
    fn at_rest_the_floor_carries_the_weight() {
        let mut state = State::from(upright(0.0));
        for _ in 0..1000 {
            state = state.step(&[0.0; MOTORS]);
        }
        assert!(state.joints.qvel.iter().all(|rate| rate.abs() < 0.02), "{state:?}");
        let mut rows = Vec::new();
        let forces = Forces::new(&state.joints, &[0.0; MOTORS], &[0.0; JOINTS], &mut rows);
        let lift: f64 = rows.iter().map(|row| row.jacobian[1] * row.force(&forces.acceleration)).sum();
        let weight = 9.81 * BODY.iter().map(|body| body.mass).sum::<f64>();
        assert_abs_diff_eq!(lift, weight, epsilon = 0.02 * weight);
    }
}
