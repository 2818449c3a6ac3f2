//! The side of a run that learns: agent, replay, and who hears of it. It takes what happened in an
//! environment, which it does not know.

use std::time::{Duration, Instant};

use super::config::TrainerConfig;
use super::events::Events;
use super::failures::InARow;
use super::state::{Episode, Row, State};
use crate::acting::{Happening, updates_due};
use crate::agent::MpoAgent;
#[cfg(feature = "distributed")]
use crate::distributed::{
    arrivals::{Arrivals, Sums},
    following::{Followed, Following},
};
use crate::error::{Error, Result};
use crate::experience::replay::ReplayBuffer;
#[cfg(feature = "distributed")]
use crate::learner::Learner;
use crate::learner::metrics::Metrics;
use crate::networks::{Actor, Critic};
use crate::rng::Rng;
use crate::run::checkpoints::Checkpoints;
use crate::run::observer::{Evaluation, Event, Progress, StopReason};
use crate::run::timing::{Reactions, Timing};

pub(super) struct Run<A: Actor, C: Critic> {
    pub config: TrainerConfig,
    pub agent: MpoAgent<A, C>,
    pub replay: ReplayBuffer,
    /// All else that is saved.
    pub state: State,
    pub goal: Goal,
    pub events: Events,
    /// How the run has ended, until the observers and the caller are told.
    pub ended: Option<(StopReason, Option<Evaluation>)>,
    pub checkpoints: Option<Checkpoints>,
    /// The step of the latest checkpoint, this run's or the one it was resumed from.
    pub saved: Option<u64>,
    /// The step at which a checkpoint was last tried.
    pub save_tried: u64,
    pub failed_saves: InARow,
    /// While it runs, up to when its seconds are counted.
    pub counted_until: Option<Instant>,
    /// In real time: since the last report of metrics, and since the run's beginning.
    pub reactions: Option<[Reactions; 2]>,
    /// From collectors since the last report of metrics.
    #[cfg(feature = "distributed")]
    pub arrivals: Sums,
    /// Those that there are.
    #[cfg(feature = "distributed")]
    pub collectors: usize,
    /// Whether it is collectors that act.
    #[cfg(feature = "distributed")]
    pub collected_here: bool,
    /// The way to the chief whose updates are taken part in, if that is how it learns.
    #[cfg(feature = "distributed")]
    pub following: Option<Following<A, C>>,
    /// Whether that chief has ended.
    pub chief_ended: bool,
    /// While learning cannot go on, when the observers were last told of it, or when that began.
    #[cfg(feature = "distributed")]
    pub waiting_told: Option<Instant>,
}

/// How far a run goes.
#[derive(Clone, Copy)]
pub(super) struct Goal {
    /// Evaluations up to this step do not end it: whoever asks for more steps knows of them.
    pub after: u64,
    pub until: u64,
}

impl<A: Actor, C: Critic> Run<A, C> {
    pub fn steps(&self) -> u64 {
        self.state.counts.environment_steps
    }

    /// Takes note of all that happened, whatever fails.
    ///
    /// # Errors
    /// If the environment has failed in a row more often one after another than the settings tolerate.
    pub fn take_all(&mut self, happened: Vec<Happening>) -> Result<()> {
        let mut taken = Ok(());
        for happening in happened {
            taken = taken.and(self.take(happening));
        }
        taken
    }

    fn take(&mut self, happening: Happening) -> Result<()> {
        match happening {
            Happening::Began { row, seed, observation } => {
                self.replay.stream(row)?.begin_episode(&observation)?;
                self.row(row).episode = Some(Episode { seed, steps: 0, sum: 0.0 });
            }
            Happening::Stepped { row, action, step } => {
                self.replay.stream(row)?.push(&action, &step)?;
                self.state.counts.environment_steps += 1;
                let row = self.row(row);
                if let Some(episode) = &mut row.episode {
                    episode.steps += 1;
                    episode.sum += f64::from(step.reward);
                    if step.is_last() {
                        let sum = episode.sum;
                        row.failed_episodes.end();
                        row.episode = None;
                        self.state.returns.push(sum);
                    }
                }
            }
            Happening::Failed { row, error } => {
                tracing::debug!(row, "an episode failed");
                self.row(row).episode = None;
                #[cfg(feature = "distributed")]
                if self.collected_here {
                    // How many are too many is for the collector to say.
                    tracing::warn!(%error, "an episode failed in a collector");
                    self.state.counts.failed_episodes = self.state.counts.failed_episodes.saturating_add(1);
                    self.push(Event::EpisodeFailed);
                    return Ok(());
                }
                self.tolerate(error, |state| &mut state.rows[row].failed_episodes)?;
            }
        }
        Ok(())
    }

    /// A row of the environment, or of a collector's.
    fn row(&mut self, row: usize) -> &mut Row {
        #[cfg(feature = "distributed")]
        if self.collected_here
            && let Some(collected) = &mut self.state.collected
        {
            return &mut collected.rows[row];
        }
        &mut self.state.rows[row]
    }

    /// Takes note of an episode that an environment failed in, unless that is one too many in a row.
    pub fn tolerate(&mut self, error: Error, in_a_row: impl Fn(&mut State) -> &mut InARow) -> Result<()> {
        self.state.counts.failed_episodes = self.state.counts.failed_episodes.saturating_add(1);
        let tolerated = self.config.tolerated_failed_episodes;
        let counted = in_a_row(&mut self.state).add(error, tolerated);
        self.push(Event::EpisodeFailed);
        counted
    }

    /// Leaves the episodes under way; what was stored of them stays.
    pub fn leave_episodes(&mut self) {
        self.state.rows.iter_mut().for_each(|row| row.episode = None);
    }

    /// The updates that are due after the latest step, those made included.
    pub fn updates_due(&self) -> u64 {
        if self.waits_no_more() {
            return self.state.counts.updates;
        }
        updates_due(self.steps(), self.config.warm_up_steps, self.config.updates_per_step)
    }

    /// As many updates as are due after the latest step.
    pub fn learn(&mut self) -> Result<()> {
        while self.state.counts.updates < self.updates_due() {
            self.update()?;
        }
        Ok(())
    }

    /// An update, made or refused.
    pub fn update(&mut self) -> Result<()> {
        // Beside the run, so that after an error the same batch is drawn.
        let mut samples = self.state.replay_samples.clone();
        match self.updated(&mut samples) {
            Ok(None) => {}
            Ok(Some(metrics)) => {
                self.state.replay_samples = samples;
                self.state.metrics.add(&metrics);
                self.state.counts.updates += 1;
                self.state.counts.iterations = self.agent.iterations();
                self.state.refused_updates.end();
            }
            Err(error) => {
                let Error::NonFinite { place, .. } = error else { return Err(error) };
                self.state.replay_samples = samples;
                let refused = &mut self.state.counts.refused_updates;
                *refused = refused.saturating_add(1);
                let tolerated = self.config.tolerated_refused_updates;
                let counted = self.state.refused_updates.add(error, tolerated);
                self.push(Event::UpdateRefused { cause: place });
                counted?;
            }
        }
        Ok(())
    }

    /// An update from a batch drawn by `samples`, here or together with others; none if their chief has
    /// ended, or an observer says stop while it is waited for.
    fn updated(&mut self, samples: &mut Rng) -> Result<Option<Metrics>> {
        #[cfg(feature = "distributed")]
        while let Some(following) = &mut self.following {
            let replay = &self.replay;
            let draw = |learner: &Learner<A, C>| learner.sample(replay, samples);
            let followed = following.update(self.agent.learner(), draw)?;
            if let Followed::Waiting = followed {
                self.wait()?;
                if self.events.stop {
                    return Ok(None);
                }
                continue;
            }
            self.waiting_told = None;
            if let Some(learner) = following.learner() {
                self.agent.follow(learner.clone());
            }
            return Ok(match followed {
                Followed::Updated(metrics) => Some(metrics),
                Followed::Waiting | Followed::Over => {
                    self.chief_ended = true;
                    None
                }
            });
        }
        let batch = self.agent.sample(&self.replay, samples)?;
        self.agent.update(&batch).map(Some)
    }

    /// Tells the observers now and then that learning waits, so that one may stop it.
    #[cfg(feature = "distributed")]
    pub fn wait(&mut self) -> Result<()> {
        let told = *self.waiting_told.get_or_insert_with(Instant::now);
        if told.elapsed() >= Duration::from_secs(1) {
            self.waiting_told = Some(Instant::now());
            self.push(Event::Waiting);
        }
        self.tell()
    }

    /// Whether no update is waited for any more.
    fn waits_no_more(&self) -> bool {
        #[cfg(feature = "distributed")]
        if self.following.is_some() {
            return self.chief_ended || self.events.stop;
        }
        false
    }

    /// Tells the observers of the latest steps, once, and sees what is due after them.
    pub fn report_steps(&mut self) -> Result<()> {
        let (before, steps) = (self.state.reported, self.steps());
        if before < steps {
            self.state.reported = steps;
            let gone_by = |period: u64| steps / period > before / period;
            let evaluated = self.config.evaluation_episodes > 0;
            self.state.evaluation_due |= evaluated && gone_by(self.config.evaluation_period);
            self.push(Event::Step);
            for episode_return in std::mem::take(&mut self.state.returns) {
                self.push(Event::Episode { episode_return });
            }
            if gone_by(self.config.metrics_period) {
                self.report_metrics()?;
            }
        }
        self.tell()
    }

    /// Begins to take the time of what is done in real time.
    pub fn begin_timing(&mut self, late: Duration) {
        self.reactions = Some([Reactions::new(late), Reactions::new(late)]);
    }

    /// The environment steps whose updates are still to be made.
    fn steps_behind(&self) -> f64 {
        let updates = self.updates_due().saturating_sub(self.state.counts.updates);
        if updates > 0 { updates as f64 / self.config.updates_per_step } else { 0.0 }
    }

    /// How the run kept up with the clock, if it was in real time.
    pub fn timing(&self) -> Option<Timing> {
        self.reactions.as_ref().and_then(|[_, run]| run.timing(self.steps_behind()))
    }

    /// What came from collectors, if it is they that act.
    #[cfg(feature = "distributed")]
    pub fn arrivals(&self) -> Option<Arrivals> {
        self.state.collected.as_ref().map(|collected| collected.sums.arrivals(self.collectors))
    }

    /// Tells the observers of the metrics of the updates since the last report, if there were any, and of the
    /// time that acting took.
    pub fn report_metrics(&mut self) -> Result<()> {
        let behind = self.steps_behind();
        let period = self.reactions.as_mut().and_then(|[period, _]| {
            let timing = period.timing(behind);
            *period = period.anew();
            timing
        });
        period.into_iter().for_each(|timing| self.push(Event::Timing(timing)));
        #[cfg(feature = "distributed")]
        if self.collected_here {
            let arrivals = std::mem::take(&mut self.arrivals).arrivals(self.collectors);
            self.push(Event::Arrivals(arrivals));
        }
        if let Some(metrics) = self.state.metrics.take() {
            self.state.metrics_reported = Some(self.steps());
            self.push(Event::Metrics(metrics));
        }
        self.tell()
    }

    /// Takes note of an evaluation, and tells the observers.
    pub fn report_evaluation(&mut self, evaluation: Evaluation) -> Result<()> {
        if std::mem::take(&mut self.state.evaluation_due) {
            self.state.evaluated = self.steps();
        }
        self.state.evaluations.push((self.steps(), evaluation));
        self.push(Event::Evaluation(evaluation));
        self.tell()
    }

    /// The evaluation made after the latest step, if there was one.
    pub fn latest_evaluation(&self) -> Option<Evaluation> {
        let latest = self.state.evaluations.last().filter(|latest| latest.0 == self.steps());
        latest.map(|&(_, evaluation)| evaluation)
    }

    /// Whether the run is at its end.
    pub fn end(&self) -> Option<StopReason> {
        let evaluated = self.state.evaluated == self.steps() && self.steps() > self.goal.after;
        let goal = self.config.stop_at_return.filter(|_| evaluated);
        let latest = self.latest_evaluation().map(|latest| latest.mean_return);
        if goal.zip(latest).is_some_and(|(goal, latest)| latest >= goal) {
            Some(StopReason::Return)
        } else if self.chief_ended {
            Some(StopReason::Chief)
        } else if self.events.stop {
            Some(StopReason::Observer)
        } else if self.steps() >= self.goal.until {
            Some(StopReason::Steps)
        } else {
            None
        }
    }

    /// Takes note of an event for the observers.
    pub fn push(&mut self, event: Event) {
        self.count_seconds();
        self.events.push(event, self.state.counts);
    }

    /// Tells the observers what they have not heard of.
    pub fn tell(&mut self) -> Result<()> {
        self.events.tell(|counts| Progress {
            counts,
            total_environment_steps: self.goal.until,
            replay: &self.replay,
            evaluations: &self.state.evaluations,
            policy: self.agent.policy(),
        })
    }

    /// Brings the seconds up to now, while it runs.
    pub fn count_seconds(&mut self) {
        if let Some(until) = &mut self.counted_until {
            let now = Instant::now();
            self.state.counts.seconds += (now - std::mem::replace(until, now)).as_secs_f64();
        }
    }
}
