//! What goes between a [`Chief`](crate::Chief) and its [`Contributor`](crate::Contributor)s: plain numbers,
//! each message behind a header of few words.

use burn::module::Module;
use serde::{Deserialize, Serialize};

use super::Learner;
use crate::checks::{check, check_count, check_finite, check_share, check_size};
use crate::error::Result;
use crate::host::{tensor, to_host};
use crate::learner::e_step::EStep;
use crate::mathematics::distribution::Multipliers;
use crate::mathematics::dual::DualSolution;
use crate::networks::{Actor, Critic, is_trainable, parameters, with_parameters};

/// What a version of the parameters is for. An update is several rounds, a version each: whatever is a mean
/// over all rows has to be known before what depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Round {
    /// Observations, rewards and discounts: what the networks are normalised by.
    Batches,
    /// How far the policy is from the target policy, for the multipliers' step. In an update's first turn the
    /// critic's targets too, which it is normalised by, and what the E-step's dual came to.
    Divergences { first: bool },
    /// The gradient of the policy, in an update's first turn the critic's too.
    Gradients { first: bool, last: bool },
}

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
    /// How many rounds an update takes.
    pub(super) fn rounds(&self) -> u64 {
        (self.config.m_step.iterations as u64).saturating_mul(2).saturating_add(1)
    }

    pub(super) fn round(&self, version: u64) -> Round {
        match version % self.rounds() {
            0 => Round::Batches,
            place if place % 2 == 1 => Round::Divergences { first: place == 1 },
            place => Round::Gradients { first: place == 2, last: place + 1 == self.rounds() },
        }
    }

    /// The vectors of a contribution, if it is one of this version.
    pub(super) fn vectors<'a>(&self, version: u64, contribution: &'a Contribution) -> Result<Vec<&'a [f32]>> {
        let Contribution { header, numbers } = contribution;
        check("Contribution::version", header.version, |&own| own == version, "the chief's version")?;
        let rows = header.rows;
        check_count("Contribution::rows", rows, 1)?;
        let (round, k) = (self.round(version), self.m_step.multipliers().mean.dims()[0]);
        let sizes = match round {
            Round::Batches => vec![rows * self.actor.observation_size(), rows, rows],
            Round::Divergences { first: true } => vec![k, k, rows, 1],
            Round::Divergences { first: false } => vec![k, k],
            Round::Gradients { first: true, .. } => vec![gradients(&self.actor), gradients(&self.critic), 1],
            Round::Gradients { first: false, .. } => vec![gradients(&self.actor)],
        };
        check_size("a contribution", numbers.len(), sizes.iter().sum())?;
        check_finite("a contribution", numbers)?;
        let solved = round == (Round::Divergences { first: true });
        let like = |dual: &Option<DualSolution>| match dual {
            Some(dual) => {
                let DualSolution { temperature, value, kl, gap, .. } = *dual;
                solved && temperature >= 0.0 && [temperature, value, kl, gap].iter().all(|x| x.is_finite())
            }
            None => !solved,
        };
        check("Contribution::dual", header.dual, like, "finite numbers in an update's second round alone")?;
        let mut rest = numbers.as_slice();
        let next = |size| {
            let (vector, others) = rest.split_at(size);
            rest = others;
            vector
        };
        Ok(sizes.into_iter().map(next).collect())
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

/// How many numbers the gradient of a network has.
fn gradients<M: Module>(network: &M) -> usize {
    if is_trainable(network) { network.num_params() } else { 0 }
}
