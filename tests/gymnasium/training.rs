//! Training in tasks of Gymnasium and dm_control.

use std::process::Command;

use mpo::gymnasium::{DmControl, Gymnasium, GymnasiumOptions};
use mpo::{Device, Environment, MpoAgent, MpoConfig, Trainer, TrainerConfig};

use crate::python::interpreter;

fn config(environment_steps: u64, updates_per_step: f64) -> TrainerConfig {
    TrainerConfig {
        environment_steps,
        updates_per_step,
        warm_up_steps: 100,
        evaluation_period: 1000,
        evaluation_episodes: 1,
        tolerated_failed_episodes: 1,
        ..TrainerConfig::default()
    }
}

fn device() -> Device {
    mpo::device(mpo::devices::default_backend()).unwrap()
}

fn trainer(options: GymnasiumOptions, config: TrainerConfig) -> Trainer<Gymnasium> {
    let environment = options.interpreter(interpreter()).make().unwrap();
    let agent = MpoAgent::of(MpoConfig::simulation(), &environment, &device(), 1).unwrap();
    Trainer::new(config, agent, environment.clone()).unwrap().evaluate_in(environment).unwrap()
}

/// A process that is killed in the midst of a training costs its episode, and no step is stored twice.
#[test]
#[ignore = "needs Gymnasium and dm_control"]
fn training_goes_on_past_a_process_that_is_killed() {
    for options in [
        Gymnasium::options("Pendulum-v1"),
        Gymnasium::options("HalfCheetah-v5"),
        DmControl::options("hopper", "hop"),
    ] {
        let mut trainer = trainer(options, config(400, 0.1));
        trainer.run_for(250).unwrap();
        let first = trainer.environment_mut().process_id().unwrap();
        assert!(Command::new("kill").args(["-KILL", &first.to_string()]).status().unwrap().success());
        let summary = trainer.run_for(150).unwrap();
        assert_ne!(trainer.environment_mut().process_id(), Some(first));
        assert_eq!((summary.counts.environment_steps, summary.counts.failed_episodes), (400, 1));
        assert_eq!((trainer.replay().len(), summary.counts.updates), (400, 30));
    }
}

/// A run that is resumed in the midst of an episode goes on as if nothing had been.
#[test]
#[ignore = "needs Gymnasium and dm_control"]
fn a_resumed_run_is_the_same_run() {
    let folder = tempfile::tempdir().unwrap();
    for options in [Gymnasium::options("HalfCheetah-v5"), DmControl::options("walker", "walk")] {
        let mut whole = trainer(options.clone(), config(300, 0.1));
        whole.run().unwrap();
        let folder = folder.path().join(format!("{:?}", options).len().to_string());
        let mut first = trainer(options.clone(), config(300, 0.1)).save_into(&folder);
        first.run_for(150).unwrap();
        drop(first);
        let mut second = trainer(options, config(300, 0.1)).save_into(&folder);
        second.resume().unwrap();
        assert_eq!(second.steps(), 150);
        second.run().unwrap();
        let actions = [&whole, &second].map(|trainer| {
            let size = trainer.environment().observation_size();
            trainer.agent().mean_action(&vec![0.5; size]).unwrap()
        });
        assert_eq!(actions[0], actions[1]);
        assert_eq!(whole.replay().mean_reward(), second.replay().mean_reward());
    }
}
