//! Laws that every control task keeps, whatever the actions.

use mpo::envs::{Acrobot, Cartpole, ControlError, Hopper, JointState};
use mpo::{ActionSpace, Environment, Step};
use proptest::collection::vec;
use proptest::prelude::*;

type Task = Box<dyn Environment<Error = ControlError>>;

fn tasks() -> Vec<Task> {
    vec![
        Box::new(Cartpole::balance()),
        Box::new(Cartpole::swingup()),
        Box::new(Acrobot::swingup()),
        Box::new(Hopper::stand()),
        Box::new(Hopper::hop()),
    ]
}

fn actions(task: &Task) -> usize {
    task.action_space().size()
}

#[track_caller]
fn assert_sound(step: &Step, limit: f32) {
    assert!(step.observation.iter().all(|value| value.abs() < limit), "{step:?}");
    assert!((0.0..=1.0).contains(&step.reward), "{step:?}");
    assert!(!step.terminated);
}

#[test]
fn sizes_and_bounds_are_the_tasks_own() {
    for (mut task, (size, motors)) in tasks().into_iter().zip([(5, 1), (5, 1), (6, 1), (15, 4), (15, 4)]) {
        assert_eq!(task.observation_size(), size);
        assert_eq!(task.action_space(), ActionSpace::symmetric(motors));
        assert_eq!(task.reset(0).unwrap().len(), size);
        assert_eq!(task.step(&vec![0.1; motors]).unwrap().observation.len(), size);
    }
}

#[test]
fn the_seed_decides_the_episode() {
    for mut task in tasks() {
        let motors = actions(&task);
        let mut play = |seed| {
            let mut seen = vec![task.reset(seed).unwrap()];
            for step in 0..50 {
                let action: Vec<_> = (0..motors).map(|motor| ((step * (motor + 2)) as f32).sin()).collect();
                seen.push(task.step(&action).unwrap().observation);
            }
            seen
        };
        let first = play(7);
        assert_ne!(play(8), first);
        assert_eq!(play(7), first);
    }
}

#[test]
fn an_episode_is_cut_off_after_1000_steps() {
    for mut task in tasks() {
        let action = vec![0.3; actions(&task)];
        assert_eq!(task.step(&action), Err(ControlError::NoEpisode { steps: 1000 }));
        for seed in 0..2 {
            task.reset(seed).unwrap();
            for index in 1..=1000 {
                let step = task.step(&action).unwrap();
                assert_eq!((step.terminated, step.truncated), (false, index == 1000));
            }
            assert_eq!(task.step(&action), Err(ControlError::NoEpisode { steps: 1000 }));
        }
    }
}

#[test]
fn a_step_without_an_episode_is_refused_in_words() {
    let expected = "no episode is running, accepted: step after reset or reset_to, 1000 times at most";
    assert_eq!(Cartpole::swingup().step_f64(&[0.0]).unwrap_err().to_string(), expected);
}

#[test]
fn a_refused_action_changes_nothing() {
    for (index, mut task) in tasks().into_iter().enumerate() {
        let mut undisturbed = tasks().remove(index);
        let motors = actions(&task);
        let good = vec![0.5; motors];
        task.reset(3).unwrap();
        undisturbed.reset(3).unwrap();
        for step in 0..1000 {
            for size in [0, motors + 1] {
                let expected = ControlError::ActionSize { size, expected: motors };
                assert_eq!(task.step(&vec![0.0; size]), Err(expected));
            }
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut action = good.clone();
                action[motors - 1] = value;
                let message =
                    format!("the action is {value} at index {}, accepted: finite numbers", motors - 1);
                assert_eq!(task.step(&action).unwrap_err().to_string(), message);
            }
            assert_eq!(task.step(&good), undisturbed.step(&good), "step {step}");
        }
    }
}

#[test]
fn actions_act_up_to_one() {
    let observed = |task: &mut Task, action: f32| {
        let action = vec![action; actions(task)];
        task.reset(3).unwrap();
        task.step(&action).unwrap().observation
    };
    for mut task in tasks() {
        for sign in [-1.0, 1.0] {
            let full = observed(&mut task, sign);
            assert_eq!(observed(&mut task, 1.5 * sign), full);
            assert_eq!(observed(&mut task, f32::MAX * sign), full);
            assert_ne!(observed(&mut task, 0.9 * sign), full);
        }
    }
}

#[test]
fn start_states_that_cannot_be_simulated_are_refused() {
    let mut hopper = Hopper::hop();
    hopper.reset(1).unwrap();
    hopper.step(&[0.1; 4]).unwrap();
    let mut acrobot = Acrobot::swingup();
    acrobot.reset(1).unwrap();
    let mut cartpole = Cartpole::balance();
    cartpole.reset(1).unwrap();
    let states = |hopper: &Hopper, acrobot: &Acrobot, cartpole: &Cartpole| {
        (hopper.state(), acrobot.state(), cartpole.state())
    };
    let before = states(&hopper, &acrobot, &cartpole);
    for (value, name) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (-2e10, "-20000000000")] {
        for (place, index) in [("qpos", 1), ("qvel", 6)] {
            let mut state = before.0;
            if place == "qpos" {
                state.qpos[index] = value
            } else {
                state.qvel[index] = value
            }
            let message = format!(
                "{place} is {name} at index {index}, accepted: finite numbers of magnitude 1e10 at most"
            );
            assert_eq!(hopper.reset_to(state).unwrap_err().to_string(), message);
        }
        let state = JointState { qpos: [0.0, value], qvel: [0.0; 2] };
        for answer in [acrobot.reset_to(state), cartpole.reset_to(state)] {
            assert!(matches!(answer, Err(ControlError::State { place: "qpos", index: 1, .. })));
        }
    }
    assert_eq!(states(&hopper, &acrobot, &cartpole), before);
    hopper.step(&[0.1; 4]).unwrap();
    acrobot.step(&[0.1]).unwrap();
    cartpole.step(&[0.1]).unwrap();
}

#[test]
fn a_diverging_simulation_is_an_error_that_changes_nothing() {
    let mut hopper = Hopper::stand();
    let state = JointState { qpos: [0.0, 5.0, 0.0, 0.0, 0.0, 0.5, 0.0], qvel: [1e10; 7] };
    hopper.reset_to(state).unwrap();
    assert_eq!(hopper.step(&[0.0; 4]), Err(ControlError::Diverged));
    assert_eq!(hopper.state(), state);
    let mut acrobot = Acrobot::swingup();
    let state = JointState { qpos: [0.0, 1.0], qvel: [1e10; 2] };
    acrobot.reset_to(state).unwrap();
    assert_eq!(acrobot.step(&[0.0]), Err(ControlError::Diverged));
    assert_eq!(acrobot.state(), state);
    let mut cartpole = Cartpole::balance();
    let state = JointState { qpos: [0.0, 1.0], qvel: [0.0, 1e10] };
    cartpole.reset_to(state).unwrap();
    assert_eq!(cartpole.step(&[0.0]), Err(ControlError::Diverged));
    assert_eq!(cartpole.state(), state);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_state_stays_finite_under_any_actions(
        values in vec(prop_oneof![Just(1.0), Just(-1.0), Just(f32::MAX), Just(f32::MIN), -2.0..2.0f32], 1..200),
        hold in 1usize..60,
        seed: u64,
    ) {
        for mut task in tasks() {
            let motors = actions(&task);
            task.reset(seed).unwrap();
            for step in 0..1000 {
                let action: Vec<_> = (0..motors).map(|motor| values[(step / hold * motors + motor) % values.len()]).collect();
                assert_sound(&task.step(&action).unwrap(), 1e3);
            }
        }
    }

    /// Dropped from above, thrown into the floor, folded into itself: no state of a hopper blows up.
    #[test]
    fn a_hopper_survives_any_pose(
        height in -1.5..2.0f64,
        angles in prop::array::uniform5(-4.0..4.0f64),
        qvel in prop::array::uniform7(-20.0..20.0f64),
        action in prop::array::uniform4(-1.0..1.0f32),
    ) {
        let [pitch, waist, hip, knee, ankle] = angles;
        let mut hopper = Hopper::hop();
        hopper.reset_to(JointState { qpos: [0.0, height, pitch, waist, hip, knee, ankle], qvel }).unwrap();
        for _ in 0..1000 {
            assert_sound(&hopper.step(&action).unwrap(), 1e4);
        }
    }

    /// Every step adds energy where it can: each joint is driven the way it moves already. One cartpole's
    /// cart is; the other's is pushed against the pole's reaction, which turns the pole ever faster.
    #[test]
    fn the_state_stays_finite_when_every_action_adds_energy(seed: u64) {
        let mut acrobot = Acrobot::swingup();
        acrobot.reset(seed).unwrap();
        let mut hopper = Hopper::hop();
        hopper.reset(seed).unwrap();
        let mut cartpoles = [Cartpole::swingup(), Cartpole::swingup()];
        for cartpole in &mut cartpoles {
            cartpole.reset(seed).unwrap();
        }
        for _ in 0..1000 {
            let [along, around] = &mut cartpoles;
            let push = along.state().qvel[0].signum() as f32;
            assert_sound(&along.step(&[push]).unwrap(), 1e3);
            let JointState { qpos: [_, angle], qvel: [_, spin] } = around.state();
            assert_sound(&around.step(&[-(angle.cos() * spin).signum() as f32]).unwrap(), 1e3);
            let push = acrobot.state().qvel[1].signum() as f32;
            assert_sound(&acrobot.step(&[push]).unwrap(), 1e3);
            let pushes: Vec<_> = hopper.state().qvel[3..].iter().map(|rate| rate.signum() as f32).collect();
            assert_sound(&hopper.step(&pushes).unwrap(), 1e3);
        }
    }
}
