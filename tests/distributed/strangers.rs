//! Who is let in, who is not, and what becomes of those who are not.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mpo::{
    Collector, CollectorConfig, CollectorSummary, Device, Error, Event, Fleet, Network, Progress, Result,
    Summary, Trainer,
};
use zenoh::Wait;

use crate::parts::{Counter, quick_agent, short, stored};
use crate::processes::free_port;

fn collector(name: &str, network: &Network) -> Collector<Counter> {
    let config =
        CollectorConfig { name: name.into(), part_steps: 5, patience: 1.5, ..CollectorConfig::default() };
    let environment = Counter::new(1, Duration::from_millis(1));
    Collector::new(config, environment, network, &Device::flex()).unwrap()
}

fn trainer(network: &Network, steps: u64) -> Trainer<Counter> {
    let fleet = Fleet { steps_ahead: None, ..Fleet::default() };
    Trainer::new(short(steps), quick_agent(2, 1, 1), Counter::new(0, Duration::ZERO))
        .and_then(|trainer| trainer.from_collectors(network, fleet))
        .unwrap()
}

/// A run with one collector by each of these networks, to which only the first is let in.
fn only_the_first_comes_in(learner: &Network, networks: &[(&str, Network)]) {
    thread::scope(|scope| {
        let learning = scope.spawn(|| {
            let mut trainer = trainer(learner, 2_500);
            let summary = trainer.run().unwrap();
            assert_eq!(stored(trainer.replay()).len() as u64, summary.counts.environment_steps);
            summary
        });
        let collecting: Vec<_> =
            networks.iter().map(|(name, network)| scope.spawn(|| collector(name, network).run())).collect();
        let mut collected: Vec<Result<CollectorSummary>> =
            collecting.into_iter().map(|collecting| collecting.join().unwrap()).collect();
        let first = collected.remove(0).unwrap();
        assert!(first.stopped && first.steps >= 2_500, "{first:?}");
        for (collected, (name, _)) in collected.into_iter().zip(&networks[1..]) {
            let error = collected.unwrap_err();
            assert!(matches!(error, Error::Network { .. }), "{name}: {error}");
            let error = error.to_string();
            assert!(error.contains("password") && error.contains("certificates"), "{error}");
        }
        let summary = learning.join().unwrap();
        assert_eq!(summary.arrivals.unwrap().lost_steps, 0);
    });
}

fn tls(endpoint: &str, name: &str, connects: bool) -> Network {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/distributed/certificates");
    let network = if connects { Network::connect(endpoint) } else { Network::listen(endpoint) };
    let file = |ending: &str| folder.join(format!("{name}.{ending}"));
    network.unwrap().identity(folder.join("authority.pem"), file("pem"), file("key"))
}

#[test]
fn certificates() {
    let port = free_port();
    let endpoint = format!("tls/localhost:{port}");
    let learner =
        tls(&format!("tls/127.0.0.1:{port}"), "learner", false).only(["robot-1", "robot-3"]).unwrap();
    only_the_first_comes_in(
        &learner,
        &[
            ("robot-1", tls(&endpoint, "robot-1", true)),
            // In another's name, by a name that is not let in, of another authority, without any certificate.
            ("robot-3", tls(&endpoint, "robot-2", true)),
            ("robot-2", tls(&endpoint, "robot-2", true)),
            ("robot-1", tls(&endpoint, "stranger", true)),
            ("robot-1", Network::connect(&format!("tcp/127.0.0.1:{port}")).unwrap()),
        ],
    );
}

#[test]
fn passwords() {
    let folder = tempfile::tempdir().unwrap();
    let passwords = folder.path().join("passwords");
    std::fs::write(&passwords, "lab:secret\nother:word\n").unwrap();
    let endpoint = format!("tcp/127.0.0.1:{}", free_port());
    let connect = || Network::connect(&endpoint).unwrap();
    let learner = Network::listen(&endpoint).unwrap().passwords(&passwords);
    only_the_first_comes_in(
        &learner,
        &[
            ("one", connect().password("lab", "secret")),
            ("two", connect().password("lab", "word")),
            ("three", connect().password("nobody", "secret")),
            ("four", connect()),
        ],
    );
}

fn stranger(endpoint: &str) -> zenoh::Session {
    let mut config = zenoh::Config::default();
    for (key, value) in [
        ("scouting/multicast/enabled", "false".to_owned()),
        ("listen/endpoints", "[]".to_owned()),
        ("connect/endpoints", format!("[\"{endpoint}\"]")),
    ] {
        config.insert_json5(key, &value).unwrap();
    }
    zenoh::open(config).wait().unwrap()
}

/// Whoever comes to the learner's door answers for it in vain, and what it says itself is refused.
#[test]
fn impostors_and_noise() {
    let endpoint = format!("tcp/127.0.0.1:{}", free_port());
    let asked = Arc::new(AtomicU64::new(0));
    let summary: Summary = thread::scope(|scope| {
        let learning = scope.spawn(|| trainer(&Network::listen(&endpoint).unwrap(), 1_500).run().unwrap());
        thread::sleep(Duration::from_millis(300));
        let impostor = stranger(&endpoint);
        let answers: Vec<_> = ["mpo/run/policy/*", "mpo/run/experience/*"]
            .into_iter()
            .map(|key| {
                let asked = asked.clone();
                let answer = move |query: zenoh::query::Query| {
                    asked.fetch_add(1, Ordering::Relaxed);
                    query.reply_err("from an impostor").wait().unwrap();
                };
                impostor.declare_queryable(key).complete(true).callback(answer).wait().unwrap()
            })
            .collect();
        let collecting =
            scope.spawn(|| collector("robot", &Network::connect(&endpoint).unwrap()).run().unwrap());
        // Another one: what is asked in the impostor's own session it answers itself.
        let noisy = stranger(&endpoint);
        thread::sleep(Duration::from_millis(300));
        let ask = |key: &str, payload: Vec<u8>| {
            let replies = noisy.get(key).payload(payload).timeout(Duration::from_secs(1)).wait().unwrap();
            let reply = replies.iter().next().map(|reply| reply.into_result());
            reply.map(|reply| match reply {
                Ok(sample) => format!("{} bytes", sample.payload().len()),
                Err(error) => String::from_utf8_lossy(&error.payload().to_bytes()).into_owned(),
            })
        };
        for key in ["mpo/run/experience/robot", "mpo/run/experience/*", "mpo/run/policy/robot"] {
            for payload in [Vec::new(), vec![0; 10_000], b"mpo experience".to_vec()] {
                let answer = ask(key, payload);
                assert!(answer.as_ref().is_none_or(|answer| !answer.ends_with("bytes")), "{answer:?}");
            }
        }
        // Not even asked.
        assert!(ask("mpo/run/other/robot", Vec::new()).is_none_or(|answer| answer.contains("Timeout")));
        noisy.put("mpo/run/experience/robot", "noise").wait().unwrap();
        assert!(collecting.join().unwrap().stopped);
        drop(answers);
        learning.join().unwrap()
    });
    assert_eq!(asked.load(Ordering::Relaxed), 0, "the impostor was asked");
    let arrivals = summary.arrivals.unwrap();
    assert!(arrivals.refused >= 6, "{arrivals:?}");
    assert_eq!((arrivals.steps, arrivals.lost_steps), (summary.counts.environment_steps, 0));
}

#[test]
fn two_learners_and_two_of_one_name() {
    let endpoint = format!("tcp/127.0.0.1:{}", free_port());
    let network = Network::listen(&endpoint).unwrap();
    let connect = Network::connect(&endpoint).unwrap();
    let stored = Arc::new(AtomicU64::new(0));
    let seen = stored.clone();
    let enough = move |event: &Event, progress: &Progress<'_>| {
        seen.store(progress.counts.environment_steps, Ordering::Relaxed);
        match event {
            Event::CollectorGone { name } if name == "last" => std::ops::ControlFlow::Break(()),
            _ => std::ops::ControlFlow::Continue(()),
        }
    };
    // A second learner at the same place.
    thread::scope(|scope| {
        let first = scope.spawn(|| trainer(&network, 1_000_000).observe(enough).run().unwrap());
        thread::sleep(Duration::from_millis(300));
        let error = trainer(&network, 100).run().unwrap_err();
        assert!(matches!(&error, Error::Network { place, .. } if *place == endpoint), "{error}");
        // Whoever is displaced by another of its name ends with that reason; the other one goes on.
        let displaced = scope.spawn(|| collector("robot", &connect).run());
        while stored.load(Ordering::Relaxed) == 0 {
            thread::sleep(Duration::from_millis(5));
        }
        let mut other = collector("robot", &connect);
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        other = other.stop_when(stop.clone());
        let other = scope.spawn(move || other.run());
        let error = displaced.join().unwrap().unwrap_err().to_string();
        assert!(error.contains("another collector of this name"), "{error}");
        stop.store(true, Ordering::Relaxed);
        let other = other.join().unwrap().unwrap();
        assert!(!other.stopped && other.lost_steps == 0, "{other:?}");
        // With other actions than the learner's.
        let config = CollectorConfig::default();
        let cartpole = mpo::envs::Cartpole::balance();
        let error = Collector::new(config, cartpole, &connect, &Device::flex()).unwrap().run().unwrap_err();
        assert!(error.to_string().contains("observation"), "{error}");
        let config = CollectorConfig { steps: Some(30), name: "last".into(), ..CollectorConfig::default() };
        let last = Counter::new(9, Duration::ZERO);
        let last = Collector::new(config, last, &connect, &Device::flex()).unwrap().run().unwrap();
        assert_eq!((last.steps, last.lost_steps, last.stopped), (30, 0, false));
        let summary = first.join().unwrap();
        assert_eq!(summary.arrivals.unwrap().lost_steps, 0);
    });
}

#[test]
fn settings_are_checked() {
    let network = Network::local();
    let refused = |change: fn(&mut CollectorConfig), field: &str| {
        let mut config = CollectorConfig::default();
        change(&mut config);
        let environment = Counter::new(1, Duration::ZERO);
        let error = Collector::new(config, environment, &network, &Device::flex()).unwrap_err();
        assert!(matches!(&error, Error::Config { field: found, .. } if *found == field), "{error}");
    };
    refused(|config| config.name = "a b".into(), "CollectorConfig::name");
    refused(|config| config.name.clear(), "CollectorConfig::name");
    refused(|config| config.part_steps = 0, "CollectorConfig::part_steps");
    refused(|config| config.kept_parts = 1, "CollectorConfig::kept_parts");
    refused(|config| config.policy_steps = 0, "CollectorConfig::policy_steps");
    refused(|config| config.patience = f64::NAN, "CollectorConfig::patience");
    refused(|config| config.late = -1.0, "CollectorConfig::late");
    let refused = |change: fn(&mut Fleet), field: &str| {
        let mut fleet = Fleet::default();
        change(&mut fleet);
        let trainer = Trainer::new(short(1), quick_agent(2, 1, 1), Counter::new(0, Duration::ZERO)).unwrap();
        let error = trainer.from_collectors(&network, fleet).unwrap_err();
        assert!(matches!(&error, Error::Config { field: found, .. } if *found == field), "{error}");
    };
    refused(|fleet| fleet.collectors = 0, "Fleet::collectors");
    refused(|fleet| fleet.queue = 0, "Fleet::queue");
    refused(|fleet| fleet.policy_period = 0, "Fleet::policy_period");
    let error = Network::listen("tcp/127.0.0.1:0").unwrap().only(["a/b"]).unwrap_err().to_string();
    assert!(error.contains("Network::only"), "{error}");
    assert!(Network::local().fleet("*").is_err() && Network::local().longest_message(1).is_err());
}

/// Learner and collector that reach nobody but a router, each by a configuration of zenoh's own.
#[test]
fn through_a_router() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = format!("tcp/127.0.0.1:{}", free_port());
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let alone = "scouting: { multicast: { enabled: false }, gossip: { enabled: false } }";
    let router = format!("{{ mode: 'router', listen: {{ endpoints: ['{endpoint}'] }}, {alone} }}");
    let router = zenoh::Config::from_file(file("router.json5", router)).unwrap();
    let router = zenoh::open(router).wait().unwrap();
    let client = format!("{{ mode: 'client', connect: {{ endpoints: ['{endpoint}'] }}, {alone} }}");
    let client = Network::configured_by(file("client.json5", client));
    thread::scope(|scope| {
        let learning = scope.spawn(|| trainer(&client, 200).run().unwrap());
        let collected = collector("robot-1", &client).run().unwrap();
        assert!(collected.stopped && collected.steps >= 200, "{collected:?}");
        let arrivals = learning.join().unwrap().arrivals.unwrap();
        assert_eq!((arrivals.refused, arrivals.lost_steps), (0, 0));
    });
    router.close().wait().unwrap();
    let nothing = Network::configured_by(folder.path().join("nothing.json5"));
    let error = collector("robot-1", &nothing).run().unwrap_err().to_string();
    assert!(error.contains("nothing.json5"), "{error}");
}
