//! A progress bar with the return in it.

use std::ops::ControlFlow;

use indicatif::{HumanCount, ProgressStyle};

use crate::error::Result;
use crate::run::observer::{Event, Observer, Progress};

/// Draws a progress bar on standard error: steps, time left, and the latest evaluation. Each run has a bar of
/// its own. Where standard error is no terminal, such as a log file, it writes a line an evaluation instead.
#[derive(Default)]
pub struct ProgressBar {
    bar: Option<indicatif::ProgressBar>,
}

impl ProgressBar {
    /// A bar that appears with the first step.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Observer for ProgressBar {
    fn notify(&mut self, event: &Event, progress: &Progress<'_>) -> Result<ControlFlow<()>> {
        let steps = progress.counts.environment_steps;
        let bar = self.bar.get_or_insert_with(|| {
            let bar = indicatif::ProgressBar::new(progress.total_environment_steps);
            // The bar takes what the terminal's width leaves: numbers are not to be cut.
            let template = "{wide_bar:.cyan/blue} {human_pos}/{human_len} steps, {eta} left{msg}";
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = bar.with_style(style).with_position(steps);
            // The time left is that of the steps made from here on.
            bar.reset_eta();
            bar
        });
        match event {
            Event::Step => bar.set_position(steps),
            Event::Evaluation(evaluation) => {
                let found = format!(
                    "return {:.0} ({:.0} to {:.0})",
                    evaluation.mean_return, evaluation.min_return, evaluation.max_return
                );
                if bar.is_hidden() {
                    let total = HumanCount(progress.total_environment_steps);
                    let counts = progress.counts;
                    eprintln!(
                        "{}/{total} steps and {} updates in {:.0} s, {found}",
                        HumanCount(steps),
                        HumanCount(counts.updates),
                        counts.seconds
                    );
                }
                bar.set_message(format!(", {found}"));
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
