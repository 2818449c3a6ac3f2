//! The rounds of an update that a [`Chief`](crate::Chief) makes: which there are, and what a contribution to
//! each has to be.

use burn::module::Module;

use super::Learner;
use crate::checks::{check, check_count, check_finite, check_size};
use crate::error::Result;
use crate::learner::e_step::EStepKind;
use crate::learner::exchange::Contribution;
use crate::mathematics::dual::DualSolution;
use crate::networks::{Actor, Critic, is_trainable};

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

/// The rounds of a learner's updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rounds {
    /// How many an update takes.
    pub count: u64,
    observation_size: usize,
    /// How many divergences of the mean there are, and of the covariance.
    divergences: usize,
    /// How many numbers the gradients of policy and critic have.
    gradients: [usize; 2],
    /// Whether the E-step has a temperature.
    tempered: bool,
}

impl Rounds {
    pub fn of<A: Actor, C: Critic>(learner: &Learner<A, C>) -> Self {
        Self {
            count: (learner.config.m_step.iterations as u64).saturating_mul(2).saturating_add(1),
            observation_size: learner.actor.observation_size(),
            divergences: learner.m_step.multipliers().mean.dims()[0],
            gradients: [gradients(&learner.actor), gradients(&learner.critic)],
            tempered: learner.config.e_step.kind == EStepKind::NonParametric,
        }
    }

    /// The round that a version is for.
    pub fn at(&self, version: u64) -> Round {
        match version % self.count {
            0 => Round::Batches,
            place if place % 2 == 1 => Round::Divergences { first: place == 1 },
            place => Round::Gradients { first: place == 2, last: place + 1 == self.count },
        }
    }

    /// The vectors of a contribution, if it is one to this version.
    pub fn vectors<'a>(&self, version: u64, contribution: &'a Contribution) -> Result<Vec<&'a [f32]>> {
        let Contribution { header, numbers } = contribution;
        check("Contribution::version", header.version, |&own| own == version, "the chief's version")?;
        let rows = header.rows;
        check_count("Contribution::rows", rows, 1)?;
        let (round, k) = (self.at(version), self.divergences);
        let sizes = match round {
            Round::Batches => vec![rows.saturating_mul(self.observation_size), rows, rows],
            Round::Divergences { first: true } => vec![k, k, rows, 1],
            Round::Divergences { first: false } => vec![k, k],
            Round::Gradients { first: true, .. } => vec![self.gradients[0], self.gradients[1], 1],
            Round::Gradients { first: false, .. } => vec![self.gradients[0]],
        };
        check_size("a contribution", numbers.len(), sizes.iter().copied().fold(0, usize::saturating_add))?;
        check_finite("a contribution", numbers)?;
        let solved = round == (Round::Divergences { first: true });
        let like = |dual: &Option<DualSolution>| match dual {
            Some(dual) => {
                let DualSolution { temperature, value, kl, gap, interior } = *dual;
                // Sums and squares of them are finite too.
                let numbers = [temperature, value, kl, gap].iter().all(|x| x.abs() <= 1e30);
                let positive = temperature > 0.0 || !(interior && self.tempered);
                solved && numbers && temperature >= 0.0 && positive
            }
            None => !solved,
        };
        check(
            "Contribution::dual",
            header.dual,
            like,
            "numbers of up to 1e30, in an update's second round alone",
        )?;
        let mut rest = numbers.as_slice();
        let next = |size| {
            let (vector, others) = rest.split_at(size);
            rest = others;
            vector
        };
        Ok(sizes.into_iter().map(next).collect())
    }
}

/// How many numbers the gradient of a network has.
fn gradients<M: Module>(network: &M) -> usize {
    if is_trainable(network) { network.num_params() } else { 0 }
}
