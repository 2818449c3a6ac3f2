//! The folder that a run saves into: checkpoints that cannot be written, and others who want it too.

#[path = "../../examples/common/folder.rs"]
mod folder;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use crate::common::tensors::numbers;
use crate::environments::Recorder;
use crate::trainers::{Heard, everything, listen, quick_agent, short, trainer};
use mpo::observers::JsonLines;
use mpo::{Error, Event, Progress, Trainer, TrainerConfig};

/// A checkpoint every ten steps.
fn config(environment_steps: u64, tolerated_failed_saves: u32) -> TrainerConfig {
    TrainerConfig {
        checkpoint_period: 10,
        checkpoints_kept: 2,
        tolerated_failed_saves,
        updates_per_step: 0.5,
        metrics_period: 15,
        evaluation_period: 20,
        ..short(environment_steps)
    }
}

fn saving(folder: &Path, environment_steps: u64, tolerated_failed_saves: u32) -> Trainer<Recorder> {
    trainer(config(environment_steps, tolerated_failed_saves)).save_into(folder.join("checkpoints"))
}

fn checkpoints(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("checkpoints")).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.retain(|name| name.starts_with("step-"));
    names.sort();
    names
}

/// What stands in the way of a checkpoint: how it is put there, and how it is taken away.
type Obstacle = (fn(&Path), fn(&Path));

const OBSTACLES: [Obstacle; 2] = [
    // A file where the next checkpoint is to be written.
    (
        |folder| fs::write(folder.join("checkpoints/step-000000000020.part"), "").unwrap(),
        |folder| fs::remove_file(folder.join("checkpoints/step-000000000020.part")).unwrap(),
    ),
    // A file where the folder was.
    (
        |folder| {
            fs::rename(folder.join("checkpoints"), folder.join("away")).unwrap();
            fs::write(folder.join("checkpoints"), "").unwrap();
        },
        |folder| {
            fs::remove_file(folder.join("checkpoints")).unwrap();
            fs::rename(folder.join("away"), folder.join("checkpoints")).unwrap();
        },
    ),
];

/// Puts an obstacle into the way after some steps, and takes it away after some more.
fn hinder(
    folder: &Path,
    (put, take): Obstacle,
    [from, to]: [u64; 2],
) -> impl FnMut(&Event, &Progress<'_>) -> ControlFlow<()> + 'static {
    let folder = folder.to_owned();
    move |event: &Event, progress: &Progress<'_>| {
        match (event, progress.counts.environment_steps) {
            (Event::Step, steps) if steps == from => put(&folder),
            (Event::Step, steps) if steps == to => take(&folder),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The run goes on, and tries again after another period; older checkpoints stay.
#[test]
fn checkpoints_that_cannot_be_written_are_passed_over_and_told_of() {
    for obstacle in OBSTACLES {
        let folder = tempfile::tempdir().unwrap();
        let heard = Heard::default();
        let environment = Recorder::default();
        let log = environment.log.clone();
        let mut run = Trainer::new(config(60, 2), quick_agent(), environment)
            .and_then(|trainer| trainer.evaluate_in(Recorder::default()))
            .unwrap()
            .save_into(folder.path().join("checkpoints"))
            .observe(hinder(folder.path(), obstacle, [12, 35]))
            .observe(listen(&heard));
        assert_eq!(run.run().unwrap().counts.environment_steps, 60);
        let saves = heard.take().into_iter().filter_map(|(event, counts)| match event {
            Event::Saved => Some((counts[0], None)),
            Event::SaveFailed { cause } => Some((counts[0], Some(cause))),
            _ => None,
        });
        let saves: Vec<_> = saves.collect();
        let told: Vec<_> = saves.iter().map(|(steps, cause)| (*steps, cause.is_none())).collect();
        assert_eq!(told, [(10, true), (20, false), (30, false), (40, true), (50, true), (60, true)]);
        let causes: Vec<_> = saves.into_iter().filter_map(|(_, cause)| cause).collect();
        assert!(causes.iter().all(|cause| cause.contains("checkpoints: ")), "{causes:?}");
        assert_eq!(checkpoints(folder.path()), ["step-000000000050", "step-000000000060"]);
        // What was learnt is what a run without obstacles learns.
        let calm = tempfile::tempdir().unwrap();
        let mut calm = saving(calm.path(), 60, 0);
        calm.run().unwrap();
        let rewards = |run: &Trainer<Recorder>| numbers(&everything(run.replay()).rewards);
        assert_eq!(rewards(&run), rewards(&calm));
        assert_eq!(Recorder::steps(&log).len(), 60);
    }
}

/// One failure too many ends the run, where it goes on with that checkpoint as soon as it is asked to.
#[test]
fn checkpoints_that_fail_too_often_end_the_run_but_not_the_training() {
    for (obstacle, tolerated) in OBSTACLES.into_iter().flat_map(|of| [(of, 0), (of, 1)]) {
        let folder = tempfile::tempdir().unwrap();
        let heard = Heard::default();
        let mut run = saving(folder.path(), 60, tolerated)
            .observe(hinder(folder.path(), obstacle, [12, 1000]))
            .observe(listen(&heard));
        let error = run.run().unwrap_err();
        assert!(matches!(error, Error::File { .. }), "{error:?}");
        let steps = 20 + 10 * u64::from(tolerated);
        assert_eq!(run.replay().len() as u64, steps);
        obstacle.1(folder.path());
        assert_eq!(checkpoints(folder.path()), ["step-000000000010"]);
        assert_eq!(run.run().unwrap().counts.environment_steps, 60);
        let saved: Vec<u64> =
            heard.take().iter().filter(|(event, _)| *event == Event::Saved).map(|heard| heard.1[0]).collect();
        let expected: Vec<u64> = [10].into_iter().chain((steps..=60).step_by(10)).collect();
        assert_eq!(saved, expected);
    }
}

/// At its end a run has to be saved.
#[test]
fn a_run_that_cannot_be_saved_at_its_end_says_so() {
    for obstacle in OBSTACLES {
        let folder = tempfile::tempdir().unwrap();
        let mut run = saving(folder.path(), 55, 1_000).observe(hinder(folder.path(), obstacle, [52, 1000]));
        for _ in 0..2 {
            assert!(matches!(run.run(), Err(Error::File { .. })));
        }
        obstacle.1(folder.path());
        assert_eq!(run.run().unwrap().counts.environment_steps, 55);
        assert_eq!(checkpoints(folder.path()), ["step-000000000050", "step-000000000055"]);
    }
}

/// Two runs do not take each other's files away.
#[test]
fn a_folder_is_for_one_trainer_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("checkpoints");
    let mut first = saving(folder.path(), 25, 0);
    first.run().unwrap();
    let mut second = saving(folder.path(), 40, 0);
    let refusals = [second.run().map(|_| ()), second.save().map(|_| ()), second.resume().map(|_| ())];
    for error in refusals.map(Result::unwrap_err) {
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
        for words in [name.to_str().unwrap(), "another run is saving into"] {
            assert!(error.to_string().contains(words), "{error}");
        }
    }
    // The first one goes on, and with its end the folder is free.
    first.save().unwrap();
    drop(first);
    assert_eq!(second.resume().unwrap().environment_steps, 25);
    assert_eq!(second.run().unwrap().counts.environment_steps, 40);
    let second = second.save_into(folder.path().join("elsewhere"));
    assert_eq!(saving(folder.path(), 40, 0).resume().unwrap().environment_steps, 40);
    drop(second);
}

/// A checkpoint that was set aside earlier is not removed for the next one of the same step.
#[test]
fn all_damaged_checkpoints_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    saving(folder.path(), 20, 0).run().unwrap();
    for expected in [1, 2, 3] {
        let newest = folder.path().join("checkpoints/step-000000000020");
        fs::write(newest.join("agent.mpo"), expected.to_string()).unwrap();
        let mut run = saving(folder.path(), 20, 0);
        assert_eq!(run.resume().unwrap().environment_steps, 10);
        run.run().unwrap();
        let damaged: Vec<_> =
            checkpoints(folder.path()).into_iter().filter(|name| name.contains("damaged")).collect();
        assert_eq!(damaged.len(), expected, "{damaged:?}");
    }
    let kept = folder.path().join("checkpoints/step-000000000020.damaged/agent.mpo");
    assert_eq!(fs::read_to_string(kept).unwrap(), "1");
}

/// The lines of a run, without the seconds and without the checkpoints, which are others in a run that was
/// interrupted.
fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.retain(|line| line["event"] != "saved");
    lines.iter_mut().for_each(|line| {
        line.as_object_mut().unwrap().remove("seconds");
    });
    lines
}

/// Ended at some steps and resumed, or killed and resumed: each line once, as in the run that was not
/// interrupted.
#[test]
fn json_lines_go_on_where_their_run_does() {
    let run = |folder: &Path, steps: u64| {
        let mut run = saving(folder, steps, 0);
        let resumed = run.resume().unwrap();
        let path = folder.join("run.jsonl");
        let mut run = run.observe(JsonLines::resume(&path, &resumed).unwrap());
        run.run().unwrap();
        path
    };
    let straight = tempfile::tempdir().unwrap();
    let expected = lines(&run(straight.path(), 70));
    for parts in [vec![20], vec![25, 40, 45], vec![7, 61]] {
        let folder = tempfile::tempdir().unwrap();
        for &steps in &parts {
            run(folder.path(), steps);
        }
        let path = run(folder.path(), 70);
        // The environment, a recorder, begins a new episode where a run was interrupted.
        let told = |lines: &[serde_json::Value]| {
            let told = lines.iter().filter(|line| line["event"] != "episode");
            told.map(|line| (line["event"].to_string(), line["environment_steps"].as_u64()))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(&lines(&path)), told(&expected), "{parts:?}");
    }
    // Killed after a checkpoint, before or after the line that tells of it and what came then.
    let path = straight.path().join("run.jsonl");
    let newest = |name: &str| straight.path().join("checkpoints").join(name);
    fs::remove_dir_all(newest("step-000000000070")).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let saved = text.find(r#""event":"saved""#).map(|_| text.rfind(r#"{"environment_steps":60"#).unwrap());
    for end in [saved.unwrap(), saved.unwrap() + 30, text.len()] {
        fs::write(&path, &text[..end]).unwrap();
        let mut resumed = saving(straight.path(), 70, 0);
        let resumed = resumed.resume().unwrap();
        assert_eq!(resumed.environment_steps, 60);
        drop(JsonLines::resume(&path, &resumed).unwrap());
        let kept: Vec<_> = lines(&path);
        let before = |line: &&serde_json::Value| line["environment_steps"].as_u64() <= Some(60);
        // The evaluation after 60 steps follows the checkpoint.
        let expected: Vec<_> = expected
            .iter()
            .filter(before)
            .filter(|line| line["event"] != "evaluation" || line["environment_steps"] != 60)
            .cloned()
            .collect();
        assert_eq!(kept, expected, "{end}");
    }
}

/// The examples' folder: an earlier run is refused with the ways to go on, or removed without anything else.
#[test]
fn examples_remove_nothing_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    folder::prepare(&out, false).unwrap();
    // Files of the caller's own do not matter.
    let own =
        ["notes.txt", "checkpoints/step-by-step.txt", "checkpoints/step-1.txt", "checkpoints/mine/step-1"];
    for path in own.map(|name| out.join(name)) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "my own").unwrap();
    }
    folder::prepare(&out, false).unwrap();
    let mut run = saving(&out, 30, 0);
    run.run().unwrap();
    let names = [
        "evaluations.csv",
        "metrics.csv",
        "learning_curve.svg",
        "policy.mpo",
        "best_policy.mpo",
        "policy.gif",
    ];
    for written in names {
        fs::write(out.join(written), "written").unwrap();
    }
    for found in ["checkpoints", "policy.mpo", "evaluations.csv"] {
        let error = folder::prepare(&out, false).unwrap_err().to_string();
        let resume = format!("--resume {}", out.display());
        for words in [out.to_str().unwrap(), found, &resume, "--out", "--overwrite"] {
            assert!(error.contains(words), "{error}");
        }
    }
    // Nothing of a run under way.
    let error = folder::prepare(&out, true).unwrap_err().to_string();
    assert!(error.contains("a run is under way there"), "{error}");
    assert_eq!(checkpoints(&out).len(), 4);
    drop(run);
    folder::prepare(&out, true).unwrap();
    folder::prepare(&out, false).unwrap();
    assert_eq!(checkpoints(&out), ["step-1.txt", "step-by-step.txt"]);
    assert!(own.iter().all(|name| fs::read(out.join(name)).unwrap() == b"my own"));
    assert!(names.iter().all(|name| !out.join(name).exists()));
    // One file is enough to be refused.
    fs::write(out.join("metrics.csv"), "").unwrap();
    assert!(folder::prepare(&out, false).unwrap_err().to_string().contains("(metrics.csv)"));
}
