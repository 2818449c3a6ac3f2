//! Two distributions as one: [`Independent`].

use burn::tensor::Tensor;

use crate::error::Result;
use crate::mathematics::distribution::{Constraint, DecoupledKl, Distribution, Multipliers};

/// Two distributions, each over a part of the action, independent of each other: the components of the first
/// come first. With a [`Gaussian`](crate::Gaussian) and a [`Categorical`](crate::Categorical) it is a policy
/// over numbers and choices at once.
#[derive(Debug, Clone)]
pub struct Independent<D, E> {
    /// Over the first components.
    pub first: D,
    /// Over those behind them.
    pub second: E,
}

impl<D: Distribution, E: Distribution> Independent<D, E> {
    /// The parts of both in `numbers` `[.., action]`.
    fn split<const N: usize>(&self, numbers: Tensor<N>) -> (Tensor<N>, Tensor<N>) {
        let [first, second] = [self.first.action_size(), self.second.action_size()];
        (numbers.clone().narrow(N - 1, 0, first), numbers.narrow(N - 1, first, second))
    }
}

fn side_by_side<const N: usize>(first: Tensor<N>, second: Tensor<N>) -> Tensor<N> {
    Tensor::cat(vec![first, second], N - 1)
}

impl<D: Distribution, E: Distribution> Distribution for Independent<D, E> {
    type Statistics = (D::Statistics, E::Statistics);

    fn states(&self) -> usize {
        self.first.states()
    }

    fn action_size(&self) -> usize {
        self.first.action_size() + self.second.action_size()
    }

    fn choices(&self) -> usize {
        self.first.choices() + self.second.choices()
    }

    fn sample(&self, noise: Tensor<3>) -> Tensor<3> {
        let (first, second) = self.split(noise);
        side_by_side(self.first.sample(first), self.second.sample(second))
    }

    fn log_probability(&self, actions: Tensor<3>) -> Tensor<2> {
        let (first, second) = self.split(actions);
        self.first.log_probability(first) + self.second.log_probability(second)
    }

    /// The noise's density is counted once, with the first part.
    fn log_probability_given(&self, action: Tensor<3>, noise_density: f64) -> Tensor<1> {
        let (first, second) = self.split(action);
        self.first.log_probability_given(first, noise_density)
            + self.second.log_probability_given(second, 0.0)
    }

    fn mode(&self) -> Tensor<2> {
        side_by_side(self.first.mode(), self.second.mode())
    }

    fn spread(&self) -> Tensor<2> {
        side_by_side(self.first.spread(), self.second.spread())
    }

    /// Joint: the sum of both, as that of independent distributions is.
    fn divergence(&self, old: &Self, constraint: Constraint) -> Result<DecoupledKl> {
        let first = self.first.divergence(&old.first, constraint)?;
        let second = self.second.divergence(&old.second, constraint)?;
        let together = |first, second| match constraint {
            Constraint::Joint => first + second,
            Constraint::PerDimension => side_by_side(first, second),
        };
        Ok(DecoupledKl {
            mean: together(first.mean, second.mean),
            covariance: together(first.covariance, second.covariance),
        })
    }

    fn statistics(&self, actions: Tensor<3>, weights: Tensor<2>) -> Self::Statistics {
        let (first, second) = self.split(actions);
        (self.first.statistics(first, weights.clone()), self.second.statistics(second, weights))
    }

    fn lagrangian(self, old: &Self, statistics: &Self::Statistics, multipliers: &Multipliers) -> Tensor<1> {
        let [of_first, of_second] = match multipliers.mean.dims() {
            // One constraint for all.
            [1] => [multipliers.clone(), multipliers.clone()],
            _ => {
                let mean = self.split(multipliers.mean.clone());
                let covariance = self.split(multipliers.covariance.clone());
                [(mean.0, covariance.0), (mean.1, covariance.1)]
                    .map(|(mean, covariance)| Multipliers { mean, covariance })
            }
        };
        self.first.lagrangian(&old.first, &statistics.0, &of_first)
            + self.second.lagrangian(&old.second, &statistics.1, &of_second)
    }

    fn narrow(&self, start: usize, count: usize) -> Self {
        Self { first: self.first.narrow(start, count), second: self.second.narrow(start, count) }
    }

    fn inner(self) -> Self {
        Self { first: self.first.inner(), second: self.second.inner() }
    }
}
