//! A chief and trainers that follow it.

use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

use mpo::envs::Cartpole;
use mpo::{
    Chief, Error, FollowConfig, GaussianActor, LeadConfig, LeadEvent, LeadSummary, MpoAgent, Network,
    QNetwork, StopReason, Trainer, TrainerConfig,
};
use serde_json::json;

use crate::parts::{Counter, Heard, listen, quick_agent, short};
use crate::processes::{Process, free_port};

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
        let heard = heard.lock().unwrap().clone();
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

/// Workers that end as by `kill -9` are left out and come back; the chief goes on with the other one.
#[test]
fn a_chief_goes_on_without_those_who_are_killed() {
    const KILLS: u64 = 10;
    let endpoint = format!("tcp/127.0.0.1:{}", free_port());
    let network = Network::listen(&endpoint).unwrap();
    let mut chief = Chief::new(quick_agent(2, 1, 0).learner().clone()).unwrap();
    let start =
        |number: u64| Process::start(&json!({ "is": "worker", "endpoint": endpoint, "number": number }));
    let mut workers = [start(0), start(1)];
    let (mut joined, mut gone, mut kills, mut next) = (0, 0, 0, 0);
    let config = LeadConfig { patience: 5.0, ..LeadConfig::default() };
    let led = chief.lead(&network, &config, |chief, event| {
        match event {
            LeadEvent::WorkerJoined { .. } => joined += 1,
            LeadEvent::WorkerGone { .. } => gone += 1,
            _ => {}
        }
        let updates = chief.learner().updates();
        // When both are at it, and then at another place of a round each time.
        if joined == kills + 2 && gone == kills && next == 0 {
            next = updates + 5 + 3 * kills;
        }
        if kills < KILLS && next > 0 && updates >= next {
            thread::sleep(Duration::from_micros(700 * kills));
            workers[(kills % 2) as usize] = start(2 + kills);
            (kills, next) = (kills + 1, 0);
        }
        let enough = kills == KILLS && next > 0 && updates >= next;
        Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    let led = led.unwrap();
    assert_eq!((joined, gone, led.refused), (KILLS + 2, KILLS, 0), "{led:?}");
    assert!(led.updates >= 5 * KILLS, "{led:?}");
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
    let _restarted = start(2, 40);
    let summary = trainer.run_for(1_000_000).unwrap();
    // The second chief began with its own updates.
    assert_eq!((summary.reason, trainer.agent().updates()), (StopReason::Chief, 40));
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
