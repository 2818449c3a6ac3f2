//! Event files for TensorBoard: what a run writes, and what TensorBoard's own reader makes of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mpo::observers::TensorBoard;
use mpo::{Error, Event, TrainerConfig};
use tempfile::TempDir;

use crate::trainers::{Heard, listen, short, trainer};

fn config(environment_steps: u64) -> TrainerConfig {
    TrainerConfig {
        warm_up_steps: 10,
        updates_per_step: 0.5,
        metrics_period: 13,
        evaluation_period: 15,
        checkpoint_period: 20,
        ..short(environment_steps)
    }
}

/// What a folder holds, by name.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The bytes of each record, whose lengths have to fit.
fn records(file: &Path) -> Vec<Vec<u8>> {
    let contents = fs::read(file).unwrap();
    let (mut rest, mut records) = (contents.as_slice(), Vec::new());
    while let Some((length, behind)) = rest.split_first_chunk() {
        let length = u64::from_le_bytes(*length) as usize;
        records.push(behind[4..4 + length].to_vec());
        rest = &behind[4 + length + 4..];
    }
    assert!(rest.is_empty());
    records
}

/// How often a name stands in the records.
fn count(records: &[Vec<u8>], name: &str) -> usize {
    records
        .iter()
        .map(|record| record.windows(name.len()).filter(|part| *part == name.as_bytes()).count())
        .sum()
}

#[test]
fn every_episode_evaluation_and_report_is_written() {
    let folder = TempDir::new().unwrap();
    let board = folder.path().join("board");
    let heard = Heard::default();
    trainer(config(61)).observe(listen(&heard)).observe(TensorBoard::create(&board).unwrap()).run().unwrap();
    let records = records(&entries(&board)[0]);
    let heard = heard.take();
    let times = |wanted: fn(&Event) -> bool| heard.iter().filter(|(event, _)| wanted(event)).count();
    let evaluations = times(|event| matches!(event, Event::Evaluation(_)));
    let reports = times(|event| matches!(event, Event::Metrics(_)));
    let episodes = times(|event| matches!(event, Event::Episode { .. }));
    assert!(evaluations > 2 && reports > 2 && episodes > 2, "{evaluations}, {reports}, {episodes}");
    assert_eq!(count(&records, "brain.Event:2"), 1);
    for tag in ["mean_return", "min_return", "max_return"] {
        assert_eq!(count(&records, &format!("evaluation/{tag}")), evaluations, "{tag}");
    }
    for tag in ["metrics/critic_loss", "metrics/temperature", "replay/mean_reward", "run/updates"] {
        assert_eq!(count(&records, tag), reports, "{tag}");
    }
    assert_eq!(count(&records, "episode/return"), episodes);
    // TensorBoard knows its files by their names.
    let name = entries(&board)[0].file_name().unwrap().to_str().unwrap().to_owned();
    assert!(name.starts_with("events.out.tfevents."), "{name}");
}

#[test]
fn another_runs_file_is_not_gone_on_with_unasked() {
    let folder = TempDir::new().unwrap();
    drop(TensorBoard::create(folder.path()).unwrap());
    let before = entries(folder.path());
    let error = TensorBoard::create(folder.path()).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Format { .. }), "{error:?}");
    for words in [before[0].to_str().unwrap(), "there already", "`resume`"] {
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(entries(folder.path()), before);
    fs::write(folder.path().join("a file"), "").unwrap();
    let nowhere = TensorBoard::create(folder.path().join("a file")).map(|_| ());
    assert!(matches!(nowhere, Err(Error::File { .. })), "{nowhere:?}");
}

/// A run of 47 steps that lost what it did after its checkpoint at step 40, and goes on to 61: its folder,
/// and the evaluations that count.
fn resumed(folder: &Path) -> (PathBuf, Vec<(u64, f32)>) {
    let heard = Heard::default();
    let mean_returns = || -> Vec<(u64, f32)> {
        let of = |(event, [step, ..]): (Event, [u64; 3])| match event {
            Event::Evaluation(evaluation) => Some((step, evaluation.mean_return as f32)),
            _ => None,
        };
        heard.take().into_iter().filter_map(of).collect()
    };
    let (board, checkpoints) = (folder.join("board"), folder.join("checkpoints"));
    let begun = trainer(config(47)).save_into(&checkpoints);
    begun.observe(TensorBoard::create(&board).unwrap()).observe(listen(&heard)).run().unwrap();
    let before = mean_returns().into_iter().filter(|&(step, _)| step <= 40);
    let newest = entries(&checkpoints).into_iter().rfind(|path| path.is_dir()).unwrap();
    fs::remove_dir_all(newest).unwrap();
    let mut trainer = trainer(config(61)).save_into(&checkpoints);
    let resumed = trainer.resume().unwrap();
    assert_eq!(resumed.environment_steps, 40);
    trainer.observe(TensorBoard::resume(&board, &resumed).unwrap()).observe(listen(&heard)).run().unwrap();
    (board, before.chain(mean_returns()).collect())
}

#[test]
fn a_resumed_run_goes_on_in_a_file_read_after_the_earlier_one() {
    let folder = TempDir::new().unwrap();
    let files = entries(&resumed(folder.path()).0);
    assert_eq!(files.len(), 2);
    // The step, which is a number of one byte, and the log that says that a session starts.
    let start = &records(&files[1])[1];
    assert_eq!(start[9..], [2 << 3, 41, 7 << 3 | 2, 2, 1 << 3, 1], "{start:?}");
    // The names sort as the times do.
    assert!(files[0] < files[1]);
}

#[test]
#[ignore = "needs tensorboard in Python"]
fn tensorboard_reads_each_number_once() {
    let folder = TempDir::new().unwrap();
    let (board, expected) = resumed(folder.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/python/tensorboard_events.py");
    let python = std::env::var_os("MPO_PYTHON").unwrap_or_else(|| "python3".into());
    let output = Command::new(python).arg(script).arg(board).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A step and its number a line.
    let text = String::from_utf8(output.stdout).unwrap();
    let of = |line: &str| {
        let (step, number) = line.split_once(' ').unwrap();
        (step.parse::<u64>().unwrap(), number.parse::<f32>().unwrap())
    };
    let found: Vec<_> = text.lines().map(of).collect();
    assert_eq!(found, expected);
}
