//! The training loop, its observers, and what is left after an environment failed.

use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use crate::common::agents::agent;
use crate::common::presets::small;
use crate::common::tensors::numbers;
use crate::environments::{Call, Hot, Log, Recorder, STEPS};
use crate::trainers::{Heard, everything, listen, quick_agent, short, trainer};
use mpo::envs::Cartpole;
use mpo::observers::{EvaluationTable, JsonLines, LearningCurve, MetricsTable};
use mpo::{
    Environment, Error, Evaluation, Event, Excursions, Exploration, Metrics, MpoConfig, NoiseColour,
    Observer, Progress, StopReason, Summary, Trainer, TrainerConfig,
};
use roxmltree::Document;
use serde_json::Value;

#[test]
fn updates_at_the_ratio_asked_for() {
    for (ratio, total) in [(0.0, 0), (0.25, 12), (0.5, 25), (1.0, 50), (2.0, 100)] {
        let heard = Heard::default();
        let config = TrainerConfig { updates_per_step: ratio, ..short(80) };
        let mut trainer = trainer(config).observe(listen(&heard));
        let summary = trainer.run().unwrap();
        assert_eq!((summary.counts.environment_steps, summary.counts.updates), (80, total), "ratio {ratio}");
        assert_eq!((trainer.agent().updates(), trainer.replay().len()), (total, 80));
        assert_eq!(trainer.agent().iterations(), total / 7);
        for (step, (_, counts)) in (1..).zip(heard.borrow().iter().filter(|heard| heard.0 == Event::Step)) {
            let updates = (step.max(30) - 30) as f64 * ratio;
            assert_eq!(*counts, [step, updates as u64, updates as u64 / 7], "ratio {ratio}");
        }
    }
}

fn stopped(config: TrainerConfig, observer: impl Observer + 'static) -> (Summary, Vec<(Event, [u64; 3])>) {
    let heard = Heard::default();
    let summary = trainer(config).observe(observer).observe(listen(&heard)).run().unwrap();
    (summary, heard.take())
}

#[test]
fn stops_for_the_reason_it_gives() {
    let go_on = |_: &Event, _: &Progress<'_>| ControlFlow::Continue(());
    let break_at = |steps| {
        move |_: &Event, progress: &Progress<'_>| match progress.counts.environment_steps {
            now if now >= steps => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    };
    let evaluated = TrainerConfig { evaluation_period: 25, ..short(60) };
    let goal = |stop_at_return| TrainerConfig { stop_at_return, ..evaluated.clone() };
    let cases = [
        (stopped(evaluated.clone(), go_on), StopReason::Steps, 60, vec![25, 50, 60]),
        // Every return is between 0 and 20.
        (stopped(goal(Some(0.0)), go_on), StopReason::Return, 25, vec![25]),
        (stopped(goal(Some(20.5)), go_on), StopReason::Steps, 60, vec![25, 50, 60]),
        (stopped(evaluated.clone(), break_at(33)), StopReason::Observer, 33, vec![25, 33]),
        (stopped(evaluated.clone(), break_at(50)), StopReason::Observer, 50, vec![25, 50]),
        (
            stopped(TrainerConfig { evaluation_period: 30, ..evaluated.clone() }, go_on),
            StopReason::Steps,
            60,
            vec![30, 60],
        ),
    ];
    for ((summary, heard), reason, steps, evaluations) in cases {
        assert_eq!((summary.reason, summary.counts.environment_steps), (reason, steps));
        let evaluation = |(event, counts): &(Event, [u64; 3])| match event {
            Event::Evaluation(evaluation) => Some((counts[0], *evaluation)),
            _ => None,
        };
        let found: Vec<(u64, Evaluation)> = heard.iter().filter_map(evaluation).collect();
        assert_eq!(found.iter().map(|found| found.0).collect::<Vec<_>>(), evaluations, "{reason:?}");
        assert_eq!(Some(found.last().unwrap().1), summary.evaluation);
        assert_eq!(heard.last().unwrap().0, Event::Finished { reason });
        assert_eq!(heard.iter().filter(|heard| matches!(heard.0, Event::Finished { .. })).count(), 1);
        assert!(summary.to_string().contains(&format!("after {steps} environment steps")), "{summary}");
    }
}

#[test]
fn evaluates_with_the_mean_action() {
    let (training, evaluation) = (Recorder::default(), Recorder::default());
    let (log, training_log) = (evaluation.log.clone(), training.log.clone());
    let bounds = evaluation.action_space();
    let mut trainer = Trainer::new(short(40), quick_agent(), training)
        .and_then(|trainer| trainer.evaluate_in(evaluation))
        .unwrap();
    trainer.run().unwrap();
    let before = trainer.replay().len();
    let found = trainer.evaluate(3).unwrap();
    assert_eq!((found.episodes, trainer.replay().len()), (3, before));
    let taken = |log: &Log| {
        let differences = Recorder::steps(log).into_iter().map(|(observation, action)| {
            let mean = bounds.to_environment(&trainer.agent().mean_action(&observation).unwrap()).unwrap();
            (action, mean)
        });
        differences.collect::<Vec<_>>()
    };
    assert_eq!(taken(&log).len(), (2 + 3) * STEPS);
    assert!(taken(&log).iter().all(|(action, mean)| action == mean));
    assert!(taken(&training_log).iter().all(|(action, mean)| action != mean), "without exploration");
    // The returns are those of the episodes.
    let returns: Vec<f64> = taken(&log)[2 * STEPS..]
        .chunks(STEPS)
        .map(|episode| episode.iter().map(|(action, _)| f64::from(11.0 - action[1])).sum())
        .collect();
    let mean = returns.iter().sum::<f64>() / 3.0;
    assert!((found.mean_return - mean).abs() < 1e-9);
    assert!(returns.contains(&found.min_return) && returns.contains(&found.max_return));
    assert!(found.min_return <= mean && mean <= found.max_return && found.min_return < found.max_return);
    // Every episode has a seed of its own, from a stream of its own.
    let seeds = |log: &Log| {
        let seed = |call: &Call| if let Call::Reset(seed) = call { Some(*seed) } else { None };
        log.borrow().iter().filter_map(seed).collect::<Vec<u64>>()
    };
    let mut all = [seeds(&log), seeds(&training_log)].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 5 + 2);
}

#[test]
fn actions_reach_the_environment_in_its_units_and_bounds() {
    let mut config = small(MpoConfig::default());
    config.actor.initial_standard_deviation = 1.0;
    config.exploration = Exploration { noise: NoiseColour::White, excursions: None };
    let (environment, log) = {
        let environment = Recorder::default();
        let log = environment.log.clone();
        (environment, log)
    };
    let mut trainer = Trainer::new(short(200), agent(&config, 2, 2, 1), environment)
        .and_then(|trainer| trainer.evaluate_in(Recorder::default()))
        .unwrap();
    trainer.run().unwrap();
    let steps = Recorder::steps(&log);
    assert_eq!(steps.len(), 200);
    for (index, (low, high)) in [(-2.0, 6.0), (10.0, 11.0)].into_iter().enumerate() {
        let taken: Vec<f32> = steps.iter().map(|(_, action)| action[index]).collect();
        assert!(taken.iter().all(|action| (low..=high).contains(action)), "{taken:?}");
        let share = |action: &dyn Fn(f32) -> bool| taken.iter().filter(|&&taken| action(taken)).count();
        // A third of a standard normal distribution lies beyond [-1, 1].
        let ends = [share(&|action| action == low), share(&|action| action == high)];
        assert!(ends.iter().all(|count| (15..50).contains(count)), "{ends:?}");
    }
    // The replay keeps what the policy sampled.
    let sample = everything(trainer.replay());
    let (observations, actions) = (numbers(&sample.observations), numbers(&sample.actions));
    for (observation, action) in observations.chunks(2).zip(actions.chunks(2)) {
        let (_, taken) = steps.iter().find(|(at, _)| at == observation).unwrap();
        let clipped: Vec<f32> = action.iter().map(|action| action.clamp(-1.0, 1.0)).collect();
        let expected = [-2.0 + 4.0 * (clipped[0] + 1.0), 10.0 + 0.5 * (clipped[1] + 1.0)];
        assert!(taken.iter().zip(expected).all(|(taken, expected)| (taken - expected).abs() < 1e-5));
    }
    assert!(actions.iter().any(|action| action.abs() > 1.0));
}

#[test]
fn observers_hear_of_everything_in_order() {
    let (first, second) = (Heard::default(), Heard::default());
    let config = TrainerConfig {
        warm_up_steps: 20,
        updates_per_step: 1.0,
        metrics_period: 15,
        evaluation_period: 20,
        ..short(50)
    };
    let mut trainer = trainer(config).observe(listen(&first)).observe(listen(&second));
    let summary = trainer.run().unwrap();
    let mut expected = Vec::new();
    for step in 1..=50_u64 {
        expected.push(("step", step));
        // The first 15 steps have no updates to report.
        let also = [("episode", 20), ("metrics", 15), ("evaluation", 20)];
        let due = also
            .into_iter()
            .filter(|&(name, period)| step.is_multiple_of(period) && (name != "metrics" || step > 20));
        expected.extend(due.map(|(name, _)| (name, step)));
    }
    expected.extend([("metrics", 50), ("evaluation", 50), ("finished", 50)]);
    let name = |event: &Event| match event {
        Event::Step => "step",
        Event::Episode { .. } => "episode",
        Event::Metrics(_) => "metrics",
        Event::Evaluation(_) => "evaluation",
        Event::Finished { .. } => "finished",
        _ => "unknown",
    };
    let heard: Vec<_> = first.borrow().iter().map(|(event, counts)| (name(event), counts[0])).collect();
    assert_eq!(heard, expected);
    assert_eq!(*first.borrow(), *second.borrow());
    assert_eq!(summary.counts.updates, 30);
    // Both episodes were complete, and the replay knows their returns.
    let episode = |(event, _): &(Event, [u64; 3])| match event {
        Event::Episode { episode_return } => Some(*episode_return),
        _ => None,
    };
    let returns: Vec<f64> = first.borrow().iter().filter_map(episode).collect();
    let mean = trainer.replay().mean_return().unwrap();
    assert!((returns.iter().sum::<f64>() / 2.0 - mean).abs() < 1e-9, "{returns:?}, {mean}");
    assert!(returns.iter().all(|sum| *sum > 0.0));
}

/// Metrics of a period are the means of the updates in it.
#[test]
fn metrics_are_means_over_their_period() {
    let reported = |metrics_period| {
        let heard = Heard::default();
        let config = TrainerConfig { updates_per_step: 1.0, metrics_period, ..short(60) };
        trainer(config).observe(listen(&heard)).run().unwrap();
        let metrics = |(event, counts): &(Event, [u64; 3])| match event {
            Event::Metrics(metrics) => Some((counts[0], *metrics)),
            _ => None,
        };
        heard.borrow().iter().filter_map(metrics).collect::<Vec<(u64, Metrics)>>()
    };
    let (each, means) = (reported(1), reported(20));
    assert_eq!(each.iter().map(|(step, _)| *step).collect::<Vec<_>>(), (31..=60).collect::<Vec<_>>());
    assert_eq!(means.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [40, 60]);
    for (mean, part) in means.iter().zip([&each[..10], &each[10..]]) {
        let compare = |of: fn(&Metrics) -> f64| {
            let expected = part.iter().map(|(_, metrics)| of(metrics)).sum::<f64>() / part.len() as f64;
            assert!((of(&mean.1) - expected).abs() <= 1e-12 * expected.abs(), "{mean:?}, {expected}");
        };
        compare(|metrics| metrics.critic_loss);
        compare(|metrics| metrics.temperature);
        compare(|metrics| metrics.kl_covariance);
        compare(|metrics| metrics.standard_deviation);
    }
}

/// The tables of a run, written to `folder`, with the seconds left out.
fn tables(folder: &Path, seed: u64) -> [String; 2] {
    let paths = ["evaluations.csv", "metrics.csv"].map(|name| folder.join(name));
    let config =
        TrainerConfig { updates_per_step: 1.0, metrics_period: 10, evaluation_period: 20, seed, ..short(70) };
    let mut trainer = trainer(config)
        .observe(EvaluationTable::create(&paths[0]).unwrap())
        .observe(MetricsTable::create(&paths[1]).unwrap());
    trainer.run().unwrap();
    let [evaluations, metrics] = paths.map(|path| std::fs::read_to_string(path).unwrap());
    assert_eq!(
        evaluations.lines().next().unwrap(),
        "env_steps,updates,mean_return,min_return,max_return,seconds"
    );
    let without_seconds = |line: &str| {
        let (row, seconds) = line.rsplit_once(',').unwrap();
        assert!(seconds == "seconds" || seconds.parse::<f64>().unwrap() >= 0.0, "{line}");
        row.to_owned() + "\n"
    };
    [evaluations.lines().map(without_seconds).collect(), metrics]
}

#[test]
fn tables_are_the_same_for_the_same_seed() {
    let tables = |seed| tables(tempfile::tempdir().unwrap().path(), seed);
    let [evaluations, metrics] = tables(1);
    assert_eq!([evaluations.clone(), metrics.clone()], tables(1));
    let other = tables(2);
    assert!(evaluations != other[0] && metrics != other[1]);

    let columns = |row: &str| row.split(',').map(str::to_owned).collect::<Vec<_>>();
    let counts: Vec<_> = evaluations.lines().skip(1).map(|row| columns(row)[..2].join(",")).collect();
    assert_eq!(counts, ["20,0", "40,10", "60,30", "70,40"]);
    for row in evaluations.lines().skip(1) {
        let numbers: Vec<f64> = columns(row).iter().map(|number| number.parse().unwrap()).collect();
        assert!(numbers[3] <= numbers[2] && numbers[2] <= numbers[4] && numbers[2] > 0.0, "{row}");
    }
    let header = "env_steps,updates,iterations,replay_mean_return,replay_mean_reward,critic_loss,temperature,dual,\
                  kl,gap,interior,kl_mean,kl_covariance,multiplier_mean,\
                  multiplier_covariance,standard_deviation";
    assert_eq!(metrics.lines().next().unwrap(), header);
    let counts: Vec<_> = metrics.lines().skip(1).map(|row| columns(row)[..3].join(",")).collect();
    assert_eq!(counts, ["40,10,1", "50,20,2", "60,30,4", "70,40,5"]);
    for row in metrics.lines().skip(1) {
        assert_eq!(columns(row).len(), 16);
        assert!(columns(row).iter().all(|number| number.parse::<f64>().unwrap().is_finite()), "{row}");
    }
}

/// The learning curve of a run in which a step is worth `reward` of its second action.
fn curve(reward: fn(f32) -> f32, environment_steps: u64) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("curve.svg");
    let environment = Recorder { reward, ..Recorder::default() };
    let config = TrainerConfig { evaluation_period: 10, ..short(environment_steps) };
    let mut trainer = Trainer::new(config, quick_agent(), environment.clone())
        .and_then(|trainer| trainer.evaluate_in(environment))
        .unwrap()
        .observe(LearningCurve::create(&path, "Rail & \"cart\" <5 kg>").unwrap());
    trainer.run().unwrap();
    std::fs::read_to_string(path).unwrap()
}

/// One object a line, for everything but single steps.
#[test]
fn json_lines_tell_of_every_event() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    let config =
        TrainerConfig { updates_per_step: 1.0, metrics_period: 20, evaluation_period: 20, ..short(40) };
    trainer(config).observe(JsonLines::create(&path).unwrap()).run().unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |line: &Value, name: &str| line[name].as_u64().unwrap();
    let expected = [
        ("episode", 20),
        ("evaluation", 20),
        ("episode", 40),
        ("metrics", 40),
        ("evaluation", 40),
        ("finished", 40),
    ];
    assert_eq!(lines.len(), expected.len());
    for (line, (event, steps)) in lines.iter().zip(expected) {
        assert_eq!(line["event"], event);
        assert_eq!(count(line, "environment_steps"), steps);
    }
    assert_eq!(lines[5]["reason"], "steps");
    assert_eq!(["updates", "iterations"].map(|name| count(&lines[3], name)), [10, 1]);
    assert!(lines[3]["kl"].as_f64().unwrap() <= 1.0 + 1e-6);
    assert!(lines[4]["mean_return"].is_f64() && lines[0]["episode_return"].is_f64());
}

#[test]
fn learning_curves_are_well_formed() {
    // Also a single point, flat curves, and returns so large that a margin is lost in rounding.
    type Case = (&'static str, fn(f32) -> f32);
    let cases: [Case; 6] = [
        ("usual", |action| 11.0 - action),
        ("flat", |_| 0.0),
        ("negative", |action| -action),
        ("large", |action| 5e10 * action),
        ("large and flat", |_| 1e12),
        ("large, flat and negative", |_| -1e12),
    ];
    for ((name, reward), steps) in cases.into_iter().flat_map(|case| [(case, 40), (case, 0)]) {
        let picture = curve(reward, steps);
        let document = Document::parse(&picture).unwrap_or_else(|error| panic!("{name}, {steps}: {error}"));
        assert!(document.root_element().has_tag_name("svg"), "{name}");
        let has = |element: &str| document.descendants().any(|node| node.has_tag_name(element));
        assert!(has("polyline") && has("polygon"), "{name}, {steps}: {picture}");
        let mut words = picture.split(|letter: char| !letter.is_alphanumeric());
        assert!(!words.any(|word| word == "NaN" || word == "inf"), "{name}, {steps}: {picture}");
        assert!(picture.contains("Rail &amp; ") && picture.contains("environment steps"));
    }
}

#[test]
fn a_failing_environment_ends_the_run_but_not_the_training() {
    // Calls 0, 21 and 42 are resets, 47 a step in the third episode, 48 and 49 the resets after it, 71 a
    // first step.
    let environment = Recorder { failures: vec![47, 48, 71], ..Recorder::default() };
    let log = environment.log.clone();
    let config = TrainerConfig { updates_per_step: 1.0, ..short(80) };
    let mut trainer = Trainer::new(config, quick_agent(), environment)
        .and_then(|trainer| trainer.evaluate_in(Recorder::default()))
        .unwrap();
    for (place, steps, updates) in [("step", 44, 14), ("reset", 44, 14), ("step", 64, 34)] {
        let error = trainer.run().unwrap_err();
        assert_eq!(error.to_string(), format!("the environment failed in {place}: the motor is hot"));
        let Error::Environment { place: found, source } = error else { panic!("{error}") };
        assert_eq!((found, source.downcast_ref()), (place, Some(&Hot)));
        // Everything learnt is still there.
        assert_eq!((trainer.replay().len(), trainer.agent().updates()), (steps, updates));
        trainer.agent().mean_action(&[1.0, 2.0]).unwrap();
    }
    let before = trainer.agent().mean_action(&[1.0, 2.0]).unwrap();
    trainer.evaluate(1).unwrap();
    assert_eq!(trainer.agent().mean_action(&[1.0, 2.0]).unwrap(), before);
    let summary = trainer.run().unwrap();
    assert_eq!(
        (summary.counts.environment_steps, summary.counts.updates, summary.reason),
        (80, 50, StopReason::Steps)
    );
    assert_eq!((trainer.replay().len(), trainer.agent().updates()), (80, 50));
    // Only whole steps of one episode each are in the replay, and all that the environment made.
    let sample = everything(trainer.replay());
    let (from, to) = (numbers(&sample.observations), numbers(&sample.next_observations));
    assert!(from.chunks(2).zip(to.chunks(2)).all(|(from, to)| [from[0], from[1] + 1.0] == to));
    let mut stored: Vec<Vec<u32>> =
        from.chunks(2).map(|from| from.iter().map(|number| *number as u32).collect()).collect();
    stored.sort_unstable();
    stored.dedup();
    let made = Recorder::steps(&log).into_iter().map(|(at, _)| vec![at[0] as u32, at[1] as u32]);
    let failed = [vec![3, 4], vec![5, 0]];
    let made: Vec<_> = made.filter(|at| !failed.contains(at)).collect();
    assert_eq!(stored, made);
    assert_eq!(log.borrow().iter().filter(|call| matches!(call, Call::Reset(_))).count(), 7);
}

/// What the trainer learnt after an error is what it would have learnt, had it not been interrupted there.
#[test]
fn a_failing_observer_ends_the_run_but_not_the_training() {
    struct Unplugged(u64);
    impl Observer for Unplugged {
        fn notify(&mut self, _: &Event, progress: &Progress<'_>) -> mpo::Result<ControlFlow<()>> {
            if progress.counts.environment_steps == self.0 {
                self.0 = 0;
                return Err(Error::Observer { name: "Unplugged", source: Box::new(Hot) });
            }
            Ok(ControlFlow::Continue(()))
        }
    }
    let config = TrainerConfig { updates_per_step: 1.0, ..short(60) };
    let mut calm = trainer(config.clone());
    calm.run().unwrap();
    let mut interrupted = trainer(config).observe(Unplugged(45));
    let error = interrupted.run().unwrap_err();
    assert_eq!(error.to_string(), "the observer Unplugged failed: the motor is hot");
    assert_eq!(interrupted.replay().len(), 45);
    assert_eq!(interrupted.run().unwrap().counts.environment_steps, 60);
    let action = |trainer: &Trainer<Recorder>| trainer.agent().mean_action(&[1.0, 2.0]).unwrap();
    assert_eq!(action(&calm), action(&interrupted));
}

/// Nor does a failing evaluation keep an observer from hearing of the steps, episodes and metrics before it.
#[test]
fn a_failing_evaluation_loses_no_events() {
    let heard = Heard::default();
    let config =
        TrainerConfig { updates_per_step: 1.0, metrics_period: 20, evaluation_period: 20, ..short(60) };
    // The first evaluation is calls 0 to 41.
    let evaluation = Recorder { failures: vec![42], ..Recorder::default() };
    let mut trainer = Trainer::new(config, quick_agent(), Recorder::default())
        .and_then(|trainer| trainer.evaluate_in(evaluation))
        .unwrap();
    trainer = trainer.observe(listen(&heard));
    let error = trainer.run().unwrap_err();
    assert!(matches!(error, Error::Environment { place: "reset", .. }), "{error}");
    assert_eq!(trainer.run().unwrap().counts.environment_steps, 60);
    let count = |kind: fn(&Event) -> bool| heard.borrow().iter().filter(|(event, _)| kind(event)).count();
    assert_eq!(count(|event| *event == Event::Step), 60);
    assert_eq!(count(|event| matches!(event, Event::Episode { .. })), 3);
    assert_eq!(count(|event| matches!(event, Event::Metrics(_))), 2);
}

#[test]
fn a_run_of_no_steps_evaluates() {
    let heard = Heard::default();
    let mut trainer = trainer(short(0)).observe(listen(&heard));
    let untrained = trainer.agent().mean_action(&[1.0, 2.0]).unwrap();
    let summary = trainer.run().unwrap();
    assert_eq!(
        (summary.reason, summary.counts.environment_steps, summary.counts.updates),
        (StopReason::Steps, 0, 0)
    );
    assert_eq!(summary.evaluation.unwrap().episodes, 2);
    assert!(trainer.replay().is_empty());
    let evaluated = Event::Evaluation(summary.evaluation.unwrap());
    assert_eq!(
        *heard.borrow(),
        [(evaluated, [0; 3]), (Event::Finished { reason: StopReason::Steps }, [0; 3])]
    );
    assert_eq!(trainer.into_agent().mean_action(&[1.0, 2.0]).unwrap(), untrained);
}

/// All steps made, a second run only evaluates.
#[test]
fn a_finished_run_stays_finished() {
    let mut trainer = trainer(TrainerConfig { updates_per_step: 1.0, ..short(45) });
    trainer.run().unwrap();
    let summary = trainer.run().unwrap();
    assert_eq!(
        (summary.counts.environment_steps, summary.counts.updates, summary.reason),
        (45, 15, StopReason::Steps)
    );
    assert_eq!((trainer.replay().len(), trainer.agent().updates()), (45, 15));
}

/// How often and how long is evaluated changes nothing of what is learnt.
#[test]
fn evaluations_leave_the_training_as_it_is() {
    let train = |evaluation_period, evaluation_episodes| {
        let environment = Recorder::default();
        let log = environment.log.clone();
        let config =
            TrainerConfig { updates_per_step: 1.0, evaluation_period, evaluation_episodes, ..short(60) };
        let mut trainer = Trainer::new(config, quick_agent(), environment)
            .and_then(|trainer| trainer.evaluate_in(Recorder::default()))
            .unwrap();
        trainer.run().unwrap();
        log.take()
    };
    let calls = train(1_000_000, 1);
    assert_eq!(calls.len(), 63);
    assert_eq!(calls, train(7, 3));
}

#[test]
fn the_same_seed_trains_the_same() {
    let train = |seed| {
        let mut trainer = trainer(TrainerConfig { updates_per_step: 1.0, seed, ..short(60) });
        let evaluation = trainer.run().unwrap().evaluation;
        (evaluation, trainer.into_agent().mean_action(&[1.0, 2.0]).unwrap())
    };
    assert_eq!(train(1), train(1));
    assert_ne!(train(1).1, train(2).1);
}

/// Each asks for steps of its own, up to which observers are told that it goes, and ends with one evaluation
/// and one end.
#[test]
fn runs_for_more_steps_as_often_as_asked() {
    let heard = Heard::default();
    let totals = Arc::new(Mutex::new(Vec::new()));
    let noted = totals.clone();
    let note = move |event: &Event, progress: &Progress<'_>| {
        if let Event::Finished { .. } = event {
            noted.lock().unwrap().push(progress.total_environment_steps);
        }
        ControlFlow::Continue(())
    };
    let config = TrainerConfig { updates_per_step: 1.0, evaluation_period: 40, ..short(45) };
    let mut trainer = trainer(config).observe(listen(&heard)).observe(note);
    for (steps, made) in [(10, 10), (30, 40), (0, 40), (25, 65)] {
        let summary = trainer.run_for(steps).unwrap();
        assert_eq!((summary.reason, summary.counts.environment_steps), (StopReason::Steps, made));
        assert_eq!((trainer.steps(), trainer.updates()), (made, made.saturating_sub(30)));
        assert_eq!(trainer.evaluations().last(), Some(&(made, summary.evaluation.unwrap())));
    }
    // Beyond its steps in all, a run has nothing to do.
    assert_eq!(trainer.run().unwrap().counts.environment_steps, 65);
    let found = |kind: fn(&Event) -> bool| {
        let heard = heard.borrow();
        heard.iter().filter(|(event, _)| kind(event)).map(|(_, counts)| counts[0]).collect::<Vec<_>>()
    };
    assert_eq!(found(|event| *event == Event::Step), (1..=65).collect::<Vec<_>>());
    assert_eq!(found(|event| matches!(event, Event::Evaluation(_))), [10, 40, 65]);
    assert_eq!(found(|event| matches!(event, Event::Finished { .. })), [10, 40, 40, 65, 65]);
    assert_eq!(*totals.lock().unwrap(), [10, 40, 40, 65, 45]);
    // More than can be counted is no end.
    let stop = |_: &Event, progress: &Progress<'_>| match progress.counts.environment_steps {
        70 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let summary = trainer.observe(stop).run_for(u64::MAX).unwrap();
    assert_eq!((summary.reason, summary.counts.environment_steps), (StopReason::Observer, 70));
}

/// A return that was reached before is known to whoever asks for more steps.
#[test]
fn a_return_reached_does_not_keep_from_more_steps() {
    let config = TrainerConfig { evaluation_period: 20, stop_at_return: Some(0.0), ..short(1000) };
    let mut trainer = trainer(config);
    for (steps, made, reason) in [
        (50, 20, StopReason::Return),
        (7, 27, StopReason::Steps),
        (50, 40, StopReason::Return),
        (20, 60, StopReason::Return),
    ] {
        let summary = trainer.run_for(steps).unwrap();
        assert_eq!((summary.counts.environment_steps, summary.reason), (made, reason));
    }
    // Within its steps in all, a run's goal stays reached.
    assert_eq!(trainer.run().unwrap().counts.environment_steps, 60);
}

/// An end that an observer has not heard of is told, and does not take the place of the steps asked for.
#[test]
fn an_end_not_heard_of_is_told_before_more_steps() {
    struct Busy(Heard, bool);
    impl Observer for Busy {
        fn notify(&mut self, event: &Event, progress: &Progress<'_>) -> mpo::Result<ControlFlow<()>> {
            if matches!(event, Event::Finished { .. }) && !std::mem::replace(&mut self.1, true) {
                return Err(Error::Observer { name: "Busy", source: Hot.into() });
            }
            listen(&self.0).notify(event, progress)
        }
    }
    let heard = Heard::default();
    let mut trainer = trainer(short(1000)).observe(Busy(heard.clone(), false));
    assert!(matches!(trainer.run_for(10), Err(Error::Observer { .. })));
    assert_eq!(trainer.run_for(5).unwrap().counts.environment_steps, 15);
    let ends = heard.take().into_iter().filter(|(event, _)| matches!(event, Event::Finished { .. }));
    assert_eq!(ends.map(|(_, counts)| counts[0]).collect::<Vec<_>>(), [10, 15]);
}

#[test]
fn trainers_give_back_what_they_were_made_of() {
    let (environment, evaluation) = (Recorder::default(), Recorder::default());
    let logs = [environment.log.clone(), evaluation.log.clone()];
    let mut trainer = Trainer::new(short(25), quick_agent(), environment)
        .and_then(|trainer| trainer.evaluate_in(evaluation))
        .unwrap();
    assert_eq!(*trainer.config(), short(25));
    trainer.run().unwrap();
    assert_eq!((trainer.environment().episode, trainer.environment().step), (2, 5));
    assert_eq!(trainer.evaluation_environment().unwrap().episode, 2);
    assert!(format!("{trainer:?}").contains("environment_steps: 25"), "{trainer:?}");
    // Who changes the environment has a new episode in it, of which the steps before are no part.
    trainer.environment_mut().episode = 10;
    trainer.evaluation_environment_mut().unwrap().reward = |_| 3.0;
    assert_eq!(trainer.run_for(5).unwrap().evaluation.unwrap().mean_return, 60.0);
    let held = numbers(&everything(trainer.replay()).observations);
    assert!(held.chunks(2).any(|at| at == [2.0, 4.0]) && held.chunks(2).any(|at| at == [11.0, 0.0]));
    let (agent, environment, evaluation, replay) = trainer.into_parts();
    assert_eq!((agent.updates(), replay.len()), (0, 30));
    assert!(Rc::ptr_eq(&environment.log, &logs[0]) && Rc::ptr_eq(&evaluation.unwrap().log, &logs[1]));
}

#[test]
fn trainers_go_to_other_threads() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    let agent = agent(&small(MpoConfig::default()), 5, 1, 1);
    let trainer = Trainer::new(short(3), agent, Cartpole::balance())
        .and_then(|trainer| trainer.evaluate_in(Cartpole::balance()))
        .unwrap();
    let mut trainer = send(trainer.observe(listen(&Heard::default())));
    let summary = std::thread::spawn(move || trainer.run().unwrap()).join().unwrap();
    assert_eq!(summary.counts.environment_steps, 3);
}

/// Of settings in a file, a missing one is the default's, and a misspelt one is not passed over.
#[test]
fn settings_from_a_file_are_the_defaults_or_known() {
    let read = serde_json::from_str::<TrainerConfig>;
    assert_eq!(read("{}").unwrap(), TrainerConfig::default());
    let config = read(r#"{"seed": 7, "updates_per_step": 0.25}"#).unwrap();
    assert_eq!(config, TrainerConfig { seed: 7, updates_per_step: 0.25, ..TrainerConfig::default() });
    let error = read(r#"{"seed": 7, "update_per_step": 0.25}"#).unwrap_err().to_string();
    assert!(error.contains("unknown field `update_per_step`"), "{error}");
}

/// What explores begins anew with each episode: with excursions that never end and never turn, all actions of
/// an episode are the same, and not those of all episodes.
#[test]
fn each_episode_explores_anew() {
    let recorder = Recorder::default();
    let log = recorder.log.clone();
    let mut config = small(MpoConfig::default());
    let excursions = Excursions { uninformed: 1.0, informed: 1.0, phase: u64::MAX, hold: 1e15 };
    config.exploration.excursions = Some(excursions);
    let settings = TrainerConfig { updates_per_step: 0.0, ..short(20 * STEPS as u64) };
    let agent = agent(&config, 2, 2, 1);
    Trainer::new(settings, agent, recorder)
        .and_then(|trainer| trainer.evaluate_in(Recorder::default()))
        .unwrap()
        .run()
        .unwrap();
    let steps = log
        .borrow()
        .iter()
        .filter_map(|call| match call {
            Call::Step { action, .. } => Some(action.clone()),
            Call::Reset(_) => None,
        })
        .collect::<Vec<_>>();
    assert!(steps.chunks(STEPS).all(|episode| episode.iter().all(|action| *action == episode[0])));
    let firsts: Vec<_> = steps.chunks(STEPS).map(|episode| &episode[0]).collect();
    assert!(firsts.iter().any(|first| first != &firsts[0]), "{firsts:?}");
}
