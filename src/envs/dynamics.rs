//! What the simulations share: their state, its integration in time, and MuJoCo's soft constraints.

use std::array;

use super::error::ControlError;

/// The largest magnitude of a coordinate or velocity: beyond it MuJoCo, too, calls a state bad.
const STATE_LIMIT: f64 = 1e10;

/// The state of a simulation with `N` joint coordinates, named as in MuJoCo.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JointState<const N: usize> {
    /// The joint positions: metres for slides, radians for hinges.
    pub qpos: [f64; N],
    /// Their velocities, in metres or radians per second.
    pub qvel: [f64; N],
}

impl<const N: usize> JointState<N> {
    /// The state `time` seconds later, in one step of the classical Runge-Kutta method of fourth order.
    pub(super) fn rk4(&self, time: f64, acceleration: impl Fn(&Self) -> [f64; N]) -> Self {
        let rate = |state: &Self| Self { qpos: state.qvel, qvel: acceleration(state) };
        let a = rate(self);
        let b = rate(&self.moved(&a, 0.5 * time));
        let c = rate(&self.moved(&b, 0.5 * time));
        let d = rate(&self.moved(&c, time));
        let (outer, inner) = (time / 6.0, time / 3.0);
        self.moved(&a, outer).moved(&b, inner).moved(&c, inner).moved(&d, outer)
    }

    fn moved(&self, rate: &Self, time: f64) -> Self {
        Self {
            qpos: array::from_fn(|joint| self.qpos[joint] + time * rate.qpos[joint]),
            qvel: array::from_fn(|joint| self.qvel[joint] + time * rate.qvel[joint]),
        }
    }

    /// Checks that this is a state that can be simulated.
    pub(super) fn check(&self) -> Result<(), ControlError> {
        let bad = |value: &f64| value.is_nan() || value.abs() > STATE_LIMIT;
        for (place, values) in [("qpos", &self.qpos), ("qvel", &self.qvel)] {
            if let Some(index) = values.iter().position(bad) {
                return Err(ControlError::State { place, index, value: values[index] });
            }
        }
        Ok(())
    }
}

/// The inertia of a solid capsule about an axis through its centre, across its length: `length` is that of
/// the cylinder between the two half-spheres of the given `radius`.
pub(super) const fn capsule_inertia(mass: f64, radius: f64, length: f64) -> f64 {
    let sphere = mass * 4.0 * radius / (4.0 * radius + 3.0 * length);
    let cylinder = mass - sphere;
    cylinder * (3.0 * radius * radius + length * length) / 12.0
        + 0.4 * sphere * radius * radius
        + 0.125 * sphere * length * (3.0 * radius + 2.0 * length)
}

/// MuJoCo's soft constraint with its default impedance and critical damping.
#[derive(Debug, Clone, Copy)]
pub(super) struct SoftConstraint {
    /// The time constant in which a violation is undone, in seconds.
    pub time_constant: f64,
}

impl SoftConstraint {
    const IMPEDANCE_START: f64 = 0.9;
    const IMPEDANCE_END: f64 = 0.95;
    /// The violation at which the impedance has reached its end, in metres or radians.
    const IMPEDANCE_WIDTH: f64 = 0.001;

    /// The acceleration that the constraint aims at, and the ratio of its regularisation to its inverse
    /// inertia.
    ///
    /// `distance` is negative where the constraint is violated, `velocity` its rate of change.
    pub(super) fn response(&self, distance: f64, velocity: f64) -> (f64, f64) {
        let violation = (distance.abs() / Self::IMPEDANCE_WIDTH).min(1.0);
        let share = if violation <= 0.5 {
            2.0 * violation * violation
        } else {
            1.0 - 2.0 * (1.0 - violation) * (1.0 - violation)
        };
        let impedance = Self::IMPEDANCE_START + share * (Self::IMPEDANCE_END - Self::IMPEDANCE_START);
        let rate = 1.0 / (Self::IMPEDANCE_END * self.time_constant);
        let acceleration = -2.0 * rate * velocity - rate * rate * impedance * distance;
        (acceleration, (1.0 - impedance) / impedance)
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    #[test]
    fn rk4_has_the_accuracy_of_fourth_order() {
        // The oscillator x'' = -x over one second, whose solution is known.
        let error = |steps: u32| {
            let mut state = JointState { qpos: [1.0], qvel: [0.0] };
            for _ in 0..steps {
                state = state.rk4(1.0 / f64::from(steps), |state| [-state.qpos[0]]);
            }
            (state.qpos[0] - 1f64.cos()).hypot(state.qvel[0] + 1f64.sin())
        };
        assert!(error(100) < 1e-9, "{}", error(100));
        let gain = error(20) / error(40);
        assert!((15.0..17.0).contains(&gain), "halving the step gains a factor of {gain}, expected 2^4");
    }

    #[test]
    fn capsule_inertia_agrees_with_its_limits() {
        // A thin rod, a ball, and the pole of MuJoCo's cartpole model.
        assert_relative_eq!(capsule_inertia(3.0, 0.0, 2.0), 1.0, max_relative = 1e-15);
        assert_relative_eq!(capsule_inertia(5.0, 2.0, 0.0), 8.0, max_relative = 1e-15);
        assert_relative_eq!(capsule_inertia(0.1, 0.045, 1.0), 0.009424592767295598, max_relative = 1e-14);
    }

    #[test]
    fn soft_constraint_stiffens_with_the_violation() {
        let constraint = SoftConstraint { time_constant: 0.02 };
        // Impedances 0.9, the middle of the curve and 0.95; 1/(0.95 * 0.02)^2 = 1000000/361.
        for (distance, impedance) in [
            (0.0, 0.9),
            (-0.00025, 0.90625),
            (-0.0005, 0.925),
            (-0.00075, 0.94375),
            (-0.001, 0.95),
            (-1.0, 0.95),
        ] {
            let (acceleration, softness) = constraint.response(distance, 0.0);
            assert_relative_eq!(acceleration, -distance * impedance * 1e6 / 361.0, max_relative = 1e-12);
            assert_relative_eq!(softness, 1.0 / impedance - 1.0, max_relative = 1e-12);
        }
        // The velocity is damped: 2/(0.95 * 0.02) = 2000/19.
        assert_relative_eq!(constraint.response(0.0, -1.9).0, 200.0, max_relative = 1e-12);
    }
}
