//! How acting kept up with the clock, and learning with acting: [`Timing`].

use std::time::Duration;

use serde::Serialize;

/// How acting kept up with the clock, and learning with acting, in a run in
/// [real time](crate::Trainer::in_real_time).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct Timing {
    /// The steps made, those of all rows at a time counted as one.
    pub steps: u64,
    /// Those whose actions came later after their observations than
    /// [`RealTime::late`](crate::RealTime::late).
    pub late_steps: u64,
    /// The seconds from observations to their actions: 99 of 100 steps took no longer, to within a tenth.
    pub reaction_p99: f64,
    /// The longest of these, in seconds.
    pub reaction_max: f64,
    /// The mean number of updates that the learner had made beyond the policy that was acted by.
    pub policy_age_updates: f64,
    /// The mean age of the policy that was acted by, in seconds.
    pub policy_age_seconds: f64,
    /// The environment steps that learning is behind: those whose updates, at the ratio asked for, are still
    /// to be made.
    pub steps_behind: f64,
    /// Environment steps that were made but not learnt from, as the queue was full.
    pub lost_steps: u64,
}

/// Of one step in all rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reaction {
    /// From the observations to their actions.
    pub delay: Duration,
    pub age_updates: u64,
    pub age: Duration,
}

/// Eighths of an octave, from a microsecond to half an hour.
const BUCKETS: usize = 8 * 31;

/// The reactions of a time.
#[derive(Debug, Clone)]
pub(crate) struct Reactions {
    /// From when on a step is late.
    late: Duration,
    counts: Vec<u64>,
    sums: Timing,
}

impl Reactions {
    pub fn new(late: Duration) -> Self {
        Self { late, counts: vec![0; BUCKETS], sums: Timing::default() }
    }

    /// None yet.
    pub fn anew(&self) -> Self {
        Self::new(self.late)
    }

    pub fn add(&mut self, Reaction { delay, age_updates, age }: Reaction) {
        let seconds = delay.as_secs_f64();
        let bucket = (8.0 * (seconds * 1e6).max(1.0).log2()).ceil() as usize;
        self.counts[bucket.min(BUCKETS - 1)] += 1;
        self.sums.steps += 1;
        self.sums.late_steps += u64::from(delay > self.late);
        self.sums.reaction_max = self.sums.reaction_max.max(seconds);
        self.sums.policy_age_updates += age_updates as f64;
        self.sums.policy_age_seconds += age.as_secs_f64();
    }

    pub fn lose(&mut self, steps: u64) {
        self.sums.lost_steps += steps;
    }

    /// What they come to; none without a step.
    pub fn timing(&self, steps_behind: f64) -> Option<Timing> {
        let Timing { steps, reaction_max, policy_age_updates, policy_age_seconds, .. } = self.sums;
        let mut up_to = 0;
        let bucket = self.counts.iter().position(|count| {
            up_to += count;
            100 * up_to >= 99 * steps
        })?;
        (steps > 0).then(|| Timing {
            reaction_p99: (1e-6 * (bucket as f64 / 8.0).exp2()).min(reaction_max),
            policy_age_updates: policy_age_updates / steps as f64,
            policy_age_seconds: policy_age_seconds / steps as f64,
            steps_behind,
            ..self.sums
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_percentile_is_that_of_the_delays() {
        let mut reactions = Reactions::new(Duration::from_millis(1));
        assert_eq!(reactions.timing(0.0), None);
        for index in 0..1000 {
            let delay = Duration::from_micros(if index < 985 { 100 } else { 5000 + index });
            reactions.add(Reaction { delay, age_updates: 2, age: Duration::from_millis(index % 2) });
        }
        reactions.lose(3);
        let timing = reactions.timing(7.5).unwrap();
        assert_eq!((timing.steps, timing.late_steps, timing.lost_steps), (1000, 15, 3));
        assert!((5.9e-3..6.6e-3).contains(&timing.reaction_p99), "{timing:?}");
        assert_eq!(
            (timing.reaction_max, timing.policy_age_updates, timing.steps_behind),
            (5.999e-3, 2.0, 7.5)
        );
        assert!((timing.policy_age_seconds - 0.5e-3).abs() < 1e-12);
        let mut one = Reactions::new(Duration::ZERO);
        one.add(Reaction { delay: Duration::from_secs(7200), age_updates: 0, age: Duration::ZERO });
        assert_eq!(one.timing(0.0).unwrap().late_steps, 1);
    }
}
