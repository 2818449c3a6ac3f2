//! What is drawn from the replay and learnt from.

use burn::tensor::{Device, Tensor};

use crate::error::{Result, check, check_shape};

/// What an agent learns from in one update.
#[derive(Debug, Clone)]
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
}

/// A batch of sequences of consecutive steps of one episode each, on a device.
#[derive(Debug, Clone)]
pub struct Sequences {
    /// s_t to s_{t+N}, `[batch, steps + 1, observation]`.
    pub observations: Tensor<3>,
    /// `[batch, steps, action]`.
    pub actions: Tensor<3>,
    /// `[batch, steps]`.
    pub rewards: Tensor<2>,
    /// γ (1 - terminated), `[batch, steps]`.
    pub discounts: Tensor<2>,
    /// log b(a|s) of the behaviour policy, `[batch, steps]`.
    pub log_probabilities: Tensor<2>,
}

impl Batch {
    fn devices(&self) -> [Device; 5] {
        match self {
            Self::Transitions(Transitions {
                observations,
                actions,
                rewards,
                discounts,
                next_observations,
            }) => [
                observations.device(),
                actions.device(),
                rewards.device(),
                discounts.device(),
                next_observations.device(),
            ],
            Self::Sequences(Sequences { observations, actions, rewards, discounts, log_probabilities }) => [
                observations.device(),
                actions.device(),
                rewards.device(),
                discounts.device(),
                log_probabilities.device(),
            ],
        }
    }

    /// The states, actions and next states of a batch, one a row, once all its shapes are seen to fit these sizes, and all
    /// its tensors to be on this device.
    pub(crate) fn rows(&self, observation: usize, n: usize, device: &Device) -> Result<Rows> {
        let all = |devices: &[Device; 5]| devices.iter().all(|one| one == device && !one.is_autodiff());
        check("the batch's devices", self.devices(), all, "the agent's, without autodiff")?;
        match self {
            Self::Transitions(batch) => {
                let [count, _] = batch.observations.dims();
                check_shape("batch.observations", &batch.observations.dims(), &[count, observation])?;
                check_shape("batch.actions", &batch.actions.dims(), &[count, n])?;
                check_shape("batch.rewards", &batch.rewards.dims(), &[count])?;
                check_shape("batch.discounts", &batch.discounts.dims(), &[count])?;
                check_shape(
                    "batch.next_observations",
                    &batch.next_observations.dims(),
                    &[count, observation],
                )?;
                let observations = batch.observations.clone();
                let next_observations = batch.next_observations.clone();
                Ok(Rows {
                    next_observations: that_count(next_observations, &observations, batch.discounts.clone()),
                    observations,
                    actions: batch.actions.clone(),
                })
            }
            Self::Sequences(batch) => {
                let [count, steps] = batch.rewards.dims();
                check_shape("batch.rewards", &batch.rewards.dims(), &[count, steps])?;
                check_shape(
                    "batch.observations",
                    &batch.observations.dims(),
                    &[count, steps + 1, observation],
                )?;
                check_shape("batch.actions", &batch.actions.dims(), &[count, steps, n])?;
                check_shape("batch.discounts", &batch.discounts.dims(), &[count, steps])?;
                check_shape("batch.log_probabilities", &batch.log_probabilities.dims(), &[count, steps])?;
                let rows = |from: usize| {
                    let part =
                        batch.observations.clone().slice([0..count, from..from + steps, 0..observation]);
                    part.reshape([count * steps, observation])
                };
                let observations = rows(0);
                let discounts = batch.discounts.clone().reshape([count * steps]);
                Ok(Rows {
                    next_observations: that_count(rows(1), &observations, discounts),
                    observations,
                    actions: batch.actions.clone().reshape([count * steps, n]),
                })
            }
        }
    }
}

/// The next states, and the rows' own states where nothing that follows counts: a policy has nothing to do in the state that
/// ended the task, and no critic learns its value.
fn that_count(next: Tensor<2>, observations: &Tensor<2>, discounts: Tensor<1>) -> Tensor<2> {
    let ended = discounts.equal_elem(0.0).unsqueeze_dim::<2>(1).expand(next.dims());
    next.mask_where(ended, observations.clone())
}

/// What a batch says of single steps.
pub(crate) struct Rows {
    /// `[rows, observation]`
    pub(crate) observations: Tensor<2>,
    /// `[rows, action]`
    pub(crate) actions: Tensor<2>,
    /// `[rows, observation]`, the rows' own where the task ended
    pub(crate) next_observations: Tensor<2>,
}
