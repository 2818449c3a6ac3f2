//! The learning curve as a picture.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use plotters::prelude::*;

use super::lines::occupied;
use crate::error::{BoxedError, Error, Result};
use crate::files::file::replace;
use crate::run::observer::{Evaluation, Event, Observer, Progress};

/// Draws the mean return over environment steps, with the range from lowest to highest, as an SVG file that
/// grows with every evaluation.
pub struct LearningCurve {
    path: PathBuf,
    title: String,
}

impl LearningCurve {
    /// A curve with this title; the file is written at the first evaluation.
    ///
    /// # Errors
    /// If there is a file already.
    pub fn create(path: impl AsRef<Path>, title: impl Into<String>) -> Result<Self> {
        match path.as_ref().exists() {
            true => Err(occupied(path.as_ref())),
            false => Ok(Self::resume(path, title)),
        }
    }

    /// The curve of a run that was resumed: the next evaluation puts the whole run's in the place of the
    /// file.
    pub fn resume(path: impl AsRef<Path>, title: impl Into<String>) -> Self {
        Self { path: path.as_ref().to_path_buf(), title: title.into() }
    }

    fn draw(&self, evaluations: &[(u64, Evaluation)]) -> Result<String, BoxedError> {
        let last_step = evaluations.last().map_or(1, |&(steps, _)| steps.max(1));
        let lowest = evaluations.iter().map(|(_, e)| e.min_return).fold(f64::INFINITY, f64::min);
        let highest = evaluations.iter().map(|(_, e)| e.max_return).fold(f64::NEG_INFINITY, f64::max);
        // From 0 where no return is negative, and with some room above.
        let low = lowest.min(0.0);
        let high = highest + 0.05 * (highest - low).max(1.0);

        let mut picture = String::new();
        {
            let area = SVGBackend::with_string(&mut picture, (900, 500)).into_drawing_area();
            area.fill(&WHITE)?;
            let mut chart = ChartBuilder::on(&area)
                .caption(&self.title, ("sans-serif", 22))
                .margin(16)
                .x_label_area_size(44)
                .y_label_area_size(64)
                .build_cartesian_2d(0..last_step, low..high)?;
            chart
                .configure_mesh()
                .x_desc("environment steps")
                .y_desc("return of an episode")
                .x_label_formatter(&|steps| format!("{}k", *steps as f64 / 1000.0))
                .light_line_style(TRANSPARENT)
                .label_style(("sans-serif", 14))
                .draw()?;
            let upper = evaluations.iter().map(|&(steps, e)| (steps, e.max_return));
            let lower = evaluations.iter().rev().map(|&(steps, e)| (steps, e.min_return));
            let range: Vec<_> = upper.chain(lower).collect();
            chart
                .draw_series([Polygon::new(range, BLUE.mix(0.15))])?
                .label("lowest to highest")
                .legend(|(x, y)| Rectangle::new([(x, y - 5), (x + 18, y + 5)], BLUE.mix(0.15).filled()));
            let mean = evaluations.iter().map(|&(steps, e)| (steps, e.mean_return));
            chart
                .draw_series(LineSeries::new(mean, BLUE.stroke_width(2)))?
                .label("mean")
                .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], BLUE.stroke_width(2)));
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::LowerRight)
                .label_font(("sans-serif", 14))
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK.mix(0.3))
                .draw()?;
            area.present()?;
        }
        Ok(picture)
    }
}

impl Observer for LearningCurve {
    fn notify(&mut self, event: &Event, progress: &Progress<'_>) -> Result<ControlFlow<()>> {
        if let Event::Evaluation(_) = event {
            let picture = self
                .draw(progress.evaluations)
                .map_err(|source| Error::Observer { name: "LearningCurve", source })?;
            replace(&self.path, |mut file| {
                let written = file.write_all(picture.as_bytes());
                written.map_err(|source| Error::File { path: self.path.clone(), source })
            })?;
        }
        Ok(ControlFlow::Continue(()))
    }
}
