//! What is drawn from the replay and learnt from.

use burn::tensor::{Device, Tensor};

use crate::checks::{check, check_shape};
use crate::error::Result;
use crate::host::indices;

/// What an agent learns from in one update: a step a row, on a device. The rows of a sequence stand one after
/// another; n-step transitions are sequences of one row.
///
/// Sequences go around their episodes: behind an episode's last step its first one follows, so that every
/// step stands in as many sequences as any other, and no episode is too short for one.
#[derive(Debug, Clone)]
pub struct Batch {
    /// How many rows a sequence has: 1 for transitions.
    pub steps: usize,
    /// s_t, `[rows, observation]`.
    pub observations: Tensor<2>,
    /// a_t, `[rows, action]`.
    pub actions: Tensor<2>,
    /// r_t, `[rows]`; in transitions Σ_k γᵏ r_{t+k} over the steps up to the next observation.
    pub rewards: Tensor<1>,
    /// γᵏ for the k steps up to the next observation, 0 if the task ended on the way, `[rows]`.
    pub discounts: Tensor<1>,
    /// log b(a_t|s_t) of the behaviour policy, `[rows]`.
    pub log_probabilities: Tensor<1>,
    /// 1 if the row before led to this one, 0 at the first row of a sequence or of an episode, `[rows]`.
    pub continued: Tensor<1>,
    /// The observation that the step led to, also at an episode's end, `[rows, observation]`; in transitions
    /// the one n steps on, or the episode's last if that comes first.
    pub next_observations: Tensor<2>,
    /// Where the policy is improved.
    pub improved: Improved,
}

/// At which states the policy is improved if [`ImproveAt::NextStates`](crate::ImproveAt::NextStates) asks for
/// others than the batch's own: n steps on, on the episode taken as a circle of the T states in which the
/// agent acted, s_0 to s_{T-1}. From s_t that is s_{(t + n) mod T}, the next observation in all but the last
/// n steps of an episode. As many steps of an episode lead to one of these states as to any other, whatever T
/// and n: once each, and never to s_T.
#[derive(Debug, Clone)]
pub struct Improved {
    /// `[rows, observation]`.
    pub observations: Tensor<2>,
    /// The rows, in ascending order, whose target bootstraps from the last observation of a truncated episode
    /// rather than from the state where the policy is improved. That observation is evaluated in addition.
    pub truncated: Vec<usize>,
}

impl Batch {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.observations.dims()[0]
    }

    /// The states at which sampled actions and their values serve for both halves of an update: those where
    /// the policy is improved, then the next observations of `truncated` rows, `[rows and more,
    /// observation]`.
    ///
    /// # Errors
    /// If `truncated` are not rows of the batch, ascending.
    pub fn evaluated(&self) -> Result<Tensor<2>> {
        self.check_truncated()?;
        let improved = self.improved.observations.clone();
        if self.improved.truncated.is_empty() {
            return Ok(improved);
        }
        let truncated = indices(self.improved.truncated.iter().copied(), &improved.device());
        Ok(Tensor::cat(vec![improved, self.next_observations.clone().select(0, truncated)], 0))
    }

    /// V(s') of the next observations, `[rows]`, from the `values` V of the [evaluated](Self::evaluated)
    /// states, `[rows and more]`.
    ///
    /// # Errors
    /// If `truncated` are not rows of the batch, ascending, or there are not as many values.
    pub fn next_values(&self, values: Tensor<1>) -> Result<Tensor<1>> {
        self.check_truncated()?;
        let rows = self.rows();
        check_shape("values", &values.dims(), &[rows + self.improved.truncated.len()])?;
        if self.improved.truncated.is_empty() {
            return Ok(values);
        }
        let mut places: Vec<usize> = (0..rows).collect();
        self.improved.truncated.iter().zip(rows..).for_each(|(&row, place)| places[row] = place);
        let places = indices(places.into_iter(), &values.device());
        Ok(values.select(0, places))
    }

    /// Checks that the rows are sequences, or single transitions where those are learnt from, and that all
    /// tensors fit networks of these sizes and are on this device.
    pub(crate) fn check(
        &self,
        sequences: bool,
        [observation_size, action_size]: [usize; 2],
        device: &Device,
    ) -> Result<()> {
        let [rows, _] = self.observations.dims();
        let fitting = |&steps: &usize| steps == 1 || sequences && steps > 0 && rows.is_multiple_of(steps);
        let accepted = match sequences {
            true => "at least 1, and the rows a multiple of it",
            false => "1, as MpoConfig::evaluation is NStep",
        };
        check("batch.steps", self.steps, fitting, accepted)?;
        let states = [rows, observation_size];
        fits("batch.observations", &self.observations, states, device)?;
        fits("batch.actions", &self.actions, [rows, action_size], device)?;
        fits("batch.rewards", &self.rewards, [rows], device)?;
        fits("batch.discounts", &self.discounts, [rows], device)?;
        fits("batch.log_probabilities", &self.log_probabilities, [rows], device)?;
        fits("batch.continued", &self.continued, [rows], device)?;
        fits("batch.next_observations", &self.next_observations, states, device)?;
        fits("batch.improved.observations", &self.improved.observations, states, device)?;
        self.check_truncated()
    }

    fn check_truncated(&self) -> Result<()> {
        let rows = self.rows();
        let ascending = |truncated: &&Vec<usize>| {
            truncated.is_sorted_by(|row, later| row < later)
                && truncated.last().is_none_or(|&last| last < rows)
        };
        check("batch.improved.truncated", &self.improved.truncated, ascending, "rows of the batch, ascending")
    }
}

fn fits<const D: usize>(
    place: &'static str,
    tensor: &Tensor<D>,
    shape: [usize; D],
    device: &Device,
) -> Result<()> {
    check_shape(place, &tensor.dims(), &shape)?;
    let same = |own: &Device| own == device && !own.is_autodiff();
    check(place, tensor.device(), same, "a tensor on the agent's device, without autodiff")
}
