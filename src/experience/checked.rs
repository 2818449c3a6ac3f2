//! Environments whose every answer is checked before the library uses it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::action_space::ActionSpace;
use crate::checks::{check, check_finite, check_reward, check_size};
use crate::error::{BoxedError, Error, Result};
use crate::experience::environment::Step;
use crate::experience::replay::STREAMS;
use crate::experience::vector::VectorEnvironment;

/// A [`VectorEnvironment`] whose every answer is checked before the library uses it.
pub(crate) struct Checked<E> {
    environment: E,
    rows: usize,
    action_space: ActionSpace,
    observation_size: usize,
    /// When it last answered.
    answered: Instant,
    /// How long after that the latest actions came.
    reaction: Duration,
}

impl<E: VectorEnvironment> Checked<E> {
    pub(crate) fn new(environment: E) -> Result<Self> {
        let layout = environment.layout();
        check("Layout::rows", layout.rows, |rows| (1..=STREAMS).contains(rows), "1 to 4096")?;
        let observation_size = layout.observation_size;
        check("Environment::observation_size", observation_size, |&size| size > 0, "at least 1")?;
        let action_space = layout.action_space;
        action_space.check("Environment::action_space")?;
        let (answered, reaction) = (Instant::now(), Duration::ZERO);
        Ok(Self { rows: layout.rows, action_space, environment, observation_size, answered, reaction })
    }

    pub(crate) fn environment(&self) -> &E {
        &self.environment
    }

    pub(crate) fn environment_mut(&mut self) -> &mut E {
        &mut self.environment
    }

    pub(crate) fn into_environment(self) -> E {
        self.environment
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn observation_size(&self) -> usize {
        self.observation_size
    }

    pub(crate) fn action_space(&self) -> &ActionSpace {
        &self.action_space
    }

    pub(crate) fn repeatable(&self) -> bool {
        self.environment.layout().repeatable
    }

    /// How long the latest actions took to come after the observations that they are for.
    pub(crate) fn reaction(&self) -> Duration {
        self.reaction
    }

    /// Starts episodes, in these rows and with these seeds.
    pub(crate) fn reset(&mut self, seeds: &[(usize, u64)]) -> Vec<Result<Vec<f32>>> {
        let answers = guarded("reset", seeds.len(), || self.environment.reset_rows(seeds));
        self.answered = Instant::now();
        let checked = |observation: Vec<f32>| self.check_observation(&observation).map(|()| observation);
        answers.into_iter().map(|answer| answer.and_then(checked)).collect()
    }

    /// Applies actions of the policy, in [-1, 1], in these rows.
    ///
    /// # Errors
    /// If an action does not fit: nothing was done then.
    pub(crate) fn step(&mut self, actions: &[(usize, &[f32])]) -> Result<Vec<Result<Step>>> {
        let scaled = |&(row, action): &(usize, &[f32])| Ok((row, self.action_space.to_environment(action)?));
        let actions: Vec<_> = actions.iter().map(scaled).collect::<Result<_>>()?;
        self.reaction = self.answered.elapsed();
        let answers = guarded("step", actions.len(), || self.environment.step_rows(&actions));
        self.answered = Instant::now();
        let checked = |step: Step| {
            self.check_observation(&step.observation)?;
            check_reward(step.reward).map(|()| step)
        };
        Ok(answers.into_iter().map(|answer| answer.and_then(checked)).collect())
    }

    /// Starts an episode in one row.
    #[cfg(feature = "gif")]
    pub(crate) fn reset_row(&mut self, row: usize, seed: u64) -> Result<Vec<f32>> {
        self.reset(&[(row, seed)]).remove(0)
    }

    /// Applies an action of the policy, in [-1, 1], in one row.
    #[cfg(feature = "gif")]
    pub(crate) fn step_row(&mut self, row: usize, action: &[f32]) -> Result<Step> {
        self.step(&[(row, action)])?.remove(0)
    }

    fn check_observation(&self, observation: &[f32]) -> Result<()> {
        check_size("observation", observation.len(), self.observation_size)?;
        check_finite("observation", observation)
    }
}

/// The answers of so many rows, with what went wrong as an error of this crate's. A panic may leave an
/// environment in any state; the next reset is what puts it right.
fn guarded<T, E: Into<BoxedError>>(
    place: &'static str,
    rows: usize,
    call: impl FnOnce() -> Vec<Result<T, E>>,
) -> Vec<Result<T>> {
    let failed = |source| Error::Environment { place, source };
    let all = |reason: String| (0..rows).map(|_| Err(failed(reason.clone().into()))).collect();
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(answers) if answers.len() == rows => {
            answers.into_iter().map(|answer| answer.map_err(|error| failed(error.into()))).collect()
        }
        Ok(answers) => all(format!("{} answers for {rows} rows", answers.len())),
        Err(panic) => all(format!("it panicked: {}", panic_message(&*panic))),
    }
}

/// What a panic says.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
