//! The replay as one would write it without a thought for speed: a list of episodes.
//!
//! Every observation is told from every other by its number, every action by the number of the observation it
//! was taken at, so that whatever the replay samples can be looked up here.

use mpo::{Action, ReplayBuffer, Result, Rng, Step};
use proptest::prelude::*;

pub const OBSERVATION_SIZE: usize = 2;
pub const ACTION_SIZE: usize = 2;

pub fn observation(number: usize) -> [f32; OBSERVATION_SIZE] {
    [number as f32, -0.5 * number as f32]
}

pub fn action(number: usize) -> [f32; ACTION_SIZE] {
    [number as f32 + 0.25, 3.0 * number as f32]
}

pub fn log_probability(number: usize) -> f32 {
    -(number as f32) - 0.75
}

/// How an episode ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    Terminated,
    Truncated,
    Both,
    /// It is broken off by the next one's beginning.
    Interrupted,
}

impl End {
    pub fn terminated(self) -> bool {
        matches!(self, Self::Terminated | Self::Both)
    }

    pub fn truncated(self) -> bool {
        matches!(self, Self::Truncated | Self::Both)
    }
}

/// What is to be stored: one reward a step, and the end.
#[derive(Debug, Clone)]
pub struct Script {
    pub rewards: Vec<f32>,
    pub end: End,
}

impl Script {
    pub fn new(steps: usize, end: End) -> Self {
        Self { rewards: (0..steps).map(|step| (step % 5) as f32 - 1.5).collect(), end }
    }
}

/// Episodes of up to `longest` steps; rewards are multiples of 1/8, whose sums are exact.
pub fn scripts(longest: usize) -> impl Strategy<Value = Vec<Script>> {
    let end =
        prop_oneof![Just(End::Terminated), Just(End::Truncated), Just(End::Both), Just(End::Interrupted),];
    let rewards =
        prop::collection::vec((-64_i16..64).prop_map(|reward| f32::from(reward) / 8.0), 0..=longest);
    prop::collection::vec((rewards, end).prop_map(|(rewards, end)| Script { rewards, end }), 1..12)
}

/// A stored observation and the step that leaves it, if one does.
#[derive(Debug, Clone)]
pub struct Held {
    pub number: usize,
    pub step: Option<StepHeld>,
}

#[derive(Debug, Clone, Copy)]
pub struct StepHeld {
    pub reward: f32,
    pub terminated: bool,
}

#[derive(Debug, Clone)]
pub struct Episode {
    stream: usize,
    under_way: bool,
    /// Its latest observation, held or not.
    latest: usize,
    pub held: Vec<Held>,
    pub sum: f64,
    pub complete: bool,
}

impl Episode {
    pub fn steps(&self) -> usize {
        self.held.iter().filter(|held| held.step.is_some()).count()
    }
}

/// The episodes that the replay has to hold.
#[derive(Debug, Clone)]
pub struct Model {
    capacity: usize,
    next: usize,
    pub episodes: Vec<Episode>,
}

/// What a transition from some observation has to be.
#[derive(Debug, PartialEq)]
pub struct Expected {
    pub reward: f64,
    pub discount: f64,
    pub next: usize,
}

impl Model {
    pub fn new(capacity: usize) -> Self {
        Self { capacity, next: 0, episodes: Vec::new() }
    }

    /// Adds the next observation to the episode under way in this stream.
    fn add(&mut self, stream: usize) -> usize {
        let number = self.next;
        self.next += 1;
        let episode = self.under_way(stream).unwrap();
        episode.latest = number;
        episode.held.push(Held { number, step: None });
        if self.episodes.iter().map(|episode| episode.held.len()).sum::<usize>() > self.capacity {
            let first = |episode: &&mut Episode| episode.held.first().map_or(usize::MAX, |held| held.number);
            self.episodes.iter_mut().min_by_key(first).unwrap().held.remove(0);
        }
        self.episodes.retain(|episode| !episode.held.is_empty() || episode.under_way);
        number
    }

    fn under_way(&mut self, stream: usize) -> Option<&mut Episode> {
        self.episodes.iter_mut().find(|episode| episode.under_way && episode.stream == stream)
    }

    /// Begins an episode here and in the replay.
    pub fn begin(&mut self, replay: &mut ReplayBuffer, stream: usize) -> Result<()> {
        if let Some(broken_off) = self.under_way(stream) {
            broken_off.under_way = false;
        }
        let held = Vec::new();
        self.episodes.push(Episode { stream, under_way: true, latest: 0, held, sum: 0.0, complete: false });
        let number = self.add(stream);
        replay.stream(stream)?.begin_episode(&observation(number))
    }

    /// Adds a step here and to the replay.
    pub fn push(
        &mut self,
        replay: &mut ReplayBuffer,
        stream: usize,
        reward: f32,
        end: Option<End>,
    ) -> Result<()> {
        let terminated = end.is_some_and(End::terminated);
        let truncated = end.is_some_and(End::truncated);
        let episode = self.under_way(stream).unwrap();
        let from = episode.latest;
        if let Some(latest) = episode.held.last_mut() {
            latest.step = Some(StepHeld { reward, terminated });
        }
        episode.sum += f64::from(reward);
        let number = self.add(stream);
        let episode = self.under_way(stream).unwrap();
        episode.complete = terminated || truncated;
        episode.under_way = !episode.complete;
        let action = Action { values: action(from).to_vec(), log_probability: log_probability(from) };
        let step = Step { observation: observation(number).to_vec(), reward, terminated, truncated };
        replay.stream(stream)?.push(&action, &step)
    }

    /// Plays whole episodes in several streams, each of which goes on with the next one when its own is
    /// over, `check`ing after each observation. Chance says which stream's turn it is.
    pub fn play(
        &mut self,
        replay: &mut ReplayBuffer,
        scripts: &[Script],
        streams: usize,
        turns: &mut Rng,
        mut check: impl FnMut(&Self, &ReplayBuffer),
    ) {
        let mut scripts = scripts.iter();
        let mut playing: Vec<Option<(&Script, usize)>> = vec![None; streams];
        while playing.iter().any(Option::is_some) || scripts.len() > 0 {
            let stream = turns.index(streams);
            let Some((script, step)) = playing[stream] else {
                let Some(script) = scripts.next() else { continue };
                self.begin(replay, stream).unwrap();
                playing[stream] = (!script.rewards.is_empty()).then_some((script, 0));
                check(self, replay);
                continue;
            };
            let last = step + 1 == script.rewards.len();
            self.push(replay, stream, script.rewards[step], last.then_some(script.end)).unwrap();
            playing[stream] = (!last).then_some((script, step + 1));
            check(self, replay);
        }
    }

    pub fn len(&self) -> usize {
        self.episodes.iter().map(Episode::steps).sum()
    }

    pub fn mean_return(&self) -> Option<f64> {
        let sums: Vec<f64> =
            self.episodes.iter().filter(|episode| episode.complete).map(|episode| episode.sum).collect();
        (!sums.is_empty()).then(|| sums.iter().sum::<f64>() / sums.len() as f64)
    }

    pub fn mean_reward(&self) -> Option<f64> {
        let steps = self.episodes.iter().flat_map(|episode| &episode.held).filter_map(|held| held.step);
        let rewards: Vec<f64> = steps.map(|step| f64::from(step.reward)).collect();
        (!rewards.is_empty()).then(|| rewards.iter().sum::<f64>() / rewards.len() as f64)
    }

    /// The observations that a step follows, in ascending order.
    pub fn starts(&self) -> Vec<usize> {
        let held = self.episodes.iter().flat_map(|episode| &episode.held);
        let mut starts: Vec<usize> =
            held.filter(|held| held.step.is_some()).map(|held| held.number).collect();
        starts.sort_unstable();
        starts
    }

    /// The observations that a step follows, of the episode in which one follows `number`, from there on and
    /// around.
    pub fn around(&self, number: usize) -> impl Iterator<Item = &Held> + Clone {
        let at = |episode: &&Episode| episode.held.iter().any(|held| held.number == number);
        let episode = self.episodes.iter().find(at).unwrap_or_else(|| panic!("{number} is not held"));
        let steps = &episode.held[..episode.steps()];
        let index = steps.iter().position(|held| held.number == number).unwrap();
        steps.iter().cycle().skip(index)
    }

    /// From the observation `number` on, as far as its episode goes.
    pub fn from(&self, number: usize) -> &[Held] {
        let held = self.episodes.iter().find_map(|episode| {
            let index = episode.held.iter().position(|held| held.number == number)?;
            Some(&episode.held[index..])
        });
        held.unwrap_or_else(|| panic!("observation {number} is not held"))
    }

    /// The transition over up to `steps` steps from observation `number`.
    pub fn transition(&self, number: usize, steps: usize, discount: f64) -> Expected {
        let rest = self.from(number);
        let taken: Vec<StepHeld> = rest.iter().take(steps).map_while(|held| held.step).collect();
        let powers = (0..).map(|power| discount.powi(power));
        let reward = taken.iter().zip(powers).map(|(step, power)| power * f64::from(step.reward)).sum();
        let terminated = taken.iter().any(|step| step.terminated);
        let discount = if terminated { 0.0 } else { discount.powi(taken.len() as i32) };
        Expected { reward, discount, next: rest[taken.len()].number }
    }
}
