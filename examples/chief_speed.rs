//! From which size of batches on it pays to compute gradients on several machines, for the default preset
//! with 17 observations and 6 action components.
//!
//! ```text
//! cargo run --release --example chief_speed
//! ```
//!
//! A chief with 1 to 8 workers, each a thread with a batch of its own, against one learner with all rows as
//! its batch. Workers compute on one thread each, and so does the learner: what is compared is a machine of
//! one core with several of them. Where there are fewer cores than workers the threads wait for each other,
//! and the rate measured is no more than a lower bound. So the parts are timed one by one too: what a worker
//! computes, what the chief does with all contributions, and how many bytes there are. The last column is
//! reckoned from these, for workers on machines of their own and a chief whose link carries so much a second;
//! latencies are left out of it. More than 1 in it is what pays.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

use burn::tensor::Device;
use clap::Parser;
use mpo::{
    Chief, Contribution, Contributor, GaussianActor, Learner, MpoConfig, QNetwork, ReplayBuffer, Result, Rng,
    SharedParameters, Stream,
};

#[path = "../benches/common/replay.rs"]
mod replay;

use replay::{ACTION, OBSERVATION, filled_replay};

/// Times a chief and its workers.
#[derive(Parser)]
struct Arguments {
    /// The rows of each worker's batch.
    #[arg(long, value_delimiter = ',', default_value = "256,4096")]
    rows: Vec<usize>,
    /// How many workers there are.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8")]
    workers: Vec<usize>,
    /// How long each figure is measured for.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// What the chief's link carries each way.
    #[arg(long, default_value_t = 1000.0)]
    megabits: f64,
}

fn learner(rows: usize, seed: u64) -> Result<Learner<GaussianActor, QNetwork>> {
    let config = MpoConfig { batch_size: rows, ..MpoConfig::default() };
    let mut rng = Rng::stream(seed, Stream::Weights);
    let actor = GaussianActor::new(&config.actor, OBSERVATION, ACTION, &Device::flex(), &mut rng)?;
    let critic = QNetwork::new(&config.critic, OBSERVATION, ACTION, &Device::flex(), &mut rng)?;
    Learner::new(config, actor, critic, seed)
}

fn main() -> Result<()> {
    let Arguments { rows: sizes, workers: counts, seconds, megabits } = Arguments::parse();
    let replay = filled_replay(100_000, &mut Rng::stream(1, Stream::Replay))?;
    println!("                    milliseconds an update of                    threads:      machines:");
    println!(" rows workers  learner  threads   worker    chief     link   rounds/s  faster     faster");
    for rows in sizes {
        let parts = on_one_thread(|| Parts::measure(rows, seconds, &replay))?;
        for &workers in &counts {
            let learner = on_one_thread(|| time_learner(rows * workers, seconds, &replay))?;
            let threads = 1e3 / updates_a_second(rows, workers, seconds, &replay)?;
            let chief = on_one_thread(|| parts.chief(workers, seconds))?;
            // The link carries both ways at once, but a round's answer comes after it.
            let link = (parts.bytes_up + parts.bytes_down) * workers as f64 * 8e-3 / megabits;
            let machines = parts.worker_ms + chief + link;
            println!(
                "{rows:5} {workers:7} {learner:8.2} {threads:8.2} {:8.2} {chief:8.2} {link:8.2} {:10.1} {:7.2} {:10.2}",
                parts.worker_ms,
                ROUNDS * 1e3 / threads,
                learner / threads,
                learner / machines,
            );
        }
        let [up, down] = [parts.bytes_up, parts.bytes_down].map(|bytes| bytes / 1e3);
        println!("{rows:5} rows: {up:.1} kB up, {down:.1} kB down a worker and update");
    }
    Ok(())
}

/// Of an update, with one turn of the M-step.
const ROUNDS: f64 = 3.0;

/// `work` in a pool of one thread.
fn on_one_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    pool.expect("the system gives a thread").install(work)
}

/// The mean milliseconds of `work`, after a first time that does not count.
fn time(seconds: f64, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    work()?;
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed().as_secs_f64() < seconds || count < 2 {
        work()?;
        count += 1;
    }
    Ok(start.elapsed().as_secs_f64() * 1e3 / f64::from(count))
}

fn time_learner(rows: usize, seconds: f64, replay: &ReplayBuffer) -> Result<f64> {
    let (mut learner, mut draws) = (learner(rows, 1)?, Rng::stream(1, Stream::Replay));
    time(seconds, || {
        learner = learner.step(&learner.sample(replay, &mut draws)?)?.0;
        Ok(())
    })
}

/// One worker's work, and a chief's, by themselves.
struct Parts {
    worker_ms: f64,
    bytes_up: f64,
    bytes_down: f64,
    /// A chief at the beginning of an update, and what a worker contributes to each of its rounds.
    chief: Chief<GaussianActor, QNetwork>,
    contributions: Vec<Contribution>,
}

impl Parts {
    fn measure(rows: usize, seconds: f64, replay: &ReplayBuffer) -> Result<Self> {
        let (mut chief, mut draws) = (Chief::new(learner(rows, 1)?)?, Rng::stream(1, Stream::Replay));
        let mut worker = Contributor::new(learner(rows, 2)?)?;
        worker.follow(&chief.parameters())?;
        let (mut worker_s, mut updates, mut up, mut down) = (0.0, 0.0, 0, 0);
        let (mut begun, mut contributions) = (chief.clone(), Vec::new());
        while worker_s < seconds || chief.learner().updates() < 3 {
            let start = Instant::now();
            let contribution = worker.contribute(|learner| learner.sample(replay, &mut draws))?;
            let contribution = contribution.expect("it has seen every round");
            let elapsed = start.elapsed().as_secs_f64();
            let ended = chief.apply(std::slice::from_ref(&contribution))?.is_some();
            let start = Instant::now();
            worker.follow(chief.changes())?;
            // Not the first update, which begins with all that is done once.
            if chief.learner().updates() > 1 || (chief.learner().updates() == 1 && !ended) {
                worker_s += elapsed + start.elapsed().as_secs_f64();
                updates += f64::from(u8::from(ended));
                up += 4 * contribution.numbers().len();
                down += 4 * chief.changes().numbers().len();
            }
            contributions.push(contribution);
            if ended && worker_s < seconds {
                begun = chief.clone();
                contributions.clear();
            }
        }
        contributions.truncate(3);
        let (bytes_up, bytes_down) = (up as f64 / updates, down as f64 / updates);
        Ok(Self { worker_ms: worker_s * 1e3 / updates, bytes_up, bytes_down, chief: begun, contributions })
    }

    /// The milliseconds that a chief takes for an update of so many workers.
    fn chief(&self, workers: usize, seconds: f64) -> Result<f64> {
        let rounds: Vec<_> = self.contributions.iter().map(|one| vec![one.clone(); workers]).collect();
        time(seconds, || {
            let mut chief = self.chief.clone();
            rounds.iter().try_for_each(|round| chief.apply(round).map(drop))
        })
    }
}

/// A chief with so many workers in threads of their own.
fn updates_a_second(rows: usize, workers: usize, seconds: f64, replay: &ReplayBuffer) -> Result<f64> {
    let mut chief = Chief::new(learner(rows, 0)?)?;
    std::thread::scope(|scope| {
        let (send, contributions) = channel::<(usize, Result<Contribution>)>();
        let mut links = Vec::new();
        for worker in 0..workers {
            let (link, parameters) = channel::<Arc<SharedParameters>>();
            links.push(link);
            let (send, seed) = (send.clone(), worker as u64 + 1);
            scope.spawn(move || {
                let sender = send.clone();
                let contribute = move || {
                    let mut contributor = Contributor::new(learner(rows, seed)?)?;
                    let mut draws = Rng::stream(seed, Stream::Replay);
                    while let Ok(parameters) = parameters.recv() {
                        contributor.follow(&parameters)?;
                        let contribution =
                            contributor.contribute(|learner| learner.sample(replay, &mut draws))?;
                        // Where the chief has ended, so does the worker.
                        let _ = sender.send((worker, Ok(contribution.expect("it has seen every round"))));
                    }
                    Ok(())
                };
                if let Err(error) = on_one_thread(contribute) {
                    let _ = send.send((worker, Err(error)));
                }
            });
        }
        let mut latest = Arc::new(chief.parameters());
        let mut begin = None;
        loop {
            for link in &links {
                // One that has ended has sent its error.
                let _ = link.send(latest.clone());
            }
            let mut round = (0..workers)
                .map(|_| contributions.recv().expect("the chief keeps a sender itself"))
                .collect::<Vec<_>>();
            round.sort_by_key(|(worker, _)| *worker);
            let round =
                round.into_iter().map(|(_, contribution)| contribution).collect::<Result<Vec<_>>>()?;
            let ended = chief.apply(&round)?.is_some();
            latest = Arc::new(chief.changes().clone());
            let updates = chief.learner().updates();
            if !ended {
                continue;
            }
            match begin {
                None => begin = Some(Instant::now()),
                Some(begin) => {
                    let elapsed = begin.elapsed().as_secs_f64();
                    if elapsed >= seconds && updates > 2 {
                        return Ok((updates - 1) as f64 / elapsed);
                    }
                }
            }
        }
    })
}
