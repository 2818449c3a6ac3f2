//! Where two capsules are nearest to each other.

use super::chain::{difference, dot};
use super::model::Point;

/// A capsule in the plane: its centre, half of the line it is drawn around, and its radius.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    centre: Point,
    half_axis: Point,
    radius: f64,
    /// Beyond this distance from the centre the capsule has no point.
    bound: f64,
}

impl Placed {
    pub(super) fn new([start, end]: [Point; 2], radius: f64) -> Self {
        let half_axis = [0.5 * (end[0] - start[0]), 0.5 * (end[1] - start[1])];
        Self {
            centre: [0.5 * (start[0] + end[0]), 0.5 * (start[1] + end[1])],
            half_axis,
            radius,
            bound: radius + dot(half_axis, half_axis).sqrt(),
        }
    }

    /// The point of the axis at -1 to 1, from one end to the other.
    fn at(&self, share: f64) -> Point {
        [self.centre[0] + share * self.half_axis[0], self.centre[1] + share * self.half_axis[1]]
    }
}

/// A touch of two capsules.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Touch {
    /// In the middle of the overlap.
    pub point: Point,
    /// The unit vector from the first capsule to the second; zero where their axes cross, as MuJoCo's then
    /// stands across the plane.
    pub normal: Point,
    /// Between the surfaces: negative, as they overlap.
    pub distance: f64,
}

/// Reports where two capsules overlap: one place, or up to two where they are parallel.
pub(super) fn touches(first: &Placed, second: &Placed, mut report: impl FnMut(Touch)) {
    let reach = first.radius + second.radius;
    let between = difference(second.centre, first.centre);
    if dot(between, between) > (first.bound + second.bound).powi(2) {
        return;
    }

    // The nearest points x, y of the lines solve a x - c y = u and -c x + b y = v; on the segments, whichever
    // leaves its own is put at the end, and the other follows.
    let (a, b) = (dot(first.half_axis, first.half_axis), dot(second.half_axis, second.half_axis));
    let c = dot(first.half_axis, second.half_axis);
    let u = dot(first.half_axis, between);
    let v = -dot(second.half_axis, between);
    let first_for = |y: f64| ((u + c * y) / a).clamp(-1.0, 1.0);
    let second_for = |x: f64| (v + c * x) / b;
    let mut check = |x: f64, y: f64| {
        let touch = touch(first.at(x), second.at(y), first.radius, reach);
        if touch.distance < 0.0 {
            report(touch);
        }
        usize::from(touch.distance < 0.0)
    };

    let determinant = a * b - c * c;
    if determinant >= 1e-8 * a * b {
        let mut x = (b * u + c * v) / determinant;
        let mut y = (a * v + c * u) / determinant;
        if x.abs() > 1.0 {
            x = x.signum();
            y = second_for(x);
        }
        if y.abs() > 1.0 {
            y = y.signum();
            x = first_for(y);
        }
        check(x, y);
        return;
    }
    let mut found = 0;
    for (x, y) in [
        (1.0, second_for(1.0).clamp(-1.0, 1.0)),
        (-1.0, second_for(-1.0).clamp(-1.0, 1.0)),
        (first_for(1.0), 1.0),
        (first_for(-1.0), -1.0),
    ] {
        if found < 2 {
            found += check(x, y);
        }
    }
}

/// The touch of two balls around points of the axes.
fn touch(first: Point, second: Point, first_radius: f64, reach: f64) -> Touch {
    let between = difference(second, first);
    let apart = dot(between, between).sqrt();
    // The distance below which MuJoCo, too, finds no direction between the axes.
    let normal = if apart >= 1e-15 { [between[0] / apart, between[1] / apart] } else { [0.0; 2] };
    let distance = apart - reach;
    let depth = first_radius + 0.5 * distance;
    Touch { point: [first[0] + normal[0] * depth, first[1] + normal[1] * depth], normal, distance }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use proptest::array::uniform2;
    use proptest::prelude::*;

    use super::*;

    fn found(first: &Placed, second: &Placed) -> Vec<Touch> {
        let mut all = Vec::new();
        touches(first, second, |touch| all.push(touch));
        all
    }

    fn cross(a: Point, b: Point) -> f64 {
        a[0] * b[1] - a[1] * b[0]
    }

    /// From a point to the nearest one of an axis.
    fn to_axis(point: Point, axis: &Placed) -> f64 {
        let share = dot(difference(point, axis.centre), axis.half_axis) / dot(axis.half_axis, axis.half_axis);
        let between = difference(point, axis.at(share.clamp(-1.0, 1.0)));
        dot(between, between).sqrt()
    }

    /// The smallest distance between points of the axes: one of their ends has it, unless they cross.
    fn expected_distance(first: &Placed, second: &Placed) -> f64 {
        let parts = |axis: &Placed, other: &Placed| {
            let side = |end| cross(axis.half_axis, difference(other.at(end), axis.centre));
            side(-1.0) * side(1.0) < 0.0
        };
        if parts(first, second) && parts(second, first) {
            return 0.0;
        }
        [
            to_axis(first.at(-1.0), second),
            to_axis(first.at(1.0), second),
            to_axis(second.at(-1.0), first),
            to_axis(second.at(1.0), first),
        ]
        .into_iter()
        .fold(f64::INFINITY, f64::min)
    }

    proptest! {
        #[test]
        fn one_touch_at_the_nearest_points(
            first in uniform2(uniform2(-0.3..0.3f64)),
            second in uniform2(uniform2(-0.3..0.3f64)),
        ) {
            let (first, second) = (Placed::new(first, 0.1), Placed::new(second, 0.07));
            prop_assume!(cross(first.half_axis, second.half_axis).abs() > 1e-3);
            let apart = expected_distance(&first, &second);
            let touches = found(&first, &second);
            prop_assert_eq!(touches.len(), usize::from(apart < 0.17), "{}", apart);
            if let [touch] = touches[..] {
                assert_abs_diff_eq!(touch.distance, apart - 0.17, epsilon = 1e-9);
                // The order turns the normal and leaves the place.
                let swapped = found(&second, &first)[0];
                assert_abs_diff_eq!(swapped.distance, touch.distance, epsilon = 1e-12);
                if apart > 1e-6 {
                    assert_abs_diff_eq!(swapped.normal[0], -touch.normal[0], epsilon = 1e-6);
                    assert_abs_diff_eq!(swapped.point[..], touch.point[..], epsilon = 1e-6);
                }
            }
        }
    }

    #[test]
    fn parallel_capsules_touch_at_both_ends_of_their_overlap() {
        let lower = Placed::new([[0.0, 0.0], [1.0, 0.0]], 0.1);
        let upper = Placed::new([[0.4, 0.18], [2.0, 0.18]], 0.1);
        let touches = found(&lower, &upper);
        assert_eq!(touches.len(), 2);
        for (touch, x) in touches.iter().zip([1.0, 0.4]) {
            assert_abs_diff_eq!(touch.point[..], [x, 0.09][..], epsilon = 1e-12);
            assert_abs_diff_eq!(touch.normal[..], [0.0, 1.0][..], epsilon = 1e-12);
            assert_abs_diff_eq!(touch.distance, -0.02, epsilon = 1e-12);
        }
        let apart = Placed::new([[0.4, 0.21], [2.0, 0.21]], 0.1);
        assert!(found(&lower, &apart).is_empty());
    }
}
