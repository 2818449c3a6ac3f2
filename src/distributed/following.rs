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
}

struct Link {
    // It ends first.
    _alive: Token,
    connection: Connection,
}

/// What came of an update.
pub(crate) enum Followed {
    Updated(Metrics),
    /// The chief has ended.
    Over,
}

/// Between two questions, while there is nothing new.
const SHORTEST: Duration = Duration::from_micros(200);
const LONGEST: Duration = Duration::from_millis(50);
/// After so long a silence the network is opened anew.
const ANEW: Duration = Duration::from_secs(10);

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
        })
    }

    /// The learner with the chief's parameters, once it follows any.
    pub fn learner(&self) -> Option<&Learner<A, C>> {
        self.contributor.as_ref().map(Contributor::learner)
    }

    /// Takes part in the chief's next update, with what `draw` draws of `learner`'s batches.
    ///
    /// # Errors
    /// If the chief does not answer for too long or refuses this worker; or if what the batch comes to is not
    /// finite: the chief then goes on without it.
    pub fn update(
        &mut self,
        learner: &Learner<A, C>,
        mut draw: impl FnMut(&Learner<A, C>) -> Result<Batch>,
    ) -> Result<Followed> {
        if self.contributor.is_none() {
            self.contributor = Some(Contributor::new(learner.clone())?);
        }
        let mut wait = Wait::default();
        let mut before = None;
        loop {
            // Of an update that it joins in its midst it only hears the end.
            if let (Some(run), Some(contributor)) = (self.run, &mut self.contributor) {
                before = before.or(Some(contributor.learner().updates()));
                if let Some(contribution) = contributor.contribute(&mut draw)? {
                    self.send(&contribution, run, &mut wait)?;
                }
            }
            let Some(standing) = self.follow(learner, &mut wait)? else { return Ok(Followed::Over) };
            let updates = self.learner().map_or(0, Learner::updates);
            match (before, standing.metrics) {
                (Some(before), Some(metrics)) if updates > before => return Ok(Followed::Updated(metrics)),
                _ => {}
            }
        }
    }

    /// Sends a contribution: whether it was taken the next parameters say.
    fn send(&mut self, contribution: &Contribution, run: u64, wait: &mut Wait) -> Result<()> {
        let bytes = contribution_bytes(contribution, run, &self.config.name);
        loop {
            match self.ask(CONTRIBUTION, bytes.clone())? {
                Answer::Reply(bytes) if message::of_bytes::<Taken>(&bytes).is_ok() => {
                    wait.answered();
                    return Ok(());
                }
                Answer::Refusal(words) => {
                    let Refused { reason, again } =
                        message::of_bytes(&words).unwrap_or_else(|refused| refused);
                    if !again {
                        // As after the chief's restart: the parameters come next.
                        tracing::debug!(reason, "a contribution was refused");
                        return Ok(());
                    }
                    self.spend(wait)?;
                }
                Answer::Reply(_) | Answer::Silence(_) => self.spend(wait)?,
            }
        }
    }

    /// Waits for parameters that are newer than its own, and follows them; none if the chief has ended.
    fn follow(&mut self, learner: &Learner<A, C>, wait: &mut Wait) -> Result<Option<Standing>> {
        let settings = settings_of(learner);
        loop {
            let has = self.run.zip(self.contributor.as_ref().and_then(Contributor::version));
            let question =
                message::to_bytes(&Wanted { format: FORMAT, settings, instance: self.instance, has });
            let bytes = match self.ask(PARAMETERS, question)? {
                Answer::Reply(bytes) => bytes,
                Answer::Refusal(words) => {
                    let Refused { reason, again } =
                        message::of_bytes(&words).unwrap_or_else(|refused| refused);
                    if !again {
                        return Err(Error::Refused { name: self.config.name.clone(), reason });
                    }
                    self.spend(wait)?;
                    continue;
                }
                Answer::Silence(reason) => {
                    tracing::debug!(reason, "no answer to a question for parameters");
                    self.spend(wait)?;
                    continue;
                }
            };
            let (standing, parameters) = match Standing::of_bytes(&bytes) {
                Ok(taken) => taken,
                Err(Refused { again: true, .. }) => {
                    self.spend(wait)?;
                    continue;
                }
                Err(Refused { reason, .. }) => return Err(self.failed(format!("parameters: {reason}"))),
            };
            wait.answered();
            let Some(parameters) = parameters else {
                // The last ones are followed before.
                if standing.go == Go::Stop {
                    return Ok(None);
                }
                wait.a_moment();
                continue;
            };
            if parameters.base().is_none() && self.run != Some(standing.run) {
                // Another chief's versions begin anew, and so does what follows them.
                self.contributor = Some(Contributor::new(learner.clone())?);
            }
            let contributor = self.contributor.as_mut();
            contributor.map_or(Ok(()), |contributor| contributor.follow(&parameters))?;
            self.run = Some(standing.run);
            wait.something_new();
            return Ok(Some(standing));
        }
    }

    fn ask(&mut self, what: &str, question: Vec<u8>) -> Result<Answer> {
        if self.link.is_none() {
            let connection = self.network.open()?;
            self.link = Some(Link { _alive: connection.alive(&self.config.name)?, connection });
        }
        let link = self.link.as_ref().ok_or_else(|| self.failed("it is closed".into()))?;
        Ok(link.connection.ask(what, &self.config.name, question, ANSWER))
    }

    /// Takes a silence, which may have been one too many.
    fn spend(&mut self, wait: &mut Wait) -> Result<()> {
        let since = *wait.silent_since.get_or_insert_with(Instant::now);
        if since.elapsed().as_secs_f64() > self.config.patience {
            return Err(self.failed(format!(
                "no chief has answered for {:.1} s (FollowConfig::patience). Either none is there, or it does not let \
                 this one in: look at the address, the name of the run (Network::fleet), the user and password, \
                 the certificates, and whether the chief's Network::only has the name {}",
                since.elapsed().as_secs_f64(),
                self.config.name
            )));
        }
        if wait.opened.get_or_insert(since).elapsed() > ANEW {
            wait.opened = Some(Instant::now());
            // What was said on the way in may have been damaged there, and is not said again.
            self.link = None;
        }
        std::thread::sleep(Duration::from_millis(100));
        Ok(())
    }

    fn failed(&self, reason: String) -> Error {
        Error::Network { place: self.network.place(), reason }
    }
}

/// How long it has waited, and for what.
#[derive(Default)]
struct Wait {
    silent_since: Option<Instant>,
    /// When the network was last opened anew meanwhile.
    opened: Option<Instant>,
    pause: Duration,
}

impl Wait {
    fn answered(&mut self) {
        (self.silent_since, self.opened) = (None, None);
    }

    fn something_new(&mut self) {
        self.pause = Duration::ZERO;
    }

    /// Nothing new: a little longer each time.
    fn a_moment(&mut self) {
        self.pause = (self.pause + self.pause / 4).clamp(SHORTEST, LONGEST);
        std::thread::sleep(self.pause);
    }
}
