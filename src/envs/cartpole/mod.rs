//! The cartpole tasks: what is observed, rewarded and started from.

#[cfg(feature = "gif")]
mod drawing;
mod physics;

use std::f64::consts::PI;

use self::physics::State;
use super::JointState;
use super::episode::{Episode, widened};
use super::error::ControlError;
use super::reward::{Falloff, tolerance};
use super::step::{ControlStep, rounded};
use crate::environment::{ActionBounds, Environment, Step};
use crate::rng::{Rng, Stream};

const ACTIONS: usize = 1;
const OBSERVATIONS: usize = 5;

/// A pole on a cart that runs on a rail: `cartpole` of the DeepMind Control Suite.
///
/// - **Action** (1): the push on the cart, -1 to 1 standing for -10 N to 10 N. Beyond that the push grows no
///   further; the reward counts the action as given.
/// - **Observation** (5): the cart's position (m), cosine and sine of the pole's angle (0 upright), the
///   cart's velocity (m/s), the pole's angular velocity (rad/s).
/// - **Reward**: 0 to 1, the product of how upright the pole is, how near to the middle the cart, how small
///   the action and how slow the pole.
/// - **Episode**: 1000 steps of 0.01 s, then truncated; it never terminates. The rail ends softly at 1.8 m to
///   either side.
///
/// The state, [`JointState<2>`](JointState), is (position, angle) and its rate. See the [module](super) for
/// the sources.
///
/// ```
/// use mpo::Environment;
/// use mpo::envs::Cartpole;
///
/// let mut cartpole = Cartpole::swingup();
/// let observation = cartpole.reset(1)?;
/// assert!(observation[1] < -0.99, "the pole hangs");
/// let step = cartpole.step(&[0.5])?;
/// assert!(step.reward < 0.01 && !step.is_last());
/// # Ok::<(), mpo::envs::ControlError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Cartpole {
    start: Start,
    state: State,
    episode: Episode,
}

/// Where an episode begins, the only difference between the tasks.
#[derive(Debug, Clone, Copy)]
enum Start {
    Upright,
    Hanging,
}

impl Cartpole {
    /// The task to keep the pole upright: it starts nearly so, near the middle of the rail.
    pub fn balance() -> Self {
        Self::new(Start::Upright)
    }

    /// The task to swing the pole up and keep it there: it starts hanging, in the middle of the rail.
    pub fn swingup() -> Self {
        Self::new(Start::Hanging)
    }

    fn new(start: Start) -> Self {
        let angle = match start {
            Start::Upright => 0.0,
            Start::Hanging => PI,
        };
        Self { start, state: State { qpos: [0.0, angle], qvel: [0.0; 2] }, episode: Episode::default() }
    }

    /// The state: position (m) and angle (rad, 0 upright) in `qpos`, their rates in `qvel`. Before the first
    /// reset it is at rest in the middle.
    pub fn state(&self) -> JointState<2> {
        self.state
    }

    /// Starts a new episode as [`reset`](Environment::reset) does, but in a chosen state. The angle need not
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
    pub fn step_f64(&mut self, action: f64) -> Result<ControlStep<5>, ControlError> {
        self.episode.check(&[action])?;
        self.state = physics::step(&self.state, action).settled()?;
        Ok(ControlStep {
            observation: self.observation(),
            reward: reward(&self.state, action),
            truncated: self.episode.advance(),
        })
    }

    fn observation(&self) -> [f64; OBSERVATIONS] {
        let State { qpos: [position, angle], qvel: [velocity, spin] } = self.state;
        [position, angle.cos(), angle.sin(), velocity, spin]
    }
}

impl Environment for Cartpole {
    type Error = ControlError;

    fn observation_size(&self) -> usize {
        OBSERVATIONS
    }

    fn action_bounds(&self) -> ActionBounds {
        ActionBounds::symmetric(ACTIONS)
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>, ControlError> {
        let mut rng = Rng::stream(seed, Stream::Episodes);
        let qpos = match self.start {
            Start::Upright => [rng.uniform(-0.1, 0.1), rng.uniform(-0.034, 0.034)],
            Start::Hanging => [0.01 * rng.normal(), PI + 0.01 * rng.normal()],
        };
        let qvel = [0.01 * rng.normal(), 0.01 * rng.normal()];
        self.reset_to(State { qpos, qvel })
    }

    fn repeatable(&self) -> bool {
        true
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, ControlError> {
        let [push] = widened(action)?;
        self.step_f64(push).map(Step::from)
    }
}

/// The smooth reward of the Control Suite, the same for both tasks. `state` is that after the action.
fn reward(state: &State, action: f64) -> f64 {
    let upright = (state.qpos[1].cos() + 1.0) / 2.0;
    let centred = tolerance(state.qpos[0], 0.0..=0.0, 2.0, Falloff::Gaussian, 0.1);
    let small_action = tolerance(action, 0.0..=0.0, 1.0, Falloff::Quadratic, 0.0);
    let slow = tolerance(state.qvel[1], 0.0..=0.0, 5.0, Falloff::Gaussian, 0.1);
    upright * (1.0 + centred) / 2.0 * (4.0 + small_action) / 5.0 * (1.0 + slow) / 2.0
}

#[cfg(test)]
mod tests {
    use approx::{assert_abs_diff_eq, assert_relative_eq};
    use proptest::prelude::*;

    use super::*;

    fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt())
    }

    /// One coordinate of the start states of 4000 seeds.
    fn starts(mut cartpole: Cartpole, coordinate: impl Fn(State) -> f64) -> Vec<f64> {
        (0..4000)
            .map(|seed| {
                cartpole.reset(seed).unwrap();
                coordinate(cartpole.state())
            })
            .collect()
    }

    /// 4000 draws miss a mean by 5 and a deviation by 5 standard errors less than once in a million times.
    #[track_caller]
    fn assert_distribution(values: &[f64], mean: f64, deviation: f64) {
        let error = 5.0 * deviation / (values.len() as f64).sqrt();
        let (measured_mean, measured_deviation) = mean_and_deviation(values);
        assert_abs_diff_eq!(measured_mean, mean, epsilon = error);
        assert_abs_diff_eq!(measured_deviation, deviation, epsilon = error);
    }

    #[test]
    fn balance_starts_nearly_upright() {
        for (joint, bound) in [(0, 0.1), (1, 0.034)] {
            let values = starts(Cartpole::balance(), |state| state.qpos[joint]);
            assert!(values.iter().all(|value| value.abs() <= bound));
            assert_distribution(&values, 0.0, bound / 3f64.sqrt());
            assert_distribution(&starts(Cartpole::balance(), |state| state.qvel[joint]), 0.0, 0.01);
        }
    }

    #[test]
    fn swingup_starts_hanging() {
        for (joint, mean) in [(0, 0.0), (1, PI)] {
            let values = starts(Cartpole::swingup(), |state| state.qpos[joint]);
            assert_distribution(&values, mean, 0.01);
            // A normal distribution has 68.27 % within one deviation, a uniform one 57.7 %.
            let near = values.iter().filter(|&value| (value - mean).abs() < 0.01).count();
            assert!((2550..2912).contains(&near), "{near} of 4000");
            assert_distribution(&starts(Cartpole::swingup(), |state| state.qvel[joint]), 0.0, 0.01);
        }
    }

    #[test]
    fn the_observation_has_its_order() {
        let mut cartpole = Cartpole::balance();
        let state = State { qpos: [0.3, 2.0], qvel: [-0.4, 5.0] };
        let observation = cartpole.reset_to(state).unwrap();
        assert_eq!(observation, [0.3, 2f32.cos(), 2f32.sin(), -0.4, 5.0]);
        assert_eq!(observation.len(), cartpole.observation_size());
        assert_eq!(cartpole.action_bounds(), ActionBounds::symmetric(1));
        assert_eq!(cartpole.state(), state);
    }

    #[test]
    fn step_is_step_f64_rounded() {
        let mut precise = Cartpole::balance();
        precise.reset(3).unwrap();
        let mut plain = precise.clone();
        let expected = precise.step_f64(0.25).unwrap();
        let step = plain.step(&[0.25]).unwrap();
        assert_eq!(step.observation, expected.observation.map(|value| value as f32));
        assert_eq!(step.reward, expected.reward as f32);
        assert_eq!(plain.state(), precise.state());
    }

    #[test]
    fn the_reward_has_its_closed_form() {
        let rest = State { qpos: [0.0; 2], qvel: [0.0; 2] };
        assert_eq!(reward(&rest, 0.0), 1.0);
        assert_relative_eq!(reward(&rest, -0.5), 0.95, max_relative = 1e-15);
        assert_relative_eq!(reward(&rest, 1.0), 0.8, max_relative = 1e-15);
        // The action counts as given, but no more than at its bounds.
        assert_relative_eq!(reward(&rest, 3.0), 0.8, max_relative = 1e-15);
        let state = |qpos, spin| State { qpos, qvel: [9.0, spin] };
        assert_relative_eq!(reward(&state([-2.0, 0.0], 0.0), 0.0), 0.55, max_relative = 1e-14);
        assert_relative_eq!(reward(&state([0.0, 0.0], 5.0), 0.0), 0.55, max_relative = 1e-14);
        assert_relative_eq!(reward(&state([0.0, PI / 3.0], 0.0), 0.0), 0.75, max_relative = 1e-14);
        assert_abs_diff_eq!(reward(&state([0.0, PI], 0.0), 0.0), 0.0);
    }

    #[test]
    fn a_chosen_start_begins_a_full_episode() {
        let mut cartpole = Cartpole::balance();
        cartpole.reset(5).unwrap();
        cartpole.step(&[0.0]).unwrap();
        cartpole.reset_to(State { qpos: [0.0; 2], qvel: [0.0; 2] }).unwrap();
        assert!((1..1000).all(|_| !cartpole.step(&[0.0]).unwrap().truncated));
        assert!(cartpole.step(&[0.0]).unwrap().truncated);
    }

    #[test]
    fn step_f64_refuses_what_step_refuses() {
        let mut cartpole = Cartpole::swingup();
        let message = |error: ControlError| error.to_string();
        assert_eq!(
            cartpole.step_f64(0.0).map_err(message).unwrap_err(),
            "no episode is running, accepted: step after reset or reset_to, 1000 times at most"
        );
        cartpole.reset(0).unwrap();
        let (state, episode) = (cartpole.state, cartpole.episode);
        assert_eq!(
            cartpole.step_f64(f64::NAN).map_err(message).unwrap_err(),
            "the action is NaN at index 0, accepted: finite numbers"
        );
        assert_eq!((cartpole.state, cartpole.episode), (state, episode));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_state_stays_finite_from_beyond_the_rail(
            position in prop_oneof![1.8..10.0f64, -10.0..-1.8f64],
            angle in -10.0..10.0f64,
            velocity in -20.0..20.0f64,
            spin in -20.0..20.0f64,
            push in prop_oneof![Just(-1.0f32), Just(0.0), Just(1.0)],
        ) {
            let mut cartpole = Cartpole::balance();
            cartpole.reset_to(State { qpos: [position, angle], qvel: [velocity, spin] }).unwrap();
            for _ in 0..1000 {
                let step = cartpole.step(&[push]).unwrap();
                prop_assert!(step.observation.iter().all(|value| value.abs() < 1e3), "{step:?}");
                prop_assert!((0.0..=1.0).contains(&step.reward), "{step:?}");
            }
            prop_assert!(cartpole.state().qpos[0].abs() < 2.1, "the rail brings the cart back");
        }
    }
}
