//! The simulation of the two links: two hinges, the shoulder's and the elbow's angle (radians, 0 upright and
//! straight), in MuJoCo's model of the task.

use crate::envs::GRAVITY;
use crate::envs::dynamics::{JointState, capsule_inertia};

/// Shoulder and elbow: `qpos` are their angles, `qvel` the rates.
pub(super) type State = JointState<2>;

/// The time of one control step, in seconds.
pub(super) const TIME_STEP: f64 = 0.01;
/// The length of either link, of mass 1 kg each, in metres.
pub(super) const LENGTH: f64 = 1.0;
/// From a link's hinge to its centre of mass, in metres.
const CENTRE: f64 = 0.5;
const UPPER_INERTIA: f64 = capsule_inertia(1.0, 0.05, LENGTH);
const LOWER_INERTIA: f64 = capsule_inertia(1.0, 0.049, LENGTH);
const DAMPING: f64 = 0.05;
/// The torque at the elbow at an action of 1, in newton metres.
const GEAR: f64 = 2.0;

/// The state one control step later.
pub(super) fn step(state: &State, action: f64) -> State {
    state.rk4(TIME_STEP, |state| acceleration(state, GEAR * action, DAMPING))
}

/// The accelerations of shoulder and elbow under a torque at the elbow, in newton metres.
fn acceleration(state: &State, torque: f64, damping: f64) -> [f64; 2] {
    let [shoulder, elbow] = state.qpos;
    let [upper_spin, bend] = state.qvel;
    let (sin, cos) = elbow.sin_cos();
    let lower_inertia = LOWER_INERTIA + CENTRE * CENTRE;
    let shoulder_inertia =
        UPPER_INERTIA + CENTRE * CENTRE + LENGTH * LENGTH + lower_inertia + 2.0 * LENGTH * CENTRE * cos;
    let coupling = lower_inertia + LENGTH * CENTRE * cos;

    let centrifugal = LENGTH * CENTRE * sin;
    let lower_weight = CENTRE * GRAVITY * (shoulder + elbow).sin();
    let on_shoulder = centrifugal * bend * (2.0 * upper_spin + bend)
        + (CENTRE + LENGTH) * GRAVITY * shoulder.sin()
        + lower_weight
        - damping * upper_spin;
    let on_elbow = torque + lower_weight - centrifugal * upper_spin * upper_spin - damping * bend;

    // Positive for any bend: the inertia matrix is positive definite.
    let determinant = shoulder_inertia * lower_inertia - coupling * coupling;
    [
        (lower_inertia * on_shoulder - coupling * on_elbow) / determinant,
        (shoulder_inertia * on_elbow - coupling * on_shoulder) / determinant,
    ]
}

#[cfg(test)]
mod tests {
    use approx::{assert_abs_diff_eq, assert_relative_eq};
    use proptest::prelude::*;

    use super::*;

    /// Kinetic and potential energy from the velocities of the links' centres, without the inertia matrix.
    fn energy(state: &State) -> f64 {
        let [shoulder, elbow] = state.qpos;
        let [upper_spin, bend] = state.qvel;
        let (lower, lower_spin) = (shoulder + elbow, upper_spin + bend);
        let centre = [
            upper_spin * shoulder.cos() + 0.5 * lower_spin * lower.cos(),
            -upper_spin * shoulder.sin() - 0.5 * lower_spin * lower.sin(),
        ];
        let kinetic = 0.25 * upper_spin * upper_spin
            + centre[0] * centre[0]
            + centre[1] * centre[1]
            + 0.0955703125 * upper_spin * upper_spin
            + 0.09530365719649563 * lower_spin * lower_spin;
        0.5 * kinetic + 9.81 * (1.5 * shoulder.cos() + 0.5 * lower.cos())
    }

    #[test]
    fn inertias_are_those_of_the_model() {
        assert_relative_eq!(UPPER_INERTIA, 0.0955703125, max_relative = 1e-14);
        assert_relative_eq!(LOWER_INERTIA, 0.09530365719649563, max_relative = 1e-14);
    }

    fn any_state() -> impl Strategy<Value = State> {
        (prop::array::uniform2(-10.0..10.0f64), prop::array::uniform2(-8.0..8.0f64))
            .prop_map(|(qpos, qvel)| State { qpos, qvel })
    }

    proptest! {
        /// The power of torque and damping is the rate of the energy.
        #[test]
        fn energy_changes_by_the_work_done(state in any_state(), torque in -2.0..2.0f64) {
            let accelerated = acceleration(&state, torque, 0.05);
            let at = |time: f64| energy(&State {
                qpos: std::array::from_fn(|i| state.qpos[i] + time * state.qvel[i] + 0.5 * time * time * accelerated[i]),
                qvel: std::array::from_fn(|i| state.qvel[i] + time * accelerated[i]),
            });
            let rate = (at(1e-6) - at(-1e-6)) / 2e-6;
            let [spin, bend] = state.qvel;
            let power = torque * bend - 0.05 * (spin * spin + bend * bend);
            prop_assert!((rate - power).abs() < 1e-5 * (1.0 + power.abs()), "{rate} {power}");
        }

        #[test]
        fn the_mirror_image_moves_as_the_mirror_image(state in any_state(), action in -1.0..1.0f64) {
            let mirrored = |state: &State| State { qpos: state.qpos.map(|v| -v), qvel: state.qvel.map(|v| -v) };
            prop_assert_eq!(mirrored(&step(&state, action)), step(&mirrored(&state), -action));
        }
    }

    #[test]
    fn an_undamped_swing_keeps_its_energy() {
        let mut state = State { qpos: [2.0, 1.0], qvel: [0.0, 0.0] };
        let start = energy(&state);
        for _ in 0..10_000 {
            state = state.rk4(0.001, |state| acceleration(state, 0.0, 0.0));
        }
        assert_abs_diff_eq!(energy(&state), start, epsilon = 1e-7);
    }
}
