//! The hopper's constants, those of MuJoCo's model of the task: five bodies in a chain, in a vertical plane.

/// The bodies, from the top: torso, pelvis, thigh, calf and foot.
pub(super) const BODIES: usize = 5;
pub(super) const TORSO: usize = 0;
pub(super) const FOOT: usize = 4;
/// The joints: the root's slides in x and z and its pitch, then waist, hip, knee and ankle.
pub(super) const JOINTS: usize = 7;
/// The first joint with a motor.
pub(super) const WAIST: usize = 3;
/// The motors: waist, hip, knee and ankle.
pub(super) const MOTORS: usize = 4;

/// A point or direction in the vertical plane, (x, z), in metres.
pub(super) type Point = [f64; 2];

pub(super) struct Body {
    /// Where its joint sits on the body above.
    pub offset: Point,
    /// In kilograms.
    pub mass: f64,
    /// About the centre of mass, in kg m^2.
    pub inertia: f64,
    /// The centre of mass, from the joint.
    pub centre: Point,
    /// The inverse of the inertia that a contact sees, to which MuJoCo scales its softness, in 1/kg.
    pub inverse_inertia: f64,
}

pub(super) const BODY: [Body; BODIES] = [
    Body {
        offset: [0.0, 1.0],
        mass: 4.828383533416376,
        inertia: 0.05369224191892415,
        centre: [0.0074555205777865, 0.07888983682319296],
        inverse_inertia: 0.07787545158346221,
    },
    Body {
        offset: [0.0, -0.05],
        mass: 3.141330854201994,
        inertia: 0.018456812006694873,
        centre: [0.0, -0.075],
        inverse_inertia: 0.06610909870047622,
    },
    Body {
        offset: [0.0, -0.2],
        mass: 1.9268434942017398,
        inertia: 0.024513889363863207,
        centre: [0.0, -0.165],
        inverse_inertia: 0.07858361645280489,
    },
    Body {
        offset: [0.0, -0.33],
        mass: 1.0178760197630932,
        inertia: 0.01126751054765901,
        centre: [0.0, -0.16],
        inverse_inertia: 0.10867263026553571,
    },
    Body {
        offset: [0.0, -0.32],
        mass: 1.5247196345422462,
        inertia: 0.012413312220276276,
        centre: [0.045, 0.0],
        inverse_inertia: 0.16500995246476619,
    },
];

/// A joint with a motor.
pub(super) struct Joint {
    /// The angles between its soft limits, in degrees.
    pub range: Point,
    /// The torque at an action of 1, in newton metres.
    pub gear: f64,
    /// As that of a [`Body`], for a torque at the joint, in 1/(kg m^2).
    pub inverse_inertia: f64,
}

pub(super) const JOINT: [Joint; MOTORS] = [
    Joint { range: [-30.0, 30.0], gear: 30.0, inverse_inertia: 4.021617005977396 },
    Joint { range: [-170.0, 10.0], gear: 40.0, inverse_inertia: 3.710093563214151 },
    Joint { range: [5.0, 150.0], gear: 30.0, inverse_inertia: 4.065245139070993 },
    Joint { range: [-45.0, 45.0], gear: 10.0, inverse_inertia: 4.662704281603408 },
];

/// The inertia of a motor's rotor, in kg m^2, at each of these joints.
pub(super) const ARMATURE: f64 = 0.2;
/// Of each of these joints, in N m s.
pub(super) const DAMPING: f64 = 0.05;

/// The shape of (a part of) a body: all points within `radius` of the line between `ends`.
pub(super) struct Capsule {
    pub body: usize,
    pub ends: [Point; 2],
    pub radius: f64,
}

pub(super) const CAPSULE: [Capsule; 6] = [
    Capsule { body: TORSO, ends: [[0.0, -0.05], [0.0, 0.2]], radius: 0.0653 },
    Capsule { body: TORSO, ends: [[0.08, 0.13], [0.15, 0.14]], radius: 0.03 },
    Capsule { body: 1, ends: [[0.0, 0.0], [0.0, -0.15]], radius: 0.065 },
    Capsule { body: 2, ends: [[0.0, 0.0], [0.0, -0.33]], radius: 0.04 },
    Capsule { body: 3, ends: [[0.0, 0.0], [0.0, -0.32]], radius: 0.03 },
    Capsule { body: FOOT, ends: [[-0.08, 0.0], [0.17, 0.0]], radius: 0.04 },
];

/// Where the foot feels touch, toe and heel: within [`TOUCH_RADIUS`] of these points.
pub(super) const TOUCH: [Point; 2] = [[0.17, 0.0], [-0.08, 0.0]];
pub(super) const TOUCH_RADIUS: f64 = 0.05;
