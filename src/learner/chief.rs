//! Algorithm 1, lines 22 to 24, where the gradients arrive: [`Chief`].

use burn::tensor::Tensor;

use super::Learner;
use crate::backends::on_its_threads;
use crate::checks::check;
use crate::error::Result;
use crate::host::tensor;
use crate::learner::exchange::{Contribution, SharedParameters};
use crate::learner::m_step::MStepReport;
use crate::learner::metrics::Metrics;
use crate::learner::rounds::Round;
use crate::mathematics::dual::DualSolution;
use crate::networks::{Actor, Critic};

/// A learner whose gradients are computed by several workers, each from a batch of its own: takes what
/// their batches say, applies the mean of it, and gives the new parameters back. It alone holds what the
/// optimizers, the multipliers and the E-step remember, so that workers may come and go.
///
/// An update of T turns of the M-step takes 1 + 2 T rounds, in each of which every worker sends a
/// [`Contribution`] and then follows the new [`SharedParameters`]. First come the batches' observations, by
/// which the networks normalise; then, in each turn, how far the policy has moved, for the multipliers' step,
/// and after it the gradients. So the update is that of one learner with the batch of all rows, up to
/// rounding, and with one worker to the last bit. What is not that of the whole batch:
///
/// - Each worker solves the E-step's dual on its own batch: the temperature that its weights are made with is
///   its own. With [`TemperatureSolver::GradientStep`](crate::TemperatureSolver::GradientStep) and with the
///   parametric E-step there is nothing to be solved, and nothing differs.
/// - In the very first batch, what counts as an outlier of observations is told from all rows as in one
///   learner, but from rows that stand in another order.
/// - Sampled actions are each worker's own, from the seed of its learner.
///
/// Losses are taken to be means over their rows, and policies and critics to see a row at a time.
///
/// ```
/// use mpo::{Chief, Contributor};
/// # use mpo::{Device, GaussianActor, Learner, MpoConfig, QNetwork, ReplayBuffer, Rng, Stream};
/// # fn replay(_: u64) -> mpo::Result<ReplayBuffer> {
/// #     let mut replay = ReplayBuffer::new(100, 3, 1)?;
/// #     replay.begin_episode(&[0.0; 3])?;
/// #     for index in 0..50 {
/// #         let action = mpo::Action { values: vec![0.1], log_probability: 0.0 };
/// #         let observation = vec![index as f32, 1.0, (index % 7) as f32];
/// #         let step = mpo::Step { observation, reward: 1.0, terminated: false, truncated: false };
/// #         replay.push(&action, &step)?;
/// #     }
/// #     Ok(replay)
/// # }
/// # fn main() -> mpo::Result<()> {
/// let learner = |seed| {
///     let (config, mut rng) = (MpoConfig::default(), Rng::stream(seed, Stream::Weights));
///     let actor = GaussianActor::new(&config.actor, 3, 1, &Device::flex(), &mut rng)?;
///     let critic = QNetwork::new(&config.critic, 3, 1, &Device::flex(), &mut rng)?;
///     Learner::new(config, actor, critic, seed)
/// };
/// let mut chief = Chief::new(learner(0)?)?;
/// // Each with the experience of its own environment, and somewhere else.
/// let worker = |seed| Ok((Contributor::new(learner(seed)?)?, replay(seed)?));
/// let mut workers = [1, 2].map(worker).into_iter().collect::<mpo::Result<Vec<_>>>()?;
/// let mut draws = Rng::stream(1, Stream::Replay);
/// for (worker, _) in &mut workers {
///     worker.follow(&chief.parameters())?;
/// }
/// while chief.learner().updates() < 2 {
///     let mut contributions = Vec::new();
///     for (worker, replay) in &mut workers {
///         contributions.extend(worker.contribute(|learner| learner.sample(replay, &mut draws))?);
///     }
///     if let Some(metrics) = chief.apply(&contributions)? {
///         println!("critic's loss: {}", metrics.critic_loss);
///     }
///     for (worker, _) in &mut workers {
///         worker.follow(chief.changes())?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Chief<A: Actor, C: Critic> {
    /// After the last whole update.
    learner: Learner<A, C>,
    version: u64,
    underway: Underway<A, C>,
    /// What a worker needs of `underway`, which is of `version`.
    numbers: Vec<f32>,
    changes: SharedParameters,
}

/// A learner in the midst of an update, and what has been measured of that.
#[derive(Debug, Clone)]
struct Underway<A: Actor, C: Critic> {
    learner: Learner<A, C>,
    report: Option<MStepReport>,
    dual: Option<DualSolution>,
    /// The share of the rows whose E-step was active.
    interior: f64,
    spread: Vec<f32>,
    critic_loss: Vec<f32>,
}

impl<A: Actor, C: Critic> Underway<A, C> {
    fn new(learner: Learner<A, C>) -> Self {
        let (report, dual, interior) = (None, None, 0.0);
        Self { learner, report, dual, interior, spread: vec![0.0], critic_loss: vec![0.0] }
    }
}

impl<A: Actor, C: Critic> Chief<A, C> {
    /// A chief that goes on with this learner. Its versions begin with the learner's updates: give workers
    /// another name for the run where it is resumed, since versions of before may come again.
    ///
    /// # Errors
    /// If the device fails, or a parameter is not finite.
    pub fn new(learner: Learner<A, C>) -> Result<Self> {
        let version = learner.updates().saturating_mul(learner.rounds().count);
        let numbers = learner.numbers()?;
        let changes = SharedParameters::complete(&learner, version, &numbers);
        Ok(Self { underway: Underway::new(learner.clone()), learner, version, numbers, changes })
    }

    /// The learner after the last whole update.
    pub fn learner(&self) -> &Learner<A, C> {
        &self.learner
    }

    /// The same, to go on with alone.
    pub fn into_learner(self) -> Learner<A, C> {
        self.learner
    }

    /// The version of the parameters, which each round raises: contributions have to be computed with it.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All parameters, for a worker that joins.
    pub fn parameters(&self) -> SharedParameters {
        SharedParameters::complete(&self.underway.learner, self.version, &self.numbers)
    }

    /// What the last round has changed, for workers that have the version before.
    pub fn changes(&self) -> &SharedParameters {
        &self.changes
    }

    /// Checks a contribution as [`apply`](Self::apply) does.
    ///
    /// # Errors
    /// If it is of another version or of wrong sizes, or holds a number that is not finite.
    pub fn check(&self, contribution: &Contribution) -> Result<()> {
        self.learner.rounds().vectors(self.version, contribution).map(drop)
    }

    /// Applies the mean of these contributions, one of each worker, each weighed by its rows; the order
    /// decides how the sums are rounded. Where an update ends with it, what was measured of that.
    ///
    /// # Errors
    /// If there is none, one of them [is refused](Self::check), or what comes of them is not finite
    /// ([`Error::NonFinite`](crate::Error::NonFinite), which names it). The chief then stays as it was:
    /// others may be applied, or the update [abandoned](Self::abandon).
    pub fn apply(&mut self, contributions: &[Contribution]) -> Result<Option<Metrics>> {
        check("contributions", contributions.len(), |&count| count > 0, "at least 1")?;
        let rounds = self.learner.rounds();
        let pool = Pool::new(contributions, |one| rounds.vectors(self.version, one))?;
        let (mut next, round) = (self.underway.clone(), rounds.at(self.version));
        let device = self.learner.device.clone();
        let metrics = on_its_threads(&device, || next.advance(round, &pool))?;
        self.go_on(next, self.version + 1)?;
        if metrics.is_some() {
            self.learner = self.underway.learner.clone();
        }
        Ok(metrics)
    }

    /// Begins the update under way anew, with other batches: as after an error in it, or where none of the
    /// workers that began it is left.
    ///
    /// # Errors
    /// If the device fails.
    pub fn abandon(&mut self) -> Result<()> {
        let rounds = self.learner.rounds().count;
        self.go_on(Underway::new(self.learner.clone()), (self.version / rounds + 1) * rounds)
    }

    fn go_on(&mut self, underway: Underway<A, C>, version: u64) -> Result<()> {
        let numbers = underway.learner.numbers()?;
        let both = [self.numbers.as_slice(), &numbers];
        self.changes = SharedParameters::changes(&underway.learner, version, both, self.version);
        (self.underway, self.numbers, self.version) = (underway, numbers, version);
        Ok(())
    }
}

impl<A: Actor, C: Critic> Underway<A, C> {
    /// One round.
    fn advance(&mut self, round: Round, pool: &Pool) -> Result<Option<Metrics>> {
        let learner = &mut self.learner;
        let device = learner.device.clone();
        let on_device = |numbers: Vec<f32>| -> Tensor<1> {
            let count = numbers.len();
            tensor(numbers, [count], &device)
        };
        let (actor, critic) = (learner.actor.clone(), learner.critic.clone());
        match round {
            Round::Batches => {
                let [observations, rewards, discounts] = [0, 1, 2].map(|which| pool.all(which));
                let seen = tensor(observations, [rewards.len(), actor.observation_size()], &device);
                let [rewards, discounts] = [on_device(rewards), on_device(discounts)];
                (learner.actor, learner.critic) =
                    learner.target.prepare_for(actor, critic, &seen, [&rewards, &discounts]);
            }
            Round::Divergences { first } => {
                let kl = [0, 1].map(|which| on_device(pool.mean(which)));
                self.report = Some(learner.m_step.update_multipliers(kl));
                if first {
                    learner.critic = critic.observe_targets(&on_device(pool.all(2)));
                    self.spread = pool.mean(3);
                    let (dual, interior) = pool.dual();
                    learner.e_step.follow(&dual);
                    (self.dual, self.interior) = (Some(dual), interior);
                }
            }
            Round::Gradients { first, last } => {
                let gradient = |which| Some(pool.mean(which)).filter(|mean| !mean.is_empty()).map(on_device);
                learner.actor = learner.m_step.descend(actor, gradient(0));
                if first {
                    learner.critic = learner.critic_step.descend(critic, gradient(1));
                    self.critic_loss = pool.mean(2);
                }
                if last {
                    return self.finish().map(Some);
                }
            }
        }
        Ok(None)
    }

    /// The end of an update.
    fn finish(&mut self) -> Result<Metrics> {
        let Self { learner, report, dual, interior, spread, critic_loss } = self;
        let (report, dual) = report.take().zip(dual.take()).expect("an update begins with its first round");
        let number = |number: &[f32]| tensor(number.to_vec(), [1], &learner.device);
        let (critic_loss, spread) = (number(critic_loss), number(spread));
        let measured = learner.measure(critic_loss, report, spread)?;
        let metrics = Metrics::new(measured, &dual, learner.config.e_step.epsilon);
        learner.finish(*interior);
        Ok(Metrics { interior: *interior, ..metrics })
    }
}

/// The vectors of contributions to one round.
struct Pool<'a> {
    vectors: Vec<Vec<&'a [f32]>>,
    /// What part of all rows each has.
    shares: Vec<f64>,
    duals: Vec<DualSolution>,
}

impl<'a> Pool<'a> {
    fn new(
        contributions: &'a [Contribution],
        vectors: impl Fn(&'a Contribution) -> Result<Vec<&'a [f32]>>,
    ) -> Result<Self> {
        let vectors = contributions.iter().map(vectors).collect::<Result<_>>()?;
        let rows: f64 = contributions.iter().map(|one| one.header.rows as f64).sum();
        let shares = contributions.iter().map(|one| one.header.rows as f64 / rows).collect();
        let duals = contributions.iter().filter_map(|one| one.header.dual).collect();
        Ok(Self { vectors, shares, duals })
    }

    /// This vector of all, one after another.
    fn all(&self, which: usize) -> Vec<f32> {
        self.vectors.iter().flat_map(|vectors| vectors[which]).copied().collect()
    }

    /// The mean of this vector over all rows: of one contribution its own, to the bit.
    fn mean(&self, which: usize) -> Vec<f32> {
        let [first, others @ ..] = self.vectors.as_slice() else { return Vec::new() };
        let mut sums: Vec<f64> =
            first[which].iter().map(|&number| f64::from(number) * self.shares[0]).collect();
        for (vectors, share) in others.iter().zip(&self.shares[1..]) {
            sums.iter_mut().zip(vectors[which]).for_each(|(sum, &number)| *sum += f64::from(number) * share);
        }
        sums.into_iter().map(|sum| sum as f32).collect()
    }

    /// The mean of what the duals came to, and the share of the rows whose constraint was active.
    fn dual(&self) -> (DualSolution, f64) {
        let mean = |number: fn(&DualSolution) -> f64| -> f64 {
            self.duals.iter().zip(&self.shares).map(|(dual, share)| number(dual) * share).sum()
        };
        let interior = mean(|dual| f64::from(u8::from(dual.interior)));
        let dual = DualSolution {
            temperature: mean(|dual| dual.temperature),
            value: mean(|dual| dual.value),
            kl: mean(|dual| dual.kl),
            gap: mean(|dual| dual.gap),
            interior: interior > 0.0,
        };
        (dual, interior)
    }
}
