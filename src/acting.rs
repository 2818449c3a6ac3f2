//! What acts in the rows of an environment, and what happens there.

use crate::behaviour::Behaviour;
use crate::error::{Error, Result};
use crate::experience::action::Action;
use crate::experience::checked::Checked;
use crate::experience::environment::Step;
use crate::experience::vector::VectorEnvironment;
use crate::networks::Actor;
use crate::rng::{Rng, Stream};

/// What happened in a row, for whoever learns from it.
#[derive(Debug)]
pub(crate) enum Happening {
    /// An episode began, with this seed.
    Began { row: usize, seed: u64, observation: Vec<f32> },
    /// A step was made.
    Stepped { row: usize, action: Action, step: Step },
    /// The environment failed: the row is without an episode.
    Failed { row: usize, error: Error },
}

/// Steps made by the behaviour policy, all rows at once.
pub(crate) struct Acting<'a, E, A: Actor> {
    pub environment: &'a mut Checked<E>,
    pub behaviour: &'a mut Behaviour<A>,
    /// Of the episodes of each row.
    pub seeds: &'a mut [Rng],
    /// The latest of each row; none between episodes.
    pub observations: &'a mut [Option<Vec<f32>>],
}

impl<E: VectorEnvironment, A: Actor> Acting<'_, E, A> {
    /// Begins an episode in each row that is without one, then makes a step in each row that is not, and adds
    /// what happened: failures last, so that all that was stored of the others comes before.
    ///
    /// # Errors
    /// If the policy's action is refused: all episodes under way are left then.
    pub fn round(&mut self, happened: &mut Vec<Happening>) -> Result<()> {
        let mut failed = self.begin_episodes(happened);
        let made = self.step(happened, &mut failed);
        happened.append(&mut failed);
        made
    }

    /// One try for each row; what failed.
    fn begin_episodes(&mut self, happened: &mut Vec<Happening>) -> Vec<Happening> {
        let between = |&row: &usize| self.observations[row].is_none();
        let rows: Vec<usize> = (0..self.observations.len()).filter(between).collect();
        if rows.is_empty() {
            return Vec::new();
        }
        let seeds: Vec<_> = rows.into_iter().map(|row| (row, self.seeds[row].next_seed())).collect();
        let mut failed = Vec::new();
        for ((row, seed), began) in seeds.iter().copied().zip(self.environment.reset(&seeds)) {
            match began.and_then(|observation| self.behaviour.reset_row(row).map(|()| observation)) {
                Ok(observation) => {
                    self.observations[row] = Some(observation.clone());
                    happened.push(Happening::Began { row, seed, observation });
                }
                Err(error) => failed.push(Happening::Failed { row, error }),
            }
        }
        failed
    }

    fn step(&mut self, happened: &mut Vec<Happening>, failed: &mut Vec<Happening>) -> Result<()> {
        // Until the step is made, an error leaves no episode under way.
        let taken = self.observations.iter_mut().map(Option::take).enumerate();
        let observations: Vec<_> = taken.filter_map(|(row, taken)| Some((row, taken?))).collect();
        if observations.is_empty() {
            return Ok(());
        }
        let seen: Vec<_> = observations.iter().map(|(row, seen)| (*row, seen.as_slice())).collect();
        let actions = self.behaviour.act_in_rows(&seen)?;
        let rows = observations.iter().map(|&(row, _)| row);
        let asked: Vec<_> = rows.clone().zip(actions.iter().map(|action| action.values.as_slice())).collect();
        let steps = self.environment.step(&asked)?;
        for ((row, action), step) in rows.zip(actions).zip(steps) {
            match step {
                Ok(step) => {
                    self.observations[row] = (!step.is_last()).then(|| step.observation.clone());
                    happened.push(Happening::Stepped { row, action, step });
                }
                Err(error) => failed.push(Happening::Failed { row, error }),
            }
        }
        Ok(())
    }
}

/// The seeds of the episodes of so many rows.
pub(crate) fn episode_seeds(seed: u64, rows: usize) -> Vec<Rng> {
    let mut seeds = vec![Rng::stream(seed, Stream::Episodes)];
    // From a copy: the first row's own seeds are those of a run in it alone.
    let mut others = seeds[0].clone();
    seeds.resize_with(rows, || others.split());
    seeds
}

/// The updates that are due after so many steps.
pub(crate) fn updates_due(steps: u64, warm_up_steps: u64, updates_per_step: f64) -> u64 {
    (steps.saturating_sub(warm_up_steps) as f64 * updates_per_step) as u64
}
