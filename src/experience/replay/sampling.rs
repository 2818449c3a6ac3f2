//! Batches drawn from the replay.

use burn::tensor::{Device, Tensor};

use super::{Kind, ReplayBuffer};
use crate::checks::{check_any, check_count, check_share};
use crate::error::{Error, Result};
use crate::experience::batch::{Batch, Improved};
use crate::host::tensor;
use crate::rng::Rng;

/// A batch row by row: numbers, and where in the replay the others stand.
#[derive(Default)]
struct Rows {
    taken: Vec<usize>,
    rewards: Vec<f32>,
    discounts: Vec<f32>,
    continued: Vec<f32>,
    next: Vec<usize>,
    improved: Vec<usize>,
    truncated: Vec<usize>,
}

impl ReplayBuffer {
    /// Samples `count` steps uniformly, each with the return over up to `steps` steps from it at this
    /// `discount` γ. If the episode ends sooner, the return is the shorter one.
    ///
    /// # Errors
    /// If `count` or `steps` is 0, the discount lies outside [0, 1], or no step is held.
    pub fn sample_transitions(
        &self,
        count: usize,
        steps: usize,
        discount: f64,
        rng: &mut Rng,
        device: &Device,
    ) -> Result<Batch> {
        check_any("steps", steps as u64)?;
        let mut rows = Rows::default();
        for start in self.sample_steps(count, discount, rng)? {
            self.add_row(&mut rows, start, steps, discount, false);
        }
        Ok(self.batch(1, rows, device))
    }

    /// Samples `count` sequences of `steps` steps, which begin at a step drawn uniformly and go around its
    /// episode: its first step follows on its last one.
    ///
    /// # Errors
    /// If `count` or `steps` is 0, the discount lies outside [0, 1], or no step is held.
    pub fn sample_sequences(
        &self,
        count: usize,
        steps: usize,
        discount: f64,
        rng: &mut Rng,
        device: &Device,
    ) -> Result<Batch> {
        check_any("steps", steps as u64)?;
        check_count("count times steps", count.saturating_mul(steps), 0)?;
        let mut rows = Rows::default();
        for start in self.sample_steps(count, discount, rng)? {
            let (mut position, mut continued) = (start, false);
            for _ in 0..steps {
                let [next, around] = self.add_row(&mut rows, position, 1, discount, continued);
                (position, continued) = (around, around == next);
            }
        }
        Ok(self.batch(steps, rows, device))
    }

    /// Adds the transition over up to `steps` steps from the one at `start`. Where it led to, and where it
    /// leads to around the episode.
    fn add_row(
        &self,
        rows: &mut Rows,
        start: usize,
        steps: usize,
        discount: f64,
        continued: bool,
    ) -> [usize; 2] {
        let (mut next, mut sum, mut factor) = (start, 0.0, 1.0);
        for _ in 0..steps {
            let kind = self.kind(next);
            if kind == Kind::Last {
                break;
            }
            sum += factor * f64::from(self.rewards[next % self.capacity]);
            factor *= if kind == Kind::Terminated { 0.0 } else { discount };
            next = self.following(next);
        }
        let mut around = next;
        if self.kind(next) == Kind::Last {
            around = self.on_the_circle(start, steps);
            if factor > 0.0 {
                rows.truncated.push(rows.taken.len());
            }
        }
        rows.taken.push(start);
        rows.rewards.push(sum as f32);
        rows.discounts.push(factor as f32);
        rows.continued.push(f32::from(u8::from(continued)));
        rows.next.push(next);
        rows.improved.push(around);
        [next, around]
    }

    /// The step `steps` on from the one at `start`, around its episode.
    fn on_the_circle(&self, start: usize, steps: usize) -> usize {
        let mut position = start;
        for made in 1..=steps {
            position = self.following(position);
            if self.kind(position) == Kind::Last {
                position = self.following(position);
            }
            if position == start {
                // Whole turns lead nowhere.
                return self.on_the_circle(start, steps % made);
            }
        }
        position
    }

    /// The numbers of `count` observations that a step follows, drawn uniformly.
    fn sample_steps(&self, count: usize, discount: f64, rng: &mut Rng) -> Result<Vec<usize>> {
        check_count("count", count, 1)?;
        check_share("discount", discount)?;
        if self.steps == 0 {
            return Err(Error::ReplayTooSmall { what: "steps", held: 0, needed: 1 });
        }
        // Nearly every draw is a step while episodes are long. If they are short, the steps are listed
        // instead.
        let held = self.next - self.oldest;
        let is_step = |&position: &usize| self.kind(position) != Kind::Last;
        let mut starts = Vec::with_capacity(count);
        for _ in 0..4 * count {
            starts.extend(Some(self.oldest + rng.index(held)).filter(is_step));
            if starts.len() == count {
                return Ok(starts);
            }
        }
        let all: Vec<usize> = (self.oldest..self.next).filter(is_step).collect();
        starts.resize_with(count, || all[rng.index(all.len())]);
        Ok(starts)
    }

    fn batch(&self, steps: usize, rows: Rows, device: &Device) -> Batch {
        let count = rows.taken.len();
        let numbers = |values| tensor(values, [count], device);
        let observations =
            |positions: &[usize]| self.wide(&self.observations, self.observation_size, positions, device);
        let log_probabilities =
            rows.taken.iter().map(|position| self.log_probabilities[position % self.capacity]).collect();
        Batch {
            steps,
            observations: observations(&rows.taken),
            actions: self.wide(&self.actions, self.action_size, &rows.taken, device),
            rewards: numbers(rows.rewards),
            discounts: numbers(rows.discounts),
            log_probabilities: numbers(log_probabilities),
            continued: numbers(rows.continued),
            next_observations: observations(&rows.next),
            improved: Improved { observations: observations(&rows.improved), truncated: rows.truncated },
        }
    }

    /// What stands in `values`, of this width, at these `positions`, `[positions, width]`.
    fn wide(&self, values: &[f32], width: usize, positions: &[usize], device: &Device) -> Tensor<2> {
        let mut rows = Vec::with_capacity(positions.len() * width);
        for position in positions {
            rows.extend_from_slice(&values[position % self.capacity * width..][..width]);
        }
        tensor(rows, [positions.len(), width], device)
    }
}
