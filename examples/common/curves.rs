//! Runs as their CSV files have them.

use std::error::Error;
use std::path::Path;

/// Environment steps, updates and a quantity, a row each.
pub type Run = Vec<(f64, f64, f64)>;

/// A run's quantity at an environment step, on the line between the rows around it; `None` beyond the run's
/// ends.
pub fn at_step(run: &[(f64, f64, f64)], env_steps: f64) -> Option<f64> {
    let next = run.partition_point(|row| row.0 < env_steps);
    let after = run.get(next)?;
    if after.0 == env_steps {
        return Some(after.2);
    }
    let before = run.get(next.checked_sub(1)?)?;
    Some(before.2 + (after.2 - before.2) * (env_steps - before.0) / (after.0 - before.0))
}

/// A column of a file; rows without a number in it are left out.
pub fn read_run(path: &Path, column: &str) -> Result<Run, Box<dyn Error>> {
    let mut reader = csv::Reader::from_path(path)?;
    let headers = reader.headers()?.clone();
    let index = |name: &str| {
        let found = headers.iter().position(|header| header == name);
        found.ok_or_else(|| format!("no column {name}"))
    };
    let columns = [index("env_steps")?, index("updates")?, index(column)?];
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record?;
        let [env_steps, updates, value] =
            columns.map(|column| record[column].parse::<f64>().unwrap_or(f64::NAN));
        if value.is_finite() {
            rows.push((env_steps, updates, value));
        }
    }
    Ok(rows)
}
