//! Several environments of one type as one: [`Environments`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Instant;

use crate::checks::{check, check_size};
use crate::error::{BoxedError, Result};
use crate::experience::checked::panic_message;
use crate::experience::environment::{Environment, Step};
use crate::experience::vector::{Layout, VectorEnvironment};

/// Several environments of one type, each a row of a [`VectorEnvironment`].
///
/// They are stepped one after another while a step takes little time, and in threads, each in one of its own,
/// where that pays: the results are the same. A row that fails or panics does so alone. One that may hang is
/// to be a [`Worker`](crate::Worker): the others wait for it, once, as long as its limit says.
///
/// ```
/// use mpo::{Environments, VectorEnvironment};
/// # #[cfg(feature = "envs")]
/// # fn main() -> mpo::Result<()> {
/// use mpo::envs::Cartpole;
///
/// let environments = Environments::new(vec![Cartpole::balance(); 8])?;
/// assert_eq!(environments.layout().rows, 8);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "envs"))]
/// # fn main() {}
/// ```
#[derive(Debug, Clone)]
pub struct Environments<E> {
    rows: Vec<E>,
    /// The seconds that a step takes, the latest ones counting most.
    pace: f64,
    in_threads: bool,
}

/// What a row of [`Environments`] reports when it fails.
#[derive(Debug, thiserror::Error)]
#[error("row {row}: {source}")]
#[non_exhaustive]
pub struct RowError {
    /// The row.
    pub row: usize,
    /// What went wrong there.
    pub source: BoxedError,
}

/// To start a thread takes some tens of microseconds. Steps that take longer than the first are made in
/// threads, and no longer in threads once they take less than the second.
const PAYS: [f64; 2] = [200e-6, 50e-6];

impl<E: Environment> Environments<E> {
    /// These environments, a row each.
    ///
    /// # Errors
    /// If there is none, or they differ in the size of their observations or the bounds of their actions.
    pub fn new(rows: Vec<E>) -> Result<Self> {
        check("Environments", rows.len(), |&count| count > 0, "at least 1")?;
        for row in &rows[1..] {
            check_size("observation of a row", row.observation_size(), rows[0].observation_size())?;
            let same = |bounds: &_| *bounds == rows[0].action_space();
            check("Environments, action bounds", row.action_space(), same, "the same for all rows")?;
        }
        Ok(Self { rows, pace: 0.0, in_threads: false })
    }

    /// The environments.
    pub fn rows(&self) -> &[E] {
        &self.rows
    }

    /// The environments, as for making their task harder.
    pub fn rows_mut(&mut self) -> &mut [E] {
        &mut self.rows
    }

    /// The environments, each by itself.
    pub fn into_rows(self) -> Vec<E> {
        self.rows
    }
}

impl<E: Environment + Send> Environments<E> {
    /// Calls the rows asked for, in threads or not, and takes the time.
    fn call<T: Sync, R: Send>(
        &mut self,
        asked: &[(usize, T)],
        call: impl Fn(&mut E, &T) -> Result<R, E::Error> + Sync,
    ) -> Vec<Result<R, RowError>> {
        let mut rows: Vec<Option<&mut E>> = self.rows.iter_mut().map(Some).collect();
        let timed = |environment: Option<&mut E>, of: &T| {
            let started = Instant::now();
            let answer = match environment {
                Some(environment) => guarded(|| call(environment, of)),
                None => Err("there is no such row, or it was asked for twice".into()),
            };
            (answer, started.elapsed().as_secs_f64())
        };
        let jobs: Vec<_> =
            asked.iter().map(|(row, of)| (rows.get_mut(*row).and_then(Option::take), of)).collect();
        let answers: Vec<(Result<R, BoxedError>, f64)> = if self.in_threads && jobs.len() > 1 {
            thread::scope(|scope| {
                let timed = &timed;
                let start = |(environment, of)| {
                    thread::Builder::new().spawn_scoped(scope, move || timed(environment, of))
                };
                let threads: Vec<_> = jobs.into_iter().map(start).collect();
                let answer = |thread: std::io::Result<thread::ScopedJoinHandle<'_, _>>| match thread {
                    // Whatever panics in a row is its answer already.
                    Ok(thread) => thread.join().unwrap_or_else(|panic| (Err(panicked(&*panic)), 0.0)),
                    Err(error) => (Err(error.into()), 0.0),
                };
                threads.into_iter().map(answer).collect()
            })
        } else {
            jobs.into_iter().map(|(environment, of)| timed(environment, of)).collect()
        };
        let mean = answers.iter().map(|answer| answer.1).sum::<f64>() / answers.len().max(1) as f64;
        self.pace += 0.1 * (mean - self.pace);
        self.in_threads = self.pace > PAYS[usize::from(self.in_threads)];
        let rows = asked.iter().map(|&(row, _)| row);
        rows.zip(answers)
            .map(|(row, (answer, _))| answer.map_err(|source| RowError { row, source }))
            .collect()
    }
}

fn guarded<R, E: Into<BoxedError>>(call: impl FnOnce() -> Result<R, E>) -> Result<R, BoxedError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(answer) => answer.map_err(Into::into),
        Err(panic) => Err(panicked(&*panic)),
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> BoxedError {
    format!("it panicked: {}", panic_message(panic)).into()
}

impl<E: Environment + Send> VectorEnvironment for Environments<E> {
    type Error = RowError;

    fn layout(&self) -> Layout {
        Layout {
            rows: self.rows.len(),
            observation_size: self.rows[0].observation_size(),
            action_space: self.rows[0].action_space(),
            repeatable: self.rows.iter().all(Environment::repeatable),
        }
    }

    fn reset_rows(&mut self, seeds: &[(usize, u64)]) -> Vec<Result<Vec<f32>, RowError>> {
        self.call(seeds, |environment, &seed| environment.reset(seed))
    }

    fn step_rows(&mut self, actions: &[(usize, Vec<f32>)]) -> Vec<Result<Step, RowError>> {
        self.call(actions, |environment, action| environment.step(action))
    }
}
