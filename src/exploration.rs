//! The noise with which the behaviour policy explores.

use serde::{Deserialize, Serialize};

use crate::rng::Rng;

/// How the noise of one action hangs together with that of the next. Each action's by itself is standard normal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Exploration {
    /// Not at all. Over a few steps such noise averages out, and a body with inertia hardly moves.
    #[default]
    White,
    /// Its power falls as 1 / frequency: swings of every length up to hundreds of steps (Eberhard et al., "Pink Noise Is All
    /// You Need", ICLR 2023). For one environment at a time: the noise goes on from each call of
    /// [`MpoAgent::act`](crate::MpoAgent::act) to the next.
    Pink,
}

/// Time constants in steps, two octaves apart. As many autoregressive processes of equal power add up to pink noise between
/// the periods of the first and the last.
const TIME_CONSTANTS: [f32; 5] = [0.0, 4.0, 16.0, 64.0, 256.0];

/// A source of such noise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Noise {
    rng: Rng,
    /// The state of each process for each component of the action, process after process; empty before the first action
    /// and for white noise.
    processes: Vec<f32>,
}

impl Noise {
    pub(crate) fn new(rng: Rng) -> Self {
        Self { rng, processes: Vec::new() }
    }

    /// Whether it can go on with actions of `n` components.
    pub(crate) fn fits(&self, n: usize) -> bool {
        self.processes.is_empty() || self.processes.len() == n * TIME_CONSTANTS.len()
    }

    /// The noise of the next action, of `n` components.
    pub(crate) fn next(&mut self, exploration: Exploration, n: usize) -> Vec<f32> {
        match exploration {
            Exploration::White => self.rng.normals(n),
            Exploration::Pink => self.next_pink(n),
        }
    }

    fn next_pink(&mut self, n: usize) -> Vec<f32> {
        let fresh = self.rng.normals(n * TIME_CONSTANTS.len());
        if self.processes.is_empty() {
            self.processes = fresh;
        } else {
            let processes = self.processes.chunks_mut(n).zip(fresh.chunks(n));
            for (time_constant, (process, fresh)) in TIME_CONSTANTS.into_iter().zip(processes) {
                // exp(-1 / 0) = 0: the first process is white.
                let kept = (-1.0 / time_constant).exp();
                let renewed = (1.0 - kept * kept).sqrt();
                process.iter_mut().zip(fresh).for_each(|(state, z)| *state = kept * *state + renewed * z);
            }
        }
        let share = (TIME_CONSTANTS.len() as f32).sqrt().recip();
        let sum = |component| self.processes.iter().skip(component).step_by(n).sum::<f32>() * share;
        (0..n).map(sum).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    /// Standard normal at each step, and correlated over `lag` steps as the sum of the processes is in closed form.
    #[test]
    fn has_the_correlations_of_its_colour() {
        const STEPS: usize = 400_000;
        for exploration in [Exploration::White, Exploration::Pink] {
            let mut noise = Noise::new(Rng::stream(3, Stream::Exploration));
            let mut components = [Vec::new(), Vec::new()];
            for _ in 0..STEPS {
                let numbers = noise.next(exploration, components.len());
                components
                    .iter_mut()
                    .zip(numbers)
                    .for_each(|(series, number)| series.push(f64::from(number)));
            }
            let correlation = |one: &[f64], other: &[f64]| {
                let products = one.iter().zip(other).map(|(one, other)| one * other);
                products.sum::<f64>() / one.len().min(other.len()) as f64
            };
            for series in &components {
                assert!(correlation(series, &[1.0; STEPS]).abs() < 0.05, "{exploration:?}");
                assert!((correlation(series, series) - 1.0).abs() < 0.05, "{exploration:?}");
                for lag in [1, 3, 10, 30, 100] {
                    let expected: f64 = match exploration {
                        Exploration::White => 0.0,
                        Exploration::Pink => {
                            let slow = [4.0, 16.0, 64.0, 256.0];
                            slow.map(|time: f64| (-f64::from(lag) / time).exp() / 5.0).iter().sum()
                        }
                    };
                    let measured = correlation(series, &series[lag as usize..]);
                    assert!((measured - expected).abs() < 0.05, "{exploration:?}, {lag}: {measured}");
                }
            }
            let across = correlation(&components[0], &components[1]);
            assert!(across.abs() < 0.05, "{exploration:?}: the components hang together, {across}");
        }
    }
}
