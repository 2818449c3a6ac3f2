//! Where the hopper's bodies touch the floor and each other.

use std::array;

use super::capsules::{Placed, Touch, touches};
use super::chain::Chain;
use super::matrix::Vector;
use super::model::{BODY, CAPSULE};

/// Two things that overlap; the normal of the touch points to `body`.
#[derive(Debug, Clone)]
pub(super) struct Contact {
    pub touch: Touch,
    pub body: usize,
    /// The body above that it touches; `None` is the floor.
    pub other: Option<usize>,
}

impl Contact {
    /// How the joints move the body's point of contact against the other's: in x and in z.
    pub(super) fn jacobian(&self, chain: &Chain) -> [Vector; 2] {
        let mut jacobian = chain.jacobian(self.body, self.touch.point);
        if let Some(other) = self.other {
            let others = chain.jacobian(other, self.touch.point);
            for (entry, other) in jacobian.as_flattened_mut().iter_mut().zip(others.as_flattened()) {
                *entry -= other;
            }
        }
        jacobian
    }

    /// The inverse inertia of both sides, in 1/kg; the floor has none.
    pub(super) fn inverse_inertia(&self) -> f64 {
        BODY[self.body].inverse_inertia + self.other.map_or(0.0, |other| BODY[other].inverse_inertia)
    }
}

/// Reports all contacts.
pub(super) fn find(chain: &Chain, mut report: impl FnMut(&Contact)) {
    let ends = CAPSULE.each_ref().map(|capsule| capsule.ends.map(|end| chain.point(capsule.body, end)));
    for (capsule, ends) in CAPSULE.iter().zip(&ends) {
        for &[x, z] in ends {
            let distance = z - capsule.radius;
            if distance < 0.0 {
                let touch = Touch { point: [x, 0.5 * distance], normal: [0.0, 1.0], distance };
                report(&Contact { touch, body: capsule.body, other: None });
            }
        }
    }
    let placed: [_; CAPSULE.len()] = array::from_fn(|index| Placed::new(ends[index], CAPSULE[index].radius));
    for (first, above) in CAPSULE.iter().zip(&placed) {
        for (second, below) in CAPSULE.iter().zip(&placed) {
            // Bodies that share a joint overlap there.
            if second.body > first.body + 1 {
                touches(above, below, |touch| {
                    report(&Contact { touch, body: second.body, other: Some(first.body) });
                });
            }
        }
    }
}
