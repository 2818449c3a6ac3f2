//! Learners and collectors as processes of their own: this test's program, run again in another role.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mpo::{
    Chief, Collector, CollectorConfig, Device, Event, Fleet, FollowConfig, LeadConfig, Network, Progress,
    Trainer, TrainerConfig,
};
use serde_json::{Value, json};

use crate::chief::leads;
use crate::parts::{Counter, quick_agent, short, stored};

/// The role of a process, as JSON.
const ROLE: &str = "MPO_TEST_ROLE";

/// What a process of this program does if it has a role; no test otherwise.
#[test]
#[ignore = "no test by itself: the other tests start it as a process"]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let role: Value = serde_json::from_str(&role).unwrap();
    let text = |key: &str| role[key].as_str().unwrap().to_owned();
    match text("is").as_str() {
        "chief" => chief(&text("endpoint"), &role["seed"], &role["updates"]),
        "worker" => worker(&text("endpoint"), text("name"), &role["number"]),
        "learner" => learner(&text("endpoint"), Path::new(&text("folder")), role["resume"] == true),
        _ => collector(&text("endpoint"), &text("name"), role["number"].as_u64().unwrap() as u32),
    }
}

/// Learns until there is a file `stop` in the folder, and writes what it has into `learnt.json`.
fn learner(endpoint: &str, folder: &Path, resume: bool) {
    let begun = Instant::now();
    let config = TrainerConfig {
        checkpoint_period: 300,
        updates_per_step: 0.02,
        metrics_period: 100,
        tolerated_failed_saves: 1_000_000,
        ..short(1_000_000)
    };
    let stop = folder.join("stop");
    let mut went_on = resume.then_some(folder.join("went_on"));
    let watch = move |event: &Event, _: &Progress<'_>| {
        if let (Event::Step, Some(path)) = (event, &went_on) {
            std::fs::write(path, begun.elapsed().as_secs_f64().to_string()).unwrap();
            went_on = None;
        }
        if stop.exists() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let fleet = Fleet { steps_ahead: None, ..Fleet::default() };
    let environment = Counter::new(0, Duration::ZERO);
    let mut trainer = Trainer::new(config, quick_agent(2, 1, 1), environment)
        .and_then(|trainer| trainer.from_collectors(&Network::listen(endpoint)?, fleet))
        .unwrap()
        .save_into(folder.join("checkpoints"))
        .observe(watch);
    if resume {
        trainer.resume().unwrap();
    }
    // A disk that is full at the end is full.
    let summary = loop {
        match trainer.run() {
            Ok(summary) => break summary,
            Err(error) => eprintln!("{error}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let arrivals = summary.arrivals.unwrap();
    let steps = stored(trainer.replay());
    let learnt = json!({ "arrivals": arrivals, "steps": steps, "counts": summary.counts });
    std::fs::write(folder.join("learnt.json"), learnt.to_string()).unwrap();
}

fn collector(endpoint: &str, name: &str, number: u32) {
    let config =
        CollectorConfig { name: name.into(), part_steps: 5, patience: 30.0, ..CollectorConfig::default() };
    let environment = Counter::new(number, Duration::from_millis(2));
    let network = Network::connect(endpoint).unwrap();
    let summary = Collector::new(config, environment, &network, &Device::flex()).unwrap().run();
    eprintln!("{name} ({number}): {summary:?}");
}

fn chief(endpoint: &str, seed: &Value, updates: &Value) {
    let agent = quick_agent(2, 1, seed.as_u64().unwrap());
    let network = Network::listen(endpoint).unwrap();
    let mut chief = Chief::new(agent.learner().clone()).unwrap();
    chief.lead(&network, &LeadConfig::default(), leads(updates.as_u64().unwrap())).unwrap();
}

fn worker(endpoint: &str, name: String, number: &Value) {
    let number = number.as_u64().unwrap();
    let config = TrainerConfig { updates_per_step: 1.0, seed: number, ..short(1_000_000) };
    let environment = Counter::new(number as u32, Duration::ZERO);
    let following = FollowConfig { name, patience: 20.0 };
    let network = Network::connect(endpoint).unwrap();
    let trainer = Trainer::new(config, quick_agent(2, 1, number), environment).unwrap();
    let summary = trainer.follow(&network, following).unwrap().run();
    eprintln!("worker {number}: {summary:?}");
}

/// A process that ends with the test.
pub struct Process(Child);

impl Process {
    pub fn start(role: &Value) -> Self {
        Self(Processes::spawn(role))
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Waits until it has ended by itself, as it is about to.
    pub fn wait_for_end(&mut self) {
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A learner, collectors, and the folder of what they do.
pub struct Processes {
    pub folder: tempfile::TempDir,
    listen: String,
    pub connect: String,
    pub learner: Option<Child>,
    collectors: BTreeMap<String, Child>,
    started: u32,
}

impl Processes {
    /// On this machine's loopback.
    pub fn new() -> Self {
        let endpoint = format!("tcp/127.0.0.1:{}", free_port());
        Self::at(endpoint.clone(), endpoint)
    }

    /// Where the learner listens and the collectors find it.
    pub fn at(listen: String, connect: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, listen, connect, learner: None, collectors: BTreeMap::new(), started: 0 }
    }

    fn spawn(role: &Value) -> Child {
        let mut command = Command::new("sh");
        // A disk that is full is an error, not the end.
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
        command
            .args(["processes::role", "--exact", "--ignored", "--nocapture"])
            .env(ROLE, role.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn start_learner(&mut self, resume: bool) {
        let _ = std::fs::remove_file(self.path("went_on"));
        let folder = self.folder.path().to_str().unwrap();
        let role = json!({ "is": "learner", "endpoint": self.listen, "folder": folder, "resume": resume });
        self.learner = Some(Self::spawn(&role));
    }

    /// Starts a collector of this name, anew if there is one.
    pub fn start_collector(&mut self, name: &str) {
        self.kill_collector(name);
        self.started += 1;
        let role =
            json!({ "is": "collector", "endpoint": self.connect, "name": name, "number": self.started });
        self.collectors.insert(name.into(), Self::spawn(&role));
    }

    /// Ends it as `kill -9` does.
    pub fn kill_collector(&mut self, name: &str) {
        if let Some(mut child) = self.collectors.remove(name) {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn kill_learner(&mut self) {
        if let Some(mut child) = self.learner.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Waits until a collector has ended by itself.
    pub fn wait_for_end_of(&mut self, name: &str) {
        let mut child = self.collectors.remove(name).unwrap();
        self.wait_until("end of the collector", || child.try_wait().unwrap().is_some());
    }

    /// Lets the learner write no file of more bytes than these, as if its disk were full, or any; whether
    /// that is to be had here.
    pub fn limit_files(&self, bytes: &str) -> bool {
        let learner = self.learner.as_ref().unwrap().id().to_string();
        let status = Command::new("prlimit").args(["--pid", &learner, &format!("--fsize={bytes}:")]).status();
        status.is_ok_and(|status| status.success())
    }

    /// Sends a signal, as `STOP` or `CONT`, to the learner or a collector.
    pub fn signal(&self, name: &str, signal: &str) {
        let child = self.collectors.get(name).or(self.learner.as_ref()).unwrap();
        let status = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits until the learner has saved so many checkpoints, those removed included.
    pub fn wait_for_steps(&self, steps: u64) {
        self.wait_until(&format!("a checkpoint of {steps} steps"), || {
            let names = std::fs::read_dir(self.path("checkpoints")).into_iter().flatten().flatten();
            let steps_of = |name: String| name.strip_prefix("step-").and_then(|name| name.parse().ok());
            names.filter_map(|entry| steps_of(entry.file_name().into_string().unwrap())).max() >= Some(steps)
        });
    }

    /// The newest checkpoint's steps.
    pub fn steps(&self) -> u64 {
        let names = std::fs::read_dir(self.path("checkpoints")).into_iter().flatten().flatten();
        let steps_of = |name: String| name.strip_prefix("step-").and_then(|name| name.parse().ok());
        names.filter_map(|entry| steps_of(entry.file_name().into_string().unwrap())).max().unwrap_or(0)
    }

    /// Waits until a learner that was resumed has stored something, and how long after its start that was.
    pub fn went_on(&self) -> f64 {
        let path = self.path("went_on");
        let read = || std::fs::read_to_string(&path).ok().and_then(|seconds| seconds.parse().ok());
        self.wait_until("the learner to go on", || read().is_some());
        read().unwrap()
    }

    fn wait_until(&self, what: &str, mut happened: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !happened() {
            assert!(begun.elapsed() < Duration::from_secs(60), "no {what} within a minute");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the run, and checks that every step that was sent is stored once, or reported lost.
    pub fn end(mut self) -> Learnt {
        std::fs::write(self.path("stop"), "").unwrap();
        let learnt = self.path("learnt.json");
        self.wait_until("end of the learner", || learnt.exists());
        let mut learner = self.learner.take().unwrap();
        assert!(learner.wait().unwrap().success());
        for (_, mut collector) in std::mem::take(&mut self.collectors) {
            assert!(collector.wait().unwrap().success());
        }
        let learnt: Value = serde_json::from_str(&std::fs::read_to_string(learnt).unwrap()).unwrap();
        let steps: Vec<(u32, u32)> = serde_json::from_value(learnt["steps"].clone()).unwrap();
        let mut up_to: BTreeMap<u32, u64> = BTreeMap::new();
        for &(number, step) in &steps {
            let last = up_to.entry(number).or_default();
            *last = (*last).max(u64::from(step) + 1);
        }
        let lost = learnt["arrivals"]["lost_steps"].as_u64().unwrap();
        let made: u64 = up_to.values().sum();
        assert_eq!(made, steps.len() as u64 + lost, "{learnt}");
        assert_eq!(learnt["counts"]["environment_steps"], steps.len());
        let count = |name: &str| learnt["arrivals"][name].as_u64().unwrap();
        Learnt {
            stored: steps.len() as u64,
            lost,
            duplicates: count("duplicates"),
            refused: count("refused"),
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.kill_learner();
        for name in self.collectors.keys().cloned().collect::<Vec<_>>() {
            self.kill_collector(&name);
        }
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Learnt {
    pub stored: u64,
    pub lost: u64,
    pub duplicates: u64,
    pub refused: u64,
}

/// A port that nobody listens at.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
