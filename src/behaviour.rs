//! What acts in an environment, or in several: [`Behaviour`].

use burn::tensor::Tensor;

use crate::checks::{check, check_finite, check_size};
use crate::error::Result;
use crate::experience::action::Action;
use crate::exploration::{Exploration, Explorer, Noise};
use crate::host::{tensor, to_host};
use crate::learner::Learner;
use crate::mathematics::distribution::Distribution;
use crate::networks::{Actor, Critic};
use crate::policy::{ACTION, Policy};
use crate::rng::Rng;

/// The behaviour policy of an environment, or of several, a *row* each: a policy as it was when it was last
/// [brought up to date](Self::follow), and an exploration for each row, with random numbers of its own.
/// Several behaviours act side by side, on threads of their own, for one [`Learner`].
#[derive(Debug, Clone)]
pub struct Behaviour<A: Actor> {
    policy: Policy<A>,
    /// By row.
    explorers: Vec<Explorer>,
}

impl<A: Actor> Behaviour<A> {
    /// Acts by `policy` in one environment, exploring with random numbers of `rng`.
    ///
    /// # Errors
    /// If a setting lies outside its accepted range.
    pub fn new(policy: Policy<A>, exploration: Exploration, rng: Rng) -> Result<Self> {
        Ok(Self { policy, explorers: vec![Explorer::new(exploration, rng)?] })
    }

    /// The same for so many environments. Rows that there are already go on as they were; a new one explores
    /// alike, with random numbers of its own.
    ///
    /// # Errors
    /// If `rows` is 0.
    pub fn with_rows(mut self, rows: usize) -> Result<Self> {
        check("Behaviour, rows", rows, |&rows| rows > 0, "at least 1")?;
        self.explorers.truncate(rows);
        // From a copy: the first row's own numbers stay what they are for one environment.
        let mut seeds = self.explorers[0].rng().clone();
        for row in 1..rows {
            let rng = seeds.split();
            if row == self.explorers.len() {
                self.explorers.push(self.explorers[0].anew(rng));
            }
        }
        Ok(self)
    }

    /// How many environments it acts in.
    pub fn rows(&self) -> usize {
        self.explorers.len()
    }

    /// The policy that it acts by.
    pub fn policy(&self) -> &Policy<A> {
        &self.policy
    }

    /// Samples the action for an observation of the first row.
    ///
    /// # Errors
    /// If the observation has the wrong size or is not finite, or the policy is not. The behaviour then stays
    /// as it was.
    pub fn act(&mut self, observation: &[f32]) -> Result<Action> {
        Ok(self.act_in_rows(&[(0, observation)])?.remove(0))
    }

    /// Samples an action for each of these rows' observations, in one pass of the policy.
    ///
    /// # Errors
    /// If there is no such row, an observation has the wrong size or is not finite, or the policy is not. The
    /// behaviour then stays as it was.
    pub fn act_in_rows(&mut self, observations: &[(usize, &[f32])]) -> Result<Vec<Action>> {
        let space = self.policy.action_space();
        let n = space.size();
        // Beside the behaviour, so that an error leaves no trace.
        let mut explorers = self.explorers.clone();
        let mut actions = Vec::with_capacity(observations.len());
        let (mut asked, mut noise, mut densities) = (Vec::new(), Vec::new(), Vec::new());
        for (place, &(row, observation)) in observations.iter().enumerate() {
            check("row", row, |&row| row < explorers.len(), "below Behaviour::rows")?;
            check_size("observation", observation.len(), self.policy.actor().observation_size())?;
            check_finite("observation", observation)?;
            let excursion = explorers[row].excursion(space);
            if excursion.is_none() {
                let Noise { z, log_density } = explorers[row].noise(space);
                asked.push((place, observation));
                noise.extend(z);
                densities.push(log_density);
            }
            // Where the policy is asked, its answer takes the place of nothing.
            actions.push(Action { values: excursion.unwrap_or_default(), log_probability: f32::MAX });
        }
        if !asked.is_empty() {
            let (values, log_probabilities) = self.sample(&asked, noise, &densities)?;
            for ((&(place, _), values), log_probability) in
                asked.iter().zip(values.chunks(n)).zip(log_probabilities)
            {
                actions[place] = Action { values: values.to_vec(), log_probability };
            }
        }
        self.explorers = explorers;
        Ok(actions)
    }

    /// The policy's actions at observations, made of this noise, one after another, and their
    /// log-probabilities.
    fn sample(
        &self,
        asked: &[(usize, &[f32])],
        noise: Vec<f32>,
        densities: &[f32],
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        let observations: Vec<&[f32]> = asked.iter().map(|&(_, observation)| observation).collect();
        let policy = self.policy.at_each(&observations)?;
        let (count, n) = (asked.len(), policy.action_size());
        let actions = policy.sample(tensor(noise, [count, 1, n], &policy.mode().device()));
        let mut numbers = vec![actions.clone().reshape([count * n])];
        if let &[density] = densities {
            numbers.push(policy.log_probability_given(actions, density.into()));
        } else {
            // A density each.
            numbers.extend(densities.iter().enumerate().map(|(row, &density)| {
                let action = actions.clone().narrow(0, row, 1);
                policy.narrow(row, 1).log_probability_given(action, density.into())
            }));
        }
        let mut values = to_host(ACTION, Tensor::cat(numbers, 0))?;
        check_finite(ACTION, &values)?;
        let log_probabilities = values.split_off(count * n);
        Ok((values, log_probabilities))
    }

    /// Begins an episode in the first row: what went before has no part in its noise.
    pub fn reset(&mut self) {
        self.explorers[0].reset();
    }

    /// Begins an episode in a row.
    ///
    /// # Errors
    /// If there is no such row.
    pub fn reset_row(&mut self, row: usize) -> Result<()> {
        check("row", row, |&row| row < self.explorers.len(), "below Behaviour::rows")?;
        self.explorers[row].reset();
        Ok(())
    }

    /// Takes over the learner's latest policy.
    pub fn follow<C: Critic>(&mut self, learner: &Learner<A, C>) {
        self.update(learner.latest_policy(), learner.informed());
    }

    /// Acts by another policy from now on; see [`Learner::informed`] for what exploration may depend on
    /// besides.
    pub fn update(&mut self, policy: Policy<A>, informed: f64) {
        self.policy = policy;
        self.explorers.iter_mut().for_each(|explorer| explorer.judge(informed));
    }

    pub(crate) fn explorers(&self) -> &[Explorer] {
        &self.explorers
    }

    /// Goes on with these, of which there has to be one.
    pub(crate) fn set_explorers(&mut self, explorers: Vec<Explorer>) {
        self.explorers = explorers;
    }
}
