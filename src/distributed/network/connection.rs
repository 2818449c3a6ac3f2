//! A network that is open: questions and their answers, and who is there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use zenoh::handlers::FifoChannelHandler;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::query::{ConsolidationMode, Query, Queryable, Reply};
use zenoh::sample::SampleKind;
use zenoh::{Session, Wait};

use super::ALIVE;
use crate::distributed::message;
use crate::error::{Error, Result};

/// A network that is open.
pub(crate) struct Connection {
    pub(super) session: Session,
    pub(super) fleet: String,
    pub(super) place: String,
    /// With others in this process: not ours to close.
    pub(super) shared: bool,
}

/// What came back.
#[derive(Debug)]
pub(crate) enum Answer {
    Reply(Vec<u8>),
    /// Refused by the one who was asked, in these words.
    Refusal(Vec<u8>),
    /// There was nobody to ask, or no answer in time: why, if that is known.
    Silence(String),
}

/// Answers what others ask until it is dropped.
pub(crate) struct Service(#[expect(dead_code, reason = "it ends when it is dropped")] Queryable<()>);

/// Says that somebody is there until it is dropped.
pub(crate) struct Token(#[expect(dead_code, reason = "it ends when it is dropped")] LivelinessToken);

/// Listens to who is there until it is dropped.
pub(crate) struct Watch(#[expect(dead_code, reason = "it ends when it is dropped")] Subscriber<()>);

impl Connection {
    fn failed(&self, error: impl ToString) -> Error {
        Error::Network { place: self.place.clone(), reason: error.to_string() }
    }

    /// Answers questions for `what` with what `answer` makes of the collector's name and the question; an
    /// error is the refusal. It is called in the engine's own threads and has to be quick.
    pub fn serve(
        &self,
        what: &str,
        answer: impl Fn(&str, &[u8]) -> Result<Vec<u8>, Vec<u8>> + Send + Sync + 'static,
    ) -> Result<Service> {
        let reply = move |query: Query| {
            let name = query.key_expr().as_str().rsplit('/').next().unwrap_or_default().to_owned();
            let payload = query.payload().map(|payload| payload.to_bytes()).unwrap_or_default();
            let answered = catch_unwind(AssertUnwindSafe(|| answer(&name, &payload)));
            let answered = answered.unwrap_or_else(|_| {
                Err(message::to_bytes(&message::Refused::new(
                    "the answer panicked, which is an error of mpo's",
                )))
            });
            let sent = match answered {
                Ok(bytes) => query.reply(query.key_expr().clone(), bytes).wait(),
                Err(refusal) => query.reply_err(refusal).wait(),
            };
            if let Err(error) = sent {
                tracing::debug!(%error, "an answer that nobody waits for");
            }
        };
        let key = format!("mpo/{}/{what}/*", self.fleet);
        let queryable = self.session.declare_queryable(key).complete(true).callback(reply).wait();
        queryable.map(Service).map_err(|error| self.failed(error))
    }

    /// Asks for `what` in the name of a collector.
    pub fn ask(&self, what: &str, name: &str, question: Vec<u8>, timeout: Duration) -> Answer {
        let key = format!("mpo/{}/{what}/{name}", self.fleet);
        let asked = self.session.get(key).payload(question).timeout(timeout);
        let replies = asked.consolidation(ConsolidationMode::None).wait();
        let replies: FifoChannelHandler<Reply> = match replies {
            Ok(replies) => replies,
            Err(error) => return Answer::Silence(error.to_string()),
        };
        match replies.recv_timeout(timeout + Duration::from_secs(1)) {
            Ok(Some(reply)) => match reply.into_result() {
                Ok(sample) => Answer::Reply(sample.payload().to_bytes().into_owned()),
                Err(error) => {
                    let bytes = error.payload().to_bytes().into_owned();
                    match message::of_bytes::<message::Refused>(&bytes) {
                        Ok(_) => Answer::Refusal(bytes),
                        Err(_) => Answer::Silence(String::from_utf8_lossy(&bytes).into_owned()),
                    }
                }
            },
            // Nobody is there, and the engine says so at once, or it closes.
            Ok(None) | Err(_) => Answer::Silence("nobody answers".into()),
        }
    }

    /// Says that the collector of this name is there.
    pub fn alive(&self, name: &str) -> Result<Token> {
        let token =
            self.session.liveliness().declare_token(format!("mpo/{}/{ALIVE}/{name}", self.fleet)).wait();
        token.map(Token).map_err(|error| self.failed(error))
    }

    /// Tells who is there, and who no longer is.
    pub fn watch(&self, tell: impl Fn(&str, bool) + Send + Sync + 'static) -> Result<Watch> {
        let key = format!("mpo/{}/{ALIVE}/*", self.fleet);
        let heard = move |sample: zenoh::sample::Sample| {
            let name = sample.key_expr().as_str().rsplit('/').next().unwrap_or_default();
            tell(name, sample.kind() == SampleKind::Put);
        };
        let watch = self.session.liveliness().declare_subscriber(key).history(true).callback(heard).wait();
        watch.map(Watch).map_err(|error| self.failed(error))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.shared {
            return;
        }
        // Closing may hang where the other side does not answer: nobody waits longer than this for it.
        let (session, (closed, until)) = (self.session.clone(), channel());
        let closing = thread::Builder::new().name("mpo-network".into()).spawn(move || {
            if let Err(error) = session.close().wait() {
                tracing::debug!(%error, "the network was not closed properly");
            }
            let _ = closed.send(());
        });
        if closing.is_ok() {
            let _ = until.recv_timeout(Duration::from_secs(1));
        }
    }
}
