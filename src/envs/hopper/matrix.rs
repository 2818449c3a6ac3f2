//! The little linear algebra of the hopper, on arrays.

use std::array;

use super::model::JOINTS;

/// A number for each joint.
pub(super) type Vector = [f64; JOINTS];
/// A symmetric matrix over the joints.
pub(super) type Matrix = [Vector; JOINTS];

pub(super) fn inner(a: &Vector, b: &Vector) -> f64 {
    (0..JOINTS).map(|joint| a[joint] * b[joint]).sum()
}

pub(super) fn product(matrix: &Matrix, vector: &Vector) -> Vector {
    array::from_fn(|row| inner(&matrix[row], vector))
}

/// Adds `scale * vector vector'`.
pub(super) fn add_outer(matrix: &mut Matrix, scale: f64, vector: &Vector) {
    for (row, &factor) in matrix.iter_mut().zip(vector) {
        let factor = scale * factor;
        for (entry, &other) in row.iter_mut().zip(vector) {
            *entry += factor * other;
        }
    }
}

/// The x with `matrix x = right`, for a positive definite matrix, by Cholesky's factors L D L'.
pub(super) fn solve(mut matrix: Matrix, mut right: Vector) -> Vector {
    let mut inverse = [0.0; JOINTS];
    for pivot in 0..JOINTS {
        inverse[pivot] = 1.0 / matrix[pivot][pivot];
        let pivot_row = matrix[pivot];
        for row in pivot + 1..JOINTS {
            let factor = pivot_row[row] * inverse[pivot];
            for column in row..JOINTS {
                matrix[row][column] -= factor * pivot_row[column];
            }
            right[row] -= factor * right[pivot];
        }
    }
    for row in (0..JOINTS).rev() {
        let known: f64 = (row + 1..JOINTS).map(|column| matrix[row][column] * right[column]).sum();
        right[row] = (right[row] - known) * inverse[row];
    }
    right
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use proptest::array::uniform7;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn solve_inverts_the_product(columns in uniform7(uniform7(-1.0..1.0f64)), expected in uniform7(-1.0..1.0f64)) {
            let mut matrix = array::from_fn(|row| array::from_fn(|column| if row == column { 0.5 } else { 0.0 }));
            for column in &columns {
                add_outer(&mut matrix, 2.0, column);
            }
            let solution = solve(matrix, product(&matrix, &expected));
            assert_abs_diff_eq!(solution[..], expected[..], epsilon = 1e-11);
        }
    }
}
