//! The thread that acts.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Instant;

use super::{Evaluation, Shared, Snapshot};
use crate::acting::{Acting, Happening};
use crate::behaviour::Behaviour;
use crate::error::Result;
use crate::experience::checked::Checked;
use crate::experience::vector::VectorEnvironment;
use crate::exploration::Explorer;
use crate::networks::Actor;
use crate::rng::Rng;
use crate::run::observer;
use crate::run::timing::Reaction;
use crate::run::trainer::evaluation::Evaluating;
use crate::run::trainer::failures::InARow;

/// What acting tells learning.
pub(super) enum Message {
    /// A step in all rows.
    Round {
        happened: Vec<Happening>,
        /// None if no row made a step.
        reaction: Option<Reaction>,
        /// Environment steps that were not told of before this.
        lost: u64,
        /// What a checkpoint needs to know of acting, where an episode began: seeds and explorers.
        acting: Option<Box<(Vec<Rng>, Vec<Explorer>)>>,
    },
    Evaluated(Evaluated),
}

/// An evaluation that was ordered.
pub(super) struct Evaluated {
    /// The episodes, played or failed.
    pub played: Vec<Result<()>>,
    /// None if it was broken off.
    pub evaluation: Option<observer::Evaluation>,
    pub seeds: Rng,
}

/// How far acting goes by itself.
pub(super) struct Limits {
    pub steps: u64,
    pub tolerated: u32,
    /// The failures in a row so far, by row.
    pub failed: Vec<InARow>,
    pub failed_evaluations: InARow,
}

impl Limits {
    /// Whether the environment has failed too often.
    fn are_exceeded_by(&mut self, happened: &[Happening]) -> bool {
        let mut exceeded = false;
        for event in happened {
            match event {
                Happening::Stepped { row, step, .. } if step.is_last() => self.failed[*row].end(),
                Happening::Failed { row, .. } => exceeded |= !self.failed[*row].goes_on(self.tolerated),
                _ => {}
            }
        }
        exceeded
    }
}

/// Acts until it is told to stop, the steps are made, or the environment has failed too often, which learning
/// hears of.
///
/// # Errors
/// If the policy's action is refused.
pub(super) fn act<E: VectorEnvironment, A: Actor>(
    environment: &mut Checked<E>,
    mut behaviour: Behaviour<A>,
    mut seeds: Vec<Rng>,
    mut limits: Limits,
    shared: &Shared<A>,
    messages: SyncSender<Message>,
) -> Result<()> {
    let mut observations = vec![None; environment.rows()];
    let (mut updates, mut made) = (shared.updates.load(Ordering::Relaxed), Instant::now());
    let mut unsent = Unsent::default();
    let mut steps = 0;
    while steps < limits.steps && !shared.stop.load(Ordering::Relaxed) {
        let mut order = None;
        // Whoever holds the lock is about to give it back: there is another step to look again.
        if let Ok(mut orders) = shared.orders.try_lock() {
            if let Some(Snapshot { policy, informed, updates: of, made: at }) = orders.policy.take() {
                (updates, made) = (of, at);
                behaviour.update(policy, informed);
            }
            if observations.iter().any(Option::is_none) {
                order = orders.evaluate.take();
            }
        }
        if let Some(order) = order {
            let rows = (0..observations.len()).filter(|&row| observations[row].is_none()).collect();
            let (evaluated, exceeded) = evaluate(environment, rows, order, &mut limits, shared)?;
            // It comes once in a long time, and is not to be lost.
            let gone = messages.send(Message::Evaluated(evaluated)).is_err();
            if gone || exceeded {
                return Ok(());
            }
            continue;
        }
        let before = observations.clone();
        let mut happened = Vec::new();
        let acted = Acting {
            environment: &mut *environment,
            behaviour: &mut behaviour,
            seeds: &mut seeds,
            observations: &mut observations,
        }
        .round(&mut happened);
        let stepped =
            happened.iter().filter(|event| matches!(event, Happening::Stepped { .. })).count() as u64;
        let begun = happened.iter().any(|event| matches!(event, Happening::Began { .. }));
        let reaction = (stepped > 0).then(|| Reaction {
            delay: environment.reaction(),
            age_updates: shared.updates.load(Ordering::Relaxed).saturating_sub(updates),
            age: made.elapsed(),
        });
        let exceeded = limits.are_exceeded_by(&happened);
        let (happened, lost) = unsent.followed_by(happened, &before);
        let acting = begun.then(|| Box::new((seeds.clone(), behaviour.explorers().to_vec())));
        let message = Message::Round { happened, reaction, lost, acting };
        if exceeded || acted.is_err() {
            // Acting is over: there is time to wait.
            let _ = messages.send(message);
            return acted;
        }
        match messages.try_send(message) {
            Ok(()) => steps += stepped,
            Err(TrySendError::Full(Message::Round { happened, lost, .. })) => unsent.keep(happened, lost),
            Err(_) => return Ok(()),
        }
    }
    let (happened, lost) = unsent.followed_by(Vec::new(), &[]);
    let acting = Some(Box::new((seeds, behaviour.explorers().to_vec())));
    let _ = messages.send(Message::Round { happened, reaction: None, lost, acting });
    Ok(())
}

/// What could not be sent, as the queue was full.
#[derive(Default)]
struct Unsent {
    lost: u64,
    failures: Vec<Happening>,
    any: bool,
}

impl Unsent {
    /// Keeps what may not be lost: that rows failed.
    fn keep(&mut self, happened: Vec<Happening>, lost: u64) {
        let stepped = |event: &&Happening| matches!(event, Happening::Stepped { .. });
        self.lost = lost + happened.iter().filter(stepped).count() as u64;
        self.failures =
            happened.into_iter().filter(|event| matches!(event, Happening::Failed { .. })).collect();
        self.any = true;
    }

    /// What is to be sent now, and how many steps were lost before. An episode goes on as another one, with
    /// the observations of `before`.
    fn followed_by(
        &mut self,
        mut happened: Vec<Happening>,
        before: &[Option<Vec<f32>>],
    ) -> (Vec<Happening>, u64) {
        if !std::mem::take(&mut self.any) {
            return (happened, 0);
        }
        let mut all = std::mem::take(&mut self.failures);
        let going_on = before.iter().enumerate().filter_map(|(row, observation)| {
            Some(Happening::Began { row, seed: 0, observation: observation.clone()? })
        });
        all.extend(going_on);
        all.append(&mut happened);
        (all, std::mem::take(&mut self.lost))
    }
}

/// Plays what was ordered, in these rows; and whether the environment has failed too often.
fn evaluate<E: VectorEnvironment, A: Actor>(
    environment: &mut Checked<E>,
    rows: Vec<usize>,
    Evaluation { policy, episodes, mut seeds }: Evaluation<A>,
    limits: &mut Limits,
    shared: &Shared<A>,
) -> Result<(Evaluated, bool)> {
    let (mut evaluating, mut played) = (Evaluating::new(rows, episodes), Vec::new());
    let mut exceeded = false;
    while evaluating.result().is_none() && !exceeded && !shared.stop.load(Ordering::Relaxed) {
        for episode in evaluating.round(environment, &policy, || seeds.next_seed())? {
            match &episode {
                Ok(()) => limits.failed_evaluations.end(),
                Err(_) => exceeded |= !limits.failed_evaluations.goes_on(limits.tolerated),
            }
            played.push(episode);
        }
    }
    Ok((Evaluated { played, evaluation: evaluating.result(), seeds }, exceeded))
}
