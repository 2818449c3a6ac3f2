//! Acting on other machines than learning: what they say to each other ([`message`], [`part`]), how it gets
//! there ([`network`]), who receives it ([`hub`]) and who sends it ([`collector`]).

pub(crate) mod arrivals;
pub(crate) mod collector;
pub(crate) mod hub;
pub(crate) mod message;
pub(crate) mod network;
pub(crate) mod part;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::checks::check;
use crate::error::Result;

/// How long collectors wait for an answer.
pub(crate) const ANSWER: std::time::Duration = std::time::Duration::from_secs(3);

/// A number that no other run and no other collector has: it tells them apart, and decides nothing else.
pub(crate) fn unique() -> u64 {
    // The standard library's own random keys, new in each process, and another in each call.
    RandomState::new().hash_one(std::process::id())
}

/// Checks a name that becomes part of an address.
pub(crate) fn check_name(field: &'static str, name: &str) -> Result<()> {
    let accepted = "1 to 64 letters, digits, '-', '_' and '.', of ASCII";
    check(field, name, |name| is_name(name), accepted)
}

pub(crate) fn is_name(name: &str) -> bool {
    let accepted = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(accepted)
}
