//! Steps the control tasks and MuJoCo side by side; see the README beside this package.

mod mujoco;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mpo::envs::{Acrobot, Cartpole, ControlError, Hopper, JointState};
use mpo::{Environment, Rng, Stream};

use crate::mujoco::{Library, Model};

const STEPS: u64 = 20_000;
/// In a step both sides solve the same equations; MuJoCo's solver stops at its tolerance.
const ACCEPTED: f64 = 5e-5;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, Box<dyn Error>> {
    let packages = std::env::args_os().nth(1).map(PathBuf::from).ok_or(
        "no folder given, expected: the site-packages folder that `pip install mujoco==3.17.0 dm_control==1.0.49` filled",
    )?;
    let library = Library::load(&find_library(&packages)?)?;
    let models = packages.join("dm_control/suite");
    let mut agree = true;
    for mut task in [Cartpole::balance(), Cartpole::swingup()] {
        let step = |task: &mut Cartpole, push: &[f64; 1]| task.step_f64(push).map(|_| task.state());
        let model = library.model(&models.join("cartpole.xml"))?;
        agree &= compare("cartpole", &mut task, Cartpole::state, step, model, 1)?;
    }
    let step = |task: &mut Acrobot, torque: &[f64; 1]| task.step_f64(torque).map(|_| task.state());
    let model = library.model(&models.join("acrobot.xml"))?;
    agree &= compare("acrobot", &mut Acrobot::swingup(), Acrobot::state, step, model, 1)?;
    let step = |task: &mut Hopper, torques: &[f64; 4]| task.step_f64(torques).map(|_| task.state());
    let model = library.model(&models.join("hopper.xml"))?;
    agree &= compare("hopper", &mut Hopper::hop(), Hopper::state, step, model, 4)?;
    Ok(agree)
}

/// The library in the folder of the Python package `mujoco`.
fn find_library(packages: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let folder = packages.join("mujoco");
    let missing = || format!("MuJoCo's library is missing: no libmujoco in {}", folder.display());
    let entries = std::fs::read_dir(&folder).map_err(|error| format!("{} ({error})", missing()))?;
    let mut files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_library = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().trim_start_matches("lib").starts_with("mujoco."))
    };
    files.find(is_library).ok_or_else(|| missing().into())
}

/// Plays episodes of random actions and compares every step; prints the largest difference.
fn compare<E, const JOINTS: usize, const MOTORS: usize>(
    name: &str,
    task: &mut E,
    state: impl Fn(&E) -> JointState<JOINTS>,
    step: impl Fn(&mut E, &[f64; MOTORS]) -> Result<JointState<JOINTS>, ControlError>,
    mut model: Model<'_>,
    substeps: usize,
) -> Result<bool, Box<dyn Error>>
where
    E: Environment<Error = ControlError>,
{
    let mut rng = Rng::stream(1, Stream::Exploration);
    let mut worst = 0.0f64;
    for index in 0..STEPS {
        // Short episodes, to see many falls.
        if index % 100 == 0 {
            task.reset(rng.next_seed())?;
        }
        let action: [f64; MOTORS] = std::array::from_fn(|_| rng.uniform(-1.2, 1.2));
        let start = state(task);
        let (qpos, qvel) = model.step(&start.qpos, &start.qvel, &action, substeps)?;
        let end = step(task, &action)?;
        for (ours, theirs) in end.qpos.iter().chain(&end.qvel).zip(qpos.iter().chain(&qvel)) {
            let difference = (ours - theirs).abs();
            // `f64::max` would hide NaN.
            if difference.is_nan() || difference > worst {
                worst = difference;
            }
        }
    }
    println!("{name}: {STEPS} steps, qpos and qvel differ by {worst:.1e} at most, accepted {ACCEPTED:e}");
    Ok(worst <= ACCEPTED)
}
