//! Draws the replication paper's figures 3, 4 and 5 from the evaluations and metrics of several seeds.
//!
//! ```text
//! cargo run --release --example figures
//! ```
//!
//! RESULTS holds runs either as the example `control_suite` leaves them, in folders `<task>-<preset>-<seed>`,
//! or as this project keeps them: evaluations as `<task>-<preset>-<seed>.csv`, metrics as
//! `metrics/<task>-<preset>-<seed>.csv`. Figures without any data are left out.

#[path = "common/curves.rs"]
mod curves;

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Parser;
use curves::{at_step, read_run};
use mpo::MpoConfig;
use plotters::coord::Shift;
use plotters::prelude::*;

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws the replication paper's figures 3, 4 and 5.
#[derive(Parser)]
struct Cli {
    /// The folder of the runs or their CSV files: `runs` for your own.
    #[arg(long, default_value = "docs/results")]
    results: PathBuf,
    /// The folder for the figures.
    #[arg(long, default_value = "docs/figures")]
    out: PathBuf,
}

const PANEL: (u32, u32) = (560, 360);

fn main() -> Result<()> {
    let Cli { results, out } = Cli::parse();
    if !results.is_dir() {
        return Err(format!("there is no folder {}", results.display()).into());
    }
    std::fs::create_dir_all(&out)?;
    for preset in ["paper", "simulation"] {
        for (figure, tasks) in [
            ("figure3", [("cartpole-balance", "Cartpole balance"), ("acrobot-swingup", "Acrobot swingup")]),
            ("figure4", [("hopper-stand", "Hopper stand"), ("hopper-hop", "Hopper hop")]),
        ] {
            let panels = tasks.map(|(task, title)| Panel { task, preset, title, quantity: Quantity::Return });
            draw(&out.join(format!("{figure}-{preset}.svg")), &results, &panels)?;
        }
    }
    let panel = |preset, title, quantity| Panel { task: "hopper-stand", preset, title, quantity };
    let panels = [
        panel("paper-unstable", "Hopper stand, dual as in eq. 8", Quantity::Return),
        panel("paper", "Hopper stand, stable dual (eq. 14)", Quantity::Return),
        panel("paper-unstable", "Temperature, dual as in eq. 8", Quantity::Temperature),
        panel("paper", "Temperature, stable dual (eq. 14)", Quantity::Temperature),
    ];
    draw(&out.join("figure5.svg"), &results, &panels)
}

/// One diagram: a quantity of a task and a preset.
struct Panel {
    task: &'static str,
    preset: &'static str,
    title: &'static str,
    quantity: Quantity,
}

#[derive(Clone, Copy)]
enum Quantity {
    Return,
    Temperature,
}

impl Quantity {
    fn column(self) -> &'static str {
        match self {
            Self::Return => "mean_return",
            Self::Temperature => "temperature",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Return => "mean return",
            Self::Temperature => "temperature \u{3b7}",
        }
    }

    /// Where a run of this name has it in the folder of results.
    fn file(self, results: &Path, run: &str) -> PathBuf {
        let folder = results.join(run);
        match (self, folder.is_dir()) {
            (Self::Return, true) => folder.join("evaluations.csv"),
            (Self::Return, false) => results.join(format!("{run}.csv")),
            (Self::Temperature, true) => folder.join("metrics.csv"),
            (Self::Temperature, false) => results.join("metrics").join(format!("{run}.csv")),
        }
    }
}

/// Draws panels two in a row; nothing where none has data.
fn draw(path: &Path, results: &Path, panels: &[Panel]) -> Result<()> {
    let curves = panels.iter().map(|panel| Curve::read(results, panel)).collect::<Result<Vec<_>>>()?;
    if curves.iter().all(Option::is_none) {
        println!("no data for {}", path.display());
        return Ok(());
    }
    let rows = panels.len().div_ceil(2);
    let root = SVGBackend::new(path, (2 * PANEL.0, rows as u32 * PANEL.1)).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, (panel, curve)) in root.split_evenly((rows, 2)).iter().zip(panels.iter().zip(&curves)) {
        match curve {
            Some(curve) => curve.draw(area, panel)?,
            None => area.titled(&format!("{}: no data", panel.title), ("sans-serif", 18)).map(drop)?,
        }
    }
    root.present()?;
    println!("{}", path.display());
    Ok(())
}

/// The seeds at an environment step.
struct Point {
    env_steps: f64,
    updates: f64,
    median: f64,
    low: f64,
    high: f64,
}

/// A quantity over a training, of all seeds.
struct Curve {
    points: Vec<Point>,
    seeds: usize,
}

impl Curve {
    /// The seeds' runs of a panel, as far as all of them go, at the steps of the first; `None` where there is
    /// no run.
    fn read(results: &Path, panel: &Panel) -> Result<Option<Self>> {
        let prefix = format!("{}-{}-", panel.task, panel.preset);
        let mut runs = Vec::new();
        for seed in seeds(results, &prefix)? {
            let path = panel.quantity.file(results, &format!("{prefix}{seed}"));
            if path.exists() {
                let run = read_run(&path, panel.quantity.column())
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                match run.is_empty() {
                    true => println!(
                        "{}: left out, as it holds no {} yet",
                        path.display(),
                        panel.quantity.column()
                    ),
                    false => runs.push(run),
                }
            }
        }
        let Some(first) = runs.first() else {
            return Ok(None);
        };
        let point = |&(env_steps, updates, _): &(f64, f64, f64)| {
            let mut values = runs.iter().map(|run| at_step(run, env_steps)).collect::<Option<Vec<_>>>()?;
            values.sort_by(f64::total_cmp);
            let (low, high) = (values[0], values[values.len() - 1]);
            let median = 0.5 * (values[(values.len() - 1) / 2] + values[values.len() / 2]);
            Some(Point { env_steps, updates, median, low, high })
        };
        let points: Vec<_> = first.iter().filter_map(point).collect();
        let Some(last) = points.last() else {
            return Err(format!("the runs {prefix}* have no environment step in common").into());
        };
        let ends = runs.iter().filter_map(|run| run.last()).map(|row| row.0);
        if ends.fold(0.0, f64::max) > last.env_steps {
            println!("{prefix}*: drawn to {} environment steps, the last that all runs have", last.env_steps);
        }
        Ok(Some(Self { points, seeds: runs.len() }))
    }

    fn draw(&self, area: &Area<'_>, panel: &Panel) -> Result<()> {
        let last = &self.points[self.points.len() - 1];
        let lowest = self.points.iter().map(|point| point.low).fold(0.0, f64::min);
        let highest = self.points.iter().map(|point| point.high).fold(f64::MIN_POSITIVE, f64::max);
        // The label lies under the last third of the curve where that is high, else over the first.
        let late = &self.points[2 * self.points.len() / 3..];
        let (iterations_at_0, iterations_at_last) = self.iterations(panel.preset);
        let values = lowest..highest + 0.05 * (highest - lowest);
        let mut chart = ChartBuilder::on(area)
            .caption(panel.title, ("sans-serif", 18))
            .margin(14)
            .margin_right(30)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .top_x_label_area_size(36)
            .build_cartesian_2d(0.0..last.env_steps, values.clone())?
            .set_secondary_coord(iterations_at_0..iterations_at_last, values);
        chart
            .configure_mesh()
            .x_desc("environment steps")
            .y_desc(panel.quantity.description())
            .x_label_formatter(&|steps| format!("{}k", steps / 1000.0))
            .light_line_style(TRANSPARENT)
            .label_style(("sans-serif", 13))
            .draw()?;
        chart
            .configure_secondary_axes()
            .x_desc("iterations")
            .x_label_formatter(&|iterations| format!("{iterations:.0}"))
            .label_style(("sans-serif", 13))
            .draw()?;
        let upper = self.points.iter().map(|point| (point.env_steps, point.high));
        let lower = self.points.iter().rev().map(|point| (point.env_steps, point.low));
        let range: Vec<_> = upper.chain(lower).collect();
        chart
            .draw_series([Polygon::new(range, BLUE.mix(0.15))])?
            .label(format!("range of {} seed{}", self.seeds, if self.seeds == 1 { "" } else { "s" }))
            .legend(|(x, y)| Rectangle::new([(x, y - 5), (x + 18, y + 5)], BLUE.mix(0.15).filled()));
        let median = self.points.iter().map(|point| (point.env_steps, point.median));
        chart
            .draw_series(LineSeries::new(median, BLUE.stroke_width(2)))?
            .label("median")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], BLUE.stroke_width(2)));
        chart
            .configure_series_labels()
            .position(match late.iter().all(|point| point.low > 0.25 * highest) {
                true => SeriesLabelPosition::LowerRight,
                false => SeriesLabelPosition::UpperLeft,
            })
            .label_font(("sans-serif", 13))
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        Ok(())
    }

    /// The iterations (target copies) at no environment step and at the last: the line through first and last
    /// point, as updates come evenly once the warm-up is over.
    fn iterations(&self, preset: &str) -> (f64, f64) {
        let config = if preset.starts_with("paper") { MpoConfig::paper() } else { MpoConfig::default() };
        let period = config.target_period as f64;
        let (first, last) = (&self.points[0], &self.points[self.points.len() - 1]);
        let rate = (last.updates - first.updates) / (last.env_steps - first.env_steps).max(1.0);
        let at = |steps: f64| (last.updates + rate * (steps - last.env_steps)) / period;
        (at(0.0), at(last.env_steps))
    }
}

/// The seeds of the runs whose names begin like this.
fn seeds(results: &Path, prefix: &str) -> Result<BTreeSet<u64>> {
    let mut seeds = BTreeSet::new();
    for entry in std::fs::read_dir(results)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let run = name.strip_suffix(".csv").unwrap_or(&name);
        seeds.extend(run.strip_prefix(prefix).and_then(|seed| seed.parse::<u64>().ok()));
    }
    Ok(seeds)
}
