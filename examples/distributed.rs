//! Trains a policy from the experience of several processes. Without a subcommand: a learner and three
//! collectors on this machine, which balance DeepMind's cartpole.
//!
//! ```text
//! cargo run --release --features distributed --example distributed
//! ```
//!
//! On several machines, with certificates (see the guide's chapter on fleets); `distributed` stands for
//! `cargo run --release --features distributed --example distributed --`:
//!
//! ```text
//! distributed learner --endpoint tls/0.0.0.0:7447 --authority ca.pem --certificate learner.pem --key learner.key
//! distributed collector --endpoint tls/learner.lab:7447 --name robot-1 --seed 101 --authority ca.pem \
//!     --certificate robot-1.pem --key robot-1.key
//! ```
//!
//! Or Algorithm 1 with all its workers, each of which acts, stores and computes gradients, while the chief
//! does nothing but apply them:
//!
//! ```text
//! distributed chief --updates 10000 --workers 2
//! distributed worker --name worker-1 --seed 101
//! distributed worker --name worker-2 --seed 102
//! ```

mod common;

use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand, ValueEnum};
use mpo::envs::{Cartpole, Hopper};
use mpo::{
    Chief, Collector, CollectorConfig, Device, Environment, Fleet, FollowConfig, LeadConfig, LeadEvent,
    MpoAgent, MpoConfig, Network, Paced, Policy, Trainer, TrainerConfig,
};

use crate::common::{Arguments, Preset, Task, exit, train_as};

#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    together: Together,
}

#[derive(Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, once")]
enum Role {
    /// Learns from what collectors send.
    Learner {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        learning: Learning,
    },
    /// Acts by a learner's policy, and sends what happens.
    Collector {
        #[command(flatten)]
        place: Place,
        /// What the learner knows it by: each has a name of its own.
        #[arg(long, default_value = "collector")]
        name: String,
        /// The seed of its episodes and its exploration: each has one of its own.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        #[command(flatten)]
        pace: Pace,
    },
    /// Applies the gradients of workers, each from a batch of its own.
    Chief {
        #[command(flatten)]
        place: Place,
        /// The task.
        #[arg(long, value_enum, default_value = "cartpole-balance")]
        task: Name,
        /// How many updates are made in all.
        #[arg(long, default_value_t = 10_000)]
        updates: u64,
        /// How many updates lie between two evaluations.
        #[arg(long, default_value_t = 1_000)]
        evaluation_period: u64,
        /// How many workers the updates wait for.
        #[arg(long, default_value_t = 1)]
        workers: usize,
        /// The seed of the networks and of the evaluations.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// The file of the chief's learner, saved with every evaluation; one that is there is continued.
        #[arg(long, default_value = "chief.mpo")]
        file: PathBuf,
        /// Where the policy is saved in the end.
        #[arg(long, default_value = "policy.mpo")]
        policy: PathBuf,
    },
    /// Acts in an environment of its own, and contributes to a chief's updates.
    Worker {
        #[command(flatten)]
        place: Place,
        /// What the chief knows it by: each has a name of its own.
        #[arg(long, default_value = "worker")]
        name: String,
        /// The seed of its episodes, its exploration and its batches: each has one of its own.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        #[command(flatten)]
        pace: Pace,
    },
}

/// A learner and collectors as processes on this machine.
#[derive(clap::Args)]
struct Together {
    /// How many collectors are started.
    #[arg(long, default_value_t = 3)]
    collectors: u32,
    #[command(flatten)]
    learning: Learning,
}

#[derive(clap::Args)]
struct Learning {
    #[command(flatten)]
    pace: Pace,
    /// How many steps acting may be ahead of learning before collectors wait [default: 100, or any number
    /// with --rate].
    #[arg(long)]
    steps_ahead: Option<u64>,
    #[command(flatten)]
    arguments: Arguments,
}

#[derive(clap::Args, Clone, Copy)]
struct Pace {
    /// The task.
    #[arg(long, value_enum, default_value = "cartpole-balance")]
    task: Name,
    /// How many steps a collector makes each second, as a robot would; without it as many as it can.
    #[arg(long)]
    rate: Option<f64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    CartpoleBalance,
    HopperStand,
}

/// Where learner and collectors meet, and how each knows the others.
#[derive(clap::Args)]
struct Place {
    /// tcp/HOST:PORT, tls/HOST:PORT or unixsock-stream/PATH.
    #[arg(long, default_value = "tcp/127.0.0.1:7447")]
    endpoint: String,
    /// The certificate of the authority that has signed all others, for tls.
    #[arg(long, requires_all = ["certificate", "key"])]
    authority: Option<PathBuf>,
    /// This process's own certificate.
    #[arg(long, requires = "authority")]
    certificate: Option<PathBuf>,
    /// The private key of that certificate.
    #[arg(long, requires = "authority")]
    key: Option<PathBuf>,
    /// For the learner: a file with a line USER:PASSWORD for each who is let in.
    #[arg(long)]
    passwords: Option<PathBuf>,
    /// For a collector: a file with its line USER:PASSWORD.
    #[arg(long)]
    password: Option<PathBuf>,
    /// For the learner: the name of a collector that is let in, if not all are; may be given several times.
    #[arg(long)]
    only: Vec<String>,
}

impl Place {
    fn network(&self, open: fn(&str) -> mpo::Result<Network>) -> Result<Network, Box<dyn Error>> {
        let mut network = open(&self.endpoint)?.only(self.only.clone())?;
        if let (Some(authority), Some(certificate), Some(key)) =
            (&self.authority, &self.certificate, &self.key)
        {
            network = network.identity(authority, certificate, key);
        }
        if let Some(passwords) = &self.passwords {
            network = network.passwords(passwords);
        }
        if let Some(path) = &self.password {
            let line =
                std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let (user, password) = line.trim().split_once(':').ok_or("--password: a line USER:PASSWORD")?;
            network = network.password(user, password);
        }
        Ok(network)
    }
}

fn main() -> ExitCode {
    let Cli { role, together } = Cli::parse();
    exit(match role {
        Some(Role::Learner { place, learning }) => {
            place.network(Network::listen).and_then(|network| learn(&network, &learning))
        }
        Some(Role::Collector { place, name, seed, pace }) => {
            place.network(Network::connect).and_then(|network| collect(&network, name, seed, pace))
        }
        Some(Role::Chief { place, task, updates, evaluation_period, workers, seed, file, policy }) => {
            place.network(Network::listen).and_then(|network| {
                let leading =
                    Leading { updates, evaluation_period, workers, seed, file: &file, policy: &policy };
                match task {
                    Name::CartpoleBalance => {
                        lead(Cartpole::balance(), MpoConfig::default(), &network, &leading)
                    }
                    Name::HopperStand => lead(Hopper::stand(), MpoConfig::simulation(), &network, &leading),
                }
            })
        }
        Some(Role::Worker { place, name, seed, pace }) => {
            place.network(Network::connect).and_then(|network| {
                let (default, simulation) = (MpoConfig::default(), MpoConfig::simulation());
                match pace.task {
                    Name::CartpoleBalance => {
                        work(Cartpole::balance(), default, 1.0, &network, name, seed, pace.rate)
                    }
                    Name::HopperStand => {
                        work(Hopper::stand(), simulation, 0.5, &network, name, seed, pace.rate)
                    }
                }
            })
        }
        None => on_one_machine(&together),
    })
}

/// How a chief leads, and for how long.
struct Leading<'a> {
    updates: u64,
    evaluation_period: u64,
    workers: usize,
    seed: u64,
    file: &'a Path,
    policy: &'a Path,
}

fn lead<E: Environment>(
    mut environment: E,
    config: MpoConfig,
    network: &Network,
    Leading { updates, evaluation_period, workers, seed, file, policy }: &Leading<'_>,
) -> Result<(), Box<dyn Error>> {
    let agent = MpoAgent::of(config, &environment, &device()?, *seed)?;
    let mut learner = agent.learner().clone();
    if file.exists() {
        learner.restore(file)?;
        println!("goes on from {} updates in {}", learner.updates(), file.display());
    }
    if learner.updates() >= *updates {
        println!("it has made {} updates already: --updates is how many there are in all", learner.updates());
        return Ok(());
    }
    let mut chief = Chief::new(learner)?;
    let begun = Instant::now();
    let summary =
        chief.lead(network, &LeadConfig { workers: *workers, ..LeadConfig::default() }, |chief, event| {
            match event {
                LeadEvent::WorkerJoined { name } => println!("{name} joined"),
                LeadEvent::WorkerGone { name } => println!("{name} is gone"),
                LeadEvent::Updated(_) => {
                    let made = chief.learner().updates();
                    if made.is_multiple_of(*evaluation_period) || made == *updates {
                        let mean = evaluate(chief.learner().policy(), &mut environment, *seed)?;
                        let seconds = begun.elapsed().as_secs_f64();
                        println!("{made} updates in {seconds:.0} s, return {mean:.1}");
                        chief.learner().save(file)?;
                    }
                    if made >= *updates {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                _ => {}
            }
            Ok(ControlFlow::Continue(()))
        })?;
    chief.learner().policy().save(policy)?;
    println!("{summary:?}");
    Ok(())
}

/// The mean return of three episodes of the deployed policy.
fn evaluate<E: Environment>(policy: &Policy, environment: &mut E, seed: u64) -> mpo::Result<f64> {
    let mut sum = 0.0;
    for episode in 0..3 {
        let failed =
            |source: E::Error| mpo::Error::Environment { place: "evaluation", source: source.into() };
        let mut observation = environment.reset(seed + episode).map_err(failed)?;
        loop {
            let action = environment.action_space().to_environment(&policy.mean_action(&observation)?)?;
            let step = environment.step(&action).map_err(failed)?;
            sum += f64::from(step.reward);
            if step.is_last() {
                break;
            }
            observation = step.observation;
        }
    }
    Ok(sum / 3.0)
}

/// A trainer whose updates are the chief's.
fn work<E: Environment>(
    environment: E,
    config: MpoConfig,
    updates_per_step: f64,
    network: &Network,
    name: String,
    seed: u64,
    rate: Option<f64>,
) -> Result<(), Box<dyn Error>> {
    let agent = MpoAgent::of(config, &environment, &device()?, seed)?;
    let training = TrainerConfig {
        environment_steps: u64::MAX / 2,
        updates_per_step,
        evaluation_episodes: 0,
        seed,
        ..TrainerConfig::default()
    };
    let following = FollowConfig { name, ..FollowConfig::default() };
    let summary = match rate {
        Some(rate) => {
            let paced = Paced::new(environment, Duration::from_secs_f64(1.0 / rate))?;
            Trainer::new(training, agent, paced)?.follow(network, following)?.run()?
        }
        None => Trainer::new(training, agent, environment)?.follow(network, following)?.run()?,
    };
    println!("{summary}");
    Ok(())
}

fn device() -> mpo::Result<Device> {
    mpo::device(mpo::devices::default_backend())
}

/// Starts collectors, and learns from them until it is enough.
fn on_one_machine(Together { collectors, learning }: &Together) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::Builder::new().prefix("mpo-").tempdir()?;
    let endpoint = if cfg!(unix) {
        // In a folder that nobody else can look into.
        format!("unixsock-stream/{}", folder.path().join("run.sock").display())
    } else {
        format!("tcp/{}", std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
    };
    let mut processes = Children(Vec::new());
    for number in 1..=*collectors {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["collector", "--endpoint", &endpoint, "--name", &format!("collector-{number}")]);
        // None has the seed of the evaluations.
        command.args(["--seed", &(1_000 * learning.arguments.seed + u64::from(number)).to_string()]);
        let task = learning.pace.task.to_possible_value();
        command.args(["--task", task.as_ref().map_or("", |task| task.get_name())]);
        if let Some(rate) = learning.pace.rate {
            command.args(["--rate", &rate.to_string()]);
        }
        // The last line is the learner's.
        processes.0.push(command.stdout(Stdio::null()).spawn()?);
    }
    learn(&Network::listen(&endpoint)?, learning)
}

/// Processes that end when this does, if they have not by themselves.
struct Children(Vec<Child>);

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let ended = (0..100).any(|_| {
                std::thread::sleep(Duration::from_millis(20));
                !matches!(child.try_wait(), Ok(None))
            });
            if !ended {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

fn learn(network: &Network, learning: &Learning) -> Result<(), Box<dyn Error>> {
    match learning.pace.task {
        Name::CartpoleBalance => {
            let task = Task {
                folder: "distributed".into(),
                title: "Cartpole balance".into(),
                env_steps: 30_000,
                updates_per_step: 1.0,
                preset: Preset::Default,
                goal: Some(950.0),
            };
            learn_in(&task, Cartpole::balance(), network, learning)
        }
        Name::HopperStand => {
            let task = Task {
                folder: "distributed-hopper-stand".into(),
                title: "Hopper stand".into(),
                env_steps: 500_000,
                updates_per_step: 0.5,
                preset: Preset::Simulation,
                goal: None,
            };
            learn_in(&task, Hopper::stand(), network, learning)
        }
    }
}

fn learn_in<E: Environment + Clone + Send>(
    task: &Task,
    environment: E,
    network: &Network,
    Learning { pace, steps_ahead, arguments }: &Learning,
) -> Result<(), Box<dyn Error>> {
    let steps_ahead = steps_ahead.or(if pace.rate.is_some() { None } else { Some(100) });
    let fleet = Fleet { steps_ahead, ..Fleet::default() };
    let (_, summary) = train_as(task, environment, arguments, MpoAgent::of, |trainer| {
        trainer.from_collectors(network, fleet)
    })?;
    if let Some(arrivals) = summary.arrivals {
        println!(
            "{} parts of {} steps, {} bytes a step; lost {} steps, refused {}, late {}; policies {:.1} updates old \
             in the mean, experience {:.2} s",
            arrivals.parts,
            arrivals.steps,
            arrivals.bytes / arrivals.steps.max(1),
            arrivals.lost_steps,
            arrivals.refused,
            arrivals.late_steps,
            arrivals.policy_lag_updates,
            arrivals.experience_age_seconds
        );
    }
    println!("{summary}");
    Ok(())
}

fn collect(network: &Network, name: String, seed: u64, pace: Pace) -> Result<(), Box<dyn Error>> {
    match pace.task {
        Name::CartpoleBalance => collect_in(Cartpole::balance(), network, name, seed, pace.rate),
        Name::HopperStand => collect_in(Hopper::stand(), network, name, seed, pace.rate),
    }
}

fn collect_in<E: Environment>(
    environment: E,
    network: &Network,
    name: String,
    seed: u64,
    rate: Option<f64>,
) -> Result<(), Box<dyn Error>> {
    let part_steps = rate.map_or(10, |rate| (rate.ceil() as usize).clamp(1, 1000));
    // Robots do not wait in mid-motion.
    let config =
        CollectorConfig { name, seed, part_steps, pausable: rate.is_none(), ..CollectorConfig::default() };
    let device = device()?;
    let summary = match rate {
        Some(rate) => {
            let paced = Paced::new(environment, Duration::from_secs_f64(1.0 / rate))?;
            Collector::new(config, paced, network, &device)?.run()?
        }
        None => Collector::new(config, environment, network, &device)?.run()?,
    };
    println!("{summary:?}");
    Ok(())
}
