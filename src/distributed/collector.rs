//! What acts far from the learner: [`Collector`].

mod building;
mod sending;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use burn::tensor::Device;
use rayon::ThreadPoolBuilder;
use serde::{Deserialize, Serialize};

use self::building::Building;
use self::sending::{Fetched, Outbox, Sender};
use super::network::Network;
use super::part::{Form, MOST_EVENTS};
use super::{check_name, unique};
use crate::acting::{Acting, Happening, episode_seeds};
use crate::behaviour::Behaviour;
use crate::checks::{check, check_size};
use crate::error::{Error, Result};
use crate::experience::checked::Checked;
use crate::experience::vector::VectorEnvironment;
use crate::files::file::Refusal;
use crate::networks::{Actor, GaussianActor, MadeOfSettings};
use crate::policy::Policy;
use crate::rng::{Rng, Stream};

/// The settings of a [`Collector`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollectorConfig {
    /// What the learner knows it by: of each run, no two collectors may have the same name at the same time,
    /// and one that is started again has its old one. Accepted: 1 to 64 letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The seed of its episodes and its exploration: another one for each collector.
    pub seed: u64,
    /// How many environment steps it makes at most; it ends before when the learner says so. None is as many
    /// as the learner wants.
    pub steps: Option<u64>,
    /// The steps of a part, which is what is sent at a time; the end of an episode ends one, too. Accepted: 1
    /// to 4096. A second's worth is a good choice.
    pub part_steps: usize,
    /// The steps between two questions whether there is a newer policy. Accepted: at least 1.
    pub policy_steps: u64,
    /// The parts that it keeps while the learner does not take them. Beyond these the oldest are lost, which
    /// the learner hears of. Accepted: 2 to 100,000.
    pub kept_parts: usize,
    /// How many seconds it goes on acting without an answer, before it ends with an error. Accepted: above 0.
    pub patience: f64,
    /// From how many seconds on after its observation an action is late.
    pub late: f64,
    /// How many episodes in a row the environment may fail in, each row by itself, before it ends with the
    /// error. Such an episode is left and a new one begun.
    pub tolerated_failed_episodes: u32,
    /// Whether the environment may be stopped in the midst of an episode, as a simulation may: it then waits
    /// there too, when learning is [too far behind](crate::Fleet::steps_ahead).
    pub pausable: bool,
    /// Waits after each step until all updates due are made, and acts by the policy that came of them, as a
    /// [`Trainer`](crate::Trainer) by itself does. For comparisons, and environments that can wait.
    pub lock_step: bool,
}

impl Default for CollectorConfig {
    fn default() -> Self {
        Self {
            name: "collector".into(),
            seed: 0,
            steps: None,
            part_steps: 50,
            policy_steps: 50,
            kept_parts: 64,
            patience: 60.0,
            late: 1e-3,
            tolerated_failed_episodes: 0,
            pausable: false,
            lock_step: false,
        }
    }
}

impl CollectorConfig {
    fn validate(&self) -> Result<()> {
        check_name("CollectorConfig::name", &self.name)?;
        let parts = |steps: &usize| (1..=4096).contains(steps);
        check("CollectorConfig::part_steps", self.part_steps, parts, "1 to 4096")?;
        let kept = |parts: &usize| (2..=100_000).contains(parts);
        check("CollectorConfig::kept_parts", self.kept_parts, kept, "2 to 100000")?;
        check("CollectorConfig::policy_steps", self.policy_steps, |&steps| steps > 0, "at least 1")?;
        let seconds = |&seconds: &f64| seconds > 0.0 && seconds < 1e9;
        check("CollectorConfig::patience", self.patience, seconds, "above 0, below 1e9")?;
        check("CollectorConfig::late", self.late, |&late| (0.0..1e9).contains(&late), "0 or more, below 1e9")
    }
}

/// What a collector did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct CollectorSummary {
    /// Whether the learner told it to stop, rather than its steps being made or somebody here asking.
    pub stopped: bool,
    /// The environment steps made.
    pub steps: u64,
    /// The parts that they were in.
    pub parts: u64,
    /// The steps that the learner did not take, as it was away or did not keep up, and the parts that these
    /// were in.
    pub lost_steps: u64,
    /// See there.
    pub lost_parts: u64,
    /// How often a part or a question was sent again, as the answer did not come or the message was damaged.
    pub repeated: u64,
    /// The steps whose action came late.
    pub late_steps: u64,
    /// The bytes of the parts that were taken.
    pub bytes: u64,
    /// The policies that were fetched.
    pub policies: u64,
    /// The seconds from sending a part to its receipt: the median.
    pub receipt_p50: f64,
    /// 99 of 100 took no longer.
    pub receipt_p99: f64,
}

/// Acts by a learner's policy in an environment of its own, a robot or a simulation, and sends what happened
/// to a trainer that learns [from collectors](crate::Trainer::from_collectors), in another process or on
/// another machine.
///
/// Acting never waits for the network: parts are sent and policies are fetched in a thread beside it. Only
/// between episodes it waits, if learning is [too far behind](crate::Fleet::steps_ahead), and a
/// [simulation](CollectorConfig::pausable) in their midst. Several rows wait when one is between episodes.
///
/// While the learner is away it acts on by the policy that it has, for as long as its
/// [patience](CollectorConfig::patience) lasts, and keeps what it can for the learner's return.
///
/// ```no_run
/// use mpo::{Collector, CollectorConfig, Device, Network};
/// # #[cfg(feature = "envs")]
/// # fn main() -> mpo::Result<()> {
///
/// let network = Network::connect("tcp/127.0.0.1:7447")?;
/// let config = CollectorConfig { name: "robot-1".into(), seed: 1, ..CollectorConfig::default() };
/// let robot = mpo::envs::Cartpole::balance(); // or an `Environment` of your own
/// let summary = Collector::new(config, robot, &network, &Device::flex())?.run()?;
/// println!("{} steps", summary.steps);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "envs"))]
/// # fn main() {}
/// ```
pub struct Collector<E: VectorEnvironment, A: Actor = GaussianActor> {
    environment: Checked<E>,
    config: CollectorConfig,
    network: Network,
    make: Make<A>,
    seeds: Vec<Rng>,
    behaviour: Option<Behaviour<A>>,
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
}

/// Makes a policy of the bytes of its file, given an earlier one.
type Make<A> = Arc<dyn Fn(&[u8], Option<&Policy<A>>) -> Result<Policy<A>, Refusal> + Send + Sync>;

impl<E: VectorEnvironment> Collector<E> {
    /// A collector in `environment`, whose policies compute on `device`.
    ///
    /// # Errors
    /// If a setting lies outside its accepted range, or the environment's sizes or bounds do.
    pub fn new(config: CollectorConfig, environment: E, network: &Network, device: &Device) -> Result<Self> {
        Self::new_as(config, environment, network, device)
    }
}

impl<E: VectorEnvironment, A: MadeOfSettings> Collector<E, A> {
    /// A collector of another of the library's policies: `Collector::<_, CategoricalActor>::new_as`.
    ///
    /// # Errors
    /// If [`new`](Collector::new) would fail.
    pub fn new_as(
        config: CollectorConfig,
        environment: E,
        network: &Network,
        device: &Device,
    ) -> Result<Self> {
        let device = device.clone();
        let make = move |bytes: &[u8], earlier: Option<&Policy<A>>| match earlier {
            Some(policy) => policy.of_bytes(bytes),
            None => Policy::made_of_bytes(bytes, &device),
        };
        Self::with(config, environment, network, Arc::new(make))
    }
}

impl<E: VectorEnvironment, A: Actor> Collector<E, A> {
    /// A collector whose policies have the network of `policy`: for networks of the caller's own. Its
    /// parameters do not matter.
    ///
    /// # Errors
    /// If a setting lies outside its accepted range, or the environment's sizes or bounds do.
    pub fn with_policy(
        config: CollectorConfig,
        environment: E,
        network: &Network,
        policy: Policy<A>,
    ) -> Result<Self>
    where
        A: Sync + 'static,
    {
        let make = move |bytes: &[u8], _: Option<&Policy<A>>| policy.of_bytes(bytes);
        Self::with(config, environment, network, Arc::new(make))
    }

    fn with(config: CollectorConfig, environment: E, network: &Network, make: Make<A>) -> Result<Self> {
        config.validate()?;
        let environment = Checked::new(environment)?;
        // Each row may have all events of a step in one round.
        let fits = |&rows: &usize| 4 * rows + 2 * config.part_steps <= MOST_EVENTS;
        check("the environment's rows", environment.rows(), fits, "at most 2048, with parts of 4096 steps")?;
        Ok(Self {
            seeds: episode_seeds(config.seed, environment.rows()),
            environment,
            config,
            network: network.clone(),
            make,
            behaviour: None,
            stop: Arc::default(),
            made: Arc::default(),
        })
    }

    /// Ends when this becomes true, after the step under way, with what was made sent.
    pub fn stop_when(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = stop;
        self
    }

    /// Counts the environment steps as they are made, for whoever wants to look.
    pub fn count_in(mut self, steps: Arc<AtomicU64>) -> Self {
        self.made = steps;
        self
    }

    /// The environment.
    pub fn environment(&self) -> &E {
        self.environment.environment()
    }

    /// The environment alone.
    pub fn into_environment(self) -> E {
        self.environment.into_environment()
    }

    /// Acts and sends until the learner says stop, the [steps](CollectorConfig::steps) are made, or somebody
    /// [here](Self::stop_when) says so. Waits for the learner's first policy before. Episodes under way are
    /// left at the end.
    ///
    /// It can be called again, and is then another collector of the same name that explores on.
    ///
    /// # Errors
    /// If nobody answers for as long as the patience lasts, the learner refuses what is sent or has a policy
    /// of other sizes or bounds, the policy's action is not finite, or the environment fails more often in a
    /// row than is tolerated. The environment is left where it is: to let a robot stand is for whoever runs
    /// it.
    pub fn run(&mut self) -> Result<CollectorSummary> {
        let form = Form {
            observation_size: self.environment.observation_size(),
            space: self.environment.action_space().clone(),
        };
        let (config, network) = (self.config.clone(), self.network.clone());
        let outbox = Outbox::new(&config);
        let sender = Sender::new(&config, &network, &form, &outbox, self.make.clone(), unique())?;
        let Some((run, first)) = sender.first_policy(&self.stop)? else {
            return Ok(CollectorSummary {
                stopped: !self.stop.load(Ordering::Relaxed),
                ..Default::default()
            });
        };
        thread::scope(|scope| {
            let sending = thread::Builder::new().name("mpo-sending".into());
            let latest = first.policy.clone();
            let sending = sending.spawn_scoped(scope, || sender.send_all(run, latest));
            let sending = sending.map_err(|source| Error::Thread { name: "sending", source })?;
            // Whatever panics: the scope waits for sending.
            let ended = outbox.ends_when_dropped();
            // What it computes it computes here: to hand it to other threads is to wait for them.
            let alone = ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
            let acted = self.act(first, &outbox);
            drop((ended, alone));
            let mut summary = sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            (summary.steps, summary.late_steps, summary.parts) = acted?;
            Ok(summary)
        })
    }

    /// Acts until it is over: the steps made, those late, and the parts.
    fn act(&mut self, first: Fetched<A>, outbox: &Outbox<A>) -> Result<(u64, u64, u64)> {
        let rows = self.environment.rows();
        let mut behaviour = match self.behaviour.take() {
            Some(behaviour) => behaviour,
            None => {
                let rng = Rng::stream(self.config.seed, Stream::Exploration);
                Behaviour::new(first.policy.clone(), first.exploration.clone(), rng)?.with_rows(rows)?
            }
        };
        let mut building = Building::new(&first, rows);
        take_over(&mut behaviour, first);
        let mut observations = vec![None; rows];
        let mut failed = vec![0_u32; rows];
        let late = Duration::from_secs_f64(self.config.late);
        let (part_steps, policy_steps) = match self.config.lock_step {
            true => (1, 1),
            false => (self.config.part_steps as u64, self.config.policy_steps),
        };
        let mut asked = 0;
        let acted = loop {
            let over = self.config.steps.is_some_and(|most| building.made() >= most);
            if over || self.stop.load(Ordering::Relaxed) || outbox.is_over() {
                break Ok(());
            }
            if let Some(fetched) = outbox.take_policy() {
                building.version = fetched.version;
                take_over(&mut behaviour, fetched);
            }
            let between = observations.iter().any(Option::is_none);
            if (between || self.config.pausable) && outbox.has_to_wait() {
                outbox.push(building.take());
                outbox.wait();
                continue;
            }
            let mut happened = Vec::new();
            let round = Acting {
                environment: &mut self.environment,
                behaviour: &mut behaviour,
                seeds: &mut self.seeds,
                observations: &mut observations,
            }
            .round(&mut happened);
            let exceeded = too_many_failures(&happened, &mut failed, self.config.tolerated_failed_episodes);
            building.add(happened, self.environment.reaction() > late);
            self.made.store(building.made(), Ordering::Relaxed);
            if round.is_err() || exceeded.is_some() {
                break round.and(exceeded.map_or(Ok(()), Err));
            }
            let ended = observations.iter().any(Option::is_none);
            if ended || building.steps() >= part_steps {
                outbox.push(building.take());
            }
            if building.made() >= asked + policy_steps {
                asked = building.made();
                outbox.ask_for_policy();
            }
            if self.config.lock_step {
                outbox.wait_for_learning();
            }
        };
        outbox.push(building.take());
        self.behaviour = Some(behaviour);
        acted.map(|()| (building.made(), building.late(), building.parts()))
    }
}

fn take_over<A: Actor>(behaviour: &mut Behaviour<A>, fetched: Fetched<A>) {
    behaviour.update(fetched.policy, fetched.informed);
}

/// What a row failed with once too often; its place among what happened goes to words on it.
fn too_many_failures(happened: &[Happening], failed: &mut [u32], tolerated: u32) -> Option<Error> {
    let mut exceeded = None;
    for event in happened {
        match event {
            Happening::Stepped { row, step, .. } if step.is_last() => failed[*row] = 0,
            Happening::Failed { row, error } => {
                tracing::warn!(row, %error, in_a_row = failed[*row] + 1, "an episode failed");
                if failed[*row] >= tolerated {
                    let (place, source) = ("an episode", error.to_string().into());
                    exceeded = Some(Error::Environment { place, source });
                }
                failed[*row] = failed[*row].saturating_add(1);
            }
            _ => {}
        }
    }
    exceeded
}

/// Checks that a policy is one for this environment.
fn check_fits<A: Actor>(policy: &Policy<A>, form: &Form) -> Result<()> {
    check_size("the learner's observation", policy.actor().observation_size(), form.observation_size)?;
    let same = |space: &&_| **space == form.space;
    check("the learner's actions", policy.action_space(), same, "those of the collector's environment")
}

impl<E: VectorEnvironment, A: Actor> fmt::Debug for Collector<E, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, network, .. } = self;
        f.debug_struct("Collector").field("config", config).field("network", network).finish_non_exhaustive()
    }
}
