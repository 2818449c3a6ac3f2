//! A whole run in a folder, and the run that goes on from it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::failures::InARow;
use super::run::Run;
use super::state::{Row, State};
use super::{Trainer, TrainerConfig};
use crate::error::{Error, Result};
use crate::experience::replay::ReplayBuffer;
use crate::experience::vector::VectorEnvironment;
use crate::files::file::{self, Kind, Refusal, check_same};
use crate::networks::{Actor, Critic};
use crate::run::observer::Event;

const FILE: Kind = Kind {
    name: "mpo run",
    version: 3,
    accepted: "a run's file of format version 3, which mpo 0.2 writes and reads",
};

/// The files of a checkpoint.
const RUN: &str = "run.mpo";
const AGENT: &str = "agent.mpo";
const REPLAY: &str = "replay.mpo";

/// All of a run but agent and replay.
#[derive(Serialize, Deserialize)]
struct Saved {
    config: TrainerConfig,
    /// All that the agent has made, some perhaps before this run.
    agent_updates: u64,
    /// The observations that the replay had been given.
    observations: usize,
    state: State,
}

/// Where a run goes on: what [`Trainer::resume`] found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Resumed {
    /// The checkpoint loaded; none where there was none yet and the run starts afresh.
    pub checkpoint: Option<PathBuf>,
    /// The environment steps that had been made.
    pub environment_steps: u64,
    /// The step of the latest evaluation that had been made.
    pub evaluated_steps: Option<u64>,
    /// The step of the latest report of metrics that had been made.
    pub reported_steps: Option<u64>,
    /// What was wrong with newer checkpoints, which were set aside.
    pub damaged: Vec<Error>,
}

impl<E: VectorEnvironment, A: Actor, C: Critic> Trainer<E, A, C> {
    /// Saves a checkpoint now, and returns its folder. If [`run`](Trainer::run) has ended, its last
    /// evaluation and report of metrics are part of what is saved; a run that goes on from there learns and
    /// evaluates the same.
    ///
    /// What observers have not heard of, as one of them failed, they are told first; if one fails again, that
    /// is for the next `run` to say, and no part of the checkpoint.
    ///
    /// # Errors
    /// If no folder was named with [`save_into`](Trainer::save_into), it holds checkpoints of another run or
    /// is another trainer's, or a file cannot be written. The run and older checkpoints are as they were.
    pub fn save(&mut self) -> Result<PathBuf> {
        // Those that fail have not heard of it, and `run` tells them again.
        let _ = self.run.tell();
        let path = self.run.write()?;
        let _ = self.run.tell();
        Ok(path)
    }

    /// Goes on from the newest checkpoint in the folder of [`save_into`](Trainer::save_into), as if the run
    /// had never been interrupted; where there is none, the run starts afresh. A damaged checkpoint is
    /// reported and set aside, and the one before it is loaded.
    ///
    /// The agent's settings and networks have to be those of the run saved, and so have the trainer's seed,
    /// replay capacity, warm-up, updates a step and number of rows. How long to run, how often to evaluate,
    /// report and save, and what to tolerate may be new, as may the device. The result is the run that was
    /// interrupted, bit for bit, on the same backend, with an environment that is
    /// [repeatable](crate::Environment::repeatable), or from the end of an episode on. With any other the
    /// resumed run begins a new episode.
    ///
    /// # Errors
    /// If no folder was named, it is another trainer's, no checkpoint can be loaded although there are some,
    /// or the newest one is of another version of the format or of other settings. The trainer then stays as
    /// it was.
    pub fn resume(&mut self) -> Result<Resumed> {
        let resumed = self.run.resume()?;
        // What comes from now on is for the run that was resumed.
        #[cfg(feature = "distributed")]
        if let Some(fleet) = &mut self.fleet {
            fleet.close();
        }
        if resumed.checkpoint.is_some() {
            self.observations.fill(None);
            // In real time the world has moved on.
            if self.environment.repeatable() && self.real_time.is_none() {
                self.play_again();
            }
            for (row, observation) in self.run.state.rows.iter_mut().zip(&self.observations) {
                row.episode = row.episode.filter(|_| observation.is_some());
            }
        }
        Ok(resumed)
    }

    /// Plays the episodes that were interrupted again, up to where they were, all rows at once. Where that is
    /// not to be had, a row stays without one.
    fn play_again(&mut self) {
        let replay = &self.run.replay;
        let rows = self.run.state.rows.iter().enumerate();
        // The episodes, each with the seed it was begun with and what is left to be played of it.
        let mut under_way: Vec<_> = rows
            .filter_map(|(row, Row { episode, .. })| {
                let episode = (*episode)?;
                Some((row, episode.seed, replay.latest(row, episode.steps)?))
            })
            .collect();
        let seeds: Vec<_> = under_way.iter().map(|&(row, seed, _)| (row, seed)).collect();
        let mut seen = if seeds.is_empty() { Vec::new() } else { self.environment.reset(&seeds) };
        while !under_way.is_empty() {
            let mut actions = Vec::new();
            let mut left = Vec::new();
            for ((row, seed, mut played), observation) in under_way.into_iter().zip(seen) {
                match (observation, played.next()) {
                    (Ok(observation), Some((expected, action))) if observation == expected => {
                        if played.len() == 0 {
                            self.observations[row] = Some(observation);
                        } else {
                            actions.push((row, action));
                            left.push((row, seed, played));
                        }
                    }
                    (Err(error), _) => tracing::warn!(row, %error, "not played again: a new episode begins"),
                    _ => tracing::warn!(
                        row,
                        "the environment says it is repeatable, but is not: a new episode begins"
                    ),
                }
            }
            under_way = left;
            let stepped = if actions.is_empty() { Ok(Vec::new()) } else { self.environment.step(&actions) };
            match stepped {
                Ok(steps) => seen = steps.into_iter().map(|step| Ok(step?.observation)).collect(),
                Err(error) => {
                    tracing::warn!(%error, "not played again: new episodes begin");
                    return;
                }
            }
        }
    }
}

impl<A: Actor, C: Critic> Run<A, C> {
    /// Writes a checkpoint, for the observers to be told of.
    fn write(&mut self) -> Result<PathBuf> {
        self.claim_folder()?;
        self.count_seconds();
        let checkpoints = self.checkpoints.as_ref().ok_or(NO_FOLDER)?;
        let started = Instant::now();
        let path = checkpoints.save(self.steps(), |folder| {
            let run = Saved {
                config: self.config.clone(),
                agent_updates: self.agent.updates(),
                observations: self.replay.given(),
                state: self.state.clone(),
            };
            file::write(&folder.join(RUN), &FILE, &run, |_| Ok(()))?;
            self.agent.save(folder.join(AGENT))?;
            self.replay.save(folder.join(REPLAY))
        })?;
        tracing::info!(path = %path.display(), seconds = started.elapsed().as_secs_f64(), "saved");
        (self.saved, self.save_tried) = (Some(self.steps()), self.steps());
        self.push(Event::Saved);
        Ok(path)
    }

    /// Saves a checkpoint if one is due, and tells the observers. One that cannot be written is due again
    /// with the next period, unless that is too often in a row.
    pub fn save_if_due(&mut self) -> Result<()> {
        let period = self.config.checkpoint_period;
        let due = self.events.stop || self.steps() / period > self.save_tried / period;
        if !due || self.is_saved() {
            return Ok(());
        }
        match self.write() {
            Ok(_) => self.failed_saves.end(),
            Err(error @ Error::File { .. }) => {
                self.push(Event::SaveFailed { cause: error.to_string() });
                self.failed_saves.add(error, self.config.tolerated_failed_saves)?;
                self.save_tried = self.steps();
            }
            Err(error) => return Err(error),
        }
        self.tell()
    }

    /// Saves a checkpoint at the end of a run, and tells the observers.
    pub fn save_at_end(&mut self) -> Result<()> {
        if !self.is_saved() {
            self.write()?;
        }
        self.tell()
    }

    /// Whether there is a checkpoint of this step, or no folder for it.
    fn is_saved(&self) -> bool {
        self.checkpoints.is_none() || self.steps() <= self.saved.unwrap_or(0)
    }

    /// See [`Trainer::resume`].
    fn resume(&mut self) -> Result<Resumed> {
        let checkpoints = self.checkpoints.as_mut().ok_or(NO_FOLDER)?;
        checkpoints.lock()?;
        let mut damaged: Vec<(PathBuf, Error)> = Vec::new();
        for (_, path) in checkpoints.list()? {
            match self.restore(&path) {
                Ok(()) => {
                    for (path, error) in &damaged {
                        tracing::warn!(path = %path.display(), %error, "set aside");
                        if let Some(Err(error)) = self.checkpoints.as_ref().map(|all| all.set_aside(path)) {
                            tracing::warn!(%error, "it stays where it is");
                        }
                    }
                    let damaged = damaged.into_iter().map(|(_, error)| error).collect();
                    return Ok(Resumed { checkpoint: Some(path), damaged, ..self.here() });
                }
                Err(error @ Error::Damaged { .. }) => damaged.push((path, error)),
                Err(Error::File { path: file, source }) if source.kind() == ErrorKind::NotFound => {
                    damaged.push((path, Error::File { path: file, source }));
                }
                Err(error) => return Err(error),
            }
        }
        match damaged.into_iter().next() {
            Some((_, error)) => Err(error),
            None => {
                self.saved = Some(0);
                Ok(self.here())
            }
        }
    }

    /// Where the run is.
    fn here(&self) -> Resumed {
        Resumed {
            environment_steps: self.steps(),
            evaluated_steps: self.state.evaluations.last().map(|&(steps, _)| steps),
            reported_steps: self.state.metrics_reported,
            ..Resumed::default()
        }
    }

    /// Makes this run the one in a checkpoint's folder.
    fn restore(&mut self, folder: &Path) -> Result<()> {
        let path = folder.join(RUN);
        let run = file::read(&path, &FILE, |run: Saved, _| {
            let rows = self.state.rows.len();
            check_same(&decisive(&run.config, run.state.rows.len()), &decisive(&self.config, rows))?;
            if run.state.fits(rows) { Ok(run) } else { Err(Refusal::from("a run out of order")) }
        })?;
        let agent = self.agent.restored(&folder.join(AGENT))?;
        let agent = agent.with_action_space(self.agent.policy().action_space().clone())?;
        let replay = ReplayBuffer::load(folder.join(REPLAY))?;
        let sizes =
            |replay: &ReplayBuffer| (replay.capacity(), replay.observation_size(), replay.action_size());
        let belongs = agent.updates() == run.agent_updates
            && replay.given() == run.observations
            && agent.behaviour().rows() == self.state.rows.len();
        if !belongs || sizes(&replay) != sizes(&self.replay) {
            return Err(Error::Damaged { path, damage: "not of the run that its neighbours are of".into() });
        }

        (self.agent, self.replay, self.state) = (agent, replay, run.state);
        #[cfg(feature = "distributed")]
        if !self.collected_here {
            // Whoever acts here goes on in the replay's streams.
            self.state.collected = None;
        }
        (self.saved, self.save_tried) = (Some(self.steps()), self.steps());
        (self.failed_saves, self.ended) = (InARow::default(), None);
        self.events.clear();
        Ok(())
    }

    /// Makes the folder for checkpoints this trainer's, if those in it are this run's.
    pub fn claim_folder(&mut self) -> Result<()> {
        let Some(checkpoints) = &mut self.checkpoints else { return Ok(()) };
        checkpoints.lock()?;
        if self.saved.is_none() && !checkpoints.list()?.is_empty() {
            return Err(Error::Format {
                path: checkpoints.folder().to_owned(),
                found: "a folder with checkpoints of an earlier run".into(),
                accepted: "a folder without checkpoints, or Trainer::resume first",
            });
        }
        Ok(())
    }
}

const NO_FOLDER: Error =
    Error::Order { place: "Trainer::save and resume", expected: "save_into has to come first" };

/// The settings that a run cannot change on the way.
fn decisive(config: &TrainerConfig, rows: usize) -> serde_json::Value {
    serde_json::json!({
        "rows": rows,
        "seed": config.seed,
        "replay_capacity": config.replay_capacity,
        "warm_up_steps": config.warm_up_steps,
        "updates_per_step": config.updates_per_step,
    })
}
