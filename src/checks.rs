//! Checks of what a caller gives, each with an error that names it.

use crate::error::{Error, Result};

/// Checks that `value` satisfies `accepts`, and names the field where it does not.
pub(crate) fn check<T: std::fmt::Debug>(
    field: &'static str,
    value: T,
    accepts: impl FnOnce(&T) -> bool,
    accepted: &'static str,
) -> Result<()> {
    if accepts(&value) {
        return Ok(());
    }
    Err(Error::Config { field, value: format!("{value:?}"), accepted })
}

/// Checks a number above 0.
pub(crate) fn check_positive(field: &'static str, value: f64) -> Result<()> {
    check(field, value, |&value| value > 0.0 && value.is_finite(), "a positive, finite number")
}

/// Checks a number of 0 or more.
pub(crate) fn check_not_negative(field: &'static str, value: f64) -> Result<()> {
    check(field, value, |&value| value >= 0.0 && value.is_finite(), "0 or more, finite")
}

/// Checks a share, probability or discount.
pub(crate) fn check_share(field: &'static str, value: f64) -> Result<()> {
    check(field, value, |value| (0.0..=1.0).contains(value), "0 to 1")
}

/// Checks a number of which there has to be one.
pub(crate) fn check_any(field: &'static str, count: u64) -> Result<()> {
    check(field, count, |&count| count > 0, "at least 1")
}

/// Checks a size of which memory is asked for: a number of any size would end the process.
pub(crate) fn check_count(field: &'static str, count: usize, least: usize) -> Result<()> {
    const MOST: usize = 1 << 24;
    if (least..=MOST).contains(&count) {
        return Ok(());
    }
    let accepted = if count < least && least == 2 { "at least 2" } else { "at least 1" };
    let accepted = if count > MOST { "at most 16777216" } else { accepted };
    Err(Error::Config { field, value: count.to_string(), accepted })
}

/// Checks that a vector has the expected length.
pub(crate) fn check_size(place: &'static str, size: usize, expected: usize) -> Result<()> {
    if size == expected {
        return Ok(());
    }
    Err(Error::Size { place, size, expected })
}

/// Checks that every number is finite.
pub(crate) fn check_finite(place: &'static str, values: &[f32]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Error::NonFinite { place, index, value: values[index].into() }),
    }
}

/// Checks that a reward is finite, and so small that values and their squares are numbers in single
/// precision.
pub(crate) fn check_reward(reward: f32) -> Result<()> {
    const LARGEST: f32 = 1e12;
    check_finite("reward", &[reward])?;
    if reward.abs() <= LARGEST {
        return Ok(());
    }
    Err(Error::Range { place: "reward", value: reward.into(), accepted: "-1e12 to 1e12" })
}

/// Checks a tensor's shape, in which no size may be 0.
pub(crate) fn check_shape(place: &'static str, shape: &[usize], expected: &[usize]) -> Result<()> {
    if shape == expected && !shape.contains(&0) {
        return Ok(());
    }
    Err(Error::Shape { place, shape: shape.to_vec(), expected: format!("{expected:?}, none of them 0") })
}
