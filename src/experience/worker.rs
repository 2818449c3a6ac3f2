//! An environment in a thread of its own, whose answers may not take longer than some time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::action_space::ActionSpace;
use crate::error::BoxedError;
use crate::experience::checked::panic_message;
use crate::experience::environment::{Environment, Step};

/// An environment that runs in a thread of its own, so that one that hangs costs an episode, not the run.
///
/// An answer that takes longer than the limit, or a panic, is an error of that `reset` or `step`; the next
/// `reset` makes a new environment in a new thread. The old thread cannot be stopped: it goes on until its
/// call returns, if it ever does. With
/// [`TrainerConfig::tolerated_failed_episodes`](crate::TrainerConfig::tolerated_failed_episodes) above 0 a
/// training then goes on with the next episode.
///
/// ```
/// use std::time::Duration;
/// use mpo::{Environment, Worker};
/// # #[cfg(feature = "envs")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use mpo::envs::Cartpole;
///
/// let mut environment = Worker::new(Cartpole::balance, Duration::from_secs(1))?;
/// let observation = environment.reset(1)?;
/// assert_eq!(observation.len(), 5);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "envs"))]
/// # fn main() {}
/// ```
pub struct Worker<E: Environment> {
    make: Arc<dyn Fn() -> E + Send + Sync>,
    limit: Duration,
    thread: Option<Thread>,
    observation_size: usize,
    bounds: ActionSpace,
    repeatable: bool,
}

/// What goes wrong with a [`Worker`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// No answer within the limit.
    #[error("no answer within {0:?}")]
    Late(
        /// The limit.
        Duration,
    ),
    /// The environment panicked.
    #[error("it panicked: {0}")]
    Panicked(
        /// What the panic said.
        String,
    ),
    /// The environment's thread was given up after an earlier error; a reset makes a new one.
    #[error("the environment's thread has ended")]
    Ended,
    /// The environment's own error.
    #[error(transparent)]
    Environment(
        /// That error.
        BoxedError,
    ),
}

enum Request {
    Describe,
    Reset(u64),
    Step(Vec<f32>),
}

enum Answer {
    Description { observation_size: usize, bounds: ActionSpace, repeatable: bool },
    Reset(Result<Vec<f32>, BoxedError>),
    Step(Result<Step, BoxedError>),
}

struct Thread {
    requests: Sender<Request>,
    answers: Receiver<Answer>,
    handle: JoinHandle<()>,
}

impl<E: Environment + 'static> Worker<E> {
    /// A worker of an environment that is made, and made anew after a failure, by `make`. The `limit` is for
    /// each call, the first of which includes the making.
    ///
    /// # Errors
    /// If making the environment panics or takes longer than the limit.
    pub fn new(make: impl Fn() -> E + Send + Sync + 'static, limit: Duration) -> Result<Self, WorkerError> {
        let make: Arc<dyn Fn() -> E + Send + Sync> = Arc::new(make);
        match spawn(make.clone()).ask(Request::Describe, limit)? {
            (Answer::Description { observation_size, bounds, repeatable }, thread) => {
                Ok(Self { make, limit, thread: Some(thread), observation_size, bounds, repeatable })
            }
            _ => Err(WorkerError::Ended),
        }
    }

    /// The answer to a request; without one the thread is given up.
    fn ask(&mut self, request: Request) -> Result<Answer, WorkerError> {
        let thread = self.thread.take().ok_or(WorkerError::Ended)?;
        let (answer, thread) = thread.ask(request, self.limit)?;
        self.thread = Some(thread);
        Ok(answer)
    }
}

fn spawn<E: Environment + 'static>(make: Arc<dyn Fn() -> E + Send + Sync>) -> Thread {
    let (requests, asked) = channel();
    let (reply, answers) = channel();
    let handle = thread::spawn(move || {
        let mut environment = make();
        for request in asked {
            let answer = match request {
                Request::Describe => Answer::Description {
                    observation_size: environment.observation_size(),
                    bounds: environment.action_space(),
                    repeatable: environment.repeatable(),
                },
                Request::Reset(seed) => Answer::Reset(environment.reset(seed).map_err(Into::into)),
                Request::Step(action) => Answer::Step(environment.step(&action).map_err(Into::into)),
            };
            if reply.send(answer).is_err() {
                break;
            }
        }
    });
    Thread { requests, answers, handle }
}

impl Thread {
    /// Its answer, and the thread, which goes on.
    fn ask(self, request: Request, limit: Duration) -> Result<(Answer, Self), WorkerError> {
        // One that has ended takes no request and gives no answer.
        let _ = self.requests.send(request);
        match self.answers.recv_timeout(limit) {
            Ok(answer) => Ok((answer, self)),
            Err(RecvTimeoutError::Timeout) => Err(WorkerError::Late(limit)),
            Err(RecvTimeoutError::Disconnected) => Err(match self.handle.join() {
                Ok(()) => WorkerError::Ended,
                Err(panic) => WorkerError::Panicked(panic_message(&*panic).to_owned()),
            }),
        }
    }
}

impl<E: Environment + 'static> Environment for Worker<E> {
    type Error = WorkerError;

    fn observation_size(&self) -> usize {
        self.observation_size
    }

    fn action_space(&self) -> ActionSpace {
        self.bounds.clone()
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>, Self::Error> {
        self.thread.get_or_insert_with(|| spawn(self.make.clone()));
        match self.ask(Request::Reset(seed))? {
            Answer::Reset(observation) => observation.map_err(WorkerError::Environment),
            _ => Err(WorkerError::Ended),
        }
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, Self::Error> {
        match self.ask(Request::Step(action.to_vec()))? {
            Answer::Step(step) => step.map_err(WorkerError::Environment),
            _ => Err(WorkerError::Ended),
        }
    }

    fn repeatable(&self) -> bool {
        self.repeatable
    }
}
