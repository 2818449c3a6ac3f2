//! What a chief and its workers say to each other: parameters, and contributions to a round.

use std::io::Cursor;

use serde::{Deserialize, Serialize};

use super::message::{FORMAT, Go, Refused};
use crate::files::file::{self, Kind, Refusal};
use crate::learner::exchange::{Contribution, ContributionHeader, ParametersHeader, SharedParameters};
use crate::learner::metrics::{MeanMetrics, Metrics};

const PARAMETERS: Kind = Kind {
    name: "mpo parameters",
    version: FORMAT,
    accepted: "parameters of format version 1, which mpo 0.2 sends and takes: let all run the same version",
};

const CONTRIBUTION: Kind = Kind {
    name: "mpo contribution",
    version: FORMAT,
    accepted: "a contribution of format version 1, which mpo 0.2 sends and takes: let all run the same version",
};

/// A worker's question for parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    pub format: u32,
    /// The checksum of the settings that all have to share.
    pub settings: u32,
    /// Tells it from others of its name.
    pub instance: u64,
    /// The chief's run and the version in it that the worker has, if it has one.
    pub has: Option<(u64, u64)>,
    /// It goes, and asks for nothing.
    pub leaves: bool,
}

/// The answer to a contribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Taken {
    pub go: Go,
}

/// The answer to a question for parameters: how things stand, and parameters if there are newer ones.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Standing {
    pub run: u64,
    pub go: Go,
    /// What was measured of the latest whole update.
    pub metrics: Option<Metrics>,
}

#[derive(Serialize, Deserialize)]
struct StandingHeader {
    run: u64,
    go: Go,
    /// As a mean of one: measures may be infinite, which JSON cannot say.
    metrics: MeanMetrics,
    parameters: Option<ParametersHeader>,
    numbers: usize,
}

impl Standing {
    pub fn to_bytes(&self, parameters: Option<&SharedParameters>) -> Vec<u8> {
        let numbers = parameters.map_or(&[][..], |parameters| &parameters.numbers);
        let mut metrics = MeanMetrics::default();
        self.metrics.iter().for_each(|measured| metrics.add(measured));
        let header = StandingHeader {
            run: self.run,
            go: self.go,
            metrics,
            parameters: parameters.map(|parameters| parameters.header.clone()),
            numbers: numbers.len(),
        };
        written(&PARAMETERS, &header, numbers)
    }

    pub fn of_bytes(bytes: &[u8]) -> Result<(Self, Option<SharedParameters>), Refused> {
        let parsed = file::parse(&mut Cursor::new(bytes), &PARAMETERS, |header: StandingHeader, input| {
            let StandingHeader { run, go, mut metrics, parameters, numbers } = header;
            let numbers = input.floats(numbers)?;
            let parameters = parameters.map(|header| SharedParameters { header, numbers });
            Ok((Self { run, go, metrics: metrics.take() }, parameters))
        });
        parsed.map_err(Refused::of)
    }
}

#[derive(Serialize, Deserialize)]
struct ContributionMessage {
    run: u64,
    worker: String,
    instance: u64,
    contribution: ContributionHeader,
    numbers: usize,
}

/// The bytes of a contribution to a run.
pub(crate) fn contribution_bytes(
    contribution: &Contribution,
    run: u64,
    worker: &str,
    instance: u64,
) -> Vec<u8> {
    let Contribution { header, numbers } = contribution;
    let message = ContributionMessage {
        run,
        worker: worker.into(),
        instance,
        contribution: header.clone(),
        numbers: numbers.len(),
    };
    written(&CONTRIBUTION, &message, numbers)
}

/// The contribution of these bytes and whose it is, if it is one by this name to this run: whole and finite.
pub(crate) fn contribution_of(bytes: &[u8], run: u64, name: &str) -> Result<(u64, Contribution), Refused> {
    let parsed =
        file::parse(&mut Cursor::new(bytes), &CONTRIBUTION, |message: ContributionMessage, input| {
            let ContributionMessage { run: of, worker, instance, contribution: header, numbers } = message;
            if of != run {
                let found = format!("a contribution to the run {of:x}");
                return Err(Refusal::Other(found, "to that of the chief"));
            }
            if worker != name {
                // The address has no checksum.
                return Err("a contribution in the name of another worker".into());
            }
            Ok((instance, Contribution { header, numbers: input.floats(numbers)? }))
        });
    parsed.map_err(Refused::of)
}

fn written(kind: &Kind, header: &impl Serialize, numbers: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2048 + 4 * numbers.len());
    // Writing to memory does not fail.
    let _ = file::write_to(&mut bytes, kind, header, |output| output.floats(numbers));
    bytes
}
