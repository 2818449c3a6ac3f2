//! Policies over choices: [`Categorical`].

use burn::tensor::{IndexingUpdateOp, Int, Tensor, activation};

use crate::checks::{check_count, check_size};
use crate::error::Result;
use crate::mathematics::distribution::{Constraint, DecoupledKl, Distribution, Enumeration, Multipliers};

/// A choice of one of several alternatives, or several such choices independent of each other, for each
/// state of a batch. A component of an action is the index of what is chosen.
///
/// A single choice is enumerated: the E-step and the critic's targets go over all that can be chosen, each
/// with the policy's probability, and nothing is sampled. Several are sampled.
///
/// All of its divergence stands in the half of the mean ([`DecoupledKl::mean`]); the other half is 0.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mpo::{Categorical, Distribution};
///
/// # fn main() -> mpo::Result<()> {
/// let logits = Tensor::from_floats([[0.0, 3.0_f32.ln()]], &Device::flex());
/// let policy = Categorical::new(vec![logits])?;
/// let second = policy.log_probability(Tensor::ones([1, 1, 1], &Device::flex())).into_scalar::<f32>();
/// assert!((second - 0.75_f32.ln()).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Categorical {
    /// log π of each alternative, by choice, `[batch, alternatives]`.
    log_probabilities: Vec<Tensor<2>>,
}

impl Categorical {
    /// With the softmax of these logits, for each choice `[batch, alternatives]`.
    ///
    /// # Errors
    /// If there is no choice, or they are of different numbers of states.
    pub fn new(logits: Vec<Tensor<2>>) -> Result<Self> {
        check_count("the choices of a Categorical", logits.len(), 1)?;
        for of_choice in &logits {
            check_size("the states of a choice", of_choice.dims()[0], logits[0].dims()[0])?;
        }
        Ok(Self::of_logits(logits))
    }

    /// The same of logits that are known to fit.
    pub(crate) fn of_logits(logits: Vec<Tensor<2>>) -> Self {
        let log_softmax = |logits| activation::log_softmax(logits, 1);
        Self { log_probabilities: logits.into_iter().map(log_softmax).collect() }
    }

    /// The same for the most part, and uniform for a `share` of it, 0 to 1.
    #[must_use]
    pub fn mixed_with_uniform(self, share: f64) -> Self {
        if share == 0.0 {
            return self;
        }
        self.map(|of_choice| {
            let [_, alternatives] = of_choice.dims();
            (of_choice.exp() * (1.0 - share) + share / alternatives as f64).log()
        })
    }

    /// log π of each alternative, by choice, `[batch, alternatives]`.
    pub fn log_probabilities(&self) -> &[Tensor<2>] {
        &self.log_probabilities
    }

    /// The entropy of each state's choices, `[batch, choices]`, in nats.
    pub fn entropy(&self) -> Tensor<2> {
        let entropy = |log: &Tensor<2>| -(log.clone().exp() * log.clone()).sum_dim(1);
        self.by_choice(|_, log| entropy(log))
    }

    fn map(self, of_choice: impl Fn(Tensor<2>) -> Tensor<2>) -> Self {
        Self { log_probabilities: self.log_probabilities.into_iter().map(of_choice).collect() }
    }

    /// A number for each choice, `[batch, choices]`.
    fn by_choice(&self, of_choice: impl Fn(usize, &Tensor<2>) -> Tensor<2>) -> Tensor<2> {
        let choices = self.log_probabilities.iter().enumerate();
        Tensor::cat(choices.map(|(choice, log)| of_choice(choice, log)).collect(), 1)
    }
}

/// Component `choice` of `actions` `[batch, samples, action]` as places among so many alternatives, `[batch,
/// samples]`.
fn places(actions: &Tensor<3>, choice: usize, alternatives: usize) -> Tensor<2, Int> {
    let chosen = actions.clone().narrow(2, choice, 1).squeeze_dim::<2>(2);
    chosen.clamp(0.0, (alternatives - 1) as f64).int()
}

impl Distribution for Categorical {
    /// By choice, the weight that each alternative has, `[batch, alternatives]`.
    type Statistics = Vec<Tensor<2>>;

    fn states(&self) -> usize {
        self.log_probabilities[0].dims()[0]
    }

    fn action_size(&self) -> usize {
        self.log_probabilities.len()
    }

    fn choices(&self) -> usize {
        self.action_size()
    }

    /// The quantile of the noise's own: the first alternative whose cumulative probability reaches it.
    fn sample(&self, noise: Tensor<3>) -> Tensor<3> {
        let [states, samples, _] = noise.dims();
        let quantile = ((noise / std::f64::consts::SQRT_2).erf() + 1.0) * 0.5;
        let choose = |(choice, log): (usize, &Tensor<2>)| {
            let [_, alternatives] = log.dims();
            let cumulative = log.clone().exp().cumsum(1);
            // Rounding leaves the whole a little off 1.
            let whole = cumulative.clone().narrow(1, alternatives - 1, 1).unsqueeze_dim::<3>(1);
            let reached = quantile.clone().narrow(2, choice, 1) * whole;
            let shape = [states, samples, alternatives];
            let below = cumulative.unsqueeze_dim::<3>(1).expand(shape).lower(reached.expand(shape));
            below.float().cast(log.dtype()).sum_dim(2).clamp_max((alternatives - 1) as f64)
        };
        Tensor::cat(self.log_probabilities.iter().enumerate().map(choose).collect(), 2)
    }

    fn log_probability(&self, actions: Tensor<3>) -> Tensor<2> {
        let of_choice = |(choice, log): (usize, &Tensor<2>)| {
            log.clone().gather(1, places(&actions, choice, log.dims()[1]))
        };
        let of_choices = self.log_probabilities.iter().enumerate().map(of_choice);
        of_choices.reduce(|sum, log| sum + log).expect("a choice at least")
    }

    /// The likeliest alternatives.
    fn mode(&self) -> Tensor<2> {
        self.by_choice(|_, log| log.clone().argmax(1).float().cast(log.dtype()))
    }

    /// The entropy of each choice as a part of the largest it can have: 1 where all alternatives are as
    /// likely.
    fn spread(&self) -> Tensor<2> {
        let entropy = self.entropy();
        self.by_choice(|choice, log| entropy.clone().narrow(1, choice, 1) / (log.dims()[1] as f64).ln())
    }

    fn divergence(&self, old: &Self, constraint: Constraint) -> Result<DecoupledKl> {
        let kl = self.by_choice(|choice, log| {
            let old = old.log_probabilities[choice].clone();
            (old.clone().exp() * (old - log.clone())).sum_dim(1)
        });
        let kl = match constraint {
            Constraint::Joint => kl.sum_dim(1),
            Constraint::PerDimension => kl,
        };
        Ok(DecoupledKl { covariance: kl.zeros_like(), mean: kl })
    }

    fn statistics(&self, actions: Tensor<3>, weights: Tensor<2>) -> Vec<Tensor<2>> {
        let of_choice = |(choice, log): (usize, &Tensor<2>)| {
            let places = places(&actions, choice, log.dims()[1]);
            log.zeros_like().scatter(1, places, weights.clone(), IndexingUpdateOp::Add)
        };
        self.log_probabilities.iter().enumerate().map(of_choice).collect()
    }

    /// The cross-entropy with the weights and α times the old policy, whose gradient it is: -Σ_i (w_i + α
    /// π_k,i) log π_i.
    fn lagrangian(
        self,
        old: &Self,
        statistics: &Vec<Tensor<2>>,
        Multipliers { mean, .. }: &Multipliers,
    ) -> Tensor<1> {
        let joint = mean.dims()[0] == 1;
        let of_choice = self.by_choice(|choice, log| {
            let multiplier = mean.clone().narrow(0, if joint { 0 } else { choice }, 1);
            let held = old.log_probabilities[choice].clone().exp() * multiplier.unsqueeze();
            -(log.clone() * Tensor::from_inner(statistics[choice].clone() + held)).sum_dim(1)
        });
        of_choice.sum_dim(1).mean_dim(0).squeeze_dim(1)
    }

    fn enumerate(&self) -> Option<Enumeration> {
        let [log] = self.log_probabilities.as_slice() else { return None };
        let [states, alternatives] = log.dims();
        let indices =
            Tensor::<1, Int>::arange(0..alternatives as i64, &log.device()).float().cast(log.dtype());
        let actions = indices.reshape([1, alternatives, 1]).expand([states, alternatives, 1]);
        Some(Enumeration { actions, probabilities: log.clone().exp() })
    }

    fn narrow(&self, start: usize, count: usize) -> Self {
        self.clone().map(|log| log.narrow(0, start, count))
    }

    fn inner(self) -> Self {
        self.map(Tensor::inner)
    }
}
