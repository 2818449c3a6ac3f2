//! Several machines. Acting elsewhere than learning: what they say to each other ([`message`], [`part`]),
//! how it gets there ([`network`]), who receives it ([`hub`]) and who sends it ([`collector`]). And
//! gradients from elsewhere: what is said ([`exchanged`]), who takes part in a round ([`assembly`]), the
//! chief ([`leading`]) and its workers ([`following`]).

pub(crate) mod arrivals;
mod assembly;
pub(crate) mod collector;
mod exchanged;
pub(crate) mod following;
pub(crate) mod hub;
pub(crate) mod leading;
pub(crate) mod message;
pub(crate) mod network;
pub(crate) mod part;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::checks::check;
use crate::error::Result;
use crate::exploration::Exploration;
use crate::learner::Learner;
use crate::learner::config::MpoConfig;
use crate::networks::{Actor, Critic};

/// How long collectors wait for an answer.
pub(crate) const ANSWER: std::time::Duration = std::time::Duration::from_secs(3);

/// A number that no other run and no other collector has: it tells them apart, and decides nothing else.
pub(crate) fn unique() -> u64 {
    // The standard library's own random keys, new in each process, and another in each call.
    RandomState::new().hash_one(std::process::id())
}

/// The checksum of what a chief and all its workers have in common: settings, sizes and networks.
fn settings_of<A: Actor, C: Critic>(learner: &Learner<A, C>) -> u32 {
    let own = MpoConfig { batch_size: 1, exploration: Exploration::default(), ..learner.config().clone() };
    let (actor, critic) = (learner.actor(), learner.critic());
    let sizes = [actor.observation_size(), actor.action_size(), actor.num_params(), critic.num_params()];
    // Numbers and names: there is always JSON of them.
    crc32fast::hash(&serde_json::to_vec(&(own, sizes)).unwrap_or_default())
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
