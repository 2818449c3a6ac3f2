//! Python processes end when the process that started them is killed.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use mpo::Environment;

use crate::python::{ends_within, there, troubled};

const TROUBLE: &str = "MPO_TEST_TROUBLE";

/// Not a test but the parent in one: it makes an environment, says so, and steps into trouble or waits.
#[test]
#[ignore = "started by another test"]
fn parent() {
    let Ok(trouble) = std::env::var(TROUBLE) else { return };
    let mut environment = troubled(&trouble, 1).answer_limit(Duration::from_secs(2)).make().unwrap();
    environment.reset(1).unwrap();
    println!("\nchild {}", environment.process_id().unwrap());
    if trouble != "none" {
        environment.step(&[0.0]).unwrap();
    }
    std::thread::sleep(Duration::from_secs(100));
}

#[test]
fn nothing_is_left_running() {
    if !there() {
        return;
    }
    for trouble in ["none", "hang", "hang with Python's lock"] {
        let mut parent = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "orphans::parent", "--ignored", "--nocapture"])
            .env(TROUBLE, trouble)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
        let child =
            lines.map(Result::unwrap).find_map(|line| line.strip_prefix("child ")?.parse().ok()).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        assert!(!ends_within(child, Duration::ZERO));
        parent.kill().unwrap();
        parent.wait().unwrap();
        assert!(ends_within(child, Duration::from_secs(30)), "{trouble}: {child} is still running");
    }
}
