//! The control tasks against trajectories recorded with dm_control and MuJoCo (see `fixtures/control-suite`).
//!
//! From every recorded state one control step is compared. A rollout would prove less: it compares mostly how
//! small errors grow.

use std::path::{Path, PathBuf};

use mpo::Environment;
use mpo::envs::{Acrobot, Cartpole, Hopper, JointState};
use serde::Deserialize;

#[derive(Deserialize)]
struct Recording {
    task: String,
    /// 0 where MuJoCo's solver ran to convergence.
    solver_tolerance: f64,
    reset: Start,
    steps: Vec<Recorded>,
}

#[derive(Deserialize)]
struct Start {
    qpos: Vec<f64>,
    qvel: Vec<f64>,
    observation: Vec<f64>,
}

#[derive(Deserialize)]
struct Recorded {
    action: Vec<f64>,
    qpos: Vec<f64>,
    qvel: Vec<f64>,
    observation: Vec<f64>,
    reward: f64,
}

/// What this crate makes of a recorded state and action.
struct Simulated {
    qpos: Vec<f64>,
    qvel: Vec<f64>,
    observation: Vec<f64>,
    reward: f64,
    /// The observation of the state before the step, as the learner sees it.
    seen_before: Vec<f32>,
}

fn joints<const N: usize>(qpos: &[f64], qvel: &[f64]) -> JointState<N> {
    JointState { qpos: qpos.try_into().unwrap(), qvel: qvel.try_into().unwrap() }
}

/// One control step of a task from a recorded state. What the learner sees of a step has to be just that,
/// rounded: it hands in a rounded action, which stiff contacts make too much of to compare it with the
/// recording.
macro_rules! simulated {
    ($task:expr, $qpos:expr, $qvel:expr, $action:expr) => {{
        let mut task = $task;
        let start = joints($qpos, $qvel);
        let rounded: Vec<f32> = $action.iter().map(|&value| value as f32).collect();
        let seen_before = task.reset_to(start).unwrap();
        let seen = task.step(&rounded).unwrap();
        task.reset_to(start).unwrap();
        let precise = task.step_f64(widened(&rounded)[..].try_into().unwrap()).unwrap();
        assert_eq!(seen, mpo::Step::from(precise));
        task.reset_to(start).unwrap();
        let step = task.step_f64($action.try_into().unwrap()).unwrap();
        let state = task.state();
        Simulated {
            qpos: state.qpos.to_vec(),
            qvel: state.qvel.to_vec(),
            observation: step.observation.to_vec(),
            reward: step.reward,
            seen_before,
        }
    }};
}

/// One control step of a task.
fn simulate(task: &str, qpos: &[f64], qvel: &[f64], action: &[f64]) -> Simulated {
    let cartpole = |task: Cartpole| simulated!(task, qpos, qvel, action);
    let hopper = |task: Hopper| simulated!(task, qpos, qvel, action);
    match task {
        "cartpole_balance" => cartpole(Cartpole::balance()),
        "cartpole_swingup" => cartpole(Cartpole::swingup()),
        "acrobot_swingup" => simulated!(Acrobot::swingup(), qpos, qvel, action),
        "hopper_stand" => hopper(Hopper::stand()),
        "hopper_hop" => hopper(Hopper::hop()),
        other => panic!("a recording of the task {other}, which this crate does not have"),
    }
}

/// The largest deviations of one recording.
#[derive(Debug, Default)]
struct Deviation {
    qpos: f64,
    qvel: f64,
    observation: f64,
    reward: f64,
    /// Of the rounded observation before the step.
    seen_before: f64,
}

/// The largest difference of two vectors. `at_scale` makes it relative, save near 0.
fn difference(measured: &[f64], recorded: &[f64], at_scale: impl Fn(f64) -> f64) -> f64 {
    assert_eq!(measured.len(), recorded.len());
    let differences = measured.iter().zip(recorded).map(|(a, b)| (a - b).abs() / at_scale(b.abs()));
    differences.fold(0.0, larger)
}

/// `f64::max` would hide NaN.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

/// Compares every step of a file.
fn compare(path: &Path) -> Deviation {
    let text = std::fs::read_to_string(path).unwrap();
    let recording: Recording =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    assert!(!recording.steps.is_empty(), "{path:?} records no step");
    let limit: f64 = if recording.solver_tolerance == 0.0 { 1e-9 } else { 5e-5 };
    // Relative. Observations hold the velocities, and can be no closer than these.
    let observation_limit = limit.max(1e-6);
    let scale = |value: f64| value.max(0.01);

    let mut worst = Deviation::default();
    let Start { mut qpos, mut qvel, mut observation } = recording.reset;
    for (index, recorded) in recording.steps.into_iter().enumerate() {
        let simulated = simulate(&recording.task, &qpos, &qvel, &recorded.action);
        assert_eq!(observation.len(), simulated.seen_before.len(), "{path:?}, step {index}");
        // What a hopper feels is of its last step, which a chosen start has not; that of a reset is recorded.
        let known = if recording.task.starts_with("hopper") && index > 0 { 13 } else { observation.len() };
        let deviation = Deviation {
            qpos: difference(&simulated.qpos, &recorded.qpos, |_| 1.0),
            qvel: difference(&simulated.qvel, &recorded.qvel, |_| 1.0),
            observation: difference(&simulated.observation, &recorded.observation, scale),
            reward: (simulated.reward - recorded.reward).abs(),
            seen_before: difference(&widened(&simulated.seen_before)[..known], &observation[..known], scale),
        };
        for (name, value, accepted) in [
            ("qpos", deviation.qpos, limit),
            ("qvel", deviation.qvel, limit),
            ("observation", deviation.observation, observation_limit),
            ("reward", deviation.reward, limit),
            ("the observation before", deviation.seen_before, observation_limit),
        ] {
            assert!(
                value <= accepted,
                "{path:?}, step {index}: {name} is off by {value:e}, accepted {accepted:e}"
            );
        }
        worst = Deviation {
            qpos: worst.qpos.max(deviation.qpos),
            qvel: worst.qvel.max(deviation.qvel),
            observation: worst.observation.max(deviation.observation),
            reward: worst.reward.max(deviation.reward),
            seen_before: worst.seen_before.max(deviation.seen_before),
        };
        (qpos, qvel, observation) = (recorded.qpos, recorded.qvel, recorded.observation);
    }
    worst
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/control-suite")
}

#[test]
fn parity_of_one_step_from_every_recorded_state() {
    let folder = std::env::var_os("MPO_CONTROL_SUITE_DIR").map_or_else(fixtures, PathBuf::from);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{folder:?}: {error}"))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no recording in {folder:?}");
    for path in &files {
        println!("{}: {:?}", path.display(), compare(path));
    }
}

/// The fixtures hold what they are there for: every task, a cart at the rail's end, and a hopper that hits
/// the floor and its joint limits.
#[test]
fn parity_fixtures_cover_every_task_the_rail_and_contacts() {
    let read = |name: &str| -> Recording {
        serde_json::from_str(&std::fs::read_to_string(fixtures().join(name)).unwrap()).unwrap()
    };
    let balance = read("cartpole_balance_a.json");
    assert_eq!(balance.task, "cartpole_balance");
    assert_eq!(balance.solver_tolerance, 0.0);
    assert!(balance.steps.iter().filter(|step| step.qpos[0].abs() > 1.8).count() >= 20);
    for (name, task) in [
        ("cartpole_swingup_a.json", "cartpole_swingup"),
        ("acrobot_swingup_a.json", "acrobot_swingup"),
        ("hopper_stand_a.json", "hopper_stand"),
        ("hopper_hop_a.json", "hopper_hop"),
    ] {
        assert_eq!(read(name).task, task);
    }
    let falls: Vec<_> = (0..6).map(|fall| read(&format!("hopper_hop_fall_{fall}.json"))).collect();
    assert!(falls.iter().all(|fall| fall.solver_tolerance == 0.0));
    let states = || falls.iter().flat_map(|fall| &fall.steps);
    assert!(states().filter(|step| step.observation[13..] != [0.0, 0.0]).count() >= 20);
    let ranges = [[-30.0, 30.0], [-170.0, 10.0], [5.0, 150.0], [-45.0, 45.0f64]];
    let beyond = |step: &&Recorded| {
        let mut joints = step.qpos[3..].iter().zip(ranges);
        joints.any(|(angle, [low, high])| !(low..=high).contains(&angle.to_degrees()))
    };
    assert!(states().filter(beyond).count() >= 20);
}
