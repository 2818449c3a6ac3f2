//! One collector in lock-step with its learner makes the run that a trainer makes alone.

use std::thread;

use mpo::envs::Cartpole;
use mpo::{
    Collector, CollectorConfig, Device, Environments, Event, Fleet, Network, StopReason, Trainer,
    TrainerConfig,
};

use crate::parts::{Heard, listen, quick_agent, short};

/// What a run came to: its events but those on the network, its evaluations' environment, its policy's bits.
fn run(mut trainer: Trainer<Environments<Cartpole>>, steps: &[u64], policy: &std::path::Path) -> Outcome {
    let heard = Heard::default();
    trainer = trainer.observe(listen(&heard));
    for &steps in steps {
        let summary = trainer.run_for(steps).unwrap();
        assert_eq!(summary.reason, StopReason::Steps);
    }
    trainer.agent().policy().save(policy).unwrap();
    let mut events = heard.lock().unwrap().clone();
    events.retain(|(event, _)| {
        !matches!(
            event,
            Event::Arrivals(_)
                | Event::CollectorJoined { .. }
                | Event::CollectorGone { .. }
                | Event::Timing(_)
                | Event::Waiting
        )
    });
    let replay = (trainer.replay().len(), trainer.replay().mean_return(), trainer.replay().mean_reward());
    (events, replay, std::fs::read(policy).unwrap())
}

type Outcome = (Vec<(Event, [u64; 2])>, (usize, Option<f64>, Option<f64>), Vec<u8>);

#[test]
fn a_collector_in_lock_step_makes_the_trainers_run_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    // Updates now and then, one a step, several a step; one environment and several.
    for (rows, updates_per_step, steps) in
        [(1, 0.3, &[1100, 150][..]), (1, 1.7, &[150][..]), (3, 0.3, &[300][..])]
    {
        let environments = || Environments::new(vec![Cartpole::balance(); rows]).unwrap();
        let config = TrainerConfig {
            updates_per_step,
            evaluation_period: 400,
            evaluation_episodes: 1,
            metrics_period: 50,
            ..short(0)
        };
        let trainer = || {
            let agent = quick_agent(5, 1, config.seed);
            let trainer = Trainer::new(config.clone(), agent, environments()).unwrap();
            trainer.evaluate_in(environments()).unwrap()
        };
        let alone = run(trainer(), steps, &folder.path().join("alone"));
        let network = Network::local();
        let settings = CollectorConfig { seed: config.seed, lock_step: true, ..CollectorConfig::default() };
        let mut collector = Collector::new(settings, environments(), &network, &Device::flex()).unwrap();
        let together = thread::scope(|scope| {
            let collecting = scope.spawn(|| collector.run().unwrap());
            let fleet = Fleet { steps_ahead: Some(0), ..Fleet::default() };
            let trainer = trainer().from_collectors(&network, fleet).unwrap();
            let together = run(trainer, steps, &folder.path().join("together"));
            let collected = collecting.join().unwrap();
            assert!(collected.stopped);
            together
        });
        for (one, other) in alone.0.iter().zip(&together.0) {
            assert_eq!(one, other, "{rows} rows, {updates_per_step} updates a step");
        }
        assert_eq!(alone.0.len(), together.0.len());
        assert!(alone.0.iter().filter(|(event, _)| matches!(event, Event::Metrics(_))).count() > 1);
        assert_eq!(alone.1, together.1);
        assert!(alone.2 == together.2, "another policy");
    }
}
