//! What many collectors cost: environments that sleep like robots at 50 Hz, 1 to 64 of them in threads and
//! 1 to 16 in processes, with a learner that updates as fast as it can. A row a number of collectors, in at
//! most five minutes:
//!
//! ```text
//! cargo run --release --features distributed --example fleet_speed
//! ```

use std::error::Error;
use std::ops::ControlFlow;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use mpo::{
    ActionSpace, Arrivals, Collector, CollectorConfig, CollectorSummary, Device, Environment, Event, Fleet,
    MpoAgent, MpoConfig, Network, Progress, Step, Trainer, TrainerConfig,
};

#[derive(Parser)]
struct Cli {
    /// How many seconds are measured for each row.
    #[arg(long, default_value_t = 15.0)]
    seconds: f64,
    /// The numbers of collectors in threads, over the local network.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4, 16, 64])]
    threads: Vec<usize>,
    /// The same over TCP on this machine.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    tcp: Vec<usize>,
    /// The numbers of collectors in processes of their own, over TCP.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4, 16])]
    processes: Vec<usize>,
    /// Stores what comes and makes no updates: what receiving alone costs.
    #[arg(long)]
    store_only: bool,
    /// Is a collector itself, for the learner at this endpoint.
    #[arg(long, hide = true)]
    collect: Option<String>,
    /// Its name.
    #[arg(long, hide = true, default_value = "collector")]
    name: String,
}

const HERTZ: f64 = 50.0;

/// A robot that does nothing but take its time: 17 numbers to see, 6 to choose, episodes of 20 s.
struct Sleepy {
    due: Instant,
    steps: u32,
}

impl Environment for Sleepy {
    type Error = std::convert::Infallible;

    fn observation_size(&self) -> usize {
        17
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::symmetric(6)
    }

    fn reset(&mut self, _: u64) -> Result<Vec<f32>, Self::Error> {
        (self.due, self.steps) = (Instant::now(), 0);
        Ok(vec![0.0; 17])
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, Self::Error> {
        self.steps += 1;
        self.due += Duration::from_secs_f64(1.0 / HERTZ);
        thread::sleep(self.due.saturating_duration_since(Instant::now()));
        let observation = vec![(self.steps as f32).sin(); 17];
        let truncated = self.steps == 1000;
        Ok(Step { observation, reward: -action[0].abs(), terminated: false, truncated })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let cli = Cli::parse();
    if let Some(endpoint) = &cli.collect {
        let summary = collect(&Network::connect(endpoint)?, &cli.name)?;
        println!("{} {}", summary.receipt_p50, summary.receipt_p99);
        return Ok(());
    }
    println!(
        "| collectors | steps/s | of {HERTZ} Hz | updates/s | part p50 | p99 | late | bytes/s | lag, updates | age | \
         learner CPU s/1000 steps | collectors' | learner RSS | a collector's |"
    );
    println!("|{}", "---|".repeat(14));
    for &count in &cli.threads {
        let here = Network::local();
        row("threads", count, &cli, &here, &here, None)?;
    }
    for &count in &cli.tcp {
        let endpoint = endpoint()?;
        row("threads, TCP", count, &cli, &Network::listen(&endpoint)?, &Network::connect(&endpoint)?, None)?;
    }
    for &count in &cli.processes {
        let endpoint = endpoint()?;
        let (listen, connect) = (Network::listen(&endpoint)?, Network::connect(&endpoint)?);
        row("processes", count, &cli, &listen, &connect, Some(&endpoint))?;
    }
    println!("Robots that sleep, on one machine with {} cores.", thread::available_parallelism()?);
    Ok(())
}

fn endpoint() -> std::io::Result<String> {
    Ok(format!("tcp/{}", std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?))
}

fn collect(network: &Network, name: &str) -> mpo::Result<CollectorSummary> {
    let config = CollectorConfig { name: name.into(), ..CollectorConfig::default() };
    let robot = Sleepy { due: Instant::now(), steps: 0 };
    Collector::new(config, robot, network, &Device::flex())?.run()
}

/// What was seen at some time.
#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    steps: u64,
    updates: u64,
    cpu: f64,
    collectors_cpu: f64,
}

fn row(
    kind: &str,
    count: usize,
    cli: &Cli,
    listen: &Network,
    connect: &Network,
    processes: Option<&str>,
) -> Result<(), Box<dyn Error>> {
    let (seconds, store_only) = (cli.seconds, cli.store_only);
    let names: Vec<String> = (0..count).map(|number| format!("robot-{number}")).collect();
    let mut children: Vec<Child> = Vec::new();
    if let Some(endpoint) = processes {
        for name in &names {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["--collect", endpoint, "--name", name]).stdout(Stdio::piped());
            children.push(command.spawn()?);
        }
    }
    let pids: Vec<u32> = children.iter().map(Child::id).collect();
    let seen: Arc<Mutex<(Vec<Seen>, Arrivals)>> = Arc::default();
    let watch = {
        let (seen, pids) = (seen.clone(), pids.clone());
        let mut joined = 0;
        move |event: &Event, progress: &Progress<'_>| {
            let mut seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match event {
                Event::CollectorJoined { .. } => joined += 1,
                Event::Arrivals(arrivals) => seen.1 = *arrivals,
                _ => {}
            }
            let now = Seen {
                at: Instant::now(),
                steps: progress.counts.environment_steps,
                updates: progress.counts.updates,
                cpu: cpu(std::process::id()),
                collectors_cpu: pids.iter().map(|&pid| cpu(pid)).sum(),
            };
            let begun = seen.0.first().copied();
            match begun {
                // Once all are there, and the first updates are made.
                None if joined == count && (now.updates > 5 || store_only) => seen.0.push(now),
                Some(begun) if seen.0.len() == 1 && begun.at.elapsed().as_secs_f64() >= seconds => {
                    seen.0.push(now);
                    return ControlFlow::Break(());
                }
                _ => {}
            }
            ControlFlow::Continue(())
        }
    };
    let mut late = 0;
    let (mut rss, mut collector_rss) = (0.0, 0.0);
    let mut receipts: Vec<(f64, f64)> = thread::scope(|scope| -> Result<_, Box<dyn Error>> {
        let collecting: Vec<_> = match processes {
            Some(_) => Vec::new(),
            None => names.iter().map(|name| scope.spawn(move || collect(connect, name))).collect(),
        };
        let learning = || -> mpo::Result<()> {
            let robot = Sleepy { due: Instant::now(), steps: 0 };
            let agent = MpoAgent::of(MpoConfig::default(), &robot, &Device::flex(), 1)?;
            let config = TrainerConfig {
                environment_steps: u64::MAX >> 12,
                warm_up_steps: 100,
                // More than can be made.
                updates_per_step: if cli.store_only { 0.0 } else { 1_000.0 },
                evaluation_episodes: 0,
                metrics_period: (count as u64 * 50 * seconds as u64 / 2).max(50),
                ..TrainerConfig::default()
            };
            let fleet = Fleet { steps_ahead: None, ..Fleet::default() };
            let mut trainer =
                Trainer::new(config, agent, robot)?.from_collectors(listen, fleet)?.observe(watch);
            let summary = trainer.run()?;
            (rss, collector_rss) =
                (memory(std::process::id()), pids.first().map_or(f64::NAN, |&pid| memory(pid)));
            late = summary.arrivals.map_or(0, |arrivals| arrivals.late_steps);
            Ok(())
        };
        learning()?;
        collecting
            .into_iter()
            .map(|collecting| {
                let summary = collecting.join().map_err(|_| "a collector panicked")??;
                Ok((summary.receipt_p50, summary.receipt_p99))
            })
            .collect()
    })?;
    for child in children {
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut numbers = text.split_whitespace().filter_map(|number| number.parse().ok());
        receipts.extend(numbers.next().zip(numbers.next()));
    }
    let (seen, arrivals) = seen.lock().map_err(|_| "poisoned")?.clone();
    let [begun, ended] = seen.as_slice() else { return Err("the run ended before it was measured".into()) };
    let time = (ended.at - begun.at).as_secs_f64();
    let (steps, updates) = ((ended.steps - begun.steps) as f64, (ended.updates - begun.updates) as f64);
    receipts.sort_by(|one, other| one.0.total_cmp(&other.0));
    let p50 = receipts.get(receipts.len() / 2).map_or(f64::NAN, |receipt| receipt.0);
    let p99 = receipts.iter().map(|receipt| receipt.1).fold(0.0, f64::max);
    // Threads have none of their own.
    let collector_rss = if collector_rss.is_nan() { "-".into() } else { format!("{collector_rss:.0} MiB") };
    let bytes = arrivals.bytes as f64 / arrivals.steps.max(1) as f64 * steps / time;
    println!(
        "| {count} {kind} | {:.0} | {:.1} % | {:.1} | {:.2} ms | {:.1} ms | {late} | {bytes:.0} | {:.1} | {:.2} s | {:.2} | \
         {:.3} | {rss:.0} MiB | {collector_rss} |",
        steps / time,
        100.0 * steps / time / (count as f64 * HERTZ),
        updates / time,
        1e3 * p50,
        1e3 * p99,
        arrivals.policy_lag_updates,
        arrivals.experience_age_seconds,
        (ended.cpu - begun.cpu) / steps * 1e3,
        (ended.collectors_cpu - begun.collectors_cpu) / steps * 1e3,
    );
    Ok(())
}

/// The seconds of a processor that a process has had, on Linux.
fn cpu(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // utime and stime, in hundredths.
    let ticks = |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<f64>().ok());
    ticks(11).zip(ticks(12)).map_or(f64::NAN, |(user, system)| (user + system) / 100.0)
}

/// The memory that a process has, in MiB, on Linux.
fn memory(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib / 1024.0)
}
