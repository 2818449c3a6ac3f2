//! What the joint limits and contacts ask for: the rows of MuJoCo's soft constraints.

use std::array;

use super::chain::{Chain, difference, dot};
use super::contacts::{self, Contact};
use super::matrix::{Vector, inner};
use super::model::{FOOT, JOINT, JOINTS, Point, TOUCH, TOUCH_RADIUS, WAIST};
use crate::envs::dynamics::{JointState, SoftConstraint};

const SOFTNESS: SoftConstraint = SoftConstraint { time_constant: 0.02 };

/// A one-sided constraint: J a >= target, held softly.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub jacobian: Vector,
    /// The acceleration aimed at.
    pub target: f64,
    /// The force for every unit of acceleration that is missing.
    pub stiffness: f64,
    /// The share of the force that toe and heel feel.
    pub felt: [f64; 2],
}

impl Row {
    /// By how much an acceleration exceeds the target; the constraint is active if it is negative.
    pub(super) fn excess(&self, acceleration: &Vector) -> f64 {
        inner(&self.jacobian, acceleration) - self.target
    }

    /// The force of the constraint under an acceleration: it only pushes.
    pub(super) fn force(&self, acceleration: &Vector) -> f64 {
        -self.stiffness * self.excess(acceleration).min(0.0)
    }
}

/// Replaces `rows` by those of a state.
pub(super) fn collect(state: &JointState<JOINTS>, chain: &Chain, rows: &mut Vec<Row>) {
    rows.clear();
    for (motor, constants) in JOINT.iter().enumerate() {
        let joint = WAIST + motor;
        let [low, high] = constants.range.map(f64::to_radians);
        for (direction, distance) in [(1.0, state.qpos[joint] - low), (-1.0, high - state.qpos[joint])] {
            if distance < 0.0 {
                let (target, softness) = SOFTNESS.response(distance, direction * state.qvel[joint]);
                let stiffness = 1.0 / (softness * constants.inverse_inertia);
                let jacobian = array::from_fn(|column| if column == joint { direction } else { 0.0 });
                rows.push(Row { jacobian, target, stiffness, felt: [0.0; 2] });
            }
        }
    }
    contacts::find(chain, |contact| pyramid(contact, &state.qvel, chain, rows));
}

/// The pyramid that stands for the cone of friction 1: its four edges. Two lean out of the plane and are one
/// row of twice the stiffness, as nothing in the plane moves against them; where the normal itself stands
/// across the plane all four edges lie in it.
fn pyramid(contact: &Contact, qvel: &Vector, chain: &Chain, rows: &mut Vec<Row>) {
    let [x, z] = contact.jacobian(chain);
    let felt = touched(contact, chain);
    let mut edge = |[along_x, along_z]: Point, edges: f64| {
        let jacobian = array::from_fn(|joint| along_x * x[joint] + along_z * z[joint]);
        let (target, softness) = SOFTNESS.response(contact.touch.distance, inner(&jacobian, qvel));
        let stiffness = edges / (4.0 * softness * contact.inverse_inertia());
        rows.push(Row { jacobian, target, stiffness, felt });
    };
    match contact.touch.normal {
        [0.0, 0.0] => {
            [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]].into_iter().for_each(|along| edge(along, 1.0))
        }
        [normal_x, normal_z] => {
            edge([normal_x, normal_z], 2.0);
            edge([normal_x + normal_z, normal_z - normal_x], 1.0);
            edge([normal_x - normal_z, normal_z + normal_x], 1.0);
        }
    }
}

/// Whether toe and heel feel a contact (1 or 0): the ray out of the foot has to hit the ball around their
/// point.
fn touched(contact: &Contact, chain: &Chain) -> [f64; 2] {
    if contact.body != FOOT {
        return [0.0; 2];
    }
    let outwards = contact.touch.normal.map(|component| -component);
    TOUCH.map(|site| {
        let to_site = difference(chain.point(FOOT, site), contact.touch.point);
        let ahead = dot(to_site, outwards);
        let clearance = TOUCH_RADIUS * TOUCH_RADIUS - dot(to_site, to_site) + ahead * ahead;
        if clearance > 0.0 && ahead + clearance.sqrt() >= 0.0 { 1.0 } else { 0.0 }
    })
}
