//! The acrobot task: what is observed, rewarded and started from.

#[cfg(feature = "gif")]
mod drawing;
mod physics;

use std::f64::consts::PI;

use self::physics::{LENGTH, State};
use super::JointState;
use super::episode::{Episode, widened};
use super::error::ControlError;
use super::reward::{Falloff, tolerance};
use super::step::{ControlStep, rounded};
use crate::environment::{ActionBounds, Environment, Step};
use crate::rng::{Rng, Stream};

const ACTIONS: usize = 1;
const OBSERVATIONS: usize = 6;

/// Where the shoulder is fixed and where the tip is to be, in the vertical plane (m).
const SHOULDER: [f64; 2] = [0.0, 2.0];
const TARGET: [f64; 2] = [0.0, 4.0];
const TARGET_RADIUS: f64 = 0.2;

/// Two links that hang from a shoulder, with a motor at the elbow alone: `acrobot` of the DeepMind Control
/// Suite.
///
/// - **Action** (1): the torque at the elbow, -1 to 1 standing for -2 N m to 2 N m. Beyond that the torque
///   grows no further.
/// - **Observation** (6): the sines of the upper and the lower link's angle, their cosines (both angles from
///   upright), and the angular velocities of shoulder and elbow (rad/s).
/// - **Reward**: 1 where the tip is within 0.2 m of the target, which it reaches only upright, and less the
///   farther it is away.
/// - **Episode**: 1000 steps of 0.01 s, then truncated; it never terminates.
///
/// The state, [`JointState<2>`](JointState), is the angle of the shoulder (0 upright) and of the elbow (0
/// straight), and their rates. See the [module](super) for the sources.
///
/// ```
/// use mpo::Environment;
/// use mpo::envs::{Acrobot, JointState};
///
/// let mut acrobot = Acrobot::swingup();
/// acrobot.reset_to(JointState { qpos: [0.0, 0.0], qvel: [0.0, 0.0] })?;
/// assert_eq!(acrobot.step(&[0.0])?.reward, 1.0);
/// # Ok::<(), mpo::envs::ControlError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Acrobot {
    state: State,
    episode: Episode,
}

impl Acrobot {
    /// The task to swing both links up and keep them there, from rest in any position.
    pub fn swingup() -> Self {
        Self { state: State { qpos: [PI, 0.0], qvel: [0.0; 2] }, episode: Episode::default() }
    }

    /// The state: the angles of shoulder and elbow (rad) in `qpos`, their rates in `qvel`. Before the first
    /// reset both links hang at rest.
    pub fn state(&self) -> JointState<2> {
        self.state
    }

    /// Starts a new episode as [`reset`](Environment::reset) does, but in a chosen state. The angles need not
    /// lie in one turn.
    ///
    /// # Errors
    /// [`ControlError::State`] if a number is not finite or exceeds a magnitude of 1e10.
    pub fn reset_to(&mut self, state: JointState<2>) -> Result<Vec<f32>, ControlError> {
        state.check()?;
        self.state = state;
        self.episode = Episode::begun();
        Ok(rounded(&self.observation()))
    }

    /// What [`step`](Environment::step) does, in the simulation's own precision and so without rounding.
    ///
    /// # Errors
    /// [`ControlError::Action`] if the action is not finite, [`ControlError::NoEpisode`] before the first
    /// reset and after an episode's end, [`ControlError::Diverged`] if the simulation leaves what it can
    /// simulate.
    pub fn step_f64(&mut self, action: f64) -> Result<ControlStep<6>, ControlError> {
        self.episode.check(&[action])?;
        self.state = physics::step(&self.state, action).settled()?;
        Ok(ControlStep {
            observation: self.observation(),
            reward: reward(&self.state),
            truncated: self.episode.advance(),
        })
    }

    fn observation(&self) -> [f64; OBSERVATIONS] {
        let State { qpos: [upper, elbow], qvel: [spin, bend] } = self.state;
        let lower = upper + elbow;
        [upper.sin(), lower.sin(), upper.cos(), lower.cos(), spin, bend]
    }
}

impl Environment for Acrobot {
    type Error = ControlError;

    fn observation_size(&self) -> usize {
        OBSERVATIONS
    }

    fn action_bounds(&self) -> ActionBounds {
        ActionBounds::symmetric(ACTIONS)
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>, ControlError> {
        let mut rng = Rng::stream(seed, Stream::Episodes);
        self.reset_to(State { qpos: [rng.uniform(-PI, PI), rng.uniform(-PI, PI)], qvel: [0.0; 2] })
    }

    fn repeatable(&self) -> bool {
        true
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, ControlError> {
        let [torque] = widened(action)?;
        self.step_f64(torque).map(Step::from)
    }
}

/// The positions of the elbow and of the lower link's tip, in the vertical plane (m).
fn elbow_and_tip(state: &State) -> [[f64; 2]; 2] {
    let [upper, bend] = state.qpos;
    let lower = upper + bend;
    let elbow = [SHOULDER[0] + LENGTH * upper.sin(), SHOULDER[1] + LENGTH * upper.cos()];
    [elbow, [elbow[0] + LENGTH * lower.sin(), elbow[1] + LENGTH * lower.cos()]]
}

/// The Control Suite's smooth reward: how near the tip is to the target.
fn reward(state: &State) -> f64 {
    let [_, tip] = elbow_and_tip(state);
    let distance = (tip[0] - TARGET[0]).hypot(tip[1] - TARGET[1]);
    tolerance(distance, 0.0..=TARGET_RADIUS, 1.0, Falloff::Gaussian, 0.1)
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    #[test]
    fn the_reward_has_its_closed_form() {
        let at = |qpos| reward(&State { qpos, qvel: [3.0; 2] });
        assert_eq!(at([0.0, 0.0]), 1.0);
        // A tip 0.2 m off still counts in full: both links turned by 2 asin(0.05).
        assert_eq!(at([0.1, 0.0]), 1.0);
        // Folded, the tip is at the shoulder, 1.8 m outside the target: 10^-(1.8^2). Hanging: 10^-(3.8^2).
        assert_relative_eq!(at([1.0, PI]), 10f64.powf(-3.24), max_relative = 1e-12);
        assert_relative_eq!(at([PI, 0.0]), 10f64.powf(-14.44), max_relative = 1e-12);
    }

    #[test]
    fn the_observation_has_its_order() {
        let mut acrobot = Acrobot::swingup();
        let state = State { qpos: [0.25, 0.5], qvel: [-3.0, 4.0] };
        let observation = acrobot.reset_to(state).unwrap();
        assert_eq!(observation, [0.25f32.sin(), 0.75f32.sin(), 0.25f32.cos(), 0.75f32.cos(), -3.0, 4.0]);
        assert_eq!(acrobot.state(), state);
    }

    #[test]
    fn it_starts_at_rest_in_any_position() {
        let mut acrobot = Acrobot::swingup();
        let mut quarters = [[0; 4]; 2];
        for seed in 0..4000 {
            acrobot.reset(seed).unwrap();
            assert_eq!(acrobot.state().qvel, [0.0; 2]);
            for (count, angle) in quarters.iter_mut().zip(acrobot.state().qpos) {
                assert!(angle.abs() <= PI);
                count[((angle + PI) / (PI / 2.0)).min(3.0) as usize] += 1;
            }
        }
        // 1000 each, with a standard deviation of 27.
        assert!(quarters.as_flattened().iter().all(|count| (860..1140).contains(count)), "{quarters:?}");
    }
}
