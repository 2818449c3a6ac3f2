//! Tasks of Gymnasium and dm_control as they are.

use std::time::Duration;

use mpo::envs::{Cartpole, Hopper, JointState};
use mpo::gymnasium::{DmControl, Gymnasium, GymnasiumOptions};
use mpo::{ActionSpace, Environment, Step};

use crate::python::{interpreter, says, with_folders};

fn gymnasium(id: &str) -> GymnasiumOptions {
    Gymnasium::options(id).interpreter(interpreter())
}

fn dm_control(domain: &str, task: &str) -> GymnasiumOptions {
    DmControl::options(domain, task).interpreter(interpreter())
}

/// Actions that differ from step to step and from component to component, inside the bounds.
fn action(bounds: &ActionSpace, step: usize) -> Vec<f32> {
    let policy = (0..bounds.size()).map(|part| (1.7 * step as f32 + 0.9 * part as f32 * step as f32).sin());
    bounds.to_environment(&policy.collect::<Vec<_>>()).unwrap()
}

/// The first observation and the steps of an episode, some of them at the most.
fn episode(environment: &mut Gymnasium, seed: u64, steps: usize) -> (Vec<f32>, Vec<Step>) {
    let bounds = environment.action_space();
    let first = environment.reset(seed).unwrap();
    let mut made = Vec::new();
    for step in 0..steps {
        made.push(environment.step(&action(&bounds, step)).unwrap());
        if made[step].is_last() {
            break;
        }
    }
    (first, made)
}

/// What says that it can be repeated gives the same bits after the same seed: in the same process after
/// another episode, and in a new one.
#[test]
#[ignore = "needs Gymnasium and dm_control"]
fn episodes_are_repeated_to_the_last_bit() {
    let ids = [
        "Pendulum-v1",
        "MountainCarContinuous-v0",
        "LunarLanderContinuous-v3",
        "Ant-v5",
        "HalfCheetah-v5",
        "Hopper-v5",
        "Humanoid-v5",
        "HumanoidStandup-v5",
        "InvertedDoublePendulum-v5",
        "InvertedPendulum-v5",
        "Pusher-v5",
        "Reacher-v5",
        "Swimmer-v5",
        "Walker2d-v5",
    ];
    let tasks = [
        ("cartpole", "swingup_sparse"),
        ("cheetah", "run"),
        ("finger", "spin"),
        ("hopper", "hop"),
        ("humanoid", "walk"),
        ("manipulator", "bring_ball"),
        ("quadruped", "walk"),
        ("walker", "walk"),
    ];
    let tasks = tasks.map(|(domain, task)| dm_control(domain, task));
    // What is drawn when it is made is its physics.
    let drawn = dm_control("lqr", "lqr_2_1").time_limit(300);
    let options = ids.map(gymnasium).into_iter().chain(tasks).chain([drawn]);
    let mut box2d = true;
    for options in options {
        let name = format!("{options:?}");
        let mut first = match options.make() {
            Ok(environment) => environment,
            // Not to be had for every version of Python.
            Err(error) if error.to_string().contains("Box2D is not installed") => {
                println!("NOT RUN: {error}");
                box2d = false;
                continue;
            }
            Err(error) => panic!("{name}: {error}"),
        };
        let mut second = first.clone();
        assert!(first.repeatable(), "{name}");
        let seeds = [5, u64::MAX - 1];
        let played = seeds.map(|seed| episode(&mut first, seed, 200));
        assert!(played[0] != played[1], "{name}: the seed changes nothing");
        let again = seeds.map(|seed| episode(&mut first, seed, 200));
        assert!(again == played, "{name}: the same process plays another episode");
        assert!(
            episode(&mut second, seeds[1], 200) == played[1],
            "{name}: another process plays another episode"
        );
    }
    assert!(gymnasium("BipedalWalker-v3").make().is_ok_and(|walker| !walker.repeatable()) || !box2d);
}

#[test]
#[ignore = "needs Gymnasium and dm_control"]
fn time_limits_are_told_and_kept() {
    for (options, limit) in [
        (gymnasium("Pendulum-v1"), 200),
        (gymnasium("Pendulum-v1").time_limit(7), 7),
        (dm_control("walker", "walk"), 1000),
        (dm_control("walker", "walk").time_limit(7), 7),
        (dm_control("walker", "walk").time_limit(1200), 1200),
        (dm_control("lqr", "lqr_2_1").time_limit(7), 7),
    ] {
        let mut environment = options.make().unwrap();
        assert_eq!(environment.time_limit(), Some(limit));
        for _ in 0..2 {
            let (_, steps) = episode(&mut environment, 1, 2000);
            assert_eq!(steps.len() as u64, limit);
            assert!(steps[steps.len() - 1].truncated && !steps[steps.len() - 1].terminated);
            says(environment.step(&action(&environment.action_space(), 0)), &["no episode"]);
        }
    }
    says(dm_control("lqr", "lqr_2_1").make(), &["time limit", "GymnasiumOptions::time_limit"]);
}

#[test]
#[ignore = "needs Gymnasium and dm_control"]
fn a_tasks_own_end_is_told_from_the_time_limit() {
    let mut hopper = gymnasium("Hopper-v5").argument("healthy_z_range", vec![1.2, 10.0]).make().unwrap();
    let (_, steps) = episode(&mut hopper, 1, 1000);
    assert!(steps.len() < 1000 && steps[steps.len() - 1].terminated && !steps[steps.len() - 1].truncated);
}

#[test]
#[ignore = "needs Gymnasium and dm_control"]
fn other_spaces_are_flattened() {
    let options = Gymnasium::module_options("shapes:Shaped").time_limit(3);
    let mut environment = with_folders(options, &[""]).make().unwrap();
    // A dictionary's parts in the order of their names; what is discrete as one number for each choice.
    let observed = [1.0, 0.0, 0.0, 1.0, 0.0, 0.5, -0.5, 0.0, 1.0, 1.0, 0.0];
    let bounds = ActionSpace::bounded(vec![-1.0, 0.0, 0.0, 0.5], vec![1.0, 2.0, 0.25, 0.7]).unwrap();
    assert_eq!((environment.observation_size(), environment.action_space()), (observed.len(), bounds));
    assert!(!environment.repeatable());
    assert_eq!(environment.reset(1).unwrap(), observed);
    let step = environment.step(&[0.0, 2.0, 0.25, 0.6]).unwrap();
    assert_eq!(
        step,
        Step { observation: observed.into(), reward: 20.25, terminated: false, truncated: false }
    );
    environment.step(&[0.0; 4]).unwrap();
    assert!(environment.step(&[0.0; 4]).unwrap().truncated);
}

/// Those of all boxes first, then the choices, each from 0 on; the environment has them as it says.
#[test]
#[ignore = "needs Gymnasium and dm_control"]
fn actions_of_other_spaces_are_put_together() {
    let options = Gymnasium::module_options("shapes:Controlled").time_limit(3);
    let mut environment = with_folders(options, &[""]).make().unwrap();
    let bounds = ActionSpace::bounded(vec![-1.0, 0.0, 2.0], vec![1.0, 2.0, 3.0]).unwrap();
    assert_eq!(environment.action_space(), bounds.with_choices([3, 2, 4, 2, 2]));
    environment.reset(1).unwrap();
    let step = environment.step(&[0.5, 1.5, 2.5, 2.0, 1.0, 3.0, 0.0, 1.0]).unwrap();
    assert_eq!(step.observation, [0.5, 1.5, 2.5, 7.0, 1.0, 4.0, 0.0, 1.0]);
}

#[test]
#[ignore = "needs Gymnasium and dm_control"]
fn tasks_of_choices_are_played() {
    let mut cartpole = gymnasium("CartPole-v1").make().unwrap();
    assert_eq!(cartpole.action_space(), ActionSpace::discrete(2));
    cartpole.reset(1).unwrap();
    let pushed = [0.0, 1.0].map(|side| {
        cartpole.reset(1).unwrap();
        cartpole.step(&[side]).unwrap().observation[1]
    });
    assert!(pushed[0] < 0.0 && pushed[1] > 0.0, "{pushed:?}");
    assert_eq!(gymnasium("Acrobot-v1").make().unwrap().action_space(), ActionSpace::discrete(3));
}

#[test]
#[ignore = "needs Gymnasium and dm_control"]
fn what_there_is_not_is_said() {
    says(gymnasium("NoSuchThing-v1").make(), &["NameNotFound", "pprint_registry"]);
    says(gymnasium("HalfCheetah-v99").make(), &["HalfCheetah", "pprint_registry"]);
    says(gymnasium("no_such_package:Thing-v1").make(), &["no_such_package", "install it"]);
    says(dm_control("no", "task").make(), &["Domain 'no' does not exist."]);
    says(gymnasium("Pendulum-v1").argument("colour", "red").make(), &["TypeError", "colour"]);
}

#[test]
#[ignore = "needs Gymnasium and dm_control"]
fn pictures_are_as_large_as_the_environment_makes_them() {
    let mut pendulum = gymnasium("Pendulum-v1").render().make().unwrap();
    pendulum.reset(1).unwrap();
    let frame = pendulum.render().unwrap();
    assert_eq!((frame.width, frame.height, frame.rgb.len()), (500, 500, 250_000));
    assert!(frame.rgb.iter().any(|&pixel| pixel != frame.rgb[0]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pendulum.gif");
    let played = mpo::envs::record_episode(&path, pendulum, 1, |_| Ok(vec![0.0])).unwrap();
    assert!(played < 0.0 && std::fs::metadata(path).unwrap().len() > 10_000);
    let mut undrawn = gymnasium("Pendulum-v1").make().unwrap();
    undrawn.reset(1).unwrap();
    undrawn.render().unwrap_err();
}

/// How far `b` is from `a`, in units of the larger of 1 and `a`.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().zip(b);
    pairs.map(|(a, b)| f64::from((a - b).abs()) / f64::from(a.abs().max(1.0))).fold(0.0, f64::max)
}

/// The distances, in order of their size, between the steps of dm_control's task and of this crate's, each
/// from dm_control's last state as it was observed, in single precision.
fn parity<E: Environment>(
    theirs: GymnasiumOptions,
    mut ours: E,
    start: impl Fn(&mut E, &[f32]),
    compared: usize,
) -> Vec<f64> {
    let mut theirs = theirs.make().unwrap();
    assert_eq!(theirs.observation_size(), ours.observation_size());
    assert_eq!(theirs.action_space(), ours.action_space());
    let mut distances = Vec::new();
    for seed in 0..3 {
        let mut observation = theirs.reset(seed).unwrap();
        for step in 0..1000 {
            start(&mut ours, &observation);
            let action = action(&theirs.action_space(), step / 7);
            let expected = theirs.step(&action).unwrap();
            let Ok(step) = ours.step(&action) else { panic!("no step") };
            let apart = distance(&expected.observation[..compared], &step.observation[..compared]);
            distances.push(apart.max(distance(&[expected.reward], &[step.reward])));
            observation = expected.observation;
        }
    }
    distances.sort_by(f64::total_cmp);
    distances
}

#[test]
#[ignore = "needs Gymnasium and dm_control"]
fn control_tasks_agree_with_dm_control() {
    for (task, ours) in [("balance", Cartpole::balance()), ("swingup", Cartpole::swingup())] {
        let start = |ours: &mut Cartpole, seen: &[f32]| {
            let seen: Vec<f64> = seen.iter().map(|&part| part.into()).collect();
            let qpos = [seen[0], seen[2].atan2(seen[1])];
            ours.reset_to(JointState { qpos, qvel: [seen[3], seen[4]] }).unwrap();
        };
        let apart = parity(dm_control("cartpole", task), ours, start, 5);
        println!("cartpole {task}: {:e}", apart[2999]);
        assert!(apart[2999] < 1e-5, "cartpole {task}: {:e}", apart[2999]);
    }
    for (task, ours) in [("stand", Hopper::stand()), ("hop", Hopper::hop())] {
        // Where it is along the floor is not observed, and does not matter.
        let start = |ours: &mut Hopper, seen: &[f32]| {
            let seen: Vec<f64> = seen.iter().map(|&part| part.into()).collect();
            let qpos = [0.0, seen[0], seen[1], seen[2], seen[3], seen[4], seen[5]];
            ours.reset_to(JointState { qpos, qvel: seen[6..13].try_into().unwrap() }).unwrap();
        };
        let apart = parity(dm_control("hopper", task), ours, start, 13);
        // One in a thousand may meet the floor where the other just does not.
        println!("hopper {task}: {:e}, at most {:e}", apart[2996], apart[2999]);
        assert!(
            apart[2996] < 2e-5 && apart[2999] < 0.05,
            "hopper {task}: {:e} {:e}",
            apart[2996],
            apart[2999]
        );
    }
}

#[test]
#[ignore = "needs Gymnasium and dm_control"]
fn answers_within_the_limit_are_in_time() {
    let limit = Duration::from_millis(500);
    let mut pendulum = gymnasium("Pendulum-v1").answer_limit(limit).make().unwrap();
    for seed in 0..20 {
        episode(&mut pendulum, seed, 200);
    }
}
