//! The cartpole tasks: what is observed, rewarded and started from.

#[cfg(feature = "gif")]
mod drawing;
mod physics;

use std::f64::consts::PI;

use self::physics::State;
use super::reward::{Falloff, tolerance};
use super::task::{ControlTask, Task};
use crate::rng::Rng;

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
/// The state, [`JointState<2>`](super::JointState), is (position, angle) and its rate. See the
/// [module](super) for the sources.
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
pub type Cartpole = ControlTask<Start, 2, 1, 5>;

/// Where an episode begins, the only difference between the tasks.
#[derive(Debug, Clone, Copy)]
pub enum Start {
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
}

impl Task<2, 1, 5> for Start {
    type State = State;

    #[inline]
    fn joints(state: &State) -> &State {
        state
    }

    fn step(state: &State, &[push]: &[f64; 1]) -> State {
        physics::step(state, push)
    }

    #[inline]
    fn observation(&State { qpos: [position, angle], qvel: [velocity, spin] }: &State) -> [f64; 5] {
        [position, angle.cos(), angle.sin(), velocity, spin]
    }

    /// The smooth reward of the Control Suite, the same for both tasks.
    #[inline]
    fn reward(&self, state: &State, &[push]: &[f64; 1]) -> f64 {
        let upright = (state.qpos[1].cos() + 1.0) / 2.0;
        let centred = tolerance(state.qpos[0], 0.0..=0.0, 2.0, Falloff::Gaussian);
        let small_action = tolerance(push, 0.0..=0.0, 1.0, Falloff::Quadratic);
        let slow = tolerance(state.qvel[1], 0.0..=0.0, 5.0, Falloff::Gaussian);
        upright * (1.0 + centred) / 2.0 * (4.0 + small_action) / 5.0 * (1.0 + slow) / 2.0
    }

    fn start(&self, rng: &mut Rng) -> State {
        let qpos = match self {
            Start::Upright => [rng.uniform(-0.1, 0.1), rng.uniform(-0.034, 0.034)],
            Start::Hanging => [0.01 * rng.normal(), PI + 0.01 * rng.normal()],
        };
        State { qpos, qvel: [0.01 * rng.normal(), 0.01 * rng.normal()] }
    }
}

#[cfg(test)]
mod tests {
    use approx::{assert_abs_diff_eq, assert_relative_eq};
    use proptest::prelude::*;

    use super::*;
    use crate::action_space::ActionSpace;
    use crate::experience::environment::Environment;

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
        assert_eq!(cartpole.action_space(), ActionSpace::symmetric(1));
        assert_eq!(cartpole.state(), state);
    }

    #[test]
    fn the_reward_has_its_closed_form() {
        let reward = |state: &State, push| Start::Upright.reward(state, &[push]);
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
