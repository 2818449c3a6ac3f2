//! The acceleration under soft constraints: the minimum of a convex, piecewise quadratic function.

use std::array;

use super::constraints::Row;
use super::matrix::{Matrix, Vector, add_outer, inner, product, solve};

/// More than any state needs: a solution takes 2 iterations mostly.
const MAX_ITERATIONS: usize = 100;

/// The acceleration a that minimises 1/2 a' M a - f' a + 1/2 sum of stiffness min(0, J a - target)^2 over all
/// rows, for an inertia matrix M and a force f.
///
/// Newton's method with an exact line search, from a guess: exact as soon as the full step keeps the set of
/// active rows.
pub(super) fn minimise(inertia: &Matrix, force: &Vector, rows: &[Row], guess: &Vector) -> Vector {
    let mut point = *guess;
    for _ in 0..MAX_ITERATIONS {
        let (gradient, hessian) = derivatives(inertia, force, rows, &point);
        let step = solve(hessian, gradient.map(|slope| -slope));
        let slope = inner(&gradient, &step);
        let target: Vector = array::from_fn(|joint| point[joint] + step[joint]);
        let same = |row: &Row| (row.excess(&target) < 0.0) == (row.excess(&point) < 0.0);
        if slope >= 0.0 || rows.iter().all(same) {
            return target;
        }
        let length = line_minimum(slope, inner(&step, &product(inertia, &step)), rows, &point, &step);
        point = array::from_fn(|joint| point[joint] + length * step[joint]);
    }
    point
}

/// Gradient and second derivative of the objective.
fn derivatives(inertia: &Matrix, force: &Vector, rows: &[Row], point: &Vector) -> (Vector, Matrix) {
    let momentum = product(inertia, point);
    let mut gradient = array::from_fn(|joint| momentum[joint] - force[joint]);
    let mut hessian = *inertia;
    for row in rows {
        let excess = row.excess(point);
        if excess < 0.0 {
            for (slope, entry) in gradient.iter_mut().zip(&row.jacobian) {
                *slope += row.stiffness * excess * entry;
            }
            add_outer(&mut hessian, row.stiffness, &row.jacobian);
        }
    }
    (gradient, hessian)
}

/// The length of the step at which the objective is smallest: where its slope, a rising and piecewise linear
/// function, is 0. `slope` is that at 0, `curvature` the part of its rise that the rows have no share in.
fn line_minimum(slope: f64, curvature: f64, rows: &[Row], point: &Vector, step: &Vector) -> f64 {
    let along = |length: f64| {
        let (mut slope, mut rise) = (slope + length * curvature, curvature);
        for row in rows {
            let (start, rate) = (row.excess(point), inner(&row.jacobian, step));
            let end = start + length * rate;
            slope += row.stiffness * rate * (end.min(0.0) - start.min(0.0));
            if end < 0.0 {
                rise += row.stiffness * rate * rate;
            }
        }
        (slope, rise)
    };
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let mut length = 1.0;
    for _ in 0..MAX_ITERATIONS {
        let (at, rise) = along(length);
        if at.abs() <= 1e-12 * slope.abs() {
            break;
        }
        if at < 0.0 {
            low = length;
        } else {
            high = length;
        }
        // Newton's step is exact on the right piece; between the bounds there is always room to bisect.
        let newton = length - at / rise;
        length = if low < newton && newton < high { newton } else { 0.5 * (low + high) };
    }
    length
}

#[cfg(test)]
mod tests {
    use proptest::array::uniform7;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn objective(inertia: &Matrix, force: &Vector, rows: &[Row], point: &Vector) -> f64 {
        let held: f64 = rows.iter().map(|row| row.stiffness * row.excess(point).min(0.0).powi(2)).sum();
        0.5 * inner(point, &product(inertia, point)) - inner(force, point) + 0.5 * held
    }

    fn any_row() -> impl Strategy<Value = Row> {
        (uniform7(-1.0..1.0f64), -50.0..50.0f64, 0.01..100.0f64)
            .prop_map(|(jacobian, target, stiffness)| Row { jacobian, target, stiffness, felt: [0.0; 2] })
    }

    proptest! {
        #[test]
        fn the_minimum_is_stationary_and_lowest(
            columns in uniform7(uniform7(-1.0..1.0f64)),
            force in uniform7(-50.0..50.0f64),
            rows in vec(any_row(), 0..20),
            guess in uniform7(-50.0..50.0f64),
            direction in uniform7(-1.0..1.0f64),
        ) {
            let mut inertia = array::from_fn(|row| array::from_fn(|column| if row == column { 0.1 } else { 0.0 }));
            for column in &columns {
                add_outer(&mut inertia, 1.0, column);
            }
            let minimum = minimise(&inertia, &force, &rows, &guess);
            // M a - f = J' (forces of the rows): Newton's equation, and no force pulls.
            let mut forces = force;
            for row in &rows {
                let push = row.force(&minimum);
                prop_assert!(push >= 0.0);
                for (force, entry) in forces.iter_mut().zip(&row.jacobian) {
                    *force += push * entry;
                }
            }
            let scale = 1.0 + forces.iter().chain(&force).fold(0.0f64, |most, force| most.max(force.abs()));
            for (force, needed) in forces.iter().zip(product(&inertia, &minimum)) {
                prop_assert!((force - needed).abs() < 1e-9 * scale, "{force} {needed}");
            }
            let lowest = objective(&inertia, &force, &rows, &minimum);
            for length in [-1.0, -0.01, 0.01, 1.0] {
                let other = array::from_fn(|joint| minimum[joint] + length * direction[joint]);
                prop_assert!(objective(&inertia, &force, &rows, &other) >= lowest - 1e-9 * lowest.abs());
            }
            // Whatever the guess.
            let again = minimise(&inertia, &force, &rows, &[0.0; 7]);
            for (a, b) in minimum.iter().zip(again) {
                prop_assert!((a - b).abs() < 1e-8 * (1.0 + a.abs()), "{a} {b}");
            }
        }
    }

    #[test]
    fn the_line_search_finds_the_kink() {
        // 1/2 x^2 - 4 x + 1/2 * 10 min(0, 2 - x)^2 has its minimum where x - 4 + 10 (x - 2) = 0.
        let inertia = array::from_fn(|row| array::from_fn(|column| if row == column { 1.0 } else { 0.0 }));
        let mut jacobian = [0.0; 7];
        jacobian[0] = -1.0;
        let row = Row { jacobian, target: -2.0, stiffness: 10.0, felt: [0.0; 2] };
        let force = [4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let minimum = minimise(&inertia, &force, &[row], &[0.0; 7]);
        assert!((minimum[0] - 24.0 / 11.0).abs() < 1e-14, "{minimum:?}");
    }
}
