//! What observers hear, and what they write, whatever fails.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::common::tensors::numbers;
use crate::environments::{Hot, Log, Recorder};
use crate::trainers::{Heard, everything, listen, quick_agent, short, trainer};
use burn::tensor::Device;
use mpo::observers::{BestPolicy, EvaluationTable, JsonLines, LearningCurve, MetricsTable, ProgressBar};
use mpo::{
    ActionSpace, Environment, Error, Event, Metrics, Observer, Policy, Progress, Resumed, Step, Trainer,
    TrainerConfig,
};

/// Hears of everything, but fails the first times it is told of the event of some number.
struct Failing {
    at: usize,
    times: usize,
    heard: Heard,
}

impl Observer for Failing {
    fn notify(&mut self, event: &Event, progress: &Progress<'_>) -> mpo::Result<ControlFlow<()>> {
        if self.heard.borrow().len() == self.at && self.times > 0 {
            self.times -= 1;
            return Err(Error::Observer { name: "Failing", source: Hot.into() });
        }
        listen(&self.heard).notify(event, progress)
    }
}

/// All kinds of events but those of failures and checkpoints.
fn config() -> TrainerConfig {
    TrainerConfig {
        warm_up_steps: 10,
        updates_per_step: 0.5,
        metrics_period: 13,
        evaluation_period: 15,
        ..short(33)
    }
}

/// A trainer, and what is asked of its environments.
fn logged() -> (Trainer<Recorder>, [Log; 2]) {
    let environments = [Recorder::default(), Recorder::default()];
    let logs = environments.each_ref().map(|environment| environment.log.clone());
    let [training, evaluation] = environments;
    (
        Trainer::new(config(), quick_agent(), training)
            .and_then(|trainer| trainer.evaluate_in(evaluation))
            .unwrap(),
        logs,
    )
}

/// Every observer hears every event once and in order, with the numbers of its time, whichever fails at
/// whichever event, and what is learnt and evaluated is the same.
#[test]
fn a_failing_observer_loses_and_doubles_nothing() {
    let heard = Heard::default();
    let (calm, calm_logs) = logged();
    let mut calm = calm.observe(listen(&heard));
    let expected_summary = calm.run().unwrap();
    let expected = heard.take();
    assert!(expected.len() > 40, "{}", expected.len());
    for (at, who) in (0..expected.len()).flat_map(|at| (0..3).map(move |who| (at, who))) {
        let times = 1 + at % 3;
        let heard: [Heard; 3] = Default::default();
        let (mut trainer, logs) = logged();
        for (index, heard) in heard.iter().enumerate() {
            let times = if index == who { times } else { 0 };
            trainer = trainer.observe(Failing { at, times, heard: heard.clone() });
        }
        for _ in 0..times {
            assert!(matches!(trainer.run(), Err(Error::Observer { .. })), "observer {who}, event {at}");
        }
        let summary = trainer.run().unwrap();
        for heard in heard {
            assert_eq!(heard.take(), expected, "observer {who}, event {at}");
        }
        assert_eq!(summary.evaluation, expected_summary.evaluation, "observer {who}, event {at}");
        for (log, calm) in logs.iter().zip(&calm_logs) {
            assert_eq!(Recorder::steps(log), Recorder::steps(calm), "observer {who}, event {at}");
        }
        let rewards = |trainer: &Trainer<Recorder>| numbers(&everything(trainer.replay()).rewards);
        assert_eq!(rewards(&trainer), rewards(&calm));
        let action = |trainer: &Trainer<Recorder>| trainer.agent().mean_action(&[1.0, 2.0]).unwrap();
        assert_eq!(action(&trainer), action(&calm), "observer {who}, event {at}");
    }
}

/// A wish to stop outlives the failure of another observer.
#[test]
fn a_wish_to_stop_is_kept() {
    let wish = |_: &Event, progress: &Progress<'_>| match progress.counts.environment_steps {
        7 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let failing = Failing { at: 6, times: 1, heard: Heard::default() };
    let mut trainer = trainer(short(40)).observe(wish).observe(failing);
    assert!(trainer.run().is_err());
    assert_eq!(trainer.run().unwrap().counts.environment_steps, 7);
    assert_eq!(trainer.run().unwrap().counts.environment_steps, 40);
}

/// The rows of both tables, without the seconds, of a run whose failing observer comes before, between or
/// after them.
fn rows(at: usize, place: Option<usize>) -> [String; 2] {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["evaluations.csv", "metrics.csv"].map(|name| folder.path().join(name));
    let mut trainer = trainer(config());
    for index in 0..3 {
        if place == Some(index) {
            trainer = trainer.observe(Failing { at, times: 1, heard: Heard::default() });
        }
        trainer = match index {
            0 => trainer.observe(EvaluationTable::create(&paths[0]).unwrap()),
            1 => trainer.observe(MetricsTable::create(&paths[1]).unwrap()),
            _ => trainer,
        };
    }
    if place.is_some() {
        trainer.run().unwrap_err();
    }
    trainer.run().unwrap();
    let [evaluations, metrics] = paths.map(|path| fs::read_to_string(path).unwrap());
    let rows = evaluations.lines().map(|row| row.rsplit_once(',').unwrap().0.to_owned() + "\n");
    [rows.collect(), metrics]
}

#[test]
fn tables_have_each_row_once() {
    let heard = Heard::default();
    trainer(config()).observe(listen(&heard)).run().unwrap();
    let expected = rows(0, None);
    let firsts = expected.clone().map(|table| {
        let first = |row: &str| row.split(',').next().unwrap().to_owned();
        table.lines().skip(1).map(first).collect::<Vec<_>>().join(" ")
    });
    assert_eq!(firsts, ["15 30 33", "13 26 33"]);
    for (at, (event, _)) in heard.take().iter().enumerate() {
        if matches!(event, Event::Metrics(_) | Event::Evaluation(_) | Event::Finished { .. }) {
            for place in 0..3 {
                assert_eq!(rows(at, Some(place)), expected, "{event:?}, observer {place}");
            }
        }
    }
}

/// What an event says of its time is so when it is heard later, too.
#[test]
fn events_heard_late_tell_of_their_own_time() {
    let heard = Heard::default();
    // The fifth step of the first episode, which is begun anew, and the sixth of the one after that.
    let environment = Recorder { failures: vec![5, 33], ..Recorder::default() };
    let config = TrainerConfig { tolerated_failed_episodes: 1, ..short(60) };
    let mut trainer = Trainer::new(config, quick_agent(), environment)
        .and_then(|trainer| trainer.evaluate_in(Recorder::default()))
        .unwrap()
        .observe(listen(&heard));
    trainer.run().unwrap();
    let failed = |(event, counts): &(Event, [u64; 3])| (*event == Event::EpisodeFailed).then_some(counts[0]);
    assert_eq!(heard.borrow().iter().filter_map(failed).collect::<Vec<_>>(), [4, 29]);
}

fn metrics_of(heard: &Heard) -> Vec<(u64, Metrics)> {
    let metrics = |(event, counts): &(Event, [u64; 3])| match event {
        Event::Metrics(metrics) => Some((counts[0], *metrics)),
        _ => None,
    };
    heard.borrow().iter().filter_map(metrics).collect()
}

/// Every update is in one report: also those after the last period, and in a run that was stopped and went
/// on.
#[test]
fn the_rest_of_the_metrics_is_reported() {
    let reports = |metrics_period, stop: Option<u64>| {
        let heard = Heard::default();
        let config = TrainerConfig { updates_per_step: 1.0, metrics_period, ..short(70) };
        let stopped = Cell::new(false);
        let stopping = move |_: &Event, progress: &Progress<'_>| {
            let stops = Some(progress.counts.environment_steps) == stop && !stopped.replace(true);
            if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let mut trainer = trainer(config).observe(listen(&heard)).observe(stopping);
        while trainer.run().unwrap().counts.environment_steps < 70 {}
        metrics_of(&heard)
    };
    // One update a step, from step 31 on.
    let each = reports(1, None);
    for (period, stop, expected) in [
        (20, None, vec![40, 60, 70]),
        (20, Some(45), vec![40, 45, 60, 70]),
        (20, Some(60), vec![40, 60, 70]),
        (1000, None, vec![70]),
        (1000, Some(20), vec![70]),
        (35, None, vec![35, 70]),
    ] {
        let found = reports(period, stop);
        assert_eq!(found.iter().map(|(step, _)| *step).collect::<Vec<_>>(), expected);
        let mut begin = 30;
        for (step, mean) in found {
            let losses = each.iter().filter(|(at, _)| (begin + 1..=step).contains(at));
            let losses: Vec<f64> = losses.map(|(_, metrics)| metrics.critic_loss).collect();
            assert_eq!(losses.len() as u64, step - begin);
            let expected = losses.iter().sum::<f64>() / losses.len() as f64;
            assert!((mean.critic_loss - expected).abs() <= 1e-12 * expected.abs(), "step {step}");
            begin = step;
        }
    }
}

/// A file that is there is another's, until `resume` says that it is this run's.
#[test]
fn no_observer_takes_the_place_of_a_file() {
    type Create = fn(&Path) -> mpo::Result<()>;
    let observers: [(&str, Create); 5] = [
        ("BestPolicy", |path| BestPolicy::save_to(path).map(|_| ())),
        ("EvaluationTable", |path| EvaluationTable::create(path).map(|_| ())),
        ("MetricsTable", |path| MetricsTable::create(path).map(|_| ())),
        ("JsonLines", |path| JsonLines::create(path).map(|_| ())),
        ("LearningCurve", |path| LearningCurve::create(path, "A curve").map(|_| ())),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, create) in observers {
        let path = folder.path().join(name);
        fs::write(&path, "what another run wrote").unwrap();
        let error = create(&path).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
        for words in [path.to_str().unwrap(), "there already", "`resume`"] {
            assert!(error.to_string().contains(words), "{error}");
        }
        assert_eq!(fs::read(&path).unwrap(), b"what another run wrote", "{name}");
        fs::remove_file(&path).unwrap();
        create(&path).unwrap();
    }
    let curve = folder.path().join("LearningCurve");
    fs::write(&curve, "an earlier picture").unwrap();
    trainer(short(20)).observe(LearningCurve::resume(&curve, "A curve")).run().unwrap();
    assert!(fs::read_to_string(&curve).unwrap().starts_with("<svg"));
    JsonLines::resume(folder.path().join("JsonLines"), &Resumed::default()).unwrap();
}

/// A limit on the size of files stands for a full disk: a row that fails leaves no half of it.
#[cfg(unix)]
#[test]
fn a_table_without_room_has_whole_rows() {
    const FILE: &str = "MPO_TEST_FILE";
    if let Some(path) = std::env::var_os(FILE) {
        let mut trainer = trainer(config()).observe(MetricsTable::create(&path).unwrap());
        for _ in 0..2 {
            let error = trainer.run().unwrap_err();
            assert!(matches!(error, Error::File { .. }), "{error:?}");
        }
        return fs::write(Path::new(&path).with_extension("passed"), "").unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    // Of 512 bytes; the header takes 220, a row about 200.
    let shell = "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"";
    let mut process = std::process::Command::new("sh");
    process.args(["-c", shell]).arg(std::env::current_exe().unwrap());
    process
        .args(["--exact", "observers::a_table_without_room_has_whole_rows", "--nocapture"])
        .env(FILE, &path);
    assert!(process.output().unwrap().status.success());
    assert!(path.with_extension("passed").exists(), "the process has not come to its end");
    let table = fs::read_to_string(&path).unwrap();
    assert!(table.ends_with('\n') && table.lines().count() == 2, "{table}");
}

/// Episodes of one step, whose returns are given one by one, and from then on are 0.
#[derive(Clone)]
struct Scripted(VecDeque<f32>);

impl Environment for Scripted {
    type Error = std::convert::Infallible;

    fn observation_size(&self) -> usize {
        2
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::symmetric(2)
    }

    fn reset(&mut self, _: u64) -> Result<Vec<f32>, Self::Error> {
        Ok(vec![0.5, -0.5])
    }

    fn step(&mut self, _: &[f32]) -> Result<Step, Self::Error> {
        let reward = self.0.pop_front().unwrap_or(0.0);
        Ok(Step { observation: vec![0.5, -0.5], reward, terminated: false, truncated: true })
    }
}

/// After each evaluation, the bits of what the policy does, and of what the one in the file does.
type Actions = Arc<Mutex<Vec<[u32; 2]>>>;

/// A trainer that goes on with the run in `folder`, where evaluations every ten steps have these returns.
fn best(folder: &Path, returns: &[f32], steps: u64) -> (Trainer<Scripted>, Actions) {
    let config = TrainerConfig {
        updates_per_step: 1.0,
        warm_up_steps: 5,
        evaluation_period: 10,
        evaluation_episodes: 1,
        ..short(steps)
    };
    let environments = [&[], returns].map(|returns| Scripted(returns.iter().copied().collect()));
    let [training, evaluation] = environments;
    let mut trainer = Trainer::new(config, quick_agent(), training)
        .and_then(|trainer| trainer.evaluate_in(evaluation))
        .unwrap()
        .save_into(folder.join("checkpoints"));
    trainer.resume().unwrap();
    let (actions, file) = (Arc::new(Mutex::new(Vec::new())), folder.join("best/policy.mpo"));
    let seen = actions.clone();
    let compare = move |event: &Event, progress: &Progress<'_>| {
        if let Event::Evaluation(_) = event {
            let first = |action: mpo::Result<Vec<f32>>| action.unwrap()[0].to_bits();
            let saved = Policy::load(&file, &Device::flex()).unwrap();
            let observation = [0.3, 0.7];
            let pair = [progress.policy.act(&observation), saved.act(&observation)];
            seen.lock().unwrap().push(pair.map(first));
        }
        ControlFlow::Continue(())
    };
    (trainer.observe(BestPolicy::resume(folder.join("best/policy.mpo"))).observe(compare), actions)
}

/// The file holds the policy of the highest evaluation so far, also of those before a run was resumed, and
/// one that could not be written is written by the next run.
#[test]
fn the_best_policy_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (mut trainer, actions) = best(folder.path(), &[2.0, 1.0, 3.0, 3.0, -1.0], 50);
    // There is no folder for the file.
    for _ in 0..2 {
        assert!(matches!(trainer.run(), Err(Error::File { .. })));
        assert_eq!(trainer.steps(), 10);
    }
    fs::create_dir(folder.path().join("best")).unwrap();
    trainer.run().unwrap();
    assert_eq!(trainer.agent().updates(), 45);
    drop(trainer);
    let [current, saved] = [0, 1].map(|of| actions.lock().unwrap().iter().map(|pair| pair[of]).collect());
    let (current, saved): (Vec<u32>, Vec<u32>) = (current, saved);
    let expected = [0, 0, 2, 2, 2].map(|best| current[best]);
    assert_eq!(saved, expected, "of {current:?}");
    assert!(current[0] != current[1] && current[1] != current[2] && current[2] != current[3]);

    // The best of before was the third.
    let (mut trainer, actions) = best(folder.path(), &[-1.0, 2.5, 4.0, 3.5], 90);
    trainer.run().unwrap();
    let actions = actions.lock().unwrap();
    let saved: Vec<u32> = actions.iter().map(|pair| pair[1]).collect();
    assert_eq!(saved, [current[2], current[2], actions[2][0], actions[2][0]]);
    assert_ne!(actions[2][0], current[2]);
}

/// Where standard error is no terminal the bar's evaluations stand there as lines, and nothing else.
#[test]
fn a_log_has_a_line_an_evaluation() {
    const CHILD: &str = "MPO_TEST_LOGGED";
    if std::env::var_os(CHILD).is_some() {
        trainer(config()).observe(ProgressBar::new()).run().unwrap();
        return;
    }
    let mut process = std::process::Command::new(std::env::current_exe().unwrap());
    process.args(["--exact", "observers::a_log_has_a_line_an_evaluation", "--nocapture"]).env(CHILD, "1");
    let output = process.output().unwrap();
    assert!(output.status.success());
    let log = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 3, "{log}");
    for (line, steps) in lines.iter().zip([15, 30, 33]) {
        assert!(line.starts_with(&format!("{steps}/33 steps and ")), "{log}");
        assert!(
            line.contains(" updates in ") && line.contains(" s, return ") && line.ends_with(')'),
            "{log}"
        );
    }
}
