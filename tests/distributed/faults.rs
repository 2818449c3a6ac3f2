//! What goes wrong between processes: every step sent is stored once or reported lost, and none twice.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use mpo::{Rng, Stream};

use crate::processes::{Processes, free_port};
use crate::proxy::{Weather, proxy};

const SECOND: Duration = Duration::from_secs(1);

/// Processes are killed at random instants, so many times.
fn kill_at_random(kills: usize) {
    let mut rng = Rng::stream(kills as u64, Stream::Replay);
    let mut processes = Processes::new();
    let names = ["robot-0", "robot-1", "robot-2"];
    // Before their learner.
    names.iter().for_each(|name| processes.start_collector(name));
    processes.start_learner(false);
    processes.wait_for_steps(300);
    let mut longest: f64 = 0.0;
    for kill in 0..kills {
        sleep(SECOND.mul_f64(rng.uniform(0.0, 0.5)));
        if rng.index(3) == 0 {
            processes.kill_learner();
            processes.start_learner(true);
            let seconds = processes.went_on();
            longest = longest.max(seconds);
            println!("kill {kill}: the learner, which went on after {seconds:.2} s");
        } else {
            let name = names[rng.index(names.len())];
            println!("kill {kill}: {name}");
            processes.start_collector(name);
        }
    }
    sleep(SECOND);
    let learnt = processes.end();
    println!("{kills} kills: {learnt:?}; the learner went on within {longest:.2} s");
    assert!(learnt.stored > 300);
    assert_eq!(learnt.refused, 0);
}

#[test]
fn processes_that_are_killed() {
    kill_at_random(8);
}

#[test]
#[ignore = "takes some minutes; the test above is the same in short"]
fn processes_that_are_killed_a_hundred_times() {
    kill_at_random(100);
}

/// A learner that stands still for longer than answers are waited for, and a collector that does.
#[test]
fn processes_that_stand_still() {
    let mut processes = Processes::new();
    processes.start_learner(false);
    processes.start_collector("robot");
    processes.start_collector("other");
    processes.wait_for_steps(300);
    processes.signal("robot", "STOP");
    let before = processes.steps();
    processes.wait_for_steps(before + 600);
    processes.signal("robot", "CONT");
    processes.signal("learner", "STOP");
    sleep(4 * SECOND);
    processes.signal("learner", "CONT");
    let before = processes.steps();
    processes.wait_for_steps(before + 600);
    println!("{:?}", processes.end());
}

/// A learner and a collector under way, and what is between them.
fn behind_a_proxy() -> (Processes, Arc<Weather>) {
    let port = free_port();
    let (through, weather) = proxy(port);
    let mut processes = Processes::at(format!("tcp/127.0.0.1:{port}"), format!("tcp/127.0.0.1:{through}"));
    processes.start_collector("robot");
    processes.start_learner(false);
    processes.wait_for_steps(300);
    (processes, weather)
}

/// Connections that are cut, are late, and change what is said.
#[test]
fn a_network_that_is_not_to_be_relied_upon() {
    let (processes, weather) = behind_a_proxy();
    for _ in 0..3 {
        sleep(SECOND / 2);
        weather.cut();
    }
    let before = processes.steps();
    processes.wait_for_steps(before + 300);
    // Nobody comes through for a while.
    weather.closed.store(true, Ordering::Relaxed);
    weather.cut();
    sleep(2 * SECOND);
    weather.closed.store(false, Ordering::Relaxed);
    let before = processes.steps();
    processes.wait_for_steps(before + 300);
    // What is said is another thing.
    weather.flip.store(15, Ordering::Relaxed);
    sleep(5 * SECOND);
    weather.flip.store(0, Ordering::Relaxed);
    let before = processes.steps();
    processes.wait_for_steps(before + 300);
    let learnt = processes.end();
    println!("{learnt:?}");
}

/// By a socket in a folder, which a learner that was killed leaves behind.
#[cfg(unix)]
#[test]
fn a_socket_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = format!("unixsock-stream/{}", folder.path().join("run.sock").display());
    let mut processes = Processes::at(endpoint.clone(), endpoint);
    processes.start_collector("robot");
    processes.start_learner(false);
    processes.wait_for_steps(300);
    processes.kill_learner();
    processes.start_learner(true);
    assert!(processes.went_on() < 10.0);
    println!("{:?}", processes.end());
}

/// Answers come after they are given up: what was stored is sent again, and not stored again.
#[test]
fn answers_that_come_too_late() {
    let (processes, weather) = behind_a_proxy();
    weather.delay.store(1_800, Ordering::Relaxed);
    sleep(8 * SECOND);
    weather.delay.store(1, Ordering::Relaxed);
    let before = processes.steps();
    processes.wait_for_steps(before + 300);
    let learnt = processes.end();
    println!("{learnt:?}");
    assert!(learnt.duplicates > 0, "{learnt:?}");
}

/// Nothing is lost while checkpoints cannot be written, and they are written once there is room again.
#[test]
fn a_disk_that_is_full() {
    let mut processes = Processes::new();
    processes.start_collector("robot");
    processes.start_learner(false);
    processes.wait_for_steps(300);
    if !processes.limit_files("20000") {
        println!("NOT RUN: there is no prlimit here");
        return;
    }
    sleep(SECOND / 2);
    let before = processes.steps();
    sleep(2 * SECOND);
    assert_eq!(processes.steps(), before, "a checkpoint was written");
    assert!(processes.limit_files("unlimited"));
    processes.wait_for_steps(before + 900);
    let learnt = processes.end();
    assert_eq!((learnt.lost, learnt.refused), (0, 0), "{learnt:?}");
}

/// A learner that begins anew instead of going on: what was made for the run before is not taken.
#[test]
fn another_run() {
    let mut processes = Processes::new();
    processes.start_learner(false);
    processes.start_collector("robot");
    processes.wait_for_steps(300);
    processes.kill_learner();
    std::fs::remove_dir_all(processes.folder.path().join("checkpoints")).unwrap();
    processes.start_learner(false);
    processes.wait_for_end_of("robot");
    processes.start_collector("robot");
    processes.wait_for_steps(300);
    let learnt = processes.end();
    assert_eq!(learnt.lost, 0, "{learnt:?}");
}
