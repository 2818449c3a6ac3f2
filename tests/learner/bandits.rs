//! Tasks whose best action is known: it is learnt in every state, however episodes end, whatever else is
//! observed, and in whatever unit the rewards are.

use std::convert::Infallible;

use crate::common::agents::agent;
use crate::common::presets::small;
use crate::common::replays::{random_replay, rng};
use crate::common::tensors::numbers;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use mpo::{
    Action, ActionSpace, Actor, Environment, ImproveAt, MpoConfig, PolicyEvaluation, ReplayBuffer, Step,
    Trainer, TrainerConfig,
};

/// The first observation is 1 or -1, and half of it the best of all first actions, whose return is 1. No
/// other action counts, and all other observations are 0.
#[derive(Debug, Clone)]
struct Bandit {
    steps: usize,
    terminates: bool,
    /// Observed besides, half of the time.
    echo: f32,
    /// The episode whose first observation is this number, whatever it should be.
    wrong: Option<(usize, f32)>,
    episodes: usize,
    side: f32,
    taken: usize,
}

impl Bandit {
    fn new(steps: usize, terminates: bool) -> Self {
        Self { steps, terminates, echo: 0.0, wrong: None, episodes: 0, side: 0.0, taken: 0 }
    }

    fn observation(&self) -> Vec<f32> {
        let echo = if self.taken.is_multiple_of(2) == (self.side > 0.0) { self.echo } else { 2.0 };
        vec![if self.taken == 0 { self.side } else { 0.0 }, echo]
    }
}

impl Environment for Bandit {
    type Error = Infallible;

    fn observation_size(&self) -> usize {
        2
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::symmetric(1)
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>, Infallible> {
        (self.side, self.taken) = (if seed.is_multiple_of(2) { 1.0 } else { -1.0 }, 0);
        self.episodes += 1;
        let mut observation = self.observation();
        if let Some((_, number)) = self.wrong.filter(|(episode, _)| *episode == self.episodes) {
            observation[0] = number;
        }
        Ok(observation)
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, Infallible> {
        let reward = if self.taken == 0 { 1.0 - 4.0 * (action[0] - 0.5 * self.side).powi(2) } else { 0.0 };
        self.taken += 1;
        let last = self.taken == self.steps;
        Ok(Step {
            observation: self.observation(),
            reward,
            terminated: last && self.terminates,
            truncated: last && !self.terminates,
        })
    }
}

/// The mean return of the policy learnt in so many steps, an update each.
fn learnt(environment: Bandit, change: impl FnOnce(&mut MpoConfig), steps: u64) -> f64 {
    let mut config = small(MpoConfig::default());
    (config.critic.network.hidden, config.actor.network.hidden) = (vec![16, 16], vec![16, 16]);
    (config.batch_size, config.sampled_actions) = (32, 10);
    config.m_step.optimizer.learning_rate = 1e-3;
    config.average_rate = 0.02;
    config.target_period = 25;
    change(&mut config);
    let agent = agent(&config, 2, 1, 1);
    let settings = TrainerConfig {
        environment_steps: steps,
        warm_up_steps: 200,
        updates_per_step: 1.0,
        evaluation_period: steps,
        evaluation_episodes: 40,
        seed: 1,
        ..TrainerConfig::default()
    };
    let mut trainer = Trainer::new(settings, agent, environment.clone())
        .and_then(|trainer| trainer.evaluate_in(environment))
        .unwrap();
    trainer.run().unwrap().evaluation.unwrap().mean_return
}

const EVALUATIONS: [PolicyEvaluation; 3] = [
    PolicyEvaluation::NStep { steps: 1 },
    PolicyEvaluation::NStep { steps: 5 },
    PolicyEvaluation::Retrace { steps: 8, lambda: 1.0 },
];

/// Episodes shorter than the critic's targets and sequences, cut off or terminated.
#[test]
fn episodes_of_one_step_are_learnt() {
    for terminates in [true, false] {
        for improve_at in [ImproveAt::States, ImproveAt::NextStates] {
            for evaluation in EVALUATIONS {
                let change = |config: &mut MpoConfig| {
                    (config.improve_at, config.evaluation) = (improve_at, evaluation)
                };
                let mean = learnt(Bandit::new(1, terminates), change, 1500);
                assert!(mean > 0.95, "{terminates}, {improve_at:?}, {evaluation:?}: {mean}");
            }
        }
    }
}

/// Nothing leads to an episode's first state: it is improved at all the same.
#[test]
fn the_first_action_is_learnt() {
    for (terminates, steps) in [(true, 20), (false, 20), (false, 3)] {
        for evaluation in &EVALUATIONS[1..] {
            let mean = learnt(Bandit::new(steps, terminates), |config| config.evaluation = *evaluation, 4000);
            assert!(mean > 0.9, "{terminates}, {steps}, {evaluation:?}: {mean}");
        }
    }
}

/// A range finder's "no echo", half of the time.
#[test]
fn what_else_is_observed_does_not_matter() {
    for echo in [1e25, 3e38, -3e38] {
        let mean = learnt(Bandit { echo, ..Bandit::new(1, false) }, |_| (), 2000);
        assert!(mean > 0.95, "{echo}: {mean}");
    }
}

/// A sensor that is wrong once, before the first update or after it, spoils nothing of what it says
/// otherwise.
#[test]
fn one_wrong_observation_does_not_matter() {
    for wrong in [(100, 1e6), (100, 1e25), (700, -3e38)] {
        let environment = Bandit { wrong: Some(wrong), ..Bandit::new(1, false) };
        let mean = learnt(environment, |_| (), 1500);
        assert!(mean > 0.95, "{wrong:?}: {mean}");
    }
}

/// `replay` with every reward times `factor`, after `shift` was added to it, in episodes that are cut off.
fn with_rewards(factor: f32, shift: f32) -> ReplayBuffer {
    let mut rng = rng(3);
    let mut replay = ReplayBuffer::new(1000, 3, 2).unwrap();
    for _ in 0..20 {
        replay.begin_episode(&rng.normals(3)).unwrap();
        for step in 1..=20 {
            let action = rng.normals(2);
            let step = Step {
                observation: rng.normals(3),
                reward: factor * (shift + (action[0] - 0.5).abs().min(2.0)),
                terminated: false,
                truncated: step == 20,
            };
            let log_probability = -action.iter().map(|a| 0.5 * a * a + 0.919).sum::<f32>();
            let action = Action { values: action, log_probability };
            replay.push(&action, &step).unwrap();
        }
    }
    replay
}

/// The policy's means at some states after so many updates.
fn means(config: &MpoConfig, replay: &ReplayBuffer, updates: usize) -> Vec<f32> {
    let mut agent = agent(config, 3, 2, 1);
    let mut rng = rng(1);
    for _ in 0..updates {
        let batch = agent.sample(replay, &mut rng).unwrap();
        agent.update(&batch).unwrap();
    }
    let states = Tensor::<2>::from_floats([[0.0; 3], [1.0, -1.0, 0.5], [-0.3, 2.0, 0.1]], &Device::flex());
    numbers(&agent.actor().valid().policy(states).mean)
}

/// To the last bit, where the unit is another by a power of two.
#[test]
fn the_unit_of_the_rewards_does_not_matter() {
    for evaluation in EVALUATIONS {
        let config = MpoConfig { evaluation, target_period: 10, ..small(MpoConfig::default()) };
        let expected = means(&config, &with_rewards(1.0, 0.0), 100);
        assert_ne!(expected, means(&config, &random_replay(20, 20, 3, 2), 100));
        for power in [-13, -7, 1, 13] {
            let scaled = means(&config, &with_rewards(2_f32.powi(power), 0.0), 100);
            assert_eq!(scaled, expected, "{evaluation:?}, 2^{power}");
        }
    }
}

/// But for how numbers are rounded.
#[test]
fn what_is_added_to_all_rewards_does_not_matter() {
    for evaluation in EVALUATIONS {
        let config = MpoConfig { evaluation, target_period: 10, ..small(MpoConfig::default()) };
        let expected = means(&config, &with_rewards(1.0, 0.0), 100);
        let moved = expected.iter().map(|mean| mean.abs()).fold(0.0, f32::max);
        for shift in [-100.0, -10.0, 10.0] {
            let shifted = means(&config, &with_rewards(1.0, shift), 100);
            let off = expected.iter().zip(&shifted).map(|(one, other)| (one - other).abs());
            let off = off.fold(0.0, f32::max);
            assert!(off < 0.03 * moved, "{evaluation:?}, {shift}: off by {off} of {moved}");
        }
    }
}
