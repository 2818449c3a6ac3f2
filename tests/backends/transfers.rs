//! How often an update moves numbers between host and device.

use std::sync::Mutex;

use crate::common::agents::agent;
use crate::common::presets::small;
use crate::common::replays::{random_replay, rng};
use mpo::{ImproveAt, MpoConfig, PolicyEvaluation};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Subscriber, dispatcher};

/// Where the crate's transfers went, one after another.
static TRANSFERS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Count;

impl Subscriber for Count {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "mpo::transfers"
    }
    fn event(&self, event: &Event<'_>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        TRANSFERS.lock().unwrap().push(message.0);
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Counted on the threads of a pool of its own: other tests move numbers too.
#[test]
fn an_update_waits_for_the_device_twice() {
    let count = Dispatch::new(Count);
    let listen = move |_| std::mem::forget(dispatcher::set_default(&count));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).start_handler(listen).build().unwrap();
    pool.install(count_transfers);
}

fn count_transfers() {
    let replay = random_replay(20, 20, 3, 2);
    // What other threads traced first, before anybody listened, is not heard of until asked for again.
    let mut agent_before = agent(&small(MpoConfig::default()), 3, 2, 1);
    agent_before.update(&agent_before.sample(&replay, &mut rng(1)).unwrap()).unwrap();
    tracing::callsite::rebuild_interest_cache();
    for preset in [MpoConfig::default(), MpoConfig::paper()] {
        for improve_at in [ImproveAt::States, ImproveAt::NextStates] {
            let retrace = PolicyEvaluation::Retrace { steps: 4, lambda: 1.0 };
            for evaluation in [PolicyEvaluation::NStep { steps: 3 }, retrace] {
                let config = MpoConfig { improve_at, evaluation, ..small(preset.clone()) };
                let mut agent = agent(&config, 3, 2, 1);
                let batch = agent.sample(&replay, &mut rng(1)).unwrap();
                for _ in 0..3 {
                    TRANSFERS.lock().unwrap().clear();
                    agent.update(&batch).unwrap();
                    let transfers = TRANSFERS.lock().unwrap();
                    let count = |way| transfers.iter().filter(|transfer| *transfer == way).count();
                    assert_eq!(count("to the host"), 2, "{config:?}");
                    // The noise of the sampled actions, twice which rows are truncated, and the weights of
                    // the E-step.
                    let most = if improve_at == ImproveAt::States { 3 } else { 4 };
                    assert!(count("to the device") <= most, "{transfers:?}");
                }
            }
        }
    }
}

/// The count is complete: outside `host.rs` nothing in the crate moves numbers.
#[test]
fn numbers_move_in_one_file_only() {
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name != "host.rs") {
                files += 1;
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                let moves = ["into_data", "to_data", "from_data", "into_scalar", "from_floats"];
                let moving = code.filter(|line| moves.iter().any(|name| line.contains(name)));
                assert_eq!(moving.collect::<Vec<_>>(), Vec::<&str>::new(), "{}", path.display());
            }
        }
    }
    assert!(files > 40);
}
