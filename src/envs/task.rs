//! What the control tasks share: episodes and their steps, checks, and the learner's precision.

use super::JointState;
use super::error::ControlError;
use crate::action_space::ActionSpace;
use crate::experience::environment::{Environment, Step};
use crate::rng::{Rng, Stream};

/// The control steps after which every episode is cut off.
const EPISODE_STEPS: usize = 1000;

/// What a task is: its simulation, and what is observed, rewarded and started from.
///
/// [`ControlTask`] is compiled in the crate that uses it: the short methods of an implementation are
/// `#[inline]` so that a step need not call across crates for them.
pub trait Task<const JOINTS: usize, const ACTIONS: usize, const OBSERVATIONS: usize> {
    /// A state of the simulation.
    type State: From<JointState<JOINTS>>;

    /// The joints of a state.
    fn joints(state: &Self::State) -> &JointState<JOINTS>;

    /// The state one control step later, for an action in [-1, 1].
    fn step(state: &Self::State, action: &[f64; ACTIONS]) -> Self::State;

    /// What is observed of a state.
    fn observation(state: &Self::State) -> [f64; OBSERVATIONS];

    /// The reward of an action, as it was given, that led to a state.
    fn reward(&self, joints: &JointState<JOINTS>, action: &[f64; ACTIONS]) -> f64;

    /// Where an episode begins.
    fn start(&self, rng: &mut Rng) -> JointState<JOINTS>;
}

/// The type behind [`Cartpole`](super::Cartpole), [`Acrobot`](super::Acrobot) and [`Hopper`](super::Hopper),
/// which say what their states, actions, observations and rewards are.
#[derive(Debug, Clone)]
pub struct ControlTask<T, const JOINTS: usize, const ACTIONS: usize, const OBSERVATIONS: usize>
where
    T: Task<JOINTS, ACTIONS, OBSERVATIONS>,
{
    task: T,
    state: T::State,
    steps_left: usize,
}

impl<T, const JOINTS: usize, const ACTIONS: usize, const OBSERVATIONS: usize>
    ControlTask<T, JOINTS, ACTIONS, OBSERVATIONS>
where
    T: Task<JOINTS, ACTIONS, OBSERVATIONS>,
{
    pub(super) fn new(task: T) -> Self {
        let zero = JointState { qpos: [0.0; JOINTS], qvel: [0.0; JOINTS] };
        Self { task, state: zero.into(), steps_left: 0 }
    }

    /// The state; all zeros before the first reset.
    pub fn state(&self) -> JointState<JOINTS> {
        *T::joints(&self.state)
    }

    /// Starts a new episode as [`reset`](Environment::reset) does, but in a chosen state. Angles need not lie
    /// in one turn.
    ///
    /// # Errors
    /// If a number is not finite or exceeds a magnitude of 1e10 ([`ControlError::State`]).
    pub fn reset_to(&mut self, state: JointState<JOINTS>) -> Result<Vec<f32>, ControlError> {
        state.check()?;
        self.state = state.into();
        self.steps_left = EPISODE_STEPS;
        Ok(rounded(T::observation(&self.state)))
    }

    /// What [`step`](Environment::step) does, in the simulation's own precision and so without rounding.
    ///
    /// # Errors
    /// If the action is not finite ([`ControlError::Action`]), no episode was begun or it is over
    /// ([`ControlError::NoEpisode`]), or the next state would exceed a magnitude of 1e10
    /// ([`ControlError::Diverged`]).
    pub fn step_f64(&mut self, action: &[f64; ACTIONS]) -> Result<ControlStep<OBSERVATIONS>, ControlError> {
        if let Some(index) = action.iter().position(|value| !value.is_finite()) {
            return Err(ControlError::Action { index, value: action[index] });
        }
        if self.steps_left == 0 {
            return Err(ControlError::NoEpisode { steps: EPISODE_STEPS });
        }
        let state = T::step(&self.state, &action.map(|value| value.clamp(-1.0, 1.0)));
        T::joints(&state).check().map_err(|_| ControlError::Diverged)?;
        self.state = state;
        self.steps_left -= 1;
        Ok(ControlStep {
            observation: T::observation(&self.state),
            reward: self.task.reward(T::joints(&self.state), action),
            truncated: self.steps_left == 0,
        })
    }
}

impl<T, const JOINTS: usize, const ACTIONS: usize, const OBSERVATIONS: usize> Environment
    for ControlTask<T, JOINTS, ACTIONS, OBSERVATIONS>
where
    T: Task<JOINTS, ACTIONS, OBSERVATIONS>,
{
    type Error = ControlError;

    fn observation_size(&self) -> usize {
        OBSERVATIONS
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::symmetric(ACTIONS)
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>, ControlError> {
        self.reset_to(self.task.start(&mut Rng::stream(seed, Stream::Episodes)))
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, ControlError> {
        let action: [f32; ACTIONS] = action
            .try_into()
            .map_err(|_| ControlError::ActionSize { size: action.len(), expected: ACTIONS })?;
        self.step_f64(&action.map(f64::from)).map(Step::from)
    }

    fn repeatable(&self) -> bool {
        true
    }
}

/// What one action led to, in the simulation's double precision; a [`Step`] holds the same in `f32`.
///
/// `N` is the number of observations of the task. No control task terminates, so there is no `terminated`
/// here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ControlStep<const N: usize> {
    /// The observation after the action, in the order and units that the task documents.
    pub observation: [f64; N],
    /// The reward of this step, in [0, 1].
    pub reward: f64,
    /// The episode was cut off by its time limit: the value of the observation still counts.
    pub truncated: bool,
}

impl<const N: usize> From<ControlStep<N>> for Step {
    fn from(step: ControlStep<N>) -> Self {
        Self {
            observation: rounded(step.observation),
            reward: step.reward as f32,
            terminated: false,
            truncated: step.truncated,
        }
    }
}

/// An observation in the learner's precision.
fn rounded<const N: usize>(observation: [f64; N]) -> Vec<f32> {
    observation.iter().map(|&value| value as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envs::Cartpole;

    #[test]
    fn step_is_step_f64_rounded() {
        let mut precise = Cartpole::balance();
        precise.reset(3).unwrap();
        let mut plain = precise.clone();
        let expected = precise.step_f64(&[0.25]).unwrap();
        let step = plain.step(&[0.25]).unwrap();
        assert_eq!(step.observation, expected.observation.map(|value| value as f32));
        assert_eq!(step.reward, expected.reward as f32);
        assert_eq!(plain.state(), precise.state());
    }

    #[test]
    fn a_chosen_start_begins_a_full_episode() {
        let mut cartpole = Cartpole::balance();
        cartpole.reset(5).unwrap();
        cartpole.step(&[0.0]).unwrap();
        cartpole.reset_to(JointState { qpos: [0.0; 2], qvel: [0.0; 2] }).unwrap();
        assert!((1..1000).all(|_| !cartpole.step(&[0.0]).unwrap().truncated));
        assert!(cartpole.step(&[0.0]).unwrap().truncated);
    }
}
