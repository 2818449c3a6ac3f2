//! Algorithm 1's chief, for workers on other machines: [`Chief::lead`].

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::assembly::{Assembly, Exchanges, Gathered};
use super::network::{CONTRIBUTION, Network, PARAMETERS};
use super::{message, settings_of, unique};
use crate::checks::check;
use crate::error::{Error, Result};
use crate::learner::chief::Chief;
use crate::learner::metrics::Metrics;
use crate::networks::{Actor, Critic};

/// How a chief [leads](Chief::lead) its workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeadConfig {
    /// An update begins when at least so many workers have a batch for it. Accepted: 1 to `most_workers`.
    pub workers: usize,
    /// How many workers there may be; others are refused. Accepted: 1 to 4096. The chief holds a message of
    /// each of them, of [`Network::longest_message`] at most.
    pub most_workers: usize,
    /// For how many seconds a round waits for those who have not spoken, in an update's first round after the
    /// first has. It then goes on without them, and they come back with the next update that they are in time
    /// for. So long it also waits, at its end, until all have heard of that. Accepted: above 0.
    pub patience: f64,
    /// How many updates in a row may be given up, as they came to what is not finite, before the chief ends
    /// with the error.
    pub tolerated_refused_updates: u32,
}

impl Default for LeadConfig {
    fn default() -> Self {
        Self { workers: 1, most_workers: 64, patience: 10.0, tolerated_refused_updates: 100 }
    }
}

impl LeadConfig {
    fn validate(&self) -> Result<()> {
        let most = self.most_workers;
        check("LeadConfig::most_workers", most, |most| (1..=4096).contains(most), "1 to 4096")?;
        let workers = |workers: &usize| (1..=most).contains(workers);
        check("LeadConfig::workers", self.workers, workers, "1 to LeadConfig::most_workers")?;
        let seconds = |&seconds: &f64| seconds > 0.0 && seconds < 1e9;
        check("LeadConfig::patience", self.patience, seconds, "above 0, below 1e9")
    }
}

/// What a chief tells while it leads.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum LeadEvent {
    /// A worker is there.
    WorkerJoined {
        /// Its name.
        name: String,
    },
    /// A worker has gone, or has not spoken in time.
    WorkerGone {
        /// Its name.
        name: String,
    },
    /// An update was made.
    Updated(Metrics),
    /// An update was given up: it came to what is not finite, or nobody was left who had begun it.
    Abandoned,
    /// Nothing has happened for a moment.
    Waiting,
}

/// What came of leading.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct LeadSummary {
    /// The updates made.
    pub updates: u64,
    /// The rounds that these, and the updates given up, have taken.
    pub rounds: u64,
    /// The updates that were given up.
    pub abandoned: u64,
    /// Messages refused, each with its reason.
    pub refused: u64,
    /// The bytes of the contributions that came.
    pub bytes_received: u64,
    /// The bytes of the parameters that went out.
    pub bytes_sent: u64,
}

impl<A: Actor, C: Critic> Chief<A, C> {
    /// Leads workers on this network, trainers that [follow](crate::Trainer::follow) it, until `tell`
    /// breaks: Algorithm 1 with all its workers. They may come and go at any time. `tell` hears of every
    /// event, and of [`LeadEvent::Waiting`] now and then while nothing happens.
    ///
    /// An update is made of the batches of those who were there at its beginning, the mean over all rows; the
    /// order of the sums is that of their names. One that does not come back in time, or goes, is left out of
    /// the rounds that follow. Which updates which worker has a part in depends on the clock, and on nothing
    /// else: with one worker the run is that of a trainer alone.
    ///
    /// A chief is saved as [its learner](crate::Learner::save), and goes on as one that is made of that; its
    /// workers follow the new one.
    ///
    /// # Errors
    /// If a setting lies outside its accepted range, the network cannot be opened, a message would be longer
    /// than [`Network::longest_message`], the device or `tell` fails, or updates come to what is not finite
    /// more often in a row than is tolerated. The chief stays as it was after the last whole update.
    pub fn lead(
        &mut self,
        network: &Network,
        config: &LeadConfig,
        mut tell: impl FnMut(&Self, &LeadEvent) -> Result<ControlFlow<()>>,
    ) -> Result<LeadSummary> {
        config.validate()?;
        let complete = self.parameters();
        let needed = 4 * complete.numbers.len() + (1 << 16);
        if needed > network.longest() {
            return Err(Error::Config {
                field: "Network::longest_message",
                value: network.longest().to_string(),
                accepted: "at least 4 bytes for each parameter of both networks and of their targets, and 64 KiB",
            });
        }
        let connection = network.open()?;
        let assembly = Assembly::new(
            [unique(), self.version()],
            settings_of(self.learner()),
            self.learner().rounds(),
            [config.workers, config.most_workers],
            Duration::from_secs_f64(config.patience),
            complete,
        );
        let assembly = Arc::new(assembly);
        let refused = |refused| message::to_bytes(&refused);
        let _watch = {
            let assembly = assembly.clone();
            connection.watch(move |name, alive| {
                if !alive {
                    assembly.gone(name);
                }
            })?
        };
        let _parameters = {
            let assembly = assembly.clone();
            connection
                .serve(PARAMETERS, move |name, bytes| assembly.parameters(name, bytes).map_err(refused))?
        };
        let _contributions = {
            let assembly = assembly.clone();
            connection
                .serve(CONTRIBUTION, move |name, bytes| assembly.contribution(name, bytes).map_err(refused))?
        };
        let led = self.lead_in(&assembly, config, &mut tell);
        // What was under way is not part of what others may go on with.
        let abandoned = self.abandon();
        if abandoned.is_ok() {
            assembly.go_on(self.changes().clone(), self.parameters(), None);
        }
        // While they are still answered.
        assembly.end(Duration::from_secs_f64(config.patience));
        abandoned.and(led)
    }

    fn lead_in(
        &mut self,
        assembly: &Assembly,
        config: &LeadConfig,
        tell: &mut impl FnMut(&Self, &LeadEvent) -> Result<ControlFlow<()>>,
    ) -> Result<LeadSummary> {
        let (mut summary, mut refused_in_a_row) = (LeadSummary::default(), 0);
        loop {
            let mut events: Vec<_> = Vec::new();
            let gathered = assembly.gather(Duration::from_millis(20));
            for (name, came) in assembly.comings() {
                tracing::info!(name, came, "a worker");
                events.push(match came {
                    true => LeadEvent::WorkerJoined { name },
                    false => LeadEvent::WorkerGone { name },
                });
            }
            let applied = match gathered {
                Gathered::NotYet => {
                    events.push(LeadEvent::Waiting);
                    None
                }
                Gathered::Nobody => Some(None),
                Gathered::All(contributions) => {
                    summary.rounds += 1;
                    match self.apply(&contributions) {
                        Ok(metrics) => Some(Some(metrics)),
                        Err(error @ Error::NonFinite { .. }) => {
                            refused_in_a_row += 1;
                            if refused_in_a_row > config.tolerated_refused_updates {
                                return Err(error);
                            }
                            tracing::warn!(%error, "an update was given up");
                            Some(None)
                        }
                        Err(error) => return Err(error),
                    }
                }
            };
            match applied {
                None => {}
                Some(None) => {
                    self.abandon()?;
                    assembly.go_on(self.changes().clone(), self.parameters(), None);
                    summary.abandoned += 1;
                    events.push(LeadEvent::Abandoned);
                }
                Some(Some(metrics)) => {
                    assembly.go_on(self.changes().clone(), self.parameters(), metrics);
                    if let Some(metrics) = metrics {
                        (summary.updates, refused_in_a_row) = (summary.updates + 1, 0);
                        events.push(LeadEvent::Updated(metrics));
                    }
                }
            }
            let Exchanges { refused, received, sent } = assembly.counts();
            (summary.refused, summary.bytes_received, summary.bytes_sent) = (refused, received, sent);
            for event in events {
                if tell(self, &event)?.is_break() {
                    return Ok(summary);
                }
            }
        }
    }
}
