//! What goes between a [`Chief`](crate::Chief) and its [`Contributor`](crate::Contributor)s: plain numbers,
//! each message behind a header of few words.

use burn::module::Module;
use serde::{Deserialize, Serialize};

use super::Learner;
use crate::checks::{check, check_finite, check_share, check_size};
use crate::error::Result;
use crate::host::{tensor, to_host};
use crate::learner::e_step::EStep;
use crate::learner::rounds::Rounds;
use crate::mathematics::distribution::Multipliers;
use crate::mathematics::dual::DualSolution;
use crate::networks::{Actor, Critic, parameters, with_parameters};

/// What a worker's batch says in one round of an update: see [`Contributor`](crate::Contributor).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    pub(crate) header: ContributionHeader,
    /// The round's vectors, one after another.
    pub(crate) numbers: Vec<f32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ContributionHeader {
    /// The version of the parameters that it was computed with.
    pub(crate) version: u64,
    /// How many rows its batch has, and so how much it counts.
    pub(crate) rows: usize,
    /// In the round of the first divergences.
    pub(crate) dual: Option<DualSolution>,
}

/// The parameters that a [`Chief`](crate::Chief) gives out: all that a worker's next contribution depends on
/// beside its batch, or what of it has changed since another version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SharedParameters {
    pub(crate) header: ParametersHeader,
    /// The numbers of all runs, one after another.
    pub(crate) numbers: Vec<f32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ParametersHeader {
    pub(crate) version: u64,
    /// The version that these are changes of; none where they are complete.
    pub(crate) base: Option<u64>,
    /// The places of the numbers among all parameters: start and count of each run of them, ascending.
    pub(crate) runs: Vec<[usize; 2]>,
    pub(crate) e_step: EStep,
    /// See [`Learner::updates`].
    pub(crate) updates: u64,
    /// See [`Learner::informed`], which a worker's exploration may depend on.
    pub(crate) informed: f64,
}

impl ParametersHeader {
    fn new<A: Actor, C: Critic>(
        learner: &Learner<A, C>,
        version: u64,
        base: Option<u64>,
        runs: Vec<[usize; 2]>,
    ) -> Self {
        let (updates, informed) = (learner.updates, learner.informed);
        Self { version, base, runs, e_step: learner.e_step.clone(), updates, informed }
    }
}

impl Contribution {
    /// The version of the parameters that it was computed with.
    pub fn version(&self) -> u64 {
        self.header.version
    }

    /// How many rows its batch has, and so how much it counts.
    pub fn rows(&self) -> usize {
        self.header.rows
    }

    /// Its numbers, which are nearly all of it.
    pub fn numbers(&self) -> &[f32] {
        &self.numbers
    }
}

impl SharedParameters {
    /// Their version.
    pub fn version(&self) -> u64 {
        self.header.version
    }

    /// The version that they are the changes of; none where they are complete.
    pub fn base(&self) -> Option<u64> {
        self.header.base
    }

    /// Their numbers, which are nearly all of them.
    pub fn numbers(&self) -> &[f32] {
        &self.numbers
    }

    /// All parameters of a learner, as [`numbers`](Learner::numbers) gives them.
    pub(super) fn complete<A: Actor, C: Critic>(
        learner: &Learner<A, C>,
        version: u64,
        numbers: &[f32],
    ) -> Self {
        let header = ParametersHeader::new(learner, version, None, vec![[0, numbers.len()]]);
        Self { header, numbers: numbers.to_vec() }
    }

    /// What has changed from version `base`, whose numbers were `before`, to this one with `after`.
    pub(super) fn changes<A: Actor, C: Critic>(
        learner: &Learner<A, C>,
        version: u64,
        [before, after]: [&[f32]; 2],
        base: u64,
    ) -> Self {
        // Few numbers that stayed cost less than another run.
        const GAP: usize = 64;
        let mut runs: Vec<[usize; 2]> = Vec::new();
        let pairs = before.iter().zip(after).enumerate();
        for (place, _) in pairs.filter(|(_, (before, after))| before.to_bits() != after.to_bits()) {
            match runs.last_mut() {
                Some([start, count]) if place < *start + *count + GAP => *count = place + 1 - *start,
                _ => runs.push([place, 1]),
            }
        }
        let numbers = runs.iter().flat_map(|&[start, count]| &after[start..start + count]).copied().collect();
        Self { header: ParametersHeader::new(learner, version, Some(base), runs), numbers }
    }

    /// Puts them in the place of `numbers`, of `version`.
    pub(super) fn put(&self, numbers: &mut [f32], version: Option<u64>, e_step: &EStep) -> Result<()> {
        let ParametersHeader { base, runs, e_step: other, informed, .. } = &self.header;
        let whole = [[0, numbers.len()]];
        match base {
            None => {
                check("SharedParameters::runs", runs.as_slice(), |runs| **runs == whole, "all there are")?
            }
            base => check("SharedParameters::base", *base, |&base| base == version, "the worker's version")?,
        }
        let ends = runs.iter().scan(0, |end: &mut usize, &[start, count]| {
            let fits = start >= *end && count <= numbers.len() && start <= numbers.len() - count;
            *end = if fits { start + count } else { 0 };
            Some(fits)
        });
        let fitting = ends.into_iter().all(|fits| fits);
        check("SharedParameters::runs", runs.as_slice(), |_| fitting, "ascending, within all parameters")?;
        let count = runs.iter().map(|[_, count]| count).sum();
        check_size("the shared parameters", self.numbers.len(), count)?;
        check_finite("the shared parameters", &self.numbers)?;
        other.check_like(e_step)?;
        check_share("SharedParameters::informed", *informed)?;
        let mut rest = self.numbers.as_slice();
        for &[start, count] in runs {
            let (run, others) = rest.split_at(count);
            numbers[start..start + count].copy_from_slice(run);
            rest = others;
        }
        Ok(())
    }
}

impl<A: Actor, C: Critic> Learner<A, C> {
    /// The rounds of its updates.
    pub(crate) fn rounds(&self) -> Rounds {
        Rounds::of(self)
    }

    /// All that a worker's contributions depend on as one vector: both networks, the targets of both, both
    /// multipliers.
    pub(super) fn numbers(&self) -> Result<Vec<f32>> {
        let Multipliers { mean, covariance } = self.m_step.multipliers().clone();
        let numbers = [
            parameters(&self.actor)?,
            parameters(&self.critic)?,
            parameters(&self.target.actor)?,
            parameters(&self.target.critic)?,
            to_host("the multipliers", mean)?,
            to_host("the multipliers", covariance)?,
        ]
        .concat();
        check_finite("the parameters", &numbers)?;
        Ok(numbers)
    }

    /// Takes over such a vector, of which these `runs` have changed.
    pub(super) fn take_numbers(&mut self, numbers: &[f32], runs: &[[usize; 2]]) {
        let mut end = 0;
        let mut next = |size: usize| {
            let start = end;
            end += size;
            let changed = runs.iter().any(|[first, count]| *first < end && first + count > start);
            changed.then(|| numbers[start..end].to_vec())
        };
        let [policy, critic] = [self.actor.num_params(), self.critic.num_params()];
        replace(&mut self.actor, next(policy));
        replace(&mut self.critic, next(critic));
        replace(&mut self.target.actor, next(policy));
        replace(&mut self.target.critic, next(critic));
        let multipliers = self.m_step.multipliers().clone();
        let k = multipliers.mean.dims()[0];
        let [mean, covariance] = [multipliers.mean, multipliers.covariance]
            .map(|before| next(k).map_or(before, |numbers| tensor(numbers, [k], &self.device)));
        self.m_step.set_multipliers(Multipliers { mean, covariance });
    }
}

fn replace<M: Module>(network: &mut M, numbers: Option<Vec<f32>>) {
    if let Some(numbers) = numbers {
        *network = with_parameters(network.clone(), numbers);
    }
}
