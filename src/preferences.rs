//! Both E-steps of an update: by the critic's values, and by the action penalty.

use burn::tensor::Tensor;

use crate::config::MpoConfig;
use crate::dual::DualSolution;
use crate::error::Result;
use crate::estep::{EStep, Found};
use crate::host::to_host;

/// What makes one sampled action better than another.
#[derive(Debug, Clone)]
pub(crate) struct Preferences<T = EStep> {
    /// The critic's values.
    pub(crate) values: T,
    /// The actions' costs.
    pub(crate) penalty: Option<T>,
}

impl Preferences {
    pub(crate) fn new(config: &MpoConfig) -> Result<Self> {
        Ok(Self {
            values: EStep::new(config.e_step.clone())?,
            penalty: config
                .action_penalty
                .as_ref()
                .map(|penalty| EStep::new(penalty.e_step.clone()))
                .transpose()?,
        })
    }

    /// The weights of actions that have these `values` and, where they are penalised, these `costs`, all `[states, samples]`, and
    /// the solutions of the duals as far as they are known by then.
    pub(crate) fn weigh(
        &mut self,
        values: Tensor<2>,
        costs: Option<Tensor<2>>,
    ) -> Result<(Tensor<2>, Preferences<Found>)> {
        let (Some(penalty), Some(costs)) = (&mut self.penalty, costs) else {
            let (weights, values) = self.values.begin(values, None)?;
            return Ok((weights, Preferences { values, penalty: None }));
        };
        let (mut values_read, mut costs_read) = (None, None);
        if !self.values.is_on_device() && !penalty.is_on_device() {
            // The host waits for the device once, not twice.
            let mut numbers: Vec<f64> =
                to_host("action values", Tensor::cat(vec![values.clone(), costs.clone()], 0))?;
            costs_read = Some(numbers.split_off(numbers.len() / 2));
            values_read = Some(numbers);
        }
        let (weights, values) = self.values.begin(values, values_read)?;
        let (others, penalty) = penalty.begin(costs, costs_read)?;
        // Both preferences at once, in proportion: q ∝ π exp(Q/η) exp(-cost/η').
        let weights = weights * others;
        Ok((weights.clone() / weights.sum_dim(1), Preferences { values, penalty: Some(penalty) }))
    }

    /// The solutions, from the numbers that [`Preferences::on_device`] named.
    pub(crate) fn finish(
        &mut self,
        found: Preferences<Found>,
        numbers: &[f32],
    ) -> Result<Preferences<DualSolution>> {
        let count = usize::from(matches!(found.values, Found::OnDevice(_))) * Found::NUMBERS;
        let (of_values, of_penalty) = numbers.split_at(count);
        let values = self.values.finish(found.values, of_values)?;
        let penalty = self.penalty.as_mut().zip(found.penalty);
        let penalty = penalty.map(|(e_step, found)| e_step.finish(found, of_penalty)).transpose()?;
        Ok(Preferences { values, penalty })
    }
}

impl Preferences<Found> {
    /// The numbers that are still on the device.
    pub(crate) fn on_device(&self) -> Vec<Tensor<1>> {
        let found = [Some(&self.values), self.penalty.as_ref()];
        let numbers = found.into_iter().flatten().map(|found| match found {
            Found::OnHost(_) => None,
            Found::OnDevice(numbers) => Some(Tensor::clone(numbers)),
        });
        numbers.flatten().collect()
    }
}
