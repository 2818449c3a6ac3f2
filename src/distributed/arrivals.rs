//! What came from collectors, and how old it was: [`Arrivals`].

use serde::{Deserialize, Serialize};

/// What a run has had from its [collectors](crate::Trainer::from_collectors), and how old it was when it was
/// stored.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Arrivals {
    /// How many collectors there are now.
    pub collectors: u64,
    /// The environment steps stored.
    pub steps: u64,
    /// The parts that they came in.
    pub parts: u64,
    /// The bytes of these.
    pub bytes: u64,
    /// The steps of whose loss the learner knows: they were made, and later parts came without them.
    pub lost_steps: u64,
    /// The parts that these were in.
    pub lost_parts: u64,
    /// Parts that came once more, and were not stored again.
    pub duplicates: u64,
    /// Messages refused, each with its reason, and not stored.
    pub refused: u64,
    /// Parts that were sent back for later, as the queue was full or the run did not go on.
    pub postponed: u64,
    /// The steps whose action came late, as the collectors say.
    pub late_steps: u64,
    /// The mean number of updates that the learner had made beyond the policy that a step was made by.
    pub policy_lag_updates: f64,
    /// The largest such number.
    pub policy_lag_max: u64,
    /// The mean number of seconds from a part's first step to its storing, without the time on the wire.
    pub experience_age_seconds: f64,
    /// The largest such number.
    pub experience_age_max: f64,
}

/// The sums that [`Arrivals`] are made of.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Sums(Arrivals);

impl Sums {
    /// Counts a part that was stored.
    pub fn add(&mut self, steps: u64, bytes: usize, lag: u64, age: f64, late_steps: u64) {
        let sums = &mut self.0;
        sums.steps += steps;
        sums.parts += 1;
        sums.bytes += bytes as u64;
        sums.late_steps += late_steps;
        sums.policy_lag_updates += (lag * steps) as f64;
        sums.policy_lag_max = sums.policy_lag_max.max(lag);
        sums.experience_age_seconds += age;
        sums.experience_age_max = sums.experience_age_max.max(age);
    }

    pub fn lose(&mut self, parts: u64, steps: u64) {
        self.0.lost_parts = self.0.lost_parts.saturating_add(parts);
        self.0.lost_steps = self.0.lost_steps.saturating_add(steps);
    }

    /// Counts what the receiving side did not take: duplicates, refusals, postponements.
    pub fn reject(&mut self, [duplicates, refused, postponed]: [u64; 3]) {
        self.0.duplicates += duplicates;
        self.0.refused += refused;
        self.0.postponed += postponed;
    }

    /// What they come to, with so many collectors there.
    pub fn arrivals(&self, collectors: usize) -> Arrivals {
        let mean = |sum: f64, count: u64| if count > 0 { sum / count as f64 } else { 0.0 };
        Arrivals {
            collectors: collectors as u64,
            policy_lag_updates: mean(self.0.policy_lag_updates, self.0.steps),
            experience_age_seconds: mean(self.0.experience_age_seconds, self.0.parts),
            ..self.0
        }
    }
}
