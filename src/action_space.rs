//! What the actions of an environment are: [`ActionSpace`].

use burn::tensor::Tensor;

use crate::checks::{check, check_finite, check_size};
use crate::error::{Error, Result};

/// What the actions of an environment are: numbers inside bounds, discrete actions, or both.
///
/// An action has a number for each bounded component, then one for each discrete action, which this library's
/// names call a *choice*: the index, 0 to K - 1, of one of its K *alternatives*. `with_choices([3])` adds one
/// choice of 3 alternatives.
///
/// ```
/// use mpo::ActionSpace;
///
/// let torques = ActionSpace::symmetric(2);
/// let volts = ActionSpace::bounded(vec![0.0], vec![12.0])?;
/// let buttons = ActionSpace::discrete(4);
/// let levers = ActionSpace::multi_discrete([3, 2]);
/// let both = ActionSpace::symmetric(2).with_choices([3]);
/// assert_eq!([torques, volts, buttons, levers, both].map(|space| space.size()), [2, 1, 1, 2, 3]);
/// # Ok::<(), mpo::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ActionSpace {
    low: Vec<f32>,
    high: Vec<f32>,
    choices: Vec<usize>,
}

/// The most alternatives that a choice can have: single precision tells their indices apart.
const MOST_CHOICES: usize = 1 << 24;

impl ActionSpace {
    /// Numbers inside bounds, in the environment's units, from their lower and upper ends.
    ///
    /// # Errors
    /// If there is no component, the lengths differ, or a lower end is not below its upper end, both finite.
    pub fn bounded(low: Vec<f32>, high: Vec<f32>) -> Result<Self> {
        check("ActionSpace::low", low.len(), |&size| size > 0, "at least one component")?;
        check_size("ActionSpace::high", high.len(), low.len())?;
        for (&low, &high) in low.iter().zip(&high) {
            check(
                "ActionSpace",
                (low, high),
                |(low, high)| low < high && (high - low).is_finite(),
                "a lower end below its upper end, both finite",
            )?;
        }
        Ok(Self { low, high, choices: Vec::new() })
    }

    /// `size` numbers inside [-1, 1]. Without any component no trainer takes them.
    pub fn symmetric(size: usize) -> Self {
        Self { low: vec![-1.0; size], high: vec![1.0; size], choices: Vec::new() }
    }

    /// One discrete action of `count` alternatives. Accepted: 2 to 16,777,216; no trainer takes another.
    pub fn discrete(count: usize) -> Self {
        Self::multi_discrete([count])
    }

    /// Several discrete actions at once, of so many alternatives each.
    pub fn multi_discrete(counts: impl Into<Vec<usize>>) -> Self {
        Self::symmetric(0).with_choices(counts)
    }

    /// The same with these discrete actions behind its components, of so many alternatives each.
    #[must_use]
    pub fn with_choices(mut self, counts: impl Into<Vec<usize>>) -> Self {
        self.choices.extend(counts.into());
        self
    }

    /// What a file or another process says of one.
    pub(crate) fn of_parts(low: Vec<f32>, high: Vec<f32>, choices: Vec<usize>) -> Result<Self> {
        let bounded = match low.is_empty() && high.is_empty() && !choices.is_empty() {
            true => Self::symmetric(0),
            false => Self::bounded(low, high)?,
        };
        let space = bounded.with_choices(choices);
        space.check("ActionSpace")?;
        Ok(space)
    }

    /// Checks that there are actions.
    pub(crate) fn check(&self, place: &'static str) -> Result<()> {
        check(place, self.size(), |&size| size > 0, "at least 1 component")?;
        let counts = |counts: &&Vec<usize>| counts.iter().all(|count| (2..=MOST_CHOICES).contains(count));
        check(place, &self.choices, counts, "2 to 16777216 alternatives for each discrete action")
    }

    /// How many components an action has.
    pub fn size(&self) -> usize {
        self.low.len() + self.choices.len()
    }

    /// How many of them are numbers inside bounds.
    pub fn bounded_size(&self) -> usize {
        self.low.len()
    }

    /// The lower ends of the bounded components.
    pub fn low(&self) -> &[f32] {
        &self.low
    }

    /// The upper ends of the bounded components.
    pub fn high(&self) -> &[f32] {
        &self.high
    }

    /// How many alternatives each discrete action has.
    pub fn choices(&self) -> &[usize] {
        &self.choices
    }

    /// Checks that a policy for `other` acts here too: there are as many bounded components, whatever their
    /// bounds, and the same choices.
    pub(crate) fn check_like(&self, other: &Self) -> Result<()> {
        check_size("the action space", self.size(), other.size())?;
        if self.choices == other.choices {
            return Ok(());
        }
        Err(Error::Shape {
            place: "the action space's choices",
            shape: self.choices.clone(),
            expected: format!(
                "{:?} (for discrete actions make the agent by DiscreteAgent::discrete_of, \
                 MultiDiscreteAgent::multi_discrete_of or HybridAgent::hybrid_of)",
                other.choices
            ),
        })
    }

    /// Maps an action of the policy to the environment's units: [-1, 1] to the bounds, clipped to them.
    /// Choices stay as they are.
    ///
    /// # Errors
    /// If the action has the wrong size, is not finite, or there is no such choice.
    pub fn to_environment(&self, action: &[f32]) -> Result<Vec<f32>> {
        let (bounded, choices) = self.split(action)?;
        let ends = self.low.iter().zip(&self.high);
        let mapped = bounded.iter().zip(ends).map(|(&action, (&low, &high))| {
            let share = 0.5 * (action.clamp(-1.0, 1.0) + 1.0);
            (low + share * (high - low)).clamp(low, high)
        });
        Ok(mapped.chain(choices.iter().copied()).collect())
    }

    /// Maps an action of the environment to the policy's units: the bounds to [-1, 1]. What is outside of
    /// them by no more than rounding is taken to be at their end. Choices stay as they are.
    ///
    /// # Errors
    /// If the action has the wrong size, is not finite or lies outside the bounds, or there is no such
    /// choice.
    pub fn to_policy(&self, action: &[f32]) -> Result<Vec<f32>> {
        let (bounded, choices) = self.split(action)?;
        let ends = self.low.iter().zip(&self.high);
        let mapped = bounded.iter().zip(ends).map(|(&action, (&low, &high))| {
            let value = 2.0 * (action - low) / (high - low) - 1.0;
            if value.abs() <= 1.0 + 1e-4 {
                return Ok(value.clamp(-1.0, 1.0));
            }
            Err(Error::Range {
                place: "action",
                value: action.into(),
                accepted: "what lies inside the bounds",
            })
        });
        mapped.chain(choices.iter().map(|&choice| Ok(choice))).collect()
    }

    /// The bounded components of an action, and its choices, which there are.
    pub(crate) fn split<'a>(&self, action: &'a [f32]) -> Result<(&'a [f32], &'a [f32])> {
        check_size("action", action.len(), self.size())?;
        check_finite("action", action)?;
        let (bounded, choices) = action.split_at(self.bounded_size());
        for (&choice, &count) in choices.iter().zip(&self.choices) {
            if choice.fract() != 0.0 || !(0.0..count as f32).contains(&choice) {
                let accepted = "for a discrete action of K alternatives a whole number from 0 to K - 1";
                return Err(Error::Range { place: "action", value: choice.into(), accepted });
            }
        }
        Ok((bounded, choices))
    }

    /// The bounded components of `actions` `[.., action]`; none where there are none.
    pub fn bounded_part<const D: usize>(&self, actions: Tensor<D>) -> Option<Tensor<D>> {
        match (self.bounded_size(), self.choices.is_empty()) {
            (0, _) => None,
            (_, true) => Some(actions),
            (bounded, false) => Some(actions.narrow(D - 1, 0, bounded)),
        }
    }

    /// Actions of the policy, `[.., action]`, as the environment had them: bounded components clipped to
    /// [-1, 1], choices as they are.
    pub fn clipped<const D: usize>(&self, actions: Tensor<D>) -> Tensor<D> {
        let Some(bounded) = self.bounded_part(actions.clone()) else { return actions };
        let bounded = bounded.clamp(-1.0, 1.0);
        if self.choices.is_empty() {
            return bounded;
        }
        let choices = actions.narrow(D - 1, self.bounded_size(), self.choices.len());
        Tensor::cat(vec![bounded, choices], D - 1)
    }
}
