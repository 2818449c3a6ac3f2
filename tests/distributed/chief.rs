//! A chief and trainers that follow it.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use mpo::envs::Cartpole;
use mpo::{
    Chief, Error, Event, Fleet, FollowConfig, GaussianActor, LeadConfig, LeadEvent, LeadSummary, MpoAgent,
    Network, Progress, QNetwork, StopReason, Trainer, TrainerConfig,
};
use serde_json::json;

use crate::parts::{Counter, Heard, listen, quick_agent, short};
use crate::processes::{Process, free_port};
use crate::proxy::proxy;

fn follow(name: &str) -> FollowConfig {
    FollowConfig { name: name.into(), patience: 20.0 }
}

/// Leads up to so many updates.
pub fn leads(
    updates: u64,
) -> impl FnMut(&Chief<GaussianActor, QNetwork>, &LeadEvent) -> mpo::Result<ControlFlow<()>> {
    move |chief, _| {
        let enough = chief.learner().updates() >= updates;
        Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}

/// Alone, or as the only worker of a chief: the same events, policies and replay, to the bit.
#[test]
fn the_only_worker_makes_the_run_it_would_make_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = TrainerConfig {
        updates_per_step: 0.5,
        evaluation_period: 100,
        evaluation_episodes: 1,
        metrics_period: 50,
        ..short(250)
    };
    let agent = || -> MpoAgent { quick_agent(5, 1, config.seed) };
    let run = |following: Option<&Network>, name: &str| {
        let heard = Heard::default();
        let mut trainer = Trainer::new(config.clone(), agent(), Cartpole::balance()).unwrap();
        trainer = trainer.evaluate_in(Cartpole::balance()).unwrap();
        if let Some(network) = following {
            trainer = trainer.follow(network, follow(name)).unwrap();
        }
        trainer = trainer.observe(listen(&heard));
        let reason = trainer.run().unwrap().reason;
        let path = folder.path().join(name);
        trainer.agent().policy().save(&path).unwrap();
        let replay = (trainer.replay().mean_return(), trainer.replay().mean_reward());
        let mut heard = heard.lock().unwrap().clone();
        heard.retain(|(event, _)| *event != Event::Waiting);
        (reason, heard, replay, std::fs::read(path).unwrap())
    };
    let alone = run(None, "alone");
    let network = Network::local();
    let (led, together) = thread::scope(|scope| {
        let worker = scope.spawn(|| run(Some(&network), "worker"));
        let mut chief = Chief::new(agent().learner().clone()).unwrap();
        let led = chief.lead(&network, &LeadConfig::default(), leads(110)).unwrap();
        (led, worker.join().unwrap())
    });
    assert_eq!(alone.0, StopReason::Steps);
    assert_eq!(together.0, StopReason::Steps);
    for (one, other) in alone.1.iter().zip(&together.1) {
        assert_eq!(one, other);
    }
    assert_eq!(alone.1.len(), together.1.len());
    assert_eq!(alone.2, together.2);
    assert!(alone.3 == together.3, "another policy");
    let LeadSummary { updates, rounds, abandoned, refused, .. } = led;
    assert_eq!((updates, rounds, abandoned, refused), (110, 330, 0, 0));
}

/// Several workers; when the chief ends, so do their runs. One with other settings is refused.
#[test]
fn runs_end_with_their_chief() {
    let network = Network::local();
    let train = |name: &str, agent: MpoAgent, seed: u64| {
        let config = TrainerConfig { updates_per_step: 1.0, seed, ..short(1_000_000) };
        let environment = Counter::new(1, Duration::ZERO);
        let mut trainer = Trainer::new(config, agent, environment).unwrap();
        trainer = trainer.follow(&network, follow(name)).unwrap();
        let ended = trainer.run().map(|summary| summary.reason);
        (ended, trainer.agent().updates())
    };
    thread::scope(|scope| {
        let mut names = Vec::new();
        let workers: Vec<_> = (1..=3)
            .map(|seed| scope.spawn(move || train(&format!("worker-{seed}"), quick_agent(2, 1, seed), seed)))
            .collect();
        let other = scope.spawn(|| {
            let mut config = quick_agent(2, 1, 4).config().clone();
            config.discount = 0.9;
            train("other", MpoAgent::new(config, 2, 1, &mpo::Device::flex(), 4).unwrap(), 4)
        });
        let mut chief = Chief::new(quick_agent(2, 1, 0).learner().clone()).unwrap();
        let config = LeadConfig { workers: 3, ..LeadConfig::default() };
        let led = chief.lead(&network, &config, |chief, event| {
            if let LeadEvent::WorkerJoined { name } = event {
                names.push(name.clone());
            }
            let enough = chief.learner().updates() >= 20;
            Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        let led = led.unwrap();
        assert_eq!((led.updates, chief.learner().updates()), (20, 20));
        names.sort();
        assert_eq!(names, ["worker-1", "worker-2", "worker-3"]);
        for worker in workers {
            let (ended, updates) = worker.join().unwrap();
            assert_eq!((ended.unwrap(), updates), (StopReason::Chief, 20));
        }
        let refused = other.join().unwrap().0;
        let named = |error: &Error| matches!(error, Error::Refused { name, reason } if name == "other" && reason.contains("settings"));
        assert!(refused.as_ref().is_err_and(named), "{refused:?}");
        assert!(led.refused >= 1);
    });
}

/// A learner without collectors waits, and whoever watches may stop it.
#[test]
fn waiting_for_collectors_can_be_stopped() {
    let stop = |event: &Event, _: &Progress<'_>| match event {
        Event::Waiting => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let trainer = Trainer::new(short(100), quick_agent(2, 1, 1), Counter::new(0, Duration::ZERO)).unwrap();
    let trainer = trainer.from_collectors(&Network::local(), Fleet::default()).unwrap();
    let summary = trainer.observe(stop).run().unwrap();
    assert_eq!((summary.reason, summary.counts.environment_steps), (StopReason::Observer, 0));
}

/// While the others are waited for, whoever watches a worker's run may stop it, and it goes on later.
#[test]
fn waiting_can_be_stopped() {
    let network = Network::local();
    let config = TrainerConfig { updates_per_step: 1.0, ..short(1_000) };
    let mut trainer = Trainer::new(config, quick_agent(2, 1, 1), Counter::new(1, Duration::ZERO)).unwrap();
    let stop = |event: &Event, _: &Progress<'_>| match event {
        Event::Waiting => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    trainer = trainer.follow(&network, follow("worker")).unwrap().observe(stop);
    let mut chief = Chief::new(quick_agent(2, 1, 0).learner().clone()).unwrap();
    let (mut stopped, lonely) = (None, LeadConfig { workers: 2, ..LeadConfig::default() });
    thread::scope(|scope| {
        let running = scope.spawn(|| trainer.run().unwrap());
        let led = chief.lead(&network, &lonely, |_, event| match event {
            LeadEvent::WorkerGone { .. } => Ok(ControlFlow::Break(())),
            _ => Ok(ControlFlow::Continue(())),
        });
        assert_eq!(led.unwrap().updates, 0);
        stopped = Some(running.join().unwrap());
    });
    let stopped = stopped.unwrap();
    assert_eq!((stopped.reason, stopped.counts.environment_steps), (StopReason::Observer, 31));
    thread::scope(|scope| {
        let running = scope.spawn(|| trainer.run_for(5).unwrap());
        chief.lead(&network, &LeadConfig::default(), leads(6)).unwrap();
        assert_eq!(running.join().unwrap().counts.updates, 6);
    });
}

/// Workers that end as by `kill -9`, at whatever place of a round, are left out and come back; the chief
/// goes on with the other one.
#[test]
fn a_chief_goes_on_without_those_who_are_killed() {
    const KILLS: u64 = 12;
    let endpoint = format!("tcp/127.0.0.1:{}", free_port());
    let network = Network::listen(&endpoint).unwrap();
    let mut chief = Chief::new(quick_agent(2, 1, 0).learner().clone()).unwrap();
    let start = |number: u64| {
        // By the same name as the one before.
        let name = format!("worker-{}", number % 2);
        Process::start(&json!({ "is": "worker", "endpoint": endpoint, "name": name, "number": number }))
    };
    let [killed, joined] = [(); 2].map(|()| AtomicU64::new(0));
    let made = AtomicU64::new(0);
    let led = thread::scope(|scope| {
        scope.spawn(|| {
            let mut workers = [start(0), start(1)];
            let mut seen = 0;
            for kill in 0..KILLS {
                // When both are at it, updates go on.
                while joined.load(Relaxed) < kill + 2 || made.load(Relaxed) < seen + 5 {
                    thread::sleep(Duration::from_micros(100 + 37 * kill));
                }
                workers[(kill % 2) as usize].kill();
                workers[(kill % 2) as usize] = start(2 + kill);
                seen = made.load(Relaxed);
                killed.fetch_add(1, Relaxed);
            }
            while made.load(Relaxed) < u64::MAX {
                thread::sleep(Duration::from_millis(5));
            }
        });
        let config = LeadConfig { patience: 5.0, ..LeadConfig::default() };
        let mut enough = None;
        let led = chief.lead(&network, &config, |chief, event| {
            if let LeadEvent::WorkerJoined { .. } = event {
                joined.fetch_add(1, Relaxed);
            }
            let updates = chief.learner().updates();
            made.store(updates, Relaxed);
            if killed.load(Relaxed) == KILLS && joined.load(Relaxed) >= KILLS + 2 {
                enough = enough.or(Some(updates + 20));
            }
            let ended = enough.is_some_and(|enough| updates >= enough);
            Ok(if ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        made.store(u64::MAX, Relaxed);
        led
    });
    let led = led.unwrap();
    assert!(led.updates >= 5 * KILLS && led.refused == 0, "{led:?}");
}

/// Connections that are cut and that change what is said: what was not heard is said again, and updates go on.
#[test]
fn a_worker_is_heard_over_a_network_that_is_not_to_be_relied_upon() {
    let port = free_port();
    let (through, weather) = proxy(port);
    let endpoint = format!("tcp/127.0.0.1:{through}");
    let _worker =
        Process::start(&json!({ "is": "worker", "endpoint": endpoint, "name": "worker", "number": 1 }));
    let mut chief = Chief::new(quick_agent(2, 1, 0).learner().clone()).unwrap();
    let network = Network::listen(&format!("tcp/127.0.0.1:{port}")).unwrap();
    let (mut until, mut begun) = (10, None);
    let config = LeadConfig { patience: 20.0, ..LeadConfig::default() };
    let led = chief.lead(&network, &config, |chief, _| {
        let updates = chief.learner().updates();
        // Two cuts in the midst of updates, then a second of flipped bits, and then it has to go on.
        match until {
            10 | 20 if updates >= until => {
                weather.cut();
                until += 10;
            }
            30 if updates >= until => {
                let since = *begun.get_or_insert_with(std::time::Instant::now);
                weather.flip.store(15, Relaxed);
                if since.elapsed() > Duration::from_secs(1) {
                    weather.flip.store(0, Relaxed);
                    until = updates + 20;
                }
            }
            _ => {}
        }
        let ended = until > 30 && updates >= until;
        Ok(if ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    let led = led.unwrap();
    assert!(led.updates >= 50, "{led:?}");
    println!("{led:?}");
}

/// A chief that is killed and started again is followed on, with its parameters.
#[test]
fn workers_follow_the_chief_that_comes_after_one_that_was_killed() {
    let endpoint = format!("tcp/127.0.0.1:{}", free_port());
    let start = |seed: u64, updates: u64| {
        Process::start(&json!({ "is": "chief", "endpoint": endpoint, "seed": seed, "updates": updates }))
    };
    let mut first = start(1, 1_000_000);
    let agent = quick_agent(2, 1, 7);
    let config = TrainerConfig { updates_per_step: 1.0, ..short(60) };
    let mut trainer = Trainer::new(config, agent, Counter::new(1, Duration::ZERO)).unwrap();
    trainer = trainer.follow(&Network::connect(&endpoint).unwrap(), follow("worker")).unwrap();
    assert_eq!(trainer.run().unwrap().counts.updates, 30);
    assert!(trainer.agent().updates() >= 30);
    first.kill();
    let mut restarted = start(2, 40);
    let summary = trainer.run_for(1_000_000).unwrap();
    // The second chief began with its own updates, and the run made a step for each as before.
    assert_eq!((summary.reason, trainer.agent().updates()), (StopReason::Chief, 40));
    let counts = summary.counts;
    assert!(
        (60..=71).contains(&counts.updates) && counts.environment_steps == counts.updates + 31,
        "{counts:?}"
    );
    // It may still be answering that its updates are made.
    restarted.wait_for_end();
    // Without a chief a run ends with an error when patience does, and nothing is lost.
    let impatient = FollowConfig { patience: 0.5, ..follow("worker") };
    let mut trainer = trainer.follow(&Network::connect(&endpoint).unwrap(), impatient).unwrap();
    let (steps, stored) = (trainer.steps(), trainer.replay().len());
    let error = trainer.run_for(10).unwrap_err();
    assert!(
        matches!(&error, Error::Network { reason, .. } if reason.contains("FollowConfig::patience")),
        "{error}"
    );
    assert!(trainer.steps() <= steps + 1 && trainer.replay().len() >= stored);
}
