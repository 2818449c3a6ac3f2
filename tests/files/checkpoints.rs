//! Runs that are interrupted, damaged and resumed.

use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::agents::agent;
use crate::common::presets::small;
use crate::common::replays::{random_replay, rng};
use crate::common::seals::rewritten;
use burn::tensor::Device;
use mpo::envs::Cartpole;
use mpo::observers::{EvaluationTable, MetricsTable};
use mpo::{
    ActionSpace, Environment, Error, Event, Excursions, Exploration, MpoAgent, MpoConfig, NoiseColour,
    PolicyEvaluation, Progress, Rng, Step, StopReason, Stream, TemperatureSolver, Trainer, TrainerConfig,
    VectorEnvironment,
};
use tempfile::TempDir;

/// Episodes have 1000 steps: all but a few of these runs stop in the midst of one.
pub fn config(environment_steps: u64) -> TrainerConfig {
    TrainerConfig {
        environment_steps,
        replay_capacity: 1200,
        warm_up_steps: 100,
        updates_per_step: 0.25,
        evaluation_period: 400,
        evaluation_episodes: 1,
        metrics_period: 130,
        checkpoint_period: 350,
        checkpoints_kept: 3,
        seed: 3,
        ..TrainerConfig::default()
    }
}

pub fn tiny(mut config: MpoConfig) -> MpoConfig {
    config = small(config);
    config.batch_size = 16;
    config.target_period = 9;
    config
}

fn trainer_of(
    settings: &MpoConfig,
    config: TrainerConfig,
    folder: &Path,
    device: &Device,
) -> Trainer<Cartpole> {
    let agent = MpoAgent::new(settings.clone(), 5, 1, device, 5).unwrap();
    let trainer = Trainer::new(config, agent, Cartpole::balance())
        .and_then(|trainer| trainer.evaluate_in(Cartpole::balance()))
        .unwrap();
    trainer.save_into(folder.join("checkpoints"))
}

fn trainer(environment_steps: u64, folder: &Path) -> Trainer<Cartpole> {
    trainer_of(&tiny(MpoConfig::default()), config(environment_steps), folder, &Device::flex())
}

/// Runs on from the newest checkpoint, writing tables as the examples do.
pub fn go_on<E: VectorEnvironment>(mut trainer: Trainer<E>, folder: &Path) -> Trainer<E> {
    let resumed = trainer.resume().unwrap();
    let mut trainer = trainer
        .observe(EvaluationTable::resume(folder.join("evaluations.csv"), &resumed).unwrap())
        .observe(MetricsTable::resume(folder.join("metrics.csv"), &resumed).unwrap());
    trainer.run().unwrap();
    trainer
}

/// Compares what two runs left.
pub fn check_same(found: [Vec<u8>; 5], expected: &[Vec<u8>; 5], case: impl std::fmt::Debug) {
    let names = ["agent", "replay", "run", "evaluations", "metrics"];
    for ((name, found), expected) in names.iter().zip(&found).zip(expected) {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        assert!(found == expected, "{case:?}: {name}\n{}\n{}", text(found), text(expected));
    }
}

/// All that a run leaves, but for the seconds: agent, replay, the rest of the run, its tables.
pub fn remains<E: VectorEnvironment>(trainer: &mut Trainer<E>, folder: &Path) -> [Vec<u8>; 5] {
    let checkpoint = trainer.save().unwrap();
    let seconds = |text: String, mark: char| -> Vec<u8> {
        text.lines().flat_map(|line| line.rsplit_once(mark).map_or(line, |(rest, _)| rest).bytes()).collect()
    };
    let run = fs::read(checkpoint.join("run.mpo")).unwrap();
    let mut run: serde_json::Value =
        serde_json::from_slice(&run[b"mpo run".len() + 12..run.len() - 4]).unwrap();
    run.as_object_mut().unwrap().remove("config");
    run["state"]["counts"].as_object_mut().unwrap().remove("seconds");
    [
        fs::read(checkpoint.join("agent.mpo")).unwrap(),
        fs::read(checkpoint.join("replay.mpo")).unwrap(),
        run.to_string().into_bytes(),
        seconds(fs::read_to_string(folder.join("evaluations.csv")).unwrap(), ','),
        fs::read(folder.join("metrics.csv")).unwrap(),
    ]
}

fn settings() -> [MpoConfig; 4] {
    let mut retrace = tiny(MpoConfig::paper());
    retrace.evaluation = PolicyEvaluation::Retrace { steps: 4, lambda: 0.9 };
    retrace.exploration = Exploration {
        noise: NoiseColour::Pink,
        // Often, and shorter than the runs, so that these are interrupted within them too.
        excursions: Some(Excursions { uninformed: 0.5, informed: 0.5, phase: 7, hold: 2.0 }),
    };
    retrace.actor.bounded_mean = true;
    retrace.actor.network.normalise_observations = true;
    retrace.critic.network.normalise_observations = true;
    retrace.critic.normalise_values = true;
    let mut descent = tiny(MpoConfig::default());
    descent.e_step.solver = TemperatureSolver::GradientStep { learning_rate: 0.01, initial_temperature: 1.0 };
    [tiny(MpoConfig::default()), tiny(MpoConfig::paper()), retrace, descent]
}

fn devices() -> Vec<Device> {
    vec![
        Device::flex(),
        #[cfg(feature = "ndarray")]
        #[expect(deprecated, reason = "Burn prefers flex; supported here while Burn has it")]
        Device::ndarray(),
    ]
}

/// Straight to the end, or interrupted by the end of a run at any step, and by a process that dies after its
/// checkpoint.
#[test]
fn resumed_runs_are_the_run_that_was_interrupted() {
    for device in devices() {
        for settings in settings() {
            let straight = TempDir::new().unwrap();
            let trainer =
                |steps, folder: &TempDir| trainer_of(&settings, config(steps), folder.path(), &device);
            let mut run = go_on(trainer(2400, &straight), straight.path());
            let expected = remains(&mut run, straight.path());
            for parts in [vec![1000], vec![2000], vec![400, 1500], vec![137, 800, 801, 2399], vec![60]] {
                let folder = TempDir::new().unwrap();
                for &steps in &parts {
                    go_on(trainer(steps, &folder), folder.path());
                }
                let mut run = go_on(trainer(2400, &folder), folder.path());
                check_same(remains(&mut run, folder.path()), &expected, &parts);
            }
            // What was done after the checkpoint is lost with the process, and done again.
            let folder = TempDir::new().unwrap();
            let died =
                |event: &Event, progress: &Progress<'_>| match (event, progress.counts.environment_steps) {
                    (Event::Step, 1220) => panic!("the power is cut"),
                    _ => ControlFlow::Continue(()),
                };
            let cut = std::panic::AssertUnwindSafe(|| {
                go_on(trainer(2400, &folder).observe(died), folder.path());
            });
            std::panic::catch_unwind(cut).unwrap_err();
            let mut table =
                fs::OpenOptions::new().append(true).open(folder.path().join("metrics.csv")).unwrap();
            table.write_all(b"1300,28").unwrap();
            let mut run = go_on(trainer(2400, &folder), folder.path());
            check_same(remains(&mut run, folder.path()), &expected, "killed");
        }
    }
}

/// A run that is told to stop saves itself, and its last evaluation is not part of the run that goes on.
#[test]
fn runs_stopped_by_an_observer_go_on_without_a_gap_or_a_double() {
    let straight = TempDir::new().unwrap();
    let mut run = go_on(trainer(1300, straight.path()), straight.path());
    let expected = remains(&mut run, straight.path());
    for stop in [1, 399, 400, 555, 700, 1200] {
        let folder = TempDir::new().unwrap();
        let stopping =
            move |_: &Event, progress: &Progress<'_>| match progress.counts.environment_steps == stop {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            };
        go_on(trainer(1300, folder.path()).observe(stopping), folder.path());
        let mut resumed = trainer(1300, folder.path());
        assert_eq!(resumed.resume().unwrap().environment_steps, stop);
        drop(resumed);
        let mut run = go_on(trainer(1300, folder.path()), folder.path());
        check_same(remains(&mut run, folder.path()), &expected, stop);
    }
}

/// What a run of some more steps, and more again, has learnt is what one run learns, and so are its
/// evaluations: to the last bit, in one process or several.
#[test]
fn runs_for_more_steps_are_one_run() {
    // Where nothing is under way at the end of a part but the episode, all is the same.
    let even = |steps| TrainerConfig { evaluation_period: 250, metrics_period: 125, ..config(steps) };
    let [straight, folder] = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let trainer = |config, folder: &Path| {
        let mut trainer = trainer_of(&tiny(MpoConfig::default()), config, folder, &Device::flex());
        let resumed = trainer.resume().unwrap();
        trainer
            .observe(EvaluationTable::resume(folder.join("evaluations.csv"), &resumed).unwrap())
            .observe(MetricsTable::resume(folder.join("metrics.csv"), &resumed).unwrap())
    };
    let mut run = trainer(even(1000), straight.path());
    run.run().unwrap();
    let expected = remains(&mut run, straight.path());
    let mut run = trainer(even(10), folder.path());
    assert_eq!(run.run_for(500).unwrap().counts.environment_steps, 500);
    assert_eq!(run.run_for(500).unwrap().counts.environment_steps, 1000);
    check_same(remains(&mut run, folder.path()), &expected, "twice");

    // Elsewhere there are evaluations and reports of metrics besides.
    let learnt = |run: &mut Trainer<Cartpole>, folder: &Path, parts: &[u64]| {
        let [agent, replay, run, ..] = remains(run, folder);
        let mut run: serde_json::Value = serde_json::from_slice(&run).unwrap();
        let state = run["state"].as_object_mut().unwrap();
        state.remove("metrics").unwrap();
        state.remove("metrics_reported").unwrap();
        let besides = |steps: Option<u64>| parts[..parts.len() - 1].contains(&steps.unwrap());
        state["evaluations"].as_array_mut().unwrap().retain(|of| !besides(of[0].as_u64()));
        [agent, replay, run.to_string().into_bytes(), Vec::new(), Vec::new()]
    };
    let straight = TempDir::new().unwrap();
    let mut run = trainer(config(1000), straight.path());
    run.run().unwrap();
    let expected = learnt(&mut run, straight.path(), &[1000]);
    for parts in [vec![500, 1000], vec![1, 137, 555, 700, 1000]] {
        for again in [false, true] {
            let folder = TempDir::new().unwrap();
            let mut run = trainer(config(10), folder.path());
            for &until in &parts {
                if again {
                    drop(run);
                    run = trainer(config(10), folder.path());
                }
                run.run_for(until - run.steps()).unwrap();
            }
            check_same(learnt(&mut run, folder.path(), &parts), &expected, (&parts, again));
        }
    }
}

/// A return that was reached before the checkpoint does not end a run that is asked for more steps.
#[test]
fn a_resumed_run_goes_on_beyond_its_goal() {
    let folder = TempDir::new().unwrap();
    let trainer = || {
        let goal = TrainerConfig { stop_at_return: Some(1.0), ..config(2000) };
        trainer_of(&tiny(MpoConfig::default()), goal, folder.path(), &Device::flex())
    };
    let summary = trainer().run().unwrap();
    assert_eq!((summary.counts.environment_steps, summary.reason), (400, StopReason::Return));
    let mut again = trainer();
    again.resume().unwrap();
    let summary = again.run_for(100).unwrap();
    assert_eq!((summary.counts.environment_steps, summary.reason), (500, StopReason::Steps));
    assert_eq!(again.evaluations().iter().map(|&(steps, _)| steps).collect::<Vec<_>>(), [400, 500]);
}

#[test]
fn a_finished_run_resumed_does_nothing_more() {
    for steps in [800, 900] {
        let folder = TempDir::new().unwrap();
        let mut first = go_on(trainer(steps, folder.path()), folder.path());
        let expected = remains(&mut first, folder.path());
        drop(first);
        let mut again = go_on(trainer(steps, folder.path()), folder.path());
        check_same(remains(&mut again, folder.path()), &expected, steps);
    }
}

/// In a simulation, say: the trainer's updates are not all that the agent has made.
#[test]
fn runs_of_an_agent_that_had_learnt_go_on() {
    let mut experienced = agent(&tiny(MpoConfig::default()), 5, 1, 5);
    let (replay, mut samples) = (random_replay(10, 10, 5, 1), rng(1));
    for _ in 0..7 {
        let batch = experienced.sample(&replay, &mut samples).unwrap();
        experienced.update(&batch).unwrap();
    }
    let trainer = |steps, folder: &TempDir| {
        let environments = (Cartpole::balance(), Cartpole::balance());
        let trainer = Trainer::new(config(steps), experienced.clone(), environments.0)
            .and_then(|trainer| trainer.evaluate_in(environments.1));
        trainer.unwrap().save_into(folder.path().join("checkpoints"))
    };
    let [straight, folder] = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let mut run = go_on(trainer(900, &straight), straight.path());
    assert_eq!(run.agent().updates(), 7 + 200);
    let expected = remains(&mut run, straight.path());
    go_on(trainer(500, &folder), folder.path());
    let mut run = go_on(trainer(900, &folder), folder.path());
    check_same(remains(&mut run, folder.path()), &expected, "resumed");
}

#[cfg(feature = "ndarray")]
#[test]
fn runs_move_to_another_backend() {
    let folder = TempDir::new().unwrap();
    let settings = tiny(MpoConfig::default());
    let [flex, ndarray] = devices().try_into().unwrap();
    let before = go_on(trainer_of(&settings, config(700), folder.path(), &flex), folder.path());
    let observation = [0.1, 0.9, 0.2, -0.3, 0.4];
    let here = before.agent().mean_action(&observation).unwrap()[0];
    drop(before);
    let mut moved = trainer_of(&settings, config(1400), folder.path(), &ndarray);
    assert_eq!(moved.resume().unwrap().environment_steps, 700);
    let there = moved.agent().mean_action(&observation).unwrap()[0];
    assert!((here - there).abs() < 1e-6, "{here} {there}");
    let moved = go_on(moved, folder.path());
    assert_eq!((moved.agent().updates(), moved.replay().len()), (325, 1198));
}

/// A cartpole that does not say that its episodes can be played again.
#[derive(Default)]
struct Robot(Option<Cartpole>);

impl Environment for Robot {
    type Error = <Cartpole as Environment>::Error;

    fn observation_size(&self) -> usize {
        5
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::symmetric(1)
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>, Self::Error> {
        self.0.insert(Cartpole::balance()).reset(seed)
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, Self::Error> {
        self.0.as_mut().expect("reset comes first").step(action)
    }
}

/// An environment that cannot be played again begins a new episode; what was stored of the old one stays.
#[test]
fn other_environments_begin_a_new_episode() {
    let folder = TempDir::new().unwrap();
    let trainer = |steps| {
        let agent = agent(&tiny(MpoConfig::default()), 5, 1, 1);
        let trainer = Trainer::new(config(steps), agent, Robot::default())
            .and_then(|trainer| trainer.evaluate_in(Robot::default()))
            .unwrap();
        trainer.save_into(folder.path())
    };
    trainer(300).run().unwrap();
    let mut resumed = trainer(1500);
    assert_eq!(resumed.resume().unwrap().environment_steps, 300);
    let summary = resumed.run().unwrap();
    assert_eq!((summary.counts.environment_steps, summary.counts.updates), (1500, 350));
    // 300 steps, 1000, and 200: the replay of 1200 holds the latest two episodes, and one observation more of
    // each.
    assert_eq!(resumed.replay().len(), 1198);
}

/// The newest are kept, and nothing else is left in the folder.
#[test]
fn the_newest_checkpoints_are_kept() {
    let folder = TempDir::new().unwrap();
    let mut run = trainer(1800, folder.path());
    let checkpoints = folder.path().join("checkpoints");
    fs::create_dir_all(checkpoints.join("step-000000000999.part")).unwrap();
    fs::write(checkpoints.join("step-000000000999.part").join("run.mpo"), "half").unwrap();
    run.run().unwrap();
    assert_eq!(names(&checkpoints), ["step-000000001400", "step-000000001750", "step-000000001800"]);
    assert_eq!(names(&checkpoints.join("step-000000001400")), ["agent.mpo", "replay.mpo", "run.mpo"]);
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    // It stays, held or not.
    names.retain(|name| name != "lock");
    names.sort();
    names
}

#[test]
fn folders_of_another_run_are_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    trainer(400, folder.path()).run().unwrap();
    let before = names(&folder.path().join("checkpoints"));
    let mut other = trainer(1800, folder.path());
    let error = other.run().unwrap_err();
    assert!(matches!(error, Error::Format { .. }), "{error:?}");
    assert!(error.to_string().contains("an earlier run"), "{error}");
    assert!(matches!(other.save(), Err(Error::Format { .. })));
    assert_eq!(names(&folder.path().join("checkpoints")), before);
    assert_eq!(other.resume().unwrap().environment_steps, 400);
    other.run().unwrap();
    // Without a folder there is nothing to save to or to resume from.
    let agent = agent(&tiny(MpoConfig::default()), 5, 1, 1);
    let mut homeless = Trainer::new(config(10), agent, Robot::default())
        .and_then(|trainer| trainer.evaluate_in(Robot::default()))
        .unwrap();
    assert!(matches!(homeless.save(), Err(Error::Order { .. })));
    assert!(matches!(homeless.resume(), Err(Error::Order { .. })));
}

/// Other settings are named, and the trainer stays as it was.
#[test]
fn runs_of_other_settings_are_refused_by_name() {
    let folder = TempDir::new().unwrap();
    trainer(400, folder.path()).run().unwrap();
    let device = Device::flex();
    let mut other_agent = tiny(MpoConfig::default());
    other_agent.m_step.optimizer.learning_rate = 0.125;
    let mut wider = tiny(MpoConfig::default());
    wider.critic.network.hidden = vec![32, 33];
    let tiny = tiny(MpoConfig::default());
    for (agent, run, words) in [
        (&tiny, TrainerConfig { seed: 4, ..config(800) }, "seed = 3, not 4"),
        (&tiny, TrainerConfig { replay_capacity: 1201, ..config(800) }, "replay_capacity = 1200, not 1201"),
        (&tiny, TrainerConfig { updates_per_step: 0.5, ..config(800) }, "updates_per_step = 0.25, not 0.5"),
        (&other_agent, config(800), "m_step.optimizer.learning_rate = 0.0003, not 0.125"),
        (&wider, config(800), "critic.network.hidden = [32,32], not [32,33]"),
    ] {
        let mut trainer = trainer_of(agent, run, folder.path(), &device);
        let error = trainer.resume().unwrap_err();
        assert!(matches!(error, Error::Format { .. }) && error.to_string().contains(words), "{error}");
        assert_eq!((trainer.agent().updates(), trainer.replay().len()), (0, 0));
    }
    // How long to run, and what to do on the way, may change.
    let changed =
        TrainerConfig { evaluation_period: 90, metrics_period: 7, checkpoint_period: 11, ..config(800) };
    let mut trainer = trainer_of(&tiny, changed, folder.path(), &device);
    trainer.resume().unwrap();
    trainer.run().unwrap();
}

/// Networks of another size, where the settings do not tell.
#[test]
fn agents_of_other_networks_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("agent.mpo");
    let agent = |observation, action| agent(&tiny(MpoConfig::default()), observation, action, 5);
    agent(5, 1).save(&path).unwrap();
    let mut other = agent(6, 1);
    let error = other.restore(&path).unwrap_err();
    assert!(error.to_string().contains("observation_size = 5, not 6"), "{error}");
    agent(5, 1).restore(&path).unwrap();
}

/// The folders of a run with an older and a newer checkpoint, and the steps of both.
fn two_checkpoints() -> (TempDir, PathBuf, [u64; 2]) {
    let folder = TempDir::new().unwrap();
    trainer(700, folder.path()).run().unwrap();
    let newest = folder.path().join("checkpoints").join("step-000000000700");
    (folder, newest, [350, 700])
}

/// Every file of the newest checkpoint, cut short and with bits turned over at random places: the older one
/// is loaded, and the newer one set aside.
#[test]
fn damaged_checkpoints_are_set_aside_and_the_one_before_is_loaded() {
    let (folder, newest, [older_steps, _]) = two_checkpoints();
    let aside = newest.with_extension("damaged");
    let mut rng = Rng::stream(8, Stream::Episodes);
    for name in names(&newest) {
        let path = newest.join(&name);
        let whole = fs::read(&path).unwrap();
        for case in 0..400 {
            let mut damaged = whole.clone();
            let place = rng.index(whole.len());
            match case % 2 {
                0 => damaged.truncate(place),
                _ => damaged[place] ^= 1 << rng.index(8),
            }
            fs::write(&path, damaged).unwrap();
            let mut run = trainer(750, folder.path());
            let resumed = run.resume().unwrap();
            assert_eq!(resumed.environment_steps, older_steps, "{name}, case {case}");
            drop(run);
            assert_eq!(resumed.damaged.len(), 1);
            assert!(resumed.damaged[0].to_string().contains(&name), "{}", resumed.damaged[0]);
            assert!(matches!(resumed.damaged[0], Error::Damaged { .. }), "{:?}", resumed.damaged[0]);
            fs::rename(&aside, &newest).unwrap();
        }
        // A file that is not there.
        fs::remove_file(&path).unwrap();
        let resumed = trainer(750, folder.path()).resume().unwrap();
        assert_eq!((resumed.environment_steps, resumed.damaged.len()), (older_steps, 1));
        fs::rename(&aside, &newest).unwrap();
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(trainer(750, folder.path()).resume().unwrap().environment_steps, 700);
    // A checkpoint set aside does not push out those that can be loaded.
    fs::write(newest.join("replay.mpo"), "?").unwrap();
    let mut run = go_on(trainer(700, folder.path()), folder.path());
    assert_eq!(
        names(&folder.path().join("checkpoints")),
        ["step-000000000350", "step-000000000700", "step-000000000700.damaged"]
    );
    remains(&mut run, folder.path());
}

/// Files of two checkpoints that were mixed up.
#[test]
fn files_of_different_checkpoints_do_not_make_one() {
    for name in ["run.mpo", "agent.mpo", "replay.mpo"] {
        let (folder, newest, [older_steps, _]) = two_checkpoints();
        let older = newest.with_file_name("step-000000000350");
        fs::copy(older.join(name), newest.join(name)).unwrap();
        let resumed = trainer(750, folder.path()).resume().unwrap();
        assert_eq!((resumed.environment_steps, resumed.damaged.len()), (older_steps, 1), "{name}");
    }
}

/// Killed between moving a checkpoint away and putting the new one of the same step into its place.
#[test]
fn a_checkpoint_that_was_about_to_be_replaced_is_not_lost() {
    let (folder, newest, [older_steps, newest_steps]) = two_checkpoints();
    fs::rename(&newest, newest.with_extension("old")).unwrap();
    assert_eq!(trainer(750, folder.path()).resume().unwrap().environment_steps, newest_steps);
    // One that was about to be removed, on the other hand, is.
    let older = newest.with_file_name(format!("step-{older_steps:012}"));
    fs::rename(&older, older.with_extension("old")).unwrap();
    let mut run = trainer(750, folder.path());
    run.resume().unwrap();
    run.run().unwrap();
    assert_eq!(names(newest.parent().unwrap()), ["step-000000000700", "step-000000000750"]);
}

/// A run that has reached its goal is at its end, also when it is resumed.
#[test]
fn a_goal_reached_stays_reached() {
    let folder = TempDir::new().unwrap();
    let trainer = || {
        let goal = TrainerConfig { stop_at_return: Some(1.0), ..config(2000) };
        trainer_of(&tiny(MpoConfig::default()), goal, folder.path(), &Device::flex())
    };
    let summary = trainer().run().unwrap();
    assert_eq!((summary.counts.environment_steps, summary.reason), (400, StopReason::Return));
    let mut again = trainer();
    again.resume().unwrap();
    assert_eq!(again.run().unwrap().counts.environment_steps, 400);
}

#[test]
fn where_all_checkpoints_are_damaged_nothing_is_lost_silently() {
    let (folder, newest, _) = two_checkpoints();
    for checkpoint in [newest.clone(), newest.with_file_name("step-000000000350")] {
        fs::write(checkpoint.join("agent.mpo"), "mpo agent, or what is left of it").unwrap();
    }
    let before = names(newest.parent().unwrap());
    let mut run = trainer(750, folder.path());
    assert!(matches!(run.resume(), Err(Error::Damaged { .. })));
    assert_eq!((run.agent().updates(), run.replay().len()), (0, 0));
    assert_eq!(names(newest.parent().unwrap()), before);
    assert!(run.run().is_err(), "would have pushed them out");
}

/// A checkpoint of another version of the format is not damaged: it is refused, with the version that can
/// read it.
#[test]
fn other_versions_are_refused_with_who_can_read_them() {
    for (name, other) in [("run.mpo", 9), ("agent.mpo", 9), ("replay.mpo", 9), ("replay.mpo", 1)] {
        let (folder, newest, _) = two_checkpoints();
        let path = newest.join(name);
        let mut contents = fs::read(&path).unwrap();
        if name == "agent.mpo" {
            let changes = [
                (r#""format_version\":2"#, r#""format_version\":9"#),
                (concat!(r#"\"#, '"', env!("CARGO_PKG_VERSION"), r#"\"#, '"'), r#"\"7.8.9\""#),
            ];
            contents = rewritten(&contents, &changes);
        } else {
            contents.truncate(contents.len() - 4);
            contents["mpo ".len() + name.len() - ".mpo".len()] = other;
            let version = concat!('"', env!("CARGO_PKG_VERSION"), '"').as_bytes();
            let place = contents.windows(version.len()).position(|window| window == version).unwrap();
            assert!(place < 100);
            contents[place..place + 7].copy_from_slice(b"\"7.8.9\"");
            contents.extend(crc32fast::hash(&contents).to_le_bytes());
        }
        fs::write(&path, contents).unwrap();
        let error = trainer(750, folder.path()).resume().unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
        let found = format!("format version {other}");
        let own = if name == "run.mpo" { 3 } else { 2 };
        let accepted = format!("format version {own}, which mpo 0.2");
        for words in [name, &found, "mpo 7.8.9", &accepted] {
            assert!(error.to_string().contains(words), "{error}");
        }
        assert!(newest.exists());
    }
}

/// The environment variable that makes a test the process to be killed, or to be left without room.
pub const FOLDER: &str = "MPO_TEST_FOLDER";

pub fn this_test(name: &str, folder: &Path, shell: &str) -> Command {
    let executable = std::env::current_exe().unwrap();
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{shell} exec \"$0\" \"$@\"")).arg(executable);
    command
        .args(["--exact", name, "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Trains with a checkpoint every few steps, and writes down which are complete.
fn train_until_killed(folder: &Path) {
    let config = TrainerConfig { checkpoint_period: 7, evaluation_period: 50, ..config(1_000_000_000) };
    let complete = folder.join("complete");
    let note = move |event: &Event, progress: &Progress<'_>| {
        if let Event::Saved = event {
            fs::write(&complete, progress.counts.environment_steps.to_string()).unwrap();
        }
        ControlFlow::Continue(())
    };
    go_on(trainer_of(&tiny(MpoConfig::default()), config, folder, &Device::flex()).observe(note), folder);
}

/// Kills a training process at 100 random instants. Every time its checkpoints load, and the last complete
/// one is there.
#[cfg(unix)]
#[test]
fn killed_at_any_instant_a_run_goes_on_from_its_last_checkpoint() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return train_until_killed(Path::new(&folder));
    }
    let folder = TempDir::new().unwrap();
    let mut rng = Rng::stream(4, Stream::Episodes);
    let mut reached = 0;
    for round in 0..100 {
        let name = "checkpoints::killed_at_any_instant_a_run_goes_on_from_its_last_checkpoint";
        let mut process = this_test(name, folder.path(), "").spawn().unwrap();
        // So that every process comes to train, it is killed some time after its first checkpoint.
        let begun = Instant::now();
        let noted =
            || fs::read_to_string(folder.path().join("complete")).ok().and_then(|text| text.parse().ok());
        while noted().unwrap_or(0) <= reached {
            assert!(begun.elapsed() < Duration::from_secs(60), "round {round}: no checkpoint in a minute");
            assert!(process.try_wait().unwrap().is_none(), "round {round}: ended by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(rng.index(60_000) as u64));
        process.kill().unwrap();
        process.wait().unwrap();
        let complete: u64 = noted().unwrap_or(reached);
        let mut run = trainer(0, folder.path());
        let resumed = run.resume().unwrap();
        assert!(resumed.damaged.is_empty(), "{:?}", resumed.damaged);
        assert!(resumed.environment_steps >= complete.max(reached), "round {round}");
        assert!(resumed.checkpoint.is_some() && run.agent().updates() > 0 || complete < 104);
        reached = resumed.environment_steps;
    }
    assert!(reached > 100 * 7, "{reached}");
}

/// Trains where no file may grow beyond some size, and finds the run and its older checkpoints as they were.
fn train_without_room(folder: &Path) {
    let mut run = trainer(2000, folder);
    let resumed = run.resume().unwrap();
    let error = run.run().unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    // It trained on to where the next checkpoint was due, and goes on from there as often as it is asked to.
    assert_eq!(run.replay().capacity(), 1200);
    assert!(run.agent().updates() > 0);
    assert!(run.run().is_err());
    drop(run);
    assert_eq!(names(&folder.join("checkpoints")), ["step-000000000350", "step-000000000360"]);
    assert_eq!(trainer(2000, folder).resume().unwrap().environment_steps, resumed.environment_steps);
    fs::write(folder.join("passed"), "").unwrap();
}

/// A limit on the size of files stands for a full disk: writing fails in the midst of a file.
#[cfg(unix)]
#[test]
fn a_full_disk_is_an_error_that_loses_nothing() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return train_without_room(Path::new(&folder));
    }
    // The first run's replay is smaller than the limit, in units of 512 bytes; the second's is not.
    let folder = TempDir::new().unwrap();
    trainer(360, folder.path()).run().unwrap();
    let size = |name: &str| {
        fs::metadata(folder.path().join("checkpoints/step-000000000360").join(name)).unwrap().len()
    };
    let limit = size("agent.mpo") / 512 - 1;
    assert!(size("replay.mpo") < 512 * limit, "{} {}", size("replay.mpo"), size("agent.mpo"));
    let name = "checkpoints::a_full_disk_is_an_error_that_loses_nothing";
    let shell = format!("trap '' XFSZ; ulimit -f {limit};");
    assert!(this_test(name, folder.path(), &shell).status().unwrap().success());
    assert!(folder.path().join("passed").exists(), "the process has not come to its end");
    let mut run = trainer(2000, folder.path());
    assert_eq!(run.resume().unwrap().environment_steps, 360);
    run.run().unwrap();
    File::open(folder.path().join("checkpoints/step-000000002000/replay.mpo")).unwrap();
}

/// Half a policy's or replay's file never replaces a whole one.
#[test]
fn trainers_stay_usable_when_a_checkpoint_cannot_be_written() {
    let folder = TempDir::new().unwrap();
    // A file stands where the folder should be.
    fs::write(folder.path().join("checkpoints"), "").unwrap();
    let mut run = trainer(700, folder.path());
    assert!(matches!(run.save(), Err(Error::File { .. })));
    fs::remove_file(folder.path().join("checkpoints")).unwrap();
    assert_eq!(run.run().unwrap().counts.environment_steps, 700);
    assert!(Cartpole::balance().repeatable());
}
