//! A progress bar with the return in it.

use std::ops::ControlFlow;

use indicatif::ProgressStyle;

use crate::error::Result;
use crate::run::observer::{Event, Observer, Progress};

/// Draws a progress bar on standard error: steps, updates, time left, and the latest mean return. Each run
/// has a bar of its own.
#[derive(Default)]
pub struct ProgressBar {
    bar: Option<indicatif::ProgressBar>,
    evaluation: String,
}

impl ProgressBar {
    /// A bar that appears with the first step.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Observer for ProgressBar {
    fn notify(&mut self, event: &Event, progress: &Progress<'_>) -> Result<ControlFlow<()>> {
        let bar = self.bar.get_or_insert_with(|| {
            let bar = indicatif::ProgressBar::new(progress.total_environment_steps);
            let template = "{bar:40.cyan/blue} {human_pos}/{human_len} steps, {eta} left{msg}";
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = bar.with_style(style).with_position(progress.counts.environment_steps);
            // The time left is that of the steps made from here on.
            bar.reset_eta();
            bar
        });
        match event {
            Event::Step => bar.set_position(progress.counts.environment_steps),
            Event::Evaluation(evaluation) => {
                self.evaluation = format!(
                    ", return {:.0} ({:.0} to {:.0}) after {} updates",
                    evaluation.mean_return,
                    evaluation.min_return,
                    evaluation.max_return,
                    progress.counts.updates
                );
                bar.set_message(self.evaluation.clone());
            }
            Event::Finished { .. } => {
                bar.finish();
                self.bar = None;
            }
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }
}
