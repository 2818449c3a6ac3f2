//! The chain of bodies: where they are, how they resist acceleration and what their velocities do.
//!
//! Angles turn about the axis that points out of the plane's back, so that a positive angle takes z to x. The
//! column of a Jacobian for a joint at `o` is therefore (p_z - o_z, o_x - p_x) at the point p.

use std::array;

use super::matrix::{Matrix, Vector};
use super::model::{ARMATURE, BODIES, BODY, JOINTS, Point, WAIST};
use crate::envs::GRAVITY;

/// The joints of the root that are slides; the hinge of body b is joint `SLIDES + b`.
const SLIDES: usize = 2;

/// The positions of all bodies.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    /// The unit vector that each body's own z axis points along: the sine and cosine of its angle.
    axis: [Point; BODIES],
    /// Each body's joint.
    origin: [Point; BODIES],
    /// Each body's centre of mass.
    centre: [Point; BODIES],
}

impl Chain {
    pub(super) fn new(qpos: &Vector) -> Self {
        let mut chain =
            Self { axis: [[0.0; 2]; BODIES], origin: [[0.0; 2]; BODIES], centre: [[0.0; 2]; BODIES] };
        let mut angle = 0.0;
        for (body, constants) in BODY.iter().enumerate() {
            chain.origin[body] = match body.checked_sub(1) {
                None => [qpos[0] + constants.offset[0], qpos[1] + constants.offset[1]],
                Some(parent) => chain.point(parent, constants.offset),
            };
            angle += qpos[SLIDES + body];
            chain.axis[body] = angle.sin_cos().into();
            chain.centre[body] = chain.point(body, constants.centre);
        }
        chain
    }

    /// Where a point of a body, given in its own coordinates, is.
    pub(super) fn point(&self, body: usize, [x, z]: Point) -> Point {
        let ([sin, cos], origin) = (self.axis[body], self.origin[body]);
        [origin[0] + x * cos + z * sin, origin[1] - x * sin + z * cos]
    }

    /// A body's centre of mass.
    pub(super) fn centre(&self, body: usize) -> Point {
        self.centre[body]
    }

    /// The derivatives of a body's point by the joints: of its x and of its z.
    pub(super) fn jacobian(&self, body: usize, point: Point) -> [Vector; 2] {
        let mut rows = [[0.0; JOINTS]; 2];
        rows[0][0] = 1.0;
        rows[1][1] = 1.0;
        for hinge in 0..=body {
            let turned = velocity_of_turn(self.origin[hinge], point);
            rows[0][SLIDES + hinge] = turned[0];
            rows[1][SLIDES + hinge] = turned[1];
        }
        rows
    }

    /// The inertia matrix of the joints, rotors included.
    pub(super) fn inertia(&self) -> Matrix {
        let mut matrix = [[0.0; JOINTS]; JOINTS];
        let mut couple = |row: usize, column: usize, inertia: f64| {
            matrix[row][column] = inertia;
            matrix[column][row] = inertia;
        };
        // Of all bodies from the foot up to the current one: mass, first moments and inertia about its joint.
        let mut mass = 0.0;
        let mut moment = [0.0; 2];
        let mut inertia = 0.0;
        for body in (0..BODIES).rev() {
            if body + 1 < BODIES {
                let arm = difference(self.origin[body + 1], self.origin[body]);
                inertia += 2.0 * dot(arm, moment) + mass * dot(arm, arm);
                moment = [moment[0] + mass * arm[0], moment[1] + mass * arm[1]];
            }
            let constants = &BODY[body];
            let arm = difference(self.centre[body], self.origin[body]);
            mass += constants.mass;
            moment = [moment[0] + constants.mass * arm[0], moment[1] + constants.mass * arm[1]];
            inertia += constants.inertia + constants.mass * dot(arm, arm);

            let hinge = SLIDES + body;
            couple(hinge, 0, moment[1]);
            couple(hinge, 1, -moment[0]);
            for above in 0..body {
                let arm = difference(self.origin[body], self.origin[above]);
                couple(hinge, SLIDES + above, inertia + dot(arm, moment));
            }
            couple(hinge, hinge, inertia);
        }
        couple(0, 0, mass);
        couple(1, 1, mass);
        for (joint, row) in matrix.iter_mut().enumerate().skip(WAIST) {
            row[joint] += ARMATURE;
        }
        matrix
    }

    /// The forces at the joints that gravity and the centrifugal accelerations ask for where the joints do
    /// not accelerate.
    pub(super) fn bias(&self, qvel: &Vector) -> Vector {
        let mut origin_acceleration = [0.0, GRAVITY];
        let mut spin = 0.0;
        let mut forces = [[0.0; 2]; BODIES];
        for body in 0..BODIES {
            spin += qvel[SLIDES + body];
            let towards = |point: Point| {
                let arm = difference(point, self.origin[body]);
                [origin_acceleration[0] - spin * spin * arm[0], origin_acceleration[1] - spin * spin * arm[1]]
            };
            forces[body] = towards(self.centre[body]).map(|acceleration| BODY[body].mass * acceleration);
            if body + 1 < BODIES {
                origin_acceleration = towards(self.origin[body + 1]);
            }
        }

        let mut bias = [0.0; JOINTS];
        let mut force = [0.0; 2];
        let mut torque = 0.0;
        for body in (0..BODIES).rev() {
            if body + 1 < BODIES {
                torque += dot(force, velocity_of_turn(self.origin[body], self.origin[body + 1]));
            }
            torque += dot(forces[body], velocity_of_turn(self.origin[body], self.centre[body]));
            force = [force[0] + forces[body][0], force[1] + forces[body][1]];
            bias[SLIDES + body] = torque;
        }
        bias[0] = force[0];
        bias[1] = force[1];
        bias
    }

    /// The horizontal velocity of the whole body's centre of mass.
    pub(super) fn speed(&self, qvel: &Vector) -> f64 {
        let mut momentum = 0.0;
        let mut mass = 0.0;
        for (body, constants) in BODY.iter().enumerate() {
            let [row, _] = self.jacobian(body, self.centre[body]);
            momentum += constants.mass
                * array::from_fn::<_, JOINTS, _>(|joint| row[joint] * qvel[joint]).iter().sum::<f64>();
            mass += constants.mass;
        }
        momentum / mass
    }
}

/// The velocity of a point that turns about a joint with 1 rad/s.
fn velocity_of_turn(joint: Point, point: Point) -> Point {
    [point[1] - joint[1], joint[0] - point[0]]
}

pub(super) fn difference(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1]]
}

pub(super) fn dot(a: Point, b: Point) -> f64 {
    a[0] * b[0] + a[1] * b[1]
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use proptest::array::uniform7;
    use proptest::prelude::*;

    use super::*;
    use crate::envs::hopper::matrix::product;

    /// Angle and centre of each body from the description of the chain alone.
    fn centres(qpos: &Vector) -> [(f64, Point); BODIES] {
        let mut joint = [qpos[0], qpos[1]];
        let mut angle: f64 = 0.0;
        array::from_fn(|body| {
            let turned = |[x, z]: Point, angle: f64| {
                [x * angle.cos() + z * angle.sin(), -x * angle.sin() + z * angle.cos()]
            };
            let offset = turned(BODY[body].offset, angle);
            joint = [joint[0] + offset[0], joint[1] + offset[1]];
            angle += qpos[2 + body];
            let centre = turned(BODY[body].centre, angle);
            (angle, [joint[0] + centre[0], joint[1] + centre[1]])
        })
    }

    /// Kinetic energy of bodies and rotors, by finite differences of the centres.
    fn kinetic_energy(qpos: &Vector, qvel: &Vector) -> f64 {
        const TIME: f64 = 1e-5;
        let at = |time: f64| centres(&array::from_fn(|joint| qpos[joint] + time * qvel[joint]));
        let (before, after) = (at(-TIME), at(TIME));
        let bodies: f64 = (0..BODIES)
            .map(|body| {
                let rate = |a: f64, b: f64| ((b - a) / (2.0 * TIME)).powi(2);
                let (a, b) = (before[body], after[body]);
                BODY[body].mass * (rate(a.1[0], b.1[0]) + rate(a.1[1], b.1[1]))
                    + BODY[body].inertia * rate(a.0, b.0)
            })
            .sum();
        let rotors: f64 = qvel[3..].iter().map(|rate| 0.2 * rate * rate).sum();
        0.5 * (bodies + rotors)
    }

    fn potential_energy(qpos: &Vector) -> f64 {
        centres(qpos).iter().zip(&BODY).map(|((_, centre), body)| 9.81 * body.mass * centre[1]).sum()
    }

    fn quadratic_form(matrix: &Matrix, vector: &Vector) -> f64 {
        product(matrix, vector).iter().zip(vector).map(|(a, b)| a * b).sum()
    }

    proptest! {
        #[test]
        fn points_and_jacobians_are_those_of_the_kinematics(
            qpos in uniform7(-4.0..4.0f64),
            local in prop::array::uniform2(-0.5..0.5f64),
            body in 0usize..BODIES,
        ) {
            let chain = Chain::new(&qpos);
            for (body, (_, centre)) in centres(&qpos).into_iter().enumerate() {
                assert_abs_diff_eq!(chain.centre(body)[..], centre[..], epsilon = 1e-13);
            }
            let jacobian = chain.jacobian(body, chain.point(body, local));
            for joint in 0..JOINTS {
                let moved = |by: f64| {
                    let mut qpos = qpos;
                    qpos[joint] += by;
                    Chain::new(&qpos).point(body, local)
                };
                let (before, after) = (moved(-1e-5), moved(1e-5));
                for (axis, row) in jacobian.iter().enumerate() {
                    assert_abs_diff_eq!(row[joint], (after[axis] - before[axis]) / 2e-5, epsilon = 1e-8);
                }
            }
        }

        #[test]
        fn the_inertia_matrix_gives_the_kinetic_energy(qpos in uniform7(-4.0..4.0f64), qvel in uniform7(-2.0..2.0f64)) {
            let matrix = Chain::new(&qpos).inertia();
            let energy = kinetic_energy(&qpos, &qvel);
            prop_assert!(energy > 0.0);
            assert_abs_diff_eq!(0.5 * quadratic_form(&matrix, &qvel), energy, epsilon = 1e-6 * (1.0 + energy));
        }

        /// Lagrange's equation: bias = dM/dt v - 1/2 d(v' M v)/dq + dV/dq.
        #[test]
        fn the_bias_is_lagranges(qpos in uniform7(-4.0..4.0f64), qvel in uniform7(-3.0..3.0f64)) {
            const STEP: f64 = 1e-5;
            let bias = Chain::new(&qpos).bias(&qvel);
            let momentum = |time: f64| {
                product(&Chain::new(&array::from_fn(|joint| qpos[joint] + time * qvel[joint])).inertia(), &qvel)
            };
            let (before, after) = (momentum(-STEP), momentum(STEP));
            for joint in 0..JOINTS {
                let lagrangian = |by: f64| {
                    let mut qpos = qpos;
                    qpos[joint] += by;
                    0.5 * quadratic_form(&Chain::new(&qpos).inertia(), &qvel) - potential_energy(&qpos)
                };
                let expected = (after[joint] - before[joint] - lagrangian(STEP) + lagrangian(-STEP)) / (2.0 * STEP);
                assert_abs_diff_eq!(bias[joint], expected, epsilon = 1e-5 * (1.0 + expected.abs()));
            }
        }

        #[test]
        fn the_speed_is_that_of_the_centre_of_mass(qpos in uniform7(-4.0..4.0f64), qvel in uniform7(-2.0..2.0f64)) {
            let at = |time: f64| -> f64 {
                let centres = centres(&array::from_fn(|joint| qpos[joint] + time * qvel[joint]));
                let mass: f64 = BODY.iter().map(|body| body.mass).sum();
                centres.iter().zip(&BODY).map(|((_, centre), body)| body.mass * centre[0]).sum::<f64>() / mass
            };
            assert_abs_diff_eq!(Chain::new(&qpos).speed(&qvel), (at(1e-5) - at(-1e-5)) / 2e-5, epsilon = 1e-7);
        }
    }
}
