//! What is drawn from the replay and learnt from.

use burn::tensor::{Device, Tensor};

use crate::config::PolicyEvaluation;
use crate::error::{Error, Result, check, check_shape};
use crate::host::indices;

/// What an agent learns from in one update.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one batch at a time, and none in an array")]
pub enum Batch {
    /// For TD(0) and n-step targets.
    Transitions(Transitions),
    /// For Retrace.
    Sequences(Sequences),
}

/// A batch of transitions over up to n steps, on a device.
#[derive(Debug, Clone)]
pub struct Transitions {
    /// s_t, `[batch, observation]`.
    pub observations: Tensor<2>,
    /// a_t, `[batch, action]`.
    pub actions: Tensor<2>,
    /// Σ_k γᵏ r_{t+k} over the steps up to the next observation, `[batch]`.
    pub rewards: Tensor<1>,
    /// γᵏ for the k steps up to the next observation, 0 where the task ended on the way, `[batch]`.
    pub discounts: Tensor<1>,
    /// The observation n steps on, or the episode's last where that comes first, `[batch, observation]`.
    pub next_observations: Tensor<2>,
    /// Where the policy is improved.
    pub improved: Improved<2>,
}

/// A batch of sequences of consecutive steps, on a device. Behind an episode's last step its first one
/// follows, so that every step stands in as many sequences as any other, and no episode is too short for one.
#[derive(Debug, Clone)]
pub struct Sequences {
    /// s_t, `[batch, steps, observation]`.
    pub observations: Tensor<3>,
    /// `[batch, steps, action]`.
    pub actions: Tensor<3>,
    /// `[batch, steps]`.
    pub rewards: Tensor<2>,
    /// γ (1 - terminated), `[batch, steps]`.
    pub discounts: Tensor<2>,
    /// log b(a|s) of the behaviour policy, `[batch, steps]`.
    pub log_probabilities: Tensor<2>,
    /// 1 where the step before it in the sequence led to this one, 0 at the first step of the sequence or of
    /// an episode, `[batch, steps]`.
    pub continued: Tensor<2>,
    /// The observation that each step led to, also at an episode's end, `[batch, steps, observation]`.
    pub next_observations: Tensor<3>,
    /// Where the policy is improved.
    pub improved: Improved<3>,
}

/// At which states the policy is improved where [`ImproveAt::NextStates`](crate::ImproveAt::NextStates) asks
/// for others than the batch's own: n steps on, on the episode taken as a circle of the T states in which the
/// agent acted, s_0 to s_{T-1}. From s_t that is s_{(t + n) mod T}, the next observation in all but the last
/// n steps of an episode. As many steps of an episode lead to one of these states as to any other, whatever T
/// and n: once each, and never to s_T.
#[derive(Debug, Clone)]
pub struct Improved<const D: usize> {
    /// `[batch, observation]`, or `[batch, steps, observation]`.
    pub observations: Tensor<D>,
    /// The rows, of sequences one step after another, whose next observation is another state, and one whose
    /// value counts: the ends of episodes that were cut off. In ascending order. It is evaluated besides.
    pub apart: Vec<usize>,
}

impl Improved<2> {
    /// These states, then those of the `next` ones, `[batch, observation]`, that are apart.
    pub(crate) fn with_those_apart(&self, next: Tensor<2>) -> Tensor<2> {
        let improved = self.observations.clone();
        if self.apart.is_empty() {
            return improved;
        }
        let rows = indices(self.apart.iter().copied(), &next.device());
        Tensor::cat(vec![improved, next.select(0, rows)], 0)
    }

    /// From a number of each of those states that of each next state, `[batch]`.
    pub(crate) fn of_next(&self, values: Tensor<1>) -> Tensor<1> {
        if self.apart.is_empty() {
            return values;
        }
        let [count, _] = self.observations.dims();
        let mut places: Vec<usize> = (0..count).collect();
        self.apart.iter().zip(count..).for_each(|(&row, place)| places[row] = place);
        let places = indices(places.into_iter(), &values.device());
        values.select(0, places)
    }
}

impl Batch {
    /// Checks that the batch is of the kind that this policy evaluation learns from.
    pub(crate) fn check_kind(&self, evaluation: PolicyEvaluation) -> Result<()> {
        let given = match (evaluation, self) {
            (PolicyEvaluation::NStep { .. }, Self::Transitions(_)) => return Ok(()),
            (PolicyEvaluation::Retrace { .. }, Self::Sequences(_)) => return Ok(()),
            (_, Self::Transitions(_)) => "Batch::Transitions",
            (_, Self::Sequences(_)) => "Batch::Sequences",
        };
        Err(Error::Config {
            field: "MpoConfig::evaluation",
            value: format!("{evaluation:?} and the batch is {given}"),
            accepted: "NStep with Batch::Transitions, Retrace with Batch::Sequences",
        })
    }

    fn devices(&self) -> Vec<Device> {
        match self {
            Self::Transitions(Transitions {
                observations,
                actions,
                rewards,
                discounts,
                next_observations,
                improved,
            }) => vec![
                observations.device(),
                actions.device(),
                rewards.device(),
                discounts.device(),
                next_observations.device(),
                improved.observations.device(),
            ],
            Self::Sequences(Sequences {
                observations,
                actions,
                rewards,
                discounts,
                log_probabilities,
                continued,
                next_observations,
                improved,
            }) => vec![
                observations.device(),
                actions.device(),
                rewards.device(),
                discounts.device(),
                log_probabilities.device(),
                continued.device(),
                next_observations.device(),
                improved.observations.device(),
            ],
        }
    }

    /// The states, actions and next states of a batch, one a row, once all its shapes are seen to fit these
    /// sizes, and all its tensors to be on this device.
    pub(crate) fn rows(&self, observation: usize, n: usize, device: &Device) -> Result<Rows> {
        let all = |devices: &Vec<Device>| devices.iter().all(|one| one == device && !one.is_autodiff());
        check("the batch's devices", self.devices(), all, "the agent's, without autodiff")?;
        let rows = match self {
            Self::Transitions(batch) => {
                let [count, _] = batch.observations.dims();
                let states = [count, observation];
                check_shape("batch.observations", &batch.observations.dims(), &states)?;
                check_shape("batch.actions", &batch.actions.dims(), &[count, n])?;
                check_shape("batch.rewards", &batch.rewards.dims(), &[count])?;
                check_shape("batch.discounts", &batch.discounts.dims(), &[count])?;
                check_shape("batch.next_observations", &batch.next_observations.dims(), &states)?;
                check_shape("batch.improved.observations", &batch.improved.observations.dims(), &states)?;
                Rows {
                    observations: batch.observations.clone(),
                    actions: batch.actions.clone(),
                    next_observations: batch.next_observations.clone(),
                    improved: batch.improved.clone(),
                }
            }
            Self::Sequences(batch) => {
                let [count, steps] = batch.rewards.dims();
                let (numbers, states) = ([count, steps], [count, steps, observation]);
                check_shape("batch.rewards", &batch.rewards.dims(), &numbers)?;
                check_shape("batch.observations", &batch.observations.dims(), &states)?;
                check_shape("batch.actions", &batch.actions.dims(), &[count, steps, n])?;
                check_shape("batch.discounts", &batch.discounts.dims(), &numbers)?;
                check_shape("batch.log_probabilities", &batch.log_probabilities.dims(), &numbers)?;
                check_shape("batch.continued", &batch.continued.dims(), &numbers)?;
                check_shape("batch.next_observations", &batch.next_observations.dims(), &states)?;
                check_shape("batch.improved.observations", &batch.improved.observations.dims(), &states)?;
                let rows = |tensor: &Tensor<3>| tensor.clone().reshape([count * steps, observation]);
                Rows {
                    observations: rows(&batch.observations),
                    actions: batch.actions.clone().reshape([count * steps, n]),
                    next_observations: rows(&batch.next_observations),
                    improved: Improved {
                        observations: rows(&batch.improved.observations),
                        apart: batch.improved.apart.clone(),
                    },
                }
            }
        };
        let [count, _] = rows.observations.dims();
        let ascending = |apart: &&Vec<usize>| {
            apart.is_sorted_by(|row, later| row < later) && apart.last().is_none_or(|&last| last < count)
        };
        check("batch.improved.apart", &rows.improved.apart, ascending, "rows of the batch, ascending")?;
        Ok(rows)
    }
}

/// What a batch says of single steps.
pub(crate) struct Rows {
    /// `[rows, observation]`
    pub(crate) observations: Tensor<2>,
    /// `[rows, action]`
    pub(crate) actions: Tensor<2>,
    /// `[rows, observation]`
    pub(crate) next_observations: Tensor<2>,
    pub(crate) improved: Improved<2>,
}
