//! The simulation of the cart and its pole: two joints, the cart's slide (metres) and the pole's hinge
//! (radians, 0 upright), in MuJoCo's model of the task.

use crate::envs::GRAVITY;
use crate::envs::dynamics::{JointState, SoftConstraint, capsule_inertia};

/// Cart and pole: `qpos` is (position, angle), `qvel` its rate.
pub(super) type State = JointState<2>;

/// The time of one control step, in seconds.
pub(super) const TIME_STEP: f64 = 0.01;
const CART_MASS: f64 = 1.0;
const POLE_MASS: f64 = 0.1;
/// From the hinge to the pole's centre, in metres.
const POLE_CENTRE: f64 = 0.5;
/// The inertia of the pole about the hinge.
const HINGE_INERTIA: f64 =
    capsule_inertia(POLE_MASS, 0.045, 2.0 * POLE_CENTRE) + POLE_MASS * POLE_CENTRE * POLE_CENTRE;
const SLIDE_DAMPING: f64 = 5e-4;
const HINGE_DAMPING: f64 = 2e-6;
/// The force on the cart at an action of 1, in newtons.
const GEAR: f64 = 10.0;

/// How far the cart can go to either side before the rail's soft end pushes it back, in metres.
pub(super) const RAIL: f64 = 1.8;
const RAIL_END: SoftConstraint = SoftConstraint { time_constant: 0.08 };
/// The cart's inverse inertia with the pole upright, to which MuJoCo scales the softness of the rail's ends.
const UPRIGHT_INVERSE_INERTIA: f64 = Inertia::new(1.0).inverse_of_slide();

/// The state one control step later.
pub(super) fn step(state: &State, action: f64) -> State {
    state.rk4(TIME_STEP, |state| acceleration(state, GEAR * action))
}

/// The accelerations of slide and hinge under a push on the cart, in newtons.
fn acceleration(state: &State, push: f64) -> [f64; 2] {
    let [position, angle] = state.qpos;
    let [velocity, spin] = state.qvel;
    let (sin, cos) = angle.sin_cos();
    let inertia = Inertia::new(cos);
    let force = [
        push - SLIDE_DAMPING * velocity + POLE_MASS * POLE_CENTRE * sin * spin * spin,
        POLE_MASS * GRAVITY * POLE_CENTRE * sin - HINGE_DAMPING * spin,
    ];
    let free = inertia.acceleration(force);
    let distance = RAIL - position.abs();
    if distance >= 0.0 {
        return free;
    }

    // The end only pushes, back towards the middle.
    let inward = -position.signum();
    let (target, softness) = RAIL_END.response(distance, inward * velocity);
    let give = inertia.inverse_of_slide() + softness * UPRIGHT_INVERSE_INERTIA;
    let reaction = ((target - inward * free[0]) / give).max(0.0);
    inertia.acceleration([force[0] + inward * reaction, force[1]])
}

/// The symmetric 2x2 inertia matrix of slide and hinge.
struct Inertia {
    slide: f64,
    coupling: f64,
    hinge: f64,
}

impl Inertia {
    const fn new(cos: f64) -> Self {
        Self { slide: CART_MASS + POLE_MASS, coupling: POLE_MASS * POLE_CENTRE * cos, hinge: HINGE_INERTIA }
    }

    /// At least `slide * hinge - (POLE_MASS * POLE_CENTRE)^2`, so never near 0.
    const fn determinant(&self) -> f64 {
        self.slide * self.hinge - self.coupling * self.coupling
    }

    const fn inverse_of_slide(&self) -> f64 {
        self.hinge / self.determinant()
    }

    fn acceleration(&self, [on_slide, on_hinge]: [f64; 2]) -> [f64; 2] {
        let determinant = self.determinant();
        [
            (self.hinge * on_slide - self.coupling * on_hinge) / determinant,
            (self.slide * on_hinge - self.coupling * on_slide) / determinant,
        ]
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use proptest::prelude::*;

    use super::*;

    /// Kinetic and potential energy from the velocity of the pole's centre, without the inertia matrix.
    fn energy(state: &State) -> f64 {
        let [_, angle] = state.qpos;
        let [velocity, spin] = state.qvel;
        let (sin, cos) = angle.sin_cos();
        let centre = [velocity + 0.5 * cos * spin, -0.5 * sin * spin];
        0.5 * velocity * velocity
            + 0.05 * (centre[0] * centre[0] + centre[1] * centre[1])
            + 0.5 * 0.009424592767295598 * spin * spin
            + 0.1 * 9.81 * 0.5 * cos
    }

    /// The horizontal momentum of cart and pole.
    fn momentum(state: &State) -> f64 {
        state.qvel[0] + 0.1 * (state.qvel[0] + 0.5 * state.qpos[1].cos() * state.qvel[1])
    }

    /// The rate of change of a quantity along the motion.
    fn rate(quantity: impl Fn(&State) -> f64, state: &State, acceleration: [f64; 2]) -> f64 {
        let at = |time: f64| {
            quantity(&State {
                qpos: [state.qpos[0] + time * state.qvel[0], state.qpos[1] + time * state.qvel[1]],
                qvel: [state.qvel[0] + time * acceleration[0], state.qvel[1] + time * acceleration[1]],
            })
        };
        (at(1e-6) - at(-1e-6)) / 2e-6
    }

    proptest! {
        #[test]
        fn push_and_damping_alone_change_energy_and_momentum(
            position in -1.8..1.8f64,
            angle in -4.0..4.0f64,
            velocity in -5.0..5.0f64,
            spin in -10.0..10.0f64,
            push in -10.0..10.0f64,
        ) {
            let state = State { qpos: [position, angle], qvel: [velocity, spin] };
            let acceleration = acceleration(&state, push);
            let force = push - 5e-4 * velocity;
            let power = force * velocity - 2e-6 * spin * spin;
            prop_assert!((rate(energy, &state, acceleration) - power).abs() < 1e-6);
            prop_assert!((rate(momentum, &state, acceleration) - force).abs() < 1e-6);
        }

        #[test]
        fn the_motion_is_the_same_in_a_mirror(
            position in -2.5..2.5f64,
            angle in -4.0..4.0f64,
            velocity in -5.0..5.0f64,
            spin in -10.0..10.0f64,
            action in -1.0..1.0f64,
        ) {
            let state = State { qpos: [position, angle], qvel: [velocity, spin] };
            let mirrored = State { qpos: [-position, -angle], qvel: [-velocity, -spin] };
            let (next, image) = (step(&state, action), step(&mirrored, -action));
            prop_assert_eq!(next.qpos, image.qpos.map(|value| -value));
            prop_assert_eq!(next.qvel, image.qvel.map(|value| -value));
        }
    }

    #[test]
    fn a_free_swing_keeps_its_energy_up_to_the_damping() {
        let mut state = State { qpos: [0.0, 2.0], qvel: [0.0, 0.0] };
        let start = energy(&state);
        let mut lost = 0.0;
        for _ in 0..1000 {
            let next = step(&state, 0.0);
            for end in [&state, &next] {
                lost += 0.5 * 0.01 * (5e-4 * end.qvel[0].powi(2) + 2e-6 * end.qvel[1].powi(2));
            }
            state = next;
            assert!(state.qpos[0].abs() < 1.8, "this swing is to stay off the rail's ends");
        }
        assert!(lost > 1e-5, "the pole is to swing");
        assert_abs_diff_eq!(energy(&state), start - lost, epsilon = 1e-6);
    }

    #[test]
    fn a_hanging_pole_swings_with_its_period() {
        // Small swings of a pole on a free cart: omega^2 = M11 m g l / det M, undisturbed by the tiny
        // damping.
        let mut state = State { qpos: [0.0, std::f64::consts::PI + 1e-4], qvel: [0.0, 0.0] };
        let hinge: f64 = 0.009424592767295598 + 0.1 * 0.25;
        let omega = (1.1 * 0.1 * 9.81 * 0.5 / (1.1 * hinge - 0.05 * 0.05)).sqrt();
        let mut crossings = Vec::new();
        for index in 0..1000 {
            let before = state.qpos[1] - std::f64::consts::PI;
            state = step(&state, 0.0);
            let after = state.qpos[1] - std::f64::consts::PI;
            if before > 0.0 && after <= 0.0 {
                crossings.push(0.01 * (f64::from(index) + before / (before - after)));
            }
        }
        let swings = (crossings.len() - 1) as f64;
        let period = (crossings[crossings.len() - 1] - crossings[0]) / swings;
        assert_abs_diff_eq!(period, std::f64::consts::TAU / omega, epsilon = 1e-4);
    }

    #[test]
    fn the_rail_stops_the_cart_and_gives_it_no_energy() {
        for side in [-1.0, 1.0] {
            let mut state = State { qpos: [1.7 * side, 3.0], qvel: [2.0 * side, 0.0] };
            let start = energy(&state);
            let mut furthest = 0.0f64;
            for _ in 0..200 {
                state = step(&state, 0.0);
                furthest = furthest.max(side * state.qpos[0]);
            }
            assert!((1.8..2.0).contains(&furthest), "the cart went to {furthest}");
            assert!(side * state.qpos[0] < 1.8, "the end pushes the cart back to the rail");
            assert!(energy(&state) < start);
        }
    }

    #[test]
    fn the_rail_pushes_but_never_pulls() {
        for side in [-1.0, 1.0] {
            let inward_force = |velocity: f64| {
                let state = State { qpos: [1.81 * side, 0.5], qvel: [-velocity * side, 1.0] };
                -side * (rate(momentum, &state, acceleration(&state, 0.0)) + 5e-4 * state.qvel[0])
            };
            assert!(inward_force(0.0) > 1.0);
            // Damping a cart that is on its way back this fast would take a pull.
            assert_abs_diff_eq!(inward_force(5.0), 0.0, epsilon = 1e-6);
        }
    }

    #[test]
    fn the_rail_holds_against_the_full_push() {
        let mut state = State { qpos: [0.0, std::f64::consts::PI], qvel: [0.0, 0.0] };
        for _ in 0..1000 {
            state = step(&state, 1.0);
            assert!(state.qpos[0] < 2.1, "{state:?}");
        }
        assert!(state.qpos[0] > 1.8, "{state:?}");
    }
}
