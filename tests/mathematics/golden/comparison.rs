//! Comparing vectors.

use std::collections::BTreeMap;

/// Compares measured with expected values and keeps the largest deviation of each kind.
#[derive(Debug)]
pub struct Comparison {
    tolerance: f64,
    largest: BTreeMap<&'static str, f64>,
}

impl Comparison {
    /// Accepts deviations up to `tolerance`, in units of the largest expected value.
    pub fn new(tolerance: f64) -> Self {
        let largest = BTreeMap::new();
        Self { tolerance, largest }
    }

    /// Fails where a value is off by more than the tolerance.
    pub fn check(&mut self, kind: &'static str, measured: &[f64], expected: &[f64]) {
        assert_eq!(measured.len(), expected.len(), "{kind}");
        assert!(!expected.is_empty(), "{kind}: nothing to compare");
        // Against 0 only the absolute error has a meaning.
        let scale = expected.iter().fold(1e-6_f64, |scale, value| scale.max(value.abs()));
        for (index, (a, b)) in measured.iter().zip(expected).enumerate() {
            let deviation = (a - b).abs() / scale;
            // Written so that NaN fails.
            assert!(
                deviation <= self.tolerance,
                "{kind}, value {index}: {a:e} in place of {b:e}, {deviation:e} of {scale:e}"
            );
            let largest = self.largest.entry(kind).or_default();
            *largest = largest.max(deviation);
        }
    }
}
