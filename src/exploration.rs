//! How the behaviour policy explores.

use serde::{Deserialize, Serialize};

use crate::action_space::ActionSpace;
use crate::checks::{check, check_any, check_share};
use crate::error::Result;
use crate::rng::Rng;

/// How a [`Behaviour`](crate::Behaviour) explores: by noise around the policy's mean, and by excursions away
/// from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Exploration {
    /// How the noise is correlated from one action to the next.
    pub noise: NoiseColour,
    /// None leaves them out.
    pub excursions: Option<Excursions>,
}

impl Default for Exploration {
    /// As in the default preset.
    fn default() -> Self {
        Self { noise: NoiseColour::Pink, excursions: None }
    }
}

/// The temporal correlation of the noise. Each action's noise by itself is standard normal; the density from
/// which Retrace has its ratios is that given the noise of the actions before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum NoiseColour {
    /// None. Over a few steps such noise averages out, and a body with inertia hardly moves.
    White,
    /// Its power falls as 1 / frequency: swings of every length up to hundreds of steps (Eberhard et al.,
    /// "Pink Noise Is All You Need", ICLR 2023).
    Pink,
}

/// Phases in which the policy is not asked: each component of the action is at one of its ends, and goes to
/// the other from time to time; a discrete action stays the same, and changes to another one (after
/// temporally extended ε-greedy exploration, arXiv 2006.01782). A body that lies on the ground is thrown
/// about by them as it is not by noise around a mean, and comes upon rewards that are rare.
///
/// Whether a phase is one is drawn at its start, and at that of each episode. The policy counts as informed
/// while the E-step's constraint was active in most of the latest 500 or so updates, so not at first: its
/// temperature then lies above [`EStepConfig::minimum_temperature`](crate::EStepConfig::minimum_temperature),
/// as some action is worth more than another. With
/// [`TemperatureSolver::GradientStep`](crate::TemperatureSolver::GradientStep), which knows no lowest
/// temperature, it counts as informed once some hundred updates are made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Excursions {
    /// The probability of an excursion while the policy is not informed. Accepted: 0 to 1.
    pub uninformed: f64,
    /// The probability once it is. Accepted: 0 to 1.
    pub informed: f64,
    /// The actions of a phase: as many as an episode has, or the body's falls take. Accepted: at least 1.
    pub phase: u64,
    /// How many actions in a row a component stays at one end, in the mean: each goes to its other end with
    /// probability 1 / hold, whatever the others do. Accepted: at least 1. About as many as a limb needs from
    /// one end to the other; 2 tosses a coin each time, 1 changes ends each time.
    pub hold: f64,
}

impl Default for Excursions {
    /// For episodes of 1,000 steps, of 20 to 40 ms each.
    fn default() -> Self {
        Self { uninformed: 0.8, informed: 0.05, phase: 1000, hold: 16.0 }
    }
}

impl Excursions {
    fn validate(&self) -> Result<()> {
        check_share("Excursions::uninformed", self.uninformed)?;
        check_share("Excursions::informed", self.informed)?;
        check_any("Excursions::phase", self.phase)?;
        check("Excursions::hold", self.hold, |&hold| hold >= 1.0 && hold.is_finite(), "at least 1, finite")
    }
}

/// Time constants in steps, two octaves apart. As many autoregressive processes of equal power add up to pink
/// noise between the periods of the first and the last.
const TIME_CONSTANTS: [f32; 5] = [0.0, 4.0, 16.0, 64.0, 256.0];

/// What explores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Explorer {
    config: Exploration,
    rng: Rng,
    /// The state of each process for each component of the action, process after process; empty before the
    /// first action and for white noise.
    processes: Vec<f32>,
    /// [`Learner::informed`](crate::Learner::informed).
    informed: f64,
    /// The actions of this phase that are left.
    left: u64,
    /// Whether this phase is an excursion.
    excursion: bool,
    /// The excursion's action; empty before its first.
    held: Vec<f32>,
}

impl Explorer {
    pub(crate) fn new(config: Exploration, rng: Rng) -> Result<Self> {
        config.excursions.as_ref().map_or(Ok(()), Excursions::validate)?;
        Ok(Self {
            config,
            rng,
            processes: Vec::new(),
            informed: 0.0,
            left: 0,
            excursion: false,
            held: Vec::new(),
        })
    }

    /// Whether it can go on with these settings, and such actions.
    pub(crate) fn fits(&self, config: &Exploration, space: &ActionSpace) -> bool {
        self.config == *config
            && (self.processes.is_empty()
                || self.processes.len() == space.bounded_size() * TIME_CONSTANTS.len())
            && (self.held.is_empty() || space.to_environment(&self.held).is_ok())
    }

    /// One that explores alike with other random numbers, and has done nothing yet.
    pub(crate) fn anew(&self, rng: Rng) -> Self {
        let mut anew = Self { rng, excursion: false, ..self.clone() };
        anew.reset();
        anew
    }

    pub(crate) fn rng(&self) -> &Rng {
        &self.rng
    }

    /// Begins anew, as an episode does.
    pub(crate) fn reset(&mut self) {
        self.processes.clear();
        self.held.clear();
        self.left = 0;
    }

    /// Takes note of how far the policy is [informed](crate::Learner::informed).
    pub(crate) fn judge(&mut self, informed: f64) {
        self.informed = informed;
    }

    /// The next action where it is an excursion's.
    pub(crate) fn excursion(&mut self, space: &ActionSpace) -> Option<Vec<f32>> {
        let Excursions { uninformed, informed, phase, hold } = self.config.excursions?;
        if self.left == 0 {
            self.left = phase;
            let probability = if self.informed > 0.5 { informed } else { uninformed };
            self.excursion = self.rng.uniform(0.0, 1.0) < probability;
            self.held.clear();
        }
        self.left -= 1;
        if !self.excursion {
            return None;
        }
        let (n, counts) = (space.bounded_size(), space.choices().iter().copied());
        if self.held.is_empty() {
            self.held = (0..n).map(|_| if self.rng.normal() > 0.0 { 1.0 } else { -1.0 }).collect();
            self.held.extend(counts.map(|count| self.rng.index(count) as f32));
        } else {
            let (ends, chosen) = self.held.split_at_mut(n);
            for end in ends {
                if self.rng.uniform(0.0, 1.0) < 1.0 / hold {
                    *end = -*end;
                }
            }
            for (chosen, count) in chosen.iter_mut().zip(counts) {
                if self.rng.uniform(0.0, 1.0) < 1.0 / hold {
                    // Any but itself.
                    *chosen = ((*chosen as usize + 1 + self.rng.index(count - 1)) % count) as f32;
                }
            }
        }
        Some(self.held.clone())
    }

    /// The noise of which the next action is made. That of choices is white: their indices have no order in
    /// which neighbours were alike.
    pub(crate) fn noise(&mut self, space: &ActionSpace) -> Noise {
        let n = space.bounded_size();
        let mut noise = match self.config.noise {
            NoiseColour::White => {
                let z = self.rng.normals(n);
                Noise { log_density: log_density(&z, 1.0), z }
            }
            NoiseColour::Pink => self.pink_noise(n),
        };
        noise.z.extend(self.rng.normals(space.choices().len()));
        noise
    }

    fn pink_noise(&mut self, n: usize) -> Noise {
        if n == 0 {
            return Noise { z: Vec::new(), log_density: 0.0 };
        }
        let fresh = self.rng.normals(n * TIME_CONSTANTS.len());
        let begins = self.processes.is_empty();
        self.processes.resize(fresh.len(), 0.0);
        let share = (TIME_CONSTANTS.len() as f32).sqrt().recip();
        // What is new in this step, and its variance: all that is not known from the past.
        let (mut new, mut variance) = (vec![0.0; n], 0.0);
        let processes = self.processes.chunks_mut(n).zip(fresh.chunks(n));
        for (time_constant, (process, fresh)) in TIME_CONSTANTS.into_iter().zip(processes) {
            // exp(-1 / 0) = 0: the first process is white.
            let kept = if begins { 0.0 } else { (-1.0 / time_constant).exp() };
            let renewed = (1.0 - kept * kept).sqrt();
            variance += (renewed * share).powi(2);
            for ((state, z), new) in process.iter_mut().zip(fresh).zip(&mut new) {
                *state = kept * *state + renewed * z;
                *new += renewed * z * share;
            }
        }
        let sum = |component| self.processes.iter().skip(component).step_by(n).sum::<f32>() * share;
        Noise { z: (0..n).map(sum).collect(), log_density: log_density(&new, variance) }
    }
}

/// Noise of one action.
pub(crate) struct Noise {
    /// Standard normal, over all steps.
    pub(crate) z: Vec<f32>,
    /// The logarithm of the density of that for bounded components, given the noise of the actions before.
    pub(crate) log_density: f32,
}

/// Of independent normal numbers around 0.
fn log_density(numbers: &[f32], variance: f32) -> f32 {
    let normaliser = 0.5 * (std::f32::consts::TAU * variance).ln();
    numbers.iter().map(|x| -0.5 * x * x / variance - normaliser).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    /// Standard normal at each step, and correlated over `lag` steps as the sum of the processes is in closed
    /// form.
    #[test]
    fn has_the_correlations_of_its_colour() {
        const STEPS: usize = 400_000;
        for colour in [NoiseColour::White, NoiseColour::Pink] {
            let exploration = Exploration { noise: colour, excursions: None };
            let mut explorer = Explorer::new(exploration, Rng::stream(3, Stream::Exploration)).unwrap();
            let mut components = [Vec::new(), Vec::new()];
            for _ in 0..STEPS {
                let numbers = explorer.noise(&ActionSpace::symmetric(components.len())).z;
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
                assert!(correlation(series, &[1.0; STEPS]).abs() < 0.05, "{colour:?}");
                assert!((correlation(series, series) - 1.0).abs() < 0.05, "{colour:?}");
                for lag in [1, 3, 10, 30, 100] {
                    let expected: f64 = match colour {
                        NoiseColour::White => 0.0,
                        NoiseColour::Pink => {
                            let slow = [4.0, 16.0, 64.0, 256.0];
                            slow.map(|time: f64| (-f64::from(lag) / time).exp() / 5.0).iter().sum()
                        }
                    };
                    let measured = correlation(series, &series[lag as usize..]);
                    assert!((measured - expected).abs() < 0.05, "{colour:?}, {lag}: {measured}");
                }
            }
            let across = correlation(&components[0], &components[1]);
            assert!(across.abs() < 0.05, "{colour:?}: the components are correlated, {across}");
        }
    }
    /// After a reset nothing is left of what went before but where the random numbers are.
    #[test]
    fn an_episode_begins_anew() {
        let excursions = Excursions { uninformed: 0.5, informed: 0.5, ..Excursions::default() };
        for noise in [NoiseColour::White, NoiseColour::Pink] {
            let exploration = Exploration { noise, excursions: Some(excursions) };
            let new = |rng| Explorer::new(exploration.clone(), rng).unwrap();
            let mut used = new(Rng::stream(3, Stream::Exploration));
            for _ in 0..50 {
                used.excursion(&ActionSpace::symmetric(2));
                used.noise(&ActionSpace::symmetric(2));
            }
            used.reset();
            let mut fresh = new(used.rng.clone());
            for _ in 0..50 {
                assert_eq!(
                    used.excursion(&ActionSpace::symmetric(2)),
                    fresh.excursion(&ActionSpace::symmetric(2))
                );
                assert_eq!(
                    used.noise(&ActionSpace::symmetric(2)).z,
                    fresh.noise(&ActionSpace::symmetric(2)).z
                );
            }
        }
    }

    #[test]
    fn excursions_hold_each_component_as_long_as_they_say() {
        const STEPS: usize = 200_000;
        for (hold, n) in [1.0, 1.5, 2.0, 16.0].into_iter().flat_map(|hold| [1, 2, 6].map(|n| (hold, n))) {
            let excursions = Excursions { uninformed: 1.0, informed: 1.0, phase: u64::MAX, hold };
            let exploration = Exploration { noise: NoiseColour::White, excursions: Some(excursions) };
            let mut explorer = Explorer::new(exploration, Rng::stream(3, Stream::Exploration)).unwrap();
            let actions: Vec<Vec<f32>> =
                (0..STEPS).map(|_| explorer.excursion(&ActionSpace::symmetric(n)).unwrap()).collect();
            for component in 0..n {
                let pairs = actions.iter().zip(&actions[1..]);
                let turns = pairs.filter(|(one, next)| one[component] != next[component]).count();
                let held = STEPS as f64 / (turns + 1) as f64;
                assert!((held / hold - 1.0).abs() < 0.04, "{hold}, component {component} of {n}: {held}");
                let mean = actions.iter().map(|action| f64::from(action[component])).sum::<f64>();
                assert!(mean.abs() / (STEPS as f64) < 0.1, "{hold}, component {component} of {n}");
            }
            // Components by themselves: they agree half of the time.
            let agree = |other: usize| actions.iter().filter(|action| action[0] == action[other]).count();
            for other in 1..if hold > 1.0 { n } else { 1 } {
                let share = agree(other) as f64 / STEPS as f64;
                assert!((share - 0.5).abs() < 0.05, "{hold}: components 0 and {other} of {n} agree {share}");
            }
        }
    }

    /// From one state, with many other random numbers: the noise's density as it is seen in them.
    #[test]
    fn says_the_density_of_its_noise_given_the_past() {
        const DRAWS: usize = 100_000;
        for (colour, steps) in
            [(NoiseColour::White, 0), (NoiseColour::White, 9), (NoiseColour::Pink, 0), (NoiseColour::Pink, 9)]
        {
            let exploration = Exploration { noise: colour, excursions: None };
            let mut explorer = Explorer::new(exploration, Rng::stream(3, Stream::Exploration)).unwrap();
            (0..steps).for_each(|_| drop(explorer.noise(&ActionSpace::symmetric(2))));
            let draws: Vec<Noise> = (0..DRAWS as u64)
                .map(|seed| {
                    Explorer { rng: Rng::stream(seed, Stream::Replay), ..explorer.clone() }
                        .noise(&ActionSpace::symmetric(2))
                })
                .collect();
            let mean = |of: &dyn Fn(&Noise) -> f64| draws.iter().map(of).sum::<f64>() / DRAWS as f64;
            let moments = [0, 1].map(|component| {
                let centre = mean(&|noise| f64::from(noise.z[component]));
                (centre, mean(&|noise| (f64::from(noise.z[component]) - centre).powi(2)))
            });
            for noise in &draws[..100] {
                let expected: f64 = moments
                    .iter()
                    .zip(&noise.z)
                    .map(|((centre, variance), z)| {
                        let square = (f64::from(*z) - centre).powi(2) / variance;
                        -0.5 * (square + (std::f64::consts::TAU * variance).ln())
                    })
                    .sum();
                let off = (f64::from(noise.log_density) - expected).abs();
                assert!(off < 0.1, "{colour:?} after {steps}: {}, expected {expected}", noise.log_density);
            }
        }
    }
}
