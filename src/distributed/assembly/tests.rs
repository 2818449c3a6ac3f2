use burn::tensor::Device;

use super::*;
use crate::distributed::exchanged::contribution_bytes;
use crate::distributed::settings_of;
use crate::experience::action::Action;
use crate::experience::environment::Step;
use crate::experience::replay::ReplayBuffer;
use crate::learner::Learner;
use crate::learner::chief::Chief;
use crate::learner::config::MpoConfig;
use crate::learner::contributor::Contributor;
use crate::mathematics::dual::DualSolution;
use crate::networks::{GaussianActor, NetworkConfig, QNetwork, parameters};
use crate::rng::{Rng, Stream};

const RUN: u64 = 7;

fn learner(width: usize, seed: u64) -> Learner<GaussianActor, QNetwork> {
    let mut config = MpoConfig { batch_size: 4, ..MpoConfig::default() };
    let network = NetworkConfig { hidden: vec![width], ..config.actor.network.clone() };
    (config.actor.network, config.critic.network) = (network.clone(), network);
    let mut rng = Rng::stream(1, Stream::Weights);
    let device = Device::flex();
    let actor = GaussianActor::new(&config.actor, 2, 1, &device, &mut rng).unwrap();
    let critic = QNetwork::new(&config.critic, 2, 1, &device, &mut rng).unwrap();
    Learner::new(config, actor, critic, seed).unwrap()
}

/// A chief and what is asked of it.
struct Led {
    chief: Chief<GaussianActor, QNetwork>,
    assembly: Assembly,
}

impl Led {
    fn new(workers: [usize; 2], patience: Duration) -> Self {
        let chief = Chief::new(learner(4, 0)).unwrap();
        let settings = settings_of(chief.learner());
        let (rounds, complete) = (chief.learner().rounds(), chief.parameters());
        let assembly = Assembly::new([RUN, chief.version()], settings, rounds, workers, patience, complete);
        Self { chief, assembly }
    }

    /// One round with all who take part in it; how many these are.
    fn round(&mut self) -> usize {
        let Gathered::All(contributions) = self.assembly.gather(Duration::ZERO) else { return 0 };
        let metrics = self.chief.apply(&contributions).unwrap();
        self.assembly.go_on(self.chief.changes().clone(), self.chief.parameters(), metrics);
        contributions.len()
    }
}

struct Worker {
    name: &'static str,
    instance: u64,
    contributor: Contributor<GaussianActor, QNetwork>,
    known: bool,
}

impl Worker {
    fn new(name: &'static str, instance: u64) -> Self {
        Self { name, instance, contributor: Contributor::new(learner(4, instance)).unwrap(), known: false }
    }

    fn wanted(&self) -> Wanted {
        let has = self.contributor.version().filter(|_| self.known).map(|version| (RUN, version));
        Wanted {
            format: FORMAT,
            settings: settings_of(self.contributor.learner()),
            instance: self.instance,
            has,
            leaves: false,
        }
    }

    /// Asks for parameters and follows them; whether there were any.
    fn ask(&mut self, assembly: &Assembly) -> Result<bool, Refused> {
        let bytes = assembly.parameters(self.name, &message::to_bytes(&self.wanted()))?;
        let (_, parameters) = Standing::of_bytes(&bytes)?;
        if let Some(parameters) = &parameters {
            self.contributor.follow(parameters).unwrap();
        }
        self.known = true;
        Ok(parameters.is_some())
    }

    fn contribution(&mut self) -> Option<Contribution> {
        let mut draws = Rng::stream(self.instance, Stream::Replay);
        self.contributor.contribute(|learner| learner.sample(&replay(), &mut draws)).unwrap()
    }

    /// Says what its batch says; whether it has anything to say.
    fn say(&mut self, assembly: &Assembly) -> bool {
        let Some(contribution) = self.contribution() else { return false };
        let bytes = contribution_bytes(&contribution, RUN, self.name, self.instance);
        assembly.contribution(self.name, &bytes).unwrap();
        true
    }
}

fn replay() -> ReplayBuffer {
    let mut replay = ReplayBuffer::new(100, 2, 1).unwrap();
    replay.begin_episode(&[0.0, 1.0]).unwrap();
    for index in 0..20_u8 {
        let action = Action { values: vec![0.1], log_probability: 0.0 };
        let observation = vec![f32::from(index), f32::from(index % 3)];
        let step = Step { observation, reward: f32::from(index % 4), terminated: false, truncated: false };
        replay.push(&action, &step).unwrap();
    }
    replay
}

const FOREVER: Duration = Duration::from_secs(1000);

#[test]
fn a_round_waits_for_all_who_are_there() {
    let mut led = Led::new([2, 3], FOREVER);
    let (mut first, mut second) = (Worker::new("first", 1), Worker::new("second", 2));
    assert!(first.ask(&led.assembly).unwrap() && first.say(&led.assembly));
    assert_eq!(led.round(), 0, "an update takes two");
    assert!(second.ask(&led.assembly).unwrap());
    for update in 1..=2 {
        for round in 0..3 {
            assert!(first.say(&led.assembly), "update {update}, round {round}");
            assert_eq!(led.round(), 0);
            assert!(!first.ask(&led.assembly).unwrap(), "there is nothing new");
            // Twice is once.
            assert!(second.say(&led.assembly) && second.say(&led.assembly));
            assert_eq!(led.round(), 2);
            assert!(first.ask(&led.assembly).unwrap() && second.ask(&led.assembly).unwrap());
        }
        assert_eq!(led.chief.learner().updates(), update);
        for worker in [&first, &second] {
            let (own, chiefs) = (worker.contributor.learner(), led.chief.learner());
            assert_eq!(parameters(own.actor()).unwrap(), parameters(chiefs.actor()).unwrap());
            assert_eq!(parameters(own.critic()).unwrap(), parameters(chiefs.critic()).unwrap());
            // What is deployed too, as they follow from the beginning.
            let averages = [own, chiefs].map(|learner| parameters(learner.policy().actor()).unwrap());
            assert_eq!(averages[0], averages[1]);
        }
    }
    assert_eq!(led.assembly.counts().refused, 0);
}

/// One that joins in the midst of an update has a part in the next one; one that goes, or is late, in no more
/// of this one.
#[test]
fn workers_come_and_go_and_are_late() {
    let mut led = Led::new([1, 3], Duration::from_millis(50));
    let (mut first, mut second) = (Worker::new("first", 1), Worker::new("second", 2));
    assert!(first.ask(&led.assembly).unwrap() && first.say(&led.assembly));
    assert_eq!(led.round(), 1);
    assert!(second.ask(&led.assembly).unwrap());
    assert!(!second.say(&led.assembly), "it knows nothing of the batch");
    for _ in 0..2 {
        assert!(first.ask(&led.assembly).unwrap() && first.say(&led.assembly));
        assert_eq!(led.round(), 1);
    }
    for worker in [&mut first, &mut second] {
        assert!(worker.ask(&led.assembly).unwrap() && worker.say(&led.assembly));
    }
    assert_eq!(led.round(), 2);
    // The second does not come back in time.
    assert!(first.ask(&led.assembly).unwrap() && first.say(&led.assembly));
    assert_eq!(led.assembly.gather(Duration::ZERO), Gathered::NotYet);
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(led.round(), 1);
    // What it says then is late, and no fault; it knows so when it asks.
    assert!(second.ask(&led.assembly).unwrap());
    assert!(!second.say(&led.assembly));
    assert!(first.ask(&led.assembly).unwrap() && first.say(&led.assembly));
    assert_eq!(led.round(), 1);
    assert_eq!(led.chief.learner().updates(), 2);
    for worker in [&mut first, &mut second] {
        assert!(worker.ask(&led.assembly).unwrap() && worker.say(&led.assembly));
    }
    assert_eq!(led.round(), 2);
    // One goes: the other goes on. Both: nobody is left.
    led.assembly.gone("second");
    assert!(first.ask(&led.assembly).unwrap() && first.say(&led.assembly));
    assert_eq!(led.round(), 1);
    let leaving = message::to_bytes(&Wanted { leaves: true, ..first.wanted() });
    led.assembly.parameters("first", &leaving).unwrap();
    assert_eq!(led.assembly.gather(Duration::ZERO), Gathered::Nobody);
    let expected = [
        ("first", true),
        ("second", true),
        ("second", false),
        ("second", true),
        ("second", false),
        ("first", false),
    ];
    let comings = led.assembly.comings();
    assert!(comings.iter().map(|(name, came)| (name.as_str(), *came)).eq(expected), "{comings:?}");
}

/// A worker whose own numbers were not finite asks before it has spoken: nobody waits for it. Where nobody
/// speaks at all the update is given up when patience ends.
#[test]
fn nobody_waits_for_those_who_have_nothing_to_say() {
    let mut led = Led::new([1, 3], FOREVER);
    let (mut first, mut second) = (Worker::new("first", 1), Worker::new("second", 2));
    for worker in [&mut first, &mut second] {
        assert!(worker.ask(&led.assembly).unwrap() && worker.say(&led.assembly));
    }
    assert_eq!(led.round(), 2);
    assert!(first.ask(&led.assembly).unwrap() && second.ask(&led.assembly).unwrap());
    assert!(first.say(&led.assembly));
    assert_eq!(led.assembly.gather(Duration::ZERO), Gathered::NotYet);
    assert!(!second.ask(&led.assembly).unwrap());
    assert_eq!(led.round(), 1);
    assert!(first.ask(&led.assembly).unwrap() && !first.ask(&led.assembly).unwrap());
    assert_eq!(led.assembly.gather(Duration::ZERO), Gathered::Nobody);

    let mut led = Led::new([1, 3], Duration::from_millis(50));
    assert!(Worker::new("first", 1).ask(&led.assembly).unwrap());
    let mut first = Worker::new("first", 1);
    assert!(first.ask(&led.assembly).unwrap() && first.say(&led.assembly));
    assert_eq!(led.round(), 1);
    assert_eq!(led.assembly.gather(Duration::ZERO), Gathered::NotYet);
    assert_eq!(led.assembly.gather(Duration::from_secs(10)), Gathered::Nobody);
}

/// One that starts again under its name begins anew, wherever the update stands: what it said before it ended
/// does not make it a member, and what arrives late of it is refused.
#[test]
fn a_worker_that_starts_again_has_no_part_in_what_it_does_not_know() {
    let mut led = Led::new([1, 3], FOREVER);
    let (mut first, mut second) = (Worker::new("first", 1), Worker::new("second", 2));
    for worker in [&mut first, &mut second] {
        assert!(worker.ask(&led.assembly).unwrap());
    }
    assert!(first.say(&led.assembly));
    let mut again = Worker::new("first", 3);
    assert!(again.ask(&led.assembly).unwrap());
    assert!(second.say(&led.assembly));
    assert_eq!(led.assembly.gather(Duration::ZERO), Gathered::NotYet, "for the new one's batch");
    let late = contribution_bytes(&first.contribution().unwrap(), RUN, "first", 1);
    let refused = led.assembly.contribution("first", &late).unwrap_err().reason;
    assert!(refused.contains("another worker of this name"), "{refused}");
    assert!(again.say(&led.assembly));
    assert_eq!(led.round(), 2);
    // And in a later round.
    assert!(again.ask(&led.assembly).unwrap() && again.say(&led.assembly));
    let mut third = Worker::new("first", 4);
    assert!(third.ask(&led.assembly).unwrap() && !third.say(&led.assembly));
    assert!(second.ask(&led.assembly).unwrap() && second.say(&led.assembly));
    assert_eq!(led.round(), 1);
    assert!(second.ask(&led.assembly).unwrap() && second.say(&led.assembly));
    assert_eq!(led.round(), 1);
    for worker in [&mut second, &mut third] {
        assert!(worker.ask(&led.assembly).unwrap() && worker.say(&led.assembly));
    }
    assert_eq!(led.round(), 2);
}

#[test]
fn a_name_is_one_workers() {
    let led = Led::new([1, 1], FOREVER);
    let (mut first, mut again) = (Worker::new("worker", 1), Worker::new("worker", 2));
    assert!(first.ask(&led.assembly).unwrap() && again.ask(&led.assembly).unwrap());
    let refused = first.ask(&led.assembly).unwrap_err().reason;
    assert!(refused.contains("another worker of this name"), "{refused}");
    assert!(!again.ask(&led.assembly).unwrap());
    let refused = Worker::new("other", 3).ask(&led.assembly).unwrap_err().reason;
    assert!(refused.contains("LeadConfig::most_workers"), "{refused}");
    assert_eq!(led.assembly.counts().refused, 2);
}

#[test]
fn what_does_not_fit_is_refused_with_its_reason() {
    let led = Led::new([1, 3], FOREVER);
    let mut worker = Worker::new("worker", 1);
    let asked = |wanted: Wanted| led.assembly.parameters("worker", &message::to_bytes(&wanted)).unwrap_err();
    let wanted = worker.wanted();
    assert!(asked(Wanted { format: 99, ..wanted }).reason.contains("format 99"));
    let other = settings_of(&learner(5, 1));
    assert!(asked(Wanted { settings: other, ..wanted }).reason.contains("settings or networks"));
    assert!(worker.ask(&led.assembly).unwrap());
    let good = worker.contribution().unwrap();
    let said = |contribution: &Contribution, run: u64, name: &str| {
        led.assembly.contribution("worker", &contribution_bytes(contribution, run, name, 1)).unwrap_err()
    };
    let altered = |alter: &dyn Fn(&mut Contribution)| {
        let mut contribution = good.clone();
        alter(&mut contribution);
        said(&contribution, RUN, "worker").reason
    };
    assert!(said(&good, RUN + 1, "worker").reason.contains("the run 8"));
    assert!(said(&good, RUN, "other").again);
    assert!(altered(&|one| one.numbers.truncate(3)).contains("a contribution"));
    assert!(altered(&|one| one.numbers[3] = f32::NAN).contains("finite"));
    let refused = altered(&|one| one.header.rows = usize::MAX);
    assert!(refused.contains("Contribution::rows"), "{refused}");
    assert!(altered(&|one| one.header.rows = 0).contains("Contribution::rows"));
    let dual = DualSolution { temperature: 1.0, value: 0.0, kl: 1e300, gap: 0.0, interior: true };
    assert!(altered(&move |one| one.header.dual = Some(dual)).contains("Contribution::dual"));
    assert_eq!(led.assembly.counts().refused, 9);
    // After all that the right one is taken.
    assert!(worker.say(&led.assembly));
    assert!(matches!(led.assembly.gather(Duration::ZERO), Gathered::All(_)));
}

/// Whatever comes from the network is taken or refused: nothing panics, and nobody is let in by it.
#[test]
fn forged_messages_are_refused() {
    let forgeries: u64 = std::env::var("MPO_FORGERIES").map_or(3_000, |count| count.parse().unwrap());
    let led = Led::new([1, 3], FOREVER);
    let mut worker = Worker::new("worker", 1);
    let wanted = message::to_bytes(&worker.wanted());
    assert!(worker.ask(&led.assembly).unwrap());
    let contribution = contribution_bytes(&worker.contribution().unwrap(), RUN, "worker", 1);
    let parameters = led.assembly.parameters("worker", &wanted).unwrap();
    let mut rng = Rng::stream(3, Stream::Replay);
    for _ in 0..forgeries {
        for (kind, good) in [&wanted, &contribution, &parameters].into_iter().enumerate() {
            let mut forged = good.clone();
            for _ in 0..=rng.index(3) {
                let place = rng.index(forged.len());
                forged[place] ^= 1 << rng.index(8);
            }
            if rng.index(4) == 0 {
                forged.truncate(rng.index(forged.len()));
            }
            if rng.index(2) == 0 && forged.len() > 4 {
                // With the checksum that belongs to it: of a short message the first, else the last bytes.
                match kind {
                    0 => {
                        let checksum = crc32fast::hash(&forged[4..]).to_le_bytes();
                        forged[..4].copy_from_slice(&checksum);
                    }
                    _ => {
                        let (content, checksum) = forged.split_last_chunk_mut::<4>().unwrap();
                        *checksum = crc32fast::hash(content).to_le_bytes();
                    }
                }
            }
            match kind {
                0 => drop(led.assembly.parameters("worker", &forged)),
                1 => drop(led.assembly.contribution("worker", &forged)),
                _ => {
                    if let Ok((_, Some(parameters))) = Standing::of_bytes(&forged) {
                        let _ = worker.contributor.follow(&parameters);
                    }
                }
            }
        }
    }
    let state = led.assembly.state();
    assert!(state.workers.len() == 1 && state.comings.len() == 1 && state.said.len() <= 1);
    assert!(state.counts.refused > forgeries / 2, "{}", state.counts.refused);
}
