//! Algorithm 1's worker: its updates are those of a chief somewhere else, to which it contributes.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::exchanged::{Standing, Taken, Wanted, contribution_bytes};
use super::message::{self, FORMAT, Go, Refused};
use super::network::{Answer, CONTRIBUTION, Connection, Network, PARAMETERS, Token};
use super::{ANSWER, check_name, settings_of, unique};
use crate::checks::check;
use crate::error::{Error, Result};
use crate::experience::batch::Batch;
use crate::learner::Learner;
use crate::learner::contributor::Contributor;
use crate::learner::exchange::Contribution;
use crate::learner::metrics::Metrics;
use crate::networks::{Actor, Critic};

/// How a trainer [follows](crate::Trainer::follow) a chief.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FollowConfig {
    /// What the chief knows it by: no two workers may have the same name. Accepted: 1 to 64 letters, digits,
    /// `-`, `_` and `.`.
    pub name: String,
    /// How many seconds it waits for a chief that does not answer, before the run ends with an error.
    /// Accepted: above 0.
    pub patience: f64,
}

impl Default for FollowConfig {
    fn default() -> Self {
        Self { name: "worker".into(), patience: 60.0 }
    }
}

/// A worker's way to its chief.
pub(crate) struct Following<A: Actor, C: Critic> {
    config: FollowConfig,
    network: Network,
    contributor: Option<Contributor<A, C>>,
    /// While there is one.
    link: Option<Link>,
    /// Tells it from others of its name.
    instance: u64,
    /// The chief's run, once it has answered.
    run: Option<u64>,
    /// The version that it has spoken to.
    spoken: Option<u64>,
    /// In that run, the chief's updates when this one was asked for.
    before: Option<u64>,
    silence: Silence,
}

struct Link {
    // It ends first.
    _alive: Token,
    connection: Connection,
}

/// For how long the chief has not answered, and what was heard instead.
#[derive(Default)]
struct Silence {
    since: Option<Instant>,
    /// When the network was last opened anew meanwhile.
    opened: Option<Instant>,
    reason: String,
}

/// What came of an update.
pub(crate) enum Followed {
    Updated(Metrics),
    /// There is nothing new for now: it is to be asked again.
    Waiting,
    /// The chief has ended.
    Over,
}

/// Between two questions, while there is nothing new.
const SHORTEST: Duration = Duration::from_micros(200);
const LONGEST: Duration = Duration::from_millis(50);
/// While nobody answers.
const SILENT: Duration = Duration::from_millis(100);
/// After so long a silence the network is opened anew.
const ANEW: Duration = Duration::from_secs(10);
/// After so long whoever asks for an update hears that it takes its time.
const MOMENT: Duration = Duration::from_millis(100);

impl<A: Actor, C: Critic> Following<A, C> {
    pub fn new(network: &Network, config: FollowConfig) -> Result<Self> {
        check_name("FollowConfig::name", &config.name)?;
        let seconds = |&seconds: &f64| seconds > 0.0 && seconds < 1e9;
        check("FollowConfig::patience", config.patience, seconds, "above 0, below 1e9")?;
        Ok(Self {
            config,
            network: network.clone(),
            contributor: None,
            link: None,
            instance: unique(),
            run: None,
            spoken: None,
            before: None,
            silence: Silence::default(),
        })
    }

    /// The learner with the chief's parameters, once it follows any.
    pub fn learner(&self) -> Option<&Learner<A, C>> {
        self.contributor.as_ref().map(Contributor::learner)
    }

    /// Says to the chief that it is away until the next update, if there is a chief.
    pub fn leave(&mut self, learner: &Learner<A, C>) {
        let Some(link) = self.link.take() else { return };
        let wanted = Wanted { leaves: true, ..self.wanted(learner) };
        if self.run.is_some() && self.silence.since.is_none() {
            let _ = link.connection.ask(
                PARAMETERS,
                &self.config.name,
                message::to_bytes(&wanted),
                Duration::from_secs(1),
            );
        }
    }

    fn wanted(&self, learner: &Learner<A, C>) -> Wanted {
        let version = self.contributor.as_ref().and_then(Contributor::version);
        Wanted {
            format: FORMAT,
            settings: settings_of(learner),
            instance: self.instance,
            has: self.run.zip(version),
            leaves: false,
        }
    }

    /// Takes part in the chief's next update, with what `draw` draws of `learner`'s batches. Where that takes
    /// its time it is asked for again, and goes on.
    ///
    /// # Errors
    /// If the chief does not answer for too long or refuses this worker, or a message is too long; or if what
    /// the batch comes to is not finite: the chief then goes on without it.
    pub fn update(
        &mut self,
        learner: &Learner<A, C>,
        mut draw: impl FnMut(&Learner<A, C>) -> Result<Batch>,
    ) -> Result<Followed> {
        if self.contributor.is_none() {
            self.contributor = Some(Contributor::new(learner.clone())?);
        }
        let (begun, mut pause) = (Instant::now(), SHORTEST);
        loop {
            let mut heard = true;
            // Of an update that it joins in its midst it only hears the end.
            if let (Some(run), Some(contributor)) = (self.run, &mut self.contributor) {
                self.before = self.before.or(Some(contributor.learner().updates()));
                if self.spoken != contributor.version()
                    && let Some(contribution) = contributor.contribute(&mut draw)?
                {
                    heard = self.send(&contribution, run)?;
                }
            }
            // Whoever asks before it was heard has nothing to say.
            match if heard { self.follow(learner)? } else { Followed::Waiting } {
                Followed::Updated(metrics) => {
                    pause = SHORTEST;
                    let updates = self.learner().map_or(0, Learner::updates);
                    if self.before.is_some_and(|before| updates > before) {
                        self.before = None;
                        return Ok(Followed::Updated(metrics));
                    }
                }
                Followed::Over => return Ok(Followed::Over),
                Followed::Waiting if begun.elapsed() >= MOMENT => return Ok(Followed::Waiting),
                Followed::Waiting => {
                    let silent = self.silence.since.is_some();
                    std::thread::sleep(if silent { SILENT } else { pause });
                    pause = (pause + pause / 4).min(LONGEST);
                }
            }
        }
    }

    /// Sends a contribution; whether it was heard. Whether it was taken the next parameters say.
    fn send(&mut self, contribution: &Contribution, run: u64) -> Result<bool> {
        let bytes = contribution_bytes(contribution, run, &self.config.name, self.instance);
        self.check_length(bytes.len())?;
        let silence = match self.ask(CONTRIBUTION, bytes)? {
            Answer::Reply(bytes) => message::of_bytes::<Taken>(&bytes).map(drop),
            Answer::Refusal(words) => Err(message::of_bytes(&words).unwrap_or_else(|refused| refused)),
            Answer::Silence(reason) => Err(Refused { reason, again: true }),
        };
        match silence {
            Err(Refused { reason, again: true }) => return self.spend(reason).map(|()| false),
            // As after the chief's restart: the parameters come next.
            Err(Refused { reason, .. }) => tracing::debug!(reason, "a contribution was refused"),
            Ok(()) => {}
        }
        self.spoken = Some(contribution.version());
        self.silence = Silence::default();
        Ok(true)
    }

    /// Follows the chief's parameters where they are newer than its own. With them come the latest update's
    /// measures.
    fn follow(&mut self, learner: &Learner<A, C>) -> Result<Followed> {
        let wanted = self.wanted(learner);
        let bytes = match self.ask(PARAMETERS, message::to_bytes(&wanted))? {
            Answer::Reply(bytes) => bytes,
            Answer::Refusal(words) => {
                let Refused { reason, again } = message::of_bytes(&words).unwrap_or_else(|refused| refused);
                if !again {
                    return Err(Error::Refused { name: self.config.name.clone(), reason });
                }
                return self.spend(reason).map(|()| Followed::Waiting);
            }
            Answer::Silence(reason) => return self.spend(reason).map(|()| Followed::Waiting),
        };
        let (standing, parameters) = match Standing::of_bytes(&bytes) {
            Ok(taken) => taken,
            Err(Refused { again: true, reason }) => return self.spend(reason).map(|()| Followed::Waiting),
            Err(Refused { reason, .. }) => return Err(self.failed(format!("parameters: {reason}"))),
        };
        self.silence = Silence::default();
        let Some(parameters) = parameters else {
            // The last ones are followed before.
            return Ok(if standing.go == Go::Stop { Followed::Over } else { Followed::Waiting });
        };
        if self.run != Some(standing.run) {
            // Another chief's versions and updates begin anew, and so does what follows them.
            self.contributor = Some(Contributor::new(learner.clone())?);
            (self.run, self.spoken, self.before) = (Some(standing.run), None, None);
        }
        let contributor = self.contributor.as_mut();
        contributor.map_or(Ok(()), |contributor| contributor.follow(&parameters))?;
        Ok(Followed::Updated(standing.metrics.unwrap_or_default()))
    }

    fn ask(&mut self, what: &str, question: Vec<u8>) -> Result<Answer> {
        if self.link.is_none() {
            // A policy's and a critic's parameters, and those of their targets, come as one message.
            let numbers = self.contributor.as_ref().map_or(0, Contributor::numbers);
            self.check_length(4 * numbers + (1 << 16))?;
            let connection = self.network.open()?;
            self.link = Some(Link { _alive: connection.alive(&self.config.name)?, connection });
        }
        let link = self.link.as_ref().ok_or_else(|| self.failed("it is closed".into()))?;
        Ok(link.connection.ask(what, &self.config.name, question, ANSWER))
    }

    /// Longer messages would be dropped where they arrive.
    fn check_length(&self, bytes: usize) -> Result<()> {
        let longest = self.network.longest();
        let accepted =
            "at least what the parameters of both networks and of their targets, and a batch, take";
        check("Network::longest_message", longest, |&longest| longest >= bytes, accepted)
    }

    /// Takes a silence, which may have been one too many.
    fn spend(&mut self, reason: String) -> Result<()> {
        tracing::debug!(reason, "no answer of the chief's");
        self.silence.reason = reason;
        let since = *self.silence.since.get_or_insert_with(Instant::now);
        let seconds = since.elapsed().as_secs_f64();
        if seconds > self.config.patience {
            let last = std::mem::take(&mut self.silence).reason;
            return Err(self.failed(format!(
                "no chief has answered for {seconds:.1} s (FollowConfig::patience); last: {last}. Either none is \
                 there, or it does not let this one in: look at the address, the name of the run (Network::fleet), \
                 the user and password, the certificates, and whether the chief's Network::only has the name {}",
                self.config.name
            )));
        }
        if self.silence.opened.get_or_insert(since).elapsed() > ANEW {
            self.silence.opened = Some(Instant::now());
            // What was said on the way in may have been damaged there, and is not said again.
            self.link = None;
        }
        Ok(())
    }

    fn failed(&self, reason: String) -> Error {
        Error::Network { place: self.network.place(), reason }
    }
}
