//! Environments that fail and numbers that overflow: what is tolerated, what is counted, and what is left.

use std::cell::Cell;
use std::panic;
use std::rc::Rc;
use std::sync::Once;
use std::time::Duration;

use crate::common::agents::agent;
use crate::common::networks::{LinearActor, Parabola};
use crate::common::presets::small;
use crate::common::tensors::numbers;
use crate::environments::{Recorder, STEPS};
use crate::trainers::{Heard, everything, listen, quick_agent, short, trainer};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use mpo::networks::CriticLoss;
use mpo::{
    ActionSpace, Actor, Batch, Critic, Environment, Error, Event, Excursions, Exploration, MpoAgent,
    MpoConfig, NoiseColour, PolicyEvaluation, Rng, Step, Stream, Trainer, TrainerConfig, Worker,
};

/// How an environment fails.
#[derive(Clone, Copy, Debug)]
enum Failure {
    Error,
    Panic,
    Observation(f32),
    Reward(f32),
    Size,
}

const FAILURES: [Failure; 7] = [
    Failure::Error,
    Failure::Panic,
    Failure::Observation(f32::NAN),
    Failure::Observation(f32::INFINITY),
    Failure::Reward(f32::NAN),
    Failure::Reward(f32::NEG_INFINITY),
    Failure::Size,
];

/// A recorder whose calls fail where `fails` says so of their number.
#[derive(Clone)]
struct Unsteady {
    recorder: Recorder,
    failure: Failure,
    fails: fn(usize) -> bool,
    calls: Rc<Cell<usize>>,
}

impl Unsteady {
    fn new(failure: Failure, fails: fn(usize) -> bool) -> Self {
        Self { recorder: Recorder::default(), failure, fails, calls: Rc::default() }
    }

    fn failing(&self) -> bool {
        let call = self.calls.get();
        self.calls.set(call + 1);
        let fails = (self.fails)(call);
        if fails && let Failure::Panic = self.failure {
            panic!("call {call} went wrong");
        }
        fails
    }
}

impl Environment for Unsteady {
    type Error = std::io::Error;

    fn observation_size(&self) -> usize {
        2
    }

    fn action_space(&self) -> ActionSpace {
        self.recorder.action_space()
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>, Self::Error> {
        let fails = self.failing();
        let observation = self.recorder.reset(seed).unwrap();
        match self.failure {
            Failure::Observation(value) if fails => Ok(vec![0.0, value]),
            Failure::Size if fails => Ok(vec![0.0]),
            _ if fails => Err(std::io::Error::other("unplugged")),
            _ => Ok(observation),
        }
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, Self::Error> {
        let fails = self.failing();
        let mut step = self.recorder.step(action).unwrap();
        if fails {
            match self.failure {
                Failure::Observation(value) => step.observation[1] = value,
                Failure::Reward(value) => step.reward = value,
                Failure::Size => step.observation.push(0.0),
                Failure::Error | Failure::Panic => return Err(std::io::Error::other("unplugged")),
            }
        }
        Ok(step)
    }
}

/// The panics of these environments are part of the test, their messages only noise; others are told.
pub fn quietly<T>(run: impl FnOnce() -> T) -> T {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !panic.payload_as_str().is_some_and(|message| message.ends_with("went wrong")) {
                tell(panic);
            }
        }));
    });
    run()
}

#[test]
fn failed_episodes_are_left_and_only_whole_steps_are_stored() {
    quietly(|| {
        for failure in FAILURES {
            // Resets and steps at every place in an episode come to fail; evaluations play undisturbed.
            let environment = Unsteady::new(failure, |call| call % 27 == 13 || call % 100 == 0);
            let evaluation = Unsteady::new(failure, |_| false);
            let config = TrainerConfig { tolerated_failed_episodes: 4, updates_per_step: 0.5, ..short(300) };
            let heard = Heard::default();
            let mut trainer = Trainer::new(config, quick_agent(), environment)
                .and_then(|trainer| trainer.evaluate_in(evaluation))
                .unwrap()
                .observe(listen(&heard));
            let summary = trainer.run().unwrap();
            assert_eq!((summary.counts.environment_steps, trainer.replay().len()), (300, 300), "{failure:?}");
            let events = heard.take().into_iter().filter(|(event, _)| *event == Event::EpisodeFailed);
            assert_eq!(events.count() as u64, summary.counts.failed_episodes);
            assert!(summary.counts.failed_episodes >= 10, "{failure:?}: {}", summary.counts.failed_episodes);
            // Every step held leads from one observation of an episode to the next of the same one.
            let held = everything(trainer.replay());
            let (from, to) = (numbers(&held.observations), numbers(&held.next_observations));
            for (from, to) in from.chunks(2).zip(to.chunks(2)) {
                assert_eq!([from[0], from[1] + 1.0], [to[0], to[1]], "{failure:?}");
            }
        }
    });
}

#[test]
fn one_failure_too_many_in_a_row_ends_the_run_and_another_run_goes_on() {
    quietly(|| {
        for (failure, tolerated) in FAILURES.into_iter().flat_map(|failure| [(failure, 0), (failure, 3)]) {
            // The first episode is whole; from then on nothing works until the call 40.
            let environment = Unsteady::new(failure, |call| (25..40).contains(&call));
            let calls = environment.calls.clone();
            let evaluation = Unsteady::new(failure, |_| false);
            let config = TrainerConfig { tolerated_failed_episodes: tolerated, ..short(60) };
            let mut trainer = Trainer::new(config, quick_agent(), environment)
                .and_then(|trainer| trainer.evaluate_in(evaluation))
                .unwrap();
            let error = trainer.run().unwrap_err();
            assert!(
                matches!(error, Error::Environment { .. } | Error::NonFinite { .. } | Error::Size { .. }),
                "{error:?}"
            );
            if let Failure::Panic = failure {
                assert!(error.to_string().contains("it panicked: call "), "{error}");
            }
            assert_eq!(calls.get(), 26 + tolerated as usize, "{failure:?}");
            assert_eq!(trainer.replay().len(), 23);
            calls.set(40);
            let summary = trainer.run().unwrap();
            assert_eq!((summary.counts.environment_steps, trainer.replay().len()), (60, 60));
            assert_eq!(summary.counts.failed_episodes, 1 + u64::from(tolerated));
        }
    });
}

#[test]
fn evaluations_play_another_episode_for_one_that_failed() {
    quietly(|| {
        for failure in FAILURES {
            let evaluation = Unsteady::new(failure, |call| call == 0 || call == 10 || call == 100);
            let steady = Unsteady::new(failure, |_| false);
            let log = evaluation.recorder.log.clone();
            let config = TrainerConfig { tolerated_failed_episodes: 2, ..short(20) };
            let heard = Heard::default();
            let mut trainer = Trainer::new(config, quick_agent(), steady)
                .and_then(|trainer| trainer.evaluate_in(evaluation))
                .unwrap()
                .observe(listen(&heard));
            let evaluation = trainer.evaluate(3).unwrap();
            assert_eq!(evaluation.episodes, 3);
            assert!(Recorder::steps(&log).len() >= 3 * STEPS, "{failure:?}");
            // Episodes are whole: 20 rewards of 0 to 1 each.
            assert!(evaluation.min_return > 0.0 && evaluation.max_return <= 20.0, "{evaluation:?}");
            let summary = trainer.run().unwrap();
            assert_eq!(summary.counts.failed_episodes, 3, "{failure:?}");
            let failed = heard.take().into_iter().filter(|(event, _)| *event == Event::EpisodeFailed);
            assert_eq!(failed.count(), 3, "{failure:?}");
        }
    });
}

/// An environment that fails at some step of some episodes, counted from 0. Its error is whatever its author
/// has.
struct Breaking {
    at: u32,
    length: u32,
    fails: fn(u32) -> bool,
    episode: u32,
    step: u32,
    failures: Rc<Cell<u32>>,
}

impl Breaking {
    fn new(at: u32, length: u32, fails: fn(u32) -> bool) -> Self {
        Self { at, length, fails, episode: 0, step: 0, failures: Rc::default() }
    }
}

impl Environment for Breaking {
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn observation_size(&self) -> usize {
        2
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::symmetric(2)
    }

    fn reset(&mut self, _: u64) -> Result<Vec<f32>, Self::Error> {
        (self.episode, self.step) = (self.episode + 1, 0);
        Ok(vec![0.0, 0.0])
    }

    fn step(&mut self, _: &[f32]) -> Result<Step, Self::Error> {
        self.step += 1;
        if self.step == self.at && (self.fails)(self.episode - 1) {
            self.failures.set(self.failures.get() + 1);
            return Err(format!("the belt slipped at step {}", self.step).into());
        }
        let observation = vec![self.step as f32, 0.0];
        Ok(Step { observation, reward: 1.0, terminated: false, truncated: self.step == self.length })
    }
}

/// Neither environment's whole episodes make up for the other's failures.
#[test]
fn an_environment_that_always_fails_ends_the_run_though_the_other_works() {
    for (at, length, evaluation_period, tolerated) in
        [(101, 200, 400, 5), (3, 20, 5, 3), (1, 20, 7, 4), (20, 20, 20, 2), (7, 20, 3, 0)]
    {
        let config = TrainerConfig {
            evaluation_period,
            evaluation_episodes: 1,
            tolerated_failed_episodes: tolerated,
            ..short(5000)
        };
        let run = |training: fn(u32) -> bool, evaluation: fn(u32) -> bool| {
            let environments = [training, evaluation].map(|fails| Breaking::new(at, length, fails));
            let failures = environments.each_ref().map(|environment| environment.failures.clone());
            let [training, evaluation] = environments;
            let mut trainer = Trainer::new(config.clone(), quick_agent(), training)
                .and_then(|trainer| trainer.evaluate_in(evaluation))
                .unwrap();
            (trainer.run(), trainer.replay().len(), failures.map(|count| count.get()))
        };
        let case = format!("at {at}, every {evaluation_period} steps, {tolerated} tolerated");
        let (result, steps, failures) = run(|_| true, |_| false);
        let error = result.expect_err(&case).to_string();
        assert_eq!(error, format!("the environment failed in step: the belt slipped at step {at}"), "{case}");
        assert_eq!((steps as u32, failures), ((at - 1) * (tolerated + 1), [tolerated + 1, 0]), "{case}");
        let (result, steps, failures) = run(|_| false, |_| true);
        result.expect_err(&case);
        assert_eq!((steps as u64, failures), (evaluation_period, [0, tolerated + 1]), "{case}");
    }
}

/// Nor do the failures of one add to those of the other.
#[test]
fn failures_of_training_and_evaluation_are_counted_apart() {
    let config = TrainerConfig {
        evaluation_period: 4,
        evaluation_episodes: 1,
        tolerated_failed_episodes: 3,
        ..short(60)
    };
    // The evaluation after four steps fails three times, between the second and the third failure of
    // training.
    let training = Breaking::new(3, 20, |episode| episode < 3);
    let evaluation = Breaking::new(5, 20, |episode| episode < 3);
    let summary = Trainer::new(config, quick_agent(), training)
        .and_then(|trainer| trainer.evaluate_in(evaluation))
        .unwrap()
        .run()
        .unwrap();
    assert_eq!((summary.counts.environment_steps, summary.counts.failed_episodes), (60, 6));
}

/// A worker hands on whatever error its environment's author has.
#[test]
fn workers_carry_on_any_error() {
    let make = || Shaking(0);
    let mut worker = Worker::new(make, Duration::from_secs(60)).unwrap();
    worker.reset(1).unwrap();
    assert_eq!(worker.step(&[0.0]).unwrap_err().to_string(), "it shakes");
}

/// An environment whose errors are boxed.
struct Shaking(u8);

impl Environment for Shaking {
    type Error = mpo::BoxedError;

    fn observation_size(&self) -> usize {
        1
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::symmetric(usize::from(self.0))
    }

    fn reset(&mut self, _: u64) -> Result<Vec<f32>, Self::Error> {
        Ok(vec![0.0])
    }

    fn step(&mut self, _: &[f32]) -> Result<Step, Self::Error> {
        Err("it shakes".into())
    }
}

#[test]
fn environments_without_actions_are_refused_by_name() {
    assert_eq!(ActionSpace::symmetric(0).size(), 0);
    let agent = agent(&small(MpoConfig::default()), 1, 1, 1);
    let error = Trainer::new(short(10), agent, Shaking(0))
        .and_then(|trainer| trainer.evaluate_in(Shaking(1)))
        .map(|_| ())
        .unwrap_err();
    assert_eq!(error.to_string(), "Environment::action_space is 0, accepted: at least 1 component");
}

/// After an error an agent acts as if it had not been asked.
#[test]
fn a_refused_action_leaves_no_trace() {
    let fine = [1.0];
    // μ = 1e10 s is beyond all numbers.
    let far = [1e35];
    let excursions = Some(Excursions { uninformed: 0.5, informed: 0.5, phase: 3, hold: 2.0 });
    let mut refused = 0;
    for (noise, excursions) in [NoiseColour::White, NoiseColour::Pink]
        .into_iter()
        .flat_map(|noise| [(noise, None), (noise, excursions)])
    {
        let config = MpoConfig { exploration: Exploration { noise, excursions }, ..MpoConfig::paper() };
        let actor = LinearActor::new([[1e10, 1.0]], 0.3);
        let critic = Parabola::new([[1.0, 1.0]], 1.0);
        let mut agent = MpoAgent::with_networks(config, actor, critic, 1).unwrap();
        let mut spared = agent.clone();
        for step in 0..60 {
            for _ in 0..step % 3 {
                let mut asked = agent.clone();
                // In an excursion the policy is not asked.
                if let Err(error) = asked.act(&far) {
                    assert!(
                        matches!(error, Error::NonFinite { place: "the policy's action", .. }),
                        "{error}"
                    );
                    (agent, refused) = (asked, refused + 1);
                }
            }
            let case = format!("{noise:?}, {excursions:?}, step {step}");
            assert_eq!(agent.act(&fine).unwrap(), spared.act(&fine).unwrap(), "{case}");
        }
    }
    assert!(refused > 100, "{refused}");
}

/// Every parameter of policy and critic, as bits.
fn parameters<A: Actor, C: Critic>(agent: &MpoAgent<A, C>) -> Vec<u32> {
    struct Read(Vec<u32>);
    impl ModuleVisitor for Read {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(numbers(&param.val().inner()).into_iter().map(f32::to_bits));
        }
    }
    let mut read = Read(Vec::new());
    agent.actor().visit(&mut read);
    agent.critic().visit(&mut read);
    agent.policy().actor().visit(&mut read);
    read.0
}

/// Targets so large that the loss overflows, or only the gradient's square does, which would leave Adam's
/// averages infinite and the critic standing still from then on.
#[test]
fn updates_with_overflowing_numbers_are_refused_without_a_trace() {
    // Of one step: (1.7e19)² is a number, and a few times as much, as the gradient's square is, is none.
    let evaluation = PolicyEvaluation::NStep { steps: 1 };
    let mut config = MpoConfig { batch_size: 1, evaluation, ..small(MpoConfig::default()) };
    config.critic.normalise_values = false;
    for (reward, cause) in [(1e30, "the critic's loss"), (1.7e19, "the critic's gradient")] {
        let mut agent = agent(&config, 2, 2, 1);
        let mut replay = mpo::ReplayBuffer::new(100, 2, 2).unwrap();
        replay.begin_episode(&[0.1, 0.2]).unwrap();
        for step in 0..20 {
            let action = mpo::Action { values: vec![0.1, -0.3], log_probability: 0.0 };
            let step = mpo::Step {
                observation: vec![0.1 * step as f32, 0.2],
                reward: 1.0,
                terminated: false,
                truncated: step == 19,
            };
            replay.push(&action, &step).unwrap();
        }
        let mut rng = Rng::stream(1, Stream::Replay);
        let fine: Vec<Batch> = (0..4).map(|_| agent.sample(&replay, &mut rng).unwrap()).collect();
        let mut overflowing = agent.sample(&replay, &mut rng).unwrap();
        overflowing.rewards = overflowing.rewards * reward;
        agent.update(&fine[0]).unwrap();
        // An agent that is never shown the overflowing batch is the measure.
        let mut spared = agent.clone();
        for batch in &fine[1..] {
            let error = agent.update(&overflowing).unwrap_err();
            assert!(matches!(error, Error::NonFinite { place, .. } if place == cause), "{error:?}");
            assert_eq!(parameters(&agent), parameters(&spared));
            assert_eq!(agent.update(batch).unwrap(), spared.update(batch).unwrap());
            assert_eq!(parameters(&agent), parameters(&spared));
        }
        assert_eq!(agent.updates(), 4);
    }
}

/// A parabola whose errors are no numbers where the second observation is 7.
#[derive(Module, Debug)]
struct Gappy {
    parabola: Parabola,
}

impl Critic for Gappy {
    fn values(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<1> {
        self.parabola.values(observations, actions)
    }

    fn loss(&self, observations: Tensor<2>, actions: Tensor<2>, targets: Tensor<1>) -> Tensor<1> {
        let [observations, actions] = [observations, actions].map(Tensor::from_inner);
        let gap = (observations.clone().narrow(1, 1, 1) - 7.0).squeeze_dim(1);
        let errors = self.values(observations, actions) - Tensor::from_inner(targets);
        CriticLoss::Squared.of(errors * gap.clone() / gap)
    }

    fn observation_size(&self) -> usize {
        self.parabola.observation_size()
    }

    fn action_size(&self) -> usize {
        self.parabola.action_size()
    }
}

/// An agent that refuses batches of four steps in which an episode's eighth is.
fn gappy_agent() -> MpoAgent<LinearActor, Gappy> {
    let config = MpoConfig { batch_size: 4, ..small(MpoConfig::default()) };
    let critic = Gappy { parabola: Parabola::new([[0.0; 2]; 2], 1.0) };
    MpoAgent::with_networks(config, LinearActor::new([[0.0; 2]; 2], 0.3), critic, 1).unwrap()
}

#[test]
fn trainers_pass_over_refused_updates_up_to_their_limit() {
    let run = |tolerated| {
        let settings =
            TrainerConfig { tolerated_refused_updates: tolerated, updates_per_step: 1.0, ..short(300) };
        let heard = Heard::default();
        let mut trainer = Trainer::new(settings, gappy_agent(), Recorder::default())
            .and_then(|trainer| trainer.evaluate_in(Recorder::default()))
            .unwrap()
            .observe(listen(&heard));
        (trainer.run(), trainer, heard)
    };
    let (result, tolerant, heard) = run(1000);
    let summary = result.unwrap();
    let refused: Vec<Event> = heard
        .take()
        .into_iter()
        .map(|(event, _)| event)
        .filter(|event| matches!(event, Event::UpdateRefused { .. }))
        .collect();
    assert!(!refused.is_empty());
    assert!(refused.iter().all(|event| *event == Event::UpdateRefused { cause: "the critic's loss" }));
    assert_eq!((summary.counts.updates, summary.counts.refused_updates), (270, refused.len() as u64));
    assert!(parameters(tolerant.agent()).iter().all(|&bits| f32::from_bits(bits).is_finite()));

    let steady = trainer(TrainerConfig { updates_per_step: 1.0, ..short(300) }).run().unwrap();
    assert_eq!((steady.counts.updates, steady.counts.refused_updates), (270, 0));

    let (result, strict, _) = run(0);
    assert!(matches!(result, Err(Error::NonFinite { place: "the critic's loss", .. })), "{result:?}");
    assert!(parameters(strict.agent()).iter().all(|&bits| f32::from_bits(bits).is_finite()));
}

/// The updates due come before the next step, also where they were refused before: every step is reported
/// once, after them.
#[test]
fn a_run_that_failed_makes_the_updates_due_before_another_step() {
    let environment = Recorder::default();
    let log = environment.log.clone();
    let settings = TrainerConfig { updates_per_step: 1.0, ..short(120) };
    let heard = Heard::default();
    let mut trainer = Trainer::new(settings, gappy_agent(), environment)
        .and_then(|trainer| trainer.evaluate_in(Recorder::default()))
        .unwrap()
        .observe(listen(&heard));
    let mut errors = 0;
    loop {
        let before = (trainer.agent().updates(), Recorder::steps(&log).len());
        match trainer.run() {
            Ok(summary) => {
                break assert_eq!((summary.counts.environment_steps, summary.counts.updates), (120, 90));
            }
            Err(error) => assert!(matches!(error, Error::NonFinite { .. }), "{error}"),
        }
        let after = (trainer.agent().updates(), Recorder::steps(&log).len());
        assert!(after.0 > before.0 || after.1 == before.1 || errors == 0, "{before:?} to {after:?}");
        errors += 1;
        assert!(errors < 1000);
    }
    assert!(errors > 3, "{errors}");
    let steps = heard.take().into_iter().filter(|(event, _)| *event == Event::Step);
    let steps: Vec<_> = steps.map(|(_, counts)| (counts[0], counts[1])).collect();
    assert_eq!(steps, (1..=120).map(|step: u64| (step, step.saturating_sub(30))).collect::<Vec<_>>());
}
