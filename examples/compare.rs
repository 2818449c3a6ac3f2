//! Draws the learning curves of several runs in one picture: a mean for each group of runs, with its 95%
//! confidence band.
//!
//! ```text
//! cargo run --release --example compare -- default=runs/cartpole-1,runs/cartpole-2 bold=runs/bold-1,runs/bold-2
//! cargo run --release --example compare -- one=runs/a other=runs/b --columns mean_return,kl,standard_deviation
//! ```

#[path = "common/curves.rs"]
mod curves;

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Parser;
use curves::{Run, at_step, read_run};
use plotters::coord::Shift;
use plotters::prelude::*;

/// Draws the learning curves of several runs, with confidence bands.
#[derive(Parser)]
struct Cli {
    /// A name and the folders of its runs, one for each seed, as NAME=FOLDER,FOLDER.
    #[arg(required = true, value_parser = group, value_name = "NAME=FOLDER,..")]
    groups: Vec<Group>,
    /// The picture.
    #[arg(long, default_value = "runs/comparison.svg")]
    out: PathBuf,
    /// What is drawn, a panel each: columns of evaluations.csv or metrics.csv, as the runs' folders have
    /// them.
    #[arg(long, default_value = "mean_return", value_delimiter = ',')]
    columns: Vec<String>,
}

#[derive(Clone)]
struct Group {
    name: String,
    folders: Vec<PathBuf>,
}

fn group(text: &str) -> Result<Group, String> {
    let (name, folders) =
        text.split_once('=').ok_or("accepted: NAME=FOLDER,FOLDER, as default=runs/a,runs/b")?;
    Ok(Group { name: name.into(), folders: folders.split(',').map(PathBuf::from).collect() })
}

/// The mean of a group's runs at an environment step, and how far it may be off.
struct Point {
    env_steps: f64,
    mean: f64,
    /// Half the width of the 95% confidence interval; 0 where there is a single run, which says nothing of
    /// it.
    reach: f64,
}

/// At the steps of the first run, as far as all go.
fn points(runs: &[Run]) -> Vec<Point> {
    let point = |&(env_steps, ..): &(f64, f64, f64)| {
        let values = runs.iter().map(|run| at_step(run, env_steps)).collect::<Option<Vec<_>>>()?;
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance =
            values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        Some(Point { env_steps, mean, reach: quantile(values.len()) * (variance / count).sqrt() })
    };
    runs.first().into_iter().flatten().filter_map(point).collect()
}

fn count(runs: usize) -> String {
    format!("{runs} run{}", if runs == 1 { "" } else { "s" })
}

/// The 97.5% quantile of Student's t for this many runs.
fn quantile(runs: usize) -> f64 {
    const QUANTILES: [f64; 19] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
        2.131, 2.120, 2.110, 2.101, 2.093,
    ];
    match runs {
        0 | 1 => 0.0,
        _ => QUANTILES.get(runs - 2).copied().unwrap_or(2.09),
    }
}

/// A column of whichever of a run's files has it.
fn read(folder: &Path, column: &str) -> Result<Run, String> {
    let file = |name| {
        let path = folder.join(name);
        read_run(&path, column).map_err(|error| format!("{}: {error}", path.display()))
    };
    file("evaluations.csv")
        .or_else(|first| file("metrics.csv").map_err(|second| format!("{first}; {second}")))
}

/// A group's name, its number of runs and what is drawn of them.
struct Curve {
    name: String,
    runs: usize,
    points: Vec<Point>,
}

fn curve(Group { name, folders }: &Group, column: &str) -> Result<Curve, String> {
    let runs = folders.iter().map(|folder| read(folder, column)).collect::<Result<Vec<_>, _>>()?;
    let points = points(&runs);
    let last = points.last().ok_or_else(|| format!("{name}: no step that all its runs have"))?;
    let digits = (3.0 - last.mean.abs().max(1e-6).log10().floor()).max(0.0) as usize;
    let reach = if runs.len() > 1 { format!(" ± {:.digits$}", last.reach) } else { String::new() };
    let (count, mean, steps) = (count(runs.len()), last.mean, last.env_steps);
    println!("{name}, {count}: {column} {mean:.digits$}{reach} after {steps} steps");
    Ok(Curve { name: name.clone(), runs: runs.len(), points })
}

const PANEL: (u32, u32) = (900, 500);
const SMALL_PANEL: (u32, u32) = (520, 300);

fn main() -> Result<(), Box<dyn Error>> {
    let Cli { groups, out, columns } = Cli::parse();
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let (across, (width, height)) = if columns.len() > 1 { (2, SMALL_PANEL) } else { (1, PANEL) };
    let down = columns.len().div_ceil(across);
    let root = SVGBackend::new(&out, (width * across as u32, height * down as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    for (column, panel) in columns.iter().zip(root.split_evenly((down, across))) {
        let curves = groups.iter().map(|group| curve(group, column)).collect::<Result<Vec<_>, _>>()?;
        draw(&panel, column, &curves)?;
    }
    root.present()?;
    println!("{}", out.display());
    Ok(())
}

fn draw(
    panel: &DrawingArea<SVGBackend, Shift>,
    column: &str,
    curves: &[Curve],
) -> Result<(), Box<dyn Error>> {
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let steps = all().map(|point| point.env_steps).fold(1.0, f64::max);
    let low = all().map(|point| point.mean - point.reach).fold(0.0, f64::min);
    let high = all().map(|point| point.mean + point.reach).fold(f64::MIN_POSITIVE, f64::max);
    let mut chart = ChartBuilder::on(panel)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..steps, low..high + 0.05 * (high - low))?;
    chart
        .configure_mesh()
        .x_desc("environment steps")
        .y_desc(column.replace('_', " "))
        .x_label_formatter(&|steps| format!("{}k", steps / 1000.0))
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 14))
        .draw()?;
    for (index, Curve { name, runs, points }) in curves.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        let above = points.iter().map(|point| (point.env_steps, point.mean + point.reach));
        let below = points.iter().rev().map(|point| (point.env_steps, point.mean - point.reach));
        let band: Vec<_> = above.chain(below).collect();
        chart.draw_series([Polygon::new(band, colour.mix(0.15))])?;
        let means = points.iter().map(|point| (point.env_steps, point.mean));
        chart
            .draw_series(LineSeries::new(means, colour.stroke_width(2)))?
            .label(format!("{name}, {}", count(*runs)))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .label_font(("sans-serif", 14))
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}
