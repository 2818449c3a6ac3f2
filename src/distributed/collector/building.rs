//! The part that is being made of what happens.

use std::time::Instant;

use super::sending::Fetched;
use crate::acting::Happening;
use crate::distributed::part::Continued;
use crate::networks::Actor;

/// What happened since the latest part, without the words on which part it is.
pub(super) struct Piece {
    pub continued: Vec<Continued>,
    pub happened: Vec<Happening>,
    pub version: u64,
    pub steps: u64,
    pub steps_before: u64,
    pub late_steps: u64,
    /// When its first step was made.
    pub since: Instant,
    pub rows: usize,
}

/// What happens, until it is taken as a piece.
pub(super) struct Building {
    piece: Piece,
    /// Of the policy that is acted by.
    pub version: u64,
    /// The episodes under way: the latest observation and the sum of the rewards.
    under_way: Vec<Option<(Vec<f32>, f64)>>,
    late: u64,
    parts: u64,
}

impl Building {
    pub fn new<A: Actor>(first: &Fetched<A>, rows: usize) -> Self {
        let version = first.version;
        let under_way = vec![None; rows];
        Self { piece: anew(&under_way, version, 0), version, under_way, late: 0, parts: 0 }
    }

    /// Adds what happened in a round.
    pub fn add(&mut self, happened: Vec<Happening>, late: bool) {
        let before = self.piece.steps;
        for event in &happened {
            match event {
                Happening::Began { row, observation, .. } => {
                    self.under_way[*row] = Some((observation.clone(), 0.0));
                }
                Happening::Stepped { row, step, .. } => {
                    if self.piece.steps == 0 {
                        (self.piece.since, self.piece.version) = (Instant::now(), self.version);
                    }
                    self.piece.steps += 1;
                    let sum = self.under_way[*row].as_ref().map_or(0.0, |(_, sum)| *sum);
                    let sum = sum + f64::from(step.reward);
                    self.under_way[*row] = (!step.is_last()).then(|| (step.observation.clone(), sum));
                }
                Happening::Failed { row, .. } => self.under_way[*row] = None,
            }
        }
        if late {
            let steps = self.piece.steps - before;
            self.piece.late_steps += steps;
            self.late += steps;
        }
        self.piece.happened.extend(happened);
    }

    /// What happened; none if nothing did.
    pub fn take(&mut self) -> Option<Piece> {
        if self.piece.happened.is_empty() {
            return None;
        }
        self.parts += 1;
        let next = anew(&self.under_way, self.version, self.made());
        Some(std::mem::replace(&mut self.piece, next))
    }

    /// The steps of the piece.
    pub fn steps(&self) -> u64 {
        self.piece.steps
    }

    /// The steps made in all.
    pub fn made(&self) -> u64 {
        self.piece.steps_before + self.piece.steps
    }

    /// The steps of them that were late.
    pub fn late(&self) -> u64 {
        self.late
    }

    pub fn parts(&self) -> u64 {
        self.parts
    }
}

/// A piece in which nothing has happened.
fn anew(under_way: &[Option<(Vec<f32>, f64)>], version: u64, steps_before: u64) -> Piece {
    let going_on = |(row, episode): (usize, &Option<(Vec<f32>, f64)>)| {
        let (observation, sum) = episode.clone()?;
        Some(Continued { row, sum, observation })
    };
    Piece {
        continued: under_way.iter().enumerate().filter_map(going_on).collect(),
        happened: Vec::new(),
        version,
        steps: 0,
        steps_before,
        late_steps: 0,
        since: Instant::now(),
        rows: under_way.len(),
    }
}
