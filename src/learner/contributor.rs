//! Algorithm 1, lines 11 to 24, where the gradients are computed: [`Contributor`].

use burn::tensor::Tensor;

use super::Learner;
use crate::backends::{both, on_its_threads};
use crate::checks::check_finite;
use crate::error::{Error, Result};
use crate::experience::batch::Batch;
use crate::host::to_host;
use crate::learner::critic_step::critic_gradient;
use crate::learner::exchange::{Contribution, ContributionHeader, SharedParameters};
use crate::learner::m_step::{Piece, Policies};
use crate::learner::rounds::Round;
use crate::learner::sampled::Sampled;
use crate::mathematics::dual::DualSolution;
use crate::networks::{Actor, Critic};

/// A worker of Algorithm 1: follows the parameters of a [`Chief`](crate::Chief) and says what its own batches
/// say to them. It draws a batch where an update begins, and contributes to each of the update's rounds.
///
/// It is made of a learner with the chief's settings and networks, whose parameters do not matter and whose
/// seed does: it is that of the sampled actions, which no two workers should share.
pub struct Contributor<A: Actor, C: Critic> {
    learner: Learner<A, C>,
    /// Of what it follows; none before it follows anything.
    version: Option<u64>,
    numbers: Vec<f32>,
    underway: Option<Underway<A>>,
    /// The contribution to this version, if there is one already.
    made: Option<Contribution>,
}

/// A batch, and what an update has come to on it.
struct Underway<A: Actor> {
    batch: Batch,
    targets: Option<Tensor<1>>,
    pieces: Vec<Piece<A::Distribution>>,
    policies: Option<Policies<A>>,
}

impl<A: Actor, C: Critic> Contributor<A, C> {
    /// A worker with this learner's settings, networks and seed.
    ///
    /// # Errors
    /// If the device fails, or a parameter is not finite.
    pub fn new(learner: Learner<A, C>) -> Result<Self> {
        let numbers = learner.numbers()?;
        Ok(Self { learner, version: None, numbers, underway: None, made: None })
    }

    /// The version of the parameters that it follows; none before it follows any.
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// A learner with these parameters, to draw batches and to act with. Its networks change with each round.
    /// Its average policy is that of the policies since it has followed: the chief's, if it follows from the
    /// chief's beginning, or began with the same learner.
    pub fn learner(&self) -> &Learner<A, C> {
        &self.learner
    }

    /// How many numbers complete parameters have.
    #[cfg(feature = "distributed")]
    pub(crate) fn numbers(&self) -> usize {
        self.numbers.len()
    }

    /// Takes over these parameters, or these changes of its own.
    ///
    /// # Errors
    /// If they are changes of another version than its own, of wrong sizes, of an E-step with other
    /// settings, or not finite; it then stays as it was, and [all parameters](crate::Chief::parameters) are
    /// needed where it has missed a version.
    pub fn follow(&mut self, parameters: &SharedParameters) -> Result<()> {
        let own = self.version.is_none().then(|| (self.learner.updates, self.numbers.clone()));
        parameters.put(&mut self.numbers, self.version, &self.learner.e_step)?;
        let header = &parameters.header;
        self.learner.take_numbers(&self.numbers, &header.runs);
        self.learner.e_step = header.e_step.clone();
        let before = self.learner.updates;
        (self.learner.updates, self.learner.informed) = (header.updates, header.informed);
        match own {
            // The chief is made of the same learner.
            Some((updates, numbers)) if updates == header.updates && numbers == self.numbers => {}
            Some(_) => self.learner.begin_average(),
            None if header.updates > before => self.learner.follow_average(),
            None => {}
        }
        // Where it has missed a round it has nothing to say to those that follow.
        let next = self.version.and_then(|version| version.checked_add(1)) == Some(header.version);
        if self.version != Some(header.version) {
            self.made = None;
            self.underway = self.underway.take().filter(|_| next);
        }
        self.version = Some(header.version);
        Ok(())
    }

    /// What its batch says to the parameters that it follows, which where an update begins is drawn by
    /// `draw`; asked again, the same again. None in an update that it did not take part in from the
    /// beginning.
    ///
    /// # Errors
    /// If it follows no parameters yet, `draw` fails, the batch is refused as by [`Learner::step`], or a
    /// number is not finite; it then has no part in this update, unless that only begins.
    pub fn contribute(
        &mut self,
        draw: impl FnOnce(&Learner<A, C>) -> Result<Batch>,
    ) -> Result<Option<Contribution>> {
        let expected = "the chief's parameters come first";
        let version = self.version.ok_or(Error::Order { place: "Contributor::contribute", expected })?;
        if self.made.is_some() {
            return Ok(self.made.clone());
        }
        let (round, underway) = (self.learner.rounds().at(version), self.underway.take());
        let underway = match (round, underway) {
            (Round::Batches, _) => {
                Underway { batch: draw(&self.learner)?, targets: None, pieces: Vec::new(), policies: None }
            }
            (_, Some(underway)) => underway,
            (_, None) => return Ok(None),
        };
        let device = self.learner.device.clone();
        let learner = &mut self.learner;
        let (underway, numbers, dual) = on_its_threads(&device, || -> Result<_> {
            let mut underway = underway;
            let (numbers, dual) = underway.advance(learner, round)?;
            Ok((underway, numbers, dual))
        })?;
        check_finite("a contribution", &numbers)?;
        if let Some(DualSolution { temperature, value, kl, gap, .. }) = dual {
            check_finite("a contribution's dual", &[temperature, value, kl, gap].map(|x| x as f32))?;
        }
        let header = ContributionHeader { version, rows: underway.batch.rows(), dual };
        let contribution = Contribution { header, numbers };
        (self.underway, self.made) = (Some(underway), Some(contribution.clone()));
        Ok(Some(contribution))
    }
}

impl<A: Actor> Underway<A> {
    /// The numbers of one round, and in that of the first divergences the dual.
    fn advance<C: Critic>(
        &mut self,
        learner: &mut Learner<A, C>,
        round: Round,
    ) -> Result<(Vec<f32>, Option<DualSolution>)> {
        match round {
            Round::Batches => {
                let sizes = [learner.actor.observation_size(), learner.actor.action_size()];
                self.batch.check(learner.critic_step.takes_sequences(), sizes, &learner.device)?;
                let Batch { observations, rewards, discounts, .. } = self.batch.clone();
                Ok((read([Some(observations.flatten(0, 1)), Some(rewards), Some(discounts)])?, None))
            }
            Round::Divergences { first: true } => {
                let Learner { actor, config, target, critic_step, e_step, m_step, action_samples, .. } =
                    learner;
                let sampled = Sampled::draw(target, config, &self.batch, action_samples)?;
                let improve = || {
                    let preferences = sampled.preferences(target, config);
                    let solution = e_step.solution(preferences, sampled.states.probabilities.clone())?;
                    let pieces = m_step.pieces(actor, &sampled.states, &solution)?;
                    let policies = m_step.policies(actor, &pieces)?;
                    Ok((pieces, policies, solution.dual))
                };
                let evaluate = || {
                    let next_values = sampled.next_values(target, &self.batch)?;
                    Ok(critic_step.targets(target, &self.batch, next_values))
                };
                let (improved, targets) = both(&learner.device, improve, evaluate);
                let ((pieces, policies, dual), targets) = (improved?, targets?);
                let [mean, covariance] = policies.kl.clone().map(Some);
                let numbers = read([mean, covariance, Some(targets.clone()), Some(sampled.spread())])?;
                (self.targets, self.pieces, self.policies) = (Some(targets), pieces, Some(policies));
                Ok((numbers, Some(dual)))
            }
            Round::Divergences { first: false } => {
                let policies = learner.m_step.policies(&learner.actor, &self.pieces)?;
                let numbers = read(policies.kl.clone().map(Some))?;
                self.policies = Some(policies);
                Ok((numbers, None))
            }
            Round::Gradients { .. } => {
                let (policies, targets, batch) = (self.policies.take(), self.targets.take(), &self.batch);
                let multipliers = learner.m_step.multipliers();
                let improve = || policies.and_then(|policies| policies.gradient(&self.pieces, multipliers));
                let evaluate =
                    || targets.map(|targets| critic_gradient(&learner.critic, batch, targets)).transpose();
                let (policy, evaluated) = both(&learner.device, improve, evaluate);
                let (loss, critic) = evaluated?.map_or((None, None), |(loss, critic)| (Some(loss), critic));
                Ok((read([policy, critic, loss])?, None))
            }
        }
    }
}

/// The numbers of these vectors, one after another.
fn read<const N: usize>(vectors: [Option<Tensor<1>>; N]) -> Result<Vec<f32>> {
    let vectors: Vec<_> = vectors.into_iter().flatten().collect();
    match vectors.is_empty() {
        true => Ok(Vec::new()),
        false => to_host("a contribution", Tensor::cat(vectors, 0)),
    }
}
