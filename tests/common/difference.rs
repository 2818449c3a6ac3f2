//! How far two vectors are apart.

/// The largest difference of two numbers at the same place; NaN where there is one.
pub fn largest_difference<T: Copy + Into<f64>>(a: &[T], b: &[T]) -> f64 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(&a, &b)| (a.into() - b.into()).abs());
    // `f64::max` would hide NaN.
    differences.fold(0.0, |a, b| if b > a || b.is_nan() { b } else { a })
}
