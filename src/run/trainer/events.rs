//! Events on their way to the observers: each hears every event once and in order, whatever fails.

use std::collections::VecDeque;

use crate::error::Result;
use crate::run::observer::{Counts, Event, Observer, Progress};

/// The observers, and what they have not heard of yet.
#[derive(Default)]
pub(super) struct Events {
    observers: Vec<Box<dyn Observer>>,
    unheard: VecDeque<Unheard>,
    /// How many observers have heard the first of these.
    heard: usize,
    /// Whether an observer has asked to stop since the run went on.
    pub stop: bool,
}

struct Unheard {
    event: Event,
    /// How far the run was when it happened.
    counts: Counts,
    /// The observers there were when it happened, the first of them all.
    audience: usize,
}

impl Events {
    pub fn observe(&mut self, observer: impl Observer + 'static) {
        self.observers.push(Box::new(observer));
    }

    /// Takes note of an event, with the counts of its time.
    pub fn push(&mut self, event: Event, counts: Counts) {
        match event {
            Event::Step => {}
            Event::Evaluation(_) | Event::Finished { .. } => {
                tracing::info!(steps = counts.environment_steps, ?event);
            }
            _ => tracing::debug!(steps = counts.environment_steps, ?event),
        }
        let audience = self.observers.len();
        if audience > 0 {
            self.unheard.push_back(Unheard { event, counts, audience });
        }
    }

    /// Tells the observers what they have not heard of, with the progress at the counts of its time. One that
    /// fails is told again the next time, as are those after it.
    pub fn tell<'a>(&mut self, progress: impl Fn(Counts) -> Progress<'a>) -> Result<()> {
        while let Some(Unheard { event, counts, audience }) = self.unheard.front() {
            let progress = progress(*counts);
            for observer in &mut self.observers[self.heard..*audience] {
                self.stop |= observer.notify(event, &progress)?.is_break();
                self.heard += 1;
            }
            self.unheard.pop_front();
            self.heard = 0;
        }
        Ok(())
    }

    /// Forgets what was not heard, as another run takes the place of this one.
    pub fn clear(&mut self) {
        self.unheard.clear();
        (self.heard, self.stop) = (0, false);
    }
}
