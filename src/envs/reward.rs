//! The building block of the Control Suite's rewards.

use std::ops::RangeInclusive;

/// How [`tolerance`] falls off outside its bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Falloff {
    /// A bell curve, 0.1 at the margin and never quite 0.
    Gaussian,
    /// A straight line, 0.5 at the margin and 0 from twice the margin on.
    Linear,
    /// A parabola, 0 from the margin on.
    Quadratic,
}

/// How well `x` keeps to `bounds`: 1 inside, less the farther it is outside of them in units of `margin`.
#[inline]
pub(super) fn tolerance(x: f64, bounds: RangeInclusive<f64>, margin: f64, falloff: Falloff) -> f64 {
    if bounds.contains(&x) {
        return 1.0;
    }
    let outside = if x < *bounds.start() { bounds.start() - x } else { x - bounds.end() };
    let distance = outside / margin;
    match falloff {
        Falloff::Gaussian => (0.1f64.ln() * distance * distance).exp(),
        Falloff::Linear => (1.0 - 0.5 * distance).max(0.0),
        Falloff::Quadratic => (1.0 - distance * distance).max(0.0),
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    #[test]
    fn tolerance_is_one_inside_its_bounds() {
        for falloff in [Falloff::Gaussian, Falloff::Linear, Falloff::Quadratic] {
            for x in [-1.0, 0.3, 2.0] {
                assert_eq!(tolerance(x, -1.0..=2.0, 0.5, falloff), 1.0);
            }
        }
        assert_eq!(tolerance(1e300, 2.0..=f64::INFINITY, 1.0, Falloff::Gaussian), 1.0);
    }

    #[test]
    fn gaussian_tolerance_has_its_closed_form() {
        let value = |x| tolerance(x, -1.0..=2.0, 0.5, Falloff::Gaussian);
        // 10^-(d^2) for a value of 0.1 at the margin, on either side.
        for x in [2.5, -1.5] {
            assert_relative_eq!(value(x), 0.1, max_relative = 1e-14);
        }
        for x in [2.25, -1.25] {
            assert_relative_eq!(value(x), 0.562_341_325_190_349_1, max_relative = 1e-14);
        }
        for x in [3.0, -2.0] {
            assert_relative_eq!(value(x), 1e-4, max_relative = 1e-14);
        }
    }

    #[test]
    fn linear_tolerance_has_its_closed_form() {
        // The hopper's wish for speed: half of it at 1 m/s below the bound, nothing at 2 m/s below.
        let value = |x| tolerance(x, 2.0..=f64::INFINITY, 1.0, Falloff::Linear);
        for (x, expected) in
            [(1.5, 0.75), (1.0, 0.5), (0.25, 0.125), (0.0, 0.0), (-1.0, 0.0), (f64::MIN, 0.0)]
        {
            assert_eq!(value(x), expected);
        }
    }

    #[test]
    fn quadratic_tolerance_has_its_closed_form() {
        let value = |x| tolerance(x, 0.0..=0.0, 2.0, Falloff::Quadratic);
        for sign in [-1.0, 1.0] {
            assert_eq!(value(sign), 0.75);
            // The parabola has passed 0 and stays there.
            for x in [2.0, 2.3, f64::MAX] {
                assert_eq!(value(x * sign), 0.0);
            }
        }
    }
}
