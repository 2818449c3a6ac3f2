//! What collectors ask and the learner answers, apart from experience itself.

use std::io::Cursor;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::exploration::Exploration;
use crate::files::file::{self, Kind, Refusal};

/// What a collector is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Go {
    /// Act.
    On,
    /// Begin no episode for now.
    Wait,
    /// The run is over.
    Stop,
}

/// The answer to experience, and part of that to a question for the policy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    pub run: u64,
    /// The sequence that is expected next of this instance: all before it is stored, or lost for good.
    pub next: u64,
    /// The newest policy's.
    pub version: u64,
    pub go: Go,
}

/// A question for the policy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    pub format: u32,
    /// Of the policy that the collector has, if it has one.
    pub version: Option<u64>,
}

/// The format that all messages of this version of the library are in.
pub(crate) const FORMAT: u32 = 1;

/// No question and no receipt is longer.
const LONGEST: usize = 2048;

/// Why a message is not taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Refused {
    pub reason: String,
    /// Whether another copy of the same message may be taken: it was damaged on its way.
    pub again: bool,
}

impl Refused {
    pub fn new(reason: impl Into<String>) -> Self {
        // A refusal is a short message itself.
        Self { reason: reason.into().chars().take(LONGEST / 8).collect(), again: false }
    }

    pub fn of(refusal: Refusal) -> Self {
        let again = matches!(refusal, Refusal::Damaged(_));
        Self { again, ..Self::new(refusal.in_words()) }
    }
}

/// The bytes of a short message: a checksum, then JSON.
pub(crate) fn to_bytes(message: &impl Serialize) -> Vec<u8> {
    // Numbers and texts: there is always JSON of them.
    let json = serde_json::to_vec(message).unwrap_or_default();
    [&crc32fast::hash(&json).to_le_bytes(), json.as_slice()].concat()
}

/// A short message of its bytes.
pub(crate) fn of_bytes<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, Refused> {
    if bytes.len() > LONGEST {
        let found = bytes.len();
        return Err(Refused::new(format!("a short message of {found} bytes, accepted: up to {LONGEST}")));
    }
    let damaged = |reason: String| Refused { reason, again: true };
    let (checksum, json) = bytes.split_first_chunk().ok_or_else(|| damaged("cut short".into()))?;
    if u32::from_le_bytes(*checksum) != crc32fast::hash(json) {
        return Err(damaged("its checksum does not fit".into()));
    }
    serde_json::from_slice(json).map_err(|error| Refused::new(error.to_string()))
}

const SNAPSHOT: Kind = Kind {
    name: "mpo snapshot",
    version: FORMAT,
    accepted: "a policy of format version 1, which mpo 0.2 sends and takes: let all run the same version",
};

/// How a policy is explored with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Exploring {
    pub exploration: Exploration,
    pub informed: f64,
    /// The bytes of the policy, which follow.
    pub bytes: usize,
}

/// The answer to a question for the policy: how things stand, and the policy if there is a newer one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    #[serde(flatten)]
    pub receipt: Receipt,
    pub exploring: Option<Exploring>,
}

impl Snapshot {
    pub fn to_bytes(&self, policy: &[u8]) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(policy.len() + 512);
        let written = file::write_to(&mut bytes, &SNAPSHOT, self, |output| output.bytes(policy));
        written.map_err(|source| Error::File { path: "a policy in memory".into(), source })?;
        Ok(bytes)
    }

    pub fn of_bytes(bytes: &[u8]) -> Result<(Self, Vec<u8>), Refused> {
        let parsed = file::parse(&mut Cursor::new(bytes), &SNAPSHOT, |snapshot: Self, input| {
            let policy = match &snapshot.exploring {
                Some(exploring) if !(0.0..=1.0).contains(&exploring.informed) => {
                    return Err(format!("a share of informed E-steps of {}", exploring.informed).into());
                }
                Some(exploring) => input.bytes(exploring.bytes)?,
                None => Vec::new(),
            };
            Ok((snapshot, policy))
        });
        parsed.map_err(Refused::of)
    }
}
