//! The replay against an independent, naive model of it (`model.rs`).

#[path = "../common"]
mod common {
    pub mod tensors;
}
mod model;

use std::collections::HashMap;

use burn::tensor::{Device, Tensor};
use common::tensors::numbers;
use model::{
    ACTION_SIZE, End, Held, Model, OBSERVATION_SIZE, Script, action, log_probability, observation, scripts,
};
use mpo::targets::{n_step_targets, td_targets};
use mpo::{Action, Batch, Error, ReplayBuffer, Rng, Step, Stream};
use proptest::prelude::*;

fn replay(capacity: usize) -> ReplayBuffer {
    ReplayBuffer::new(capacity, OBSERVATION_SIZE, ACTION_SIZE).unwrap()
}

fn rng(seed: u64) -> Rng {
    Rng::stream(seed, Stream::Replay)
}

fn transitions(
    replay: &ReplayBuffer,
    count: usize,
    steps: usize,
    discount: f64,
    seed: u64,
) -> mpo::Result<Batch> {
    replay.sample_transitions(count, steps, discount, &mut rng(seed), &Device::flex())
}

fn sequences(
    replay: &ReplayBuffer,
    count: usize,
    steps: usize,
    discount: f64,
    seed: u64,
) -> mpo::Result<Batch> {
    replay.sample_sequences(count, steps, discount, &mut rng(seed), &Device::flex())
}

/// The numbers of observations.
fn seen(observations: &Tensor<2>) -> Vec<usize> {
    numbers(observations).chunks(OBSERVATION_SIZE).map(|row| row[0] as usize).collect()
}

/// The numbers of the observations that transitions or sequences start from.
fn starts_of(sample: &Batch) -> Vec<usize> {
    seen(&sample.observations).into_iter().step_by(sample.steps).collect()
}

fn near(value: f32, expected: f64) -> bool {
    (f64::from(value) - expected).abs() <= 1e-6 * (1.0 + expected.abs())
}

/// Both replays played to the end of `scripts` in so many streams.
fn played_in(streams: usize, capacity: usize, scripts: &[Script]) -> (Model, ReplayBuffer) {
    let (mut model, mut replay) = (Model::new(capacity), replay(capacity));
    model.play(&mut replay, scripts, streams, &mut rng(1), |_, _| ());
    (model, replay)
}

fn played(capacity: usize, scripts: &[Script]) -> (Model, ReplayBuffer) {
    played_in(1, capacity, scripts)
}

/// Plays one more episode.
fn play(model: &mut Model, replay: &mut ReplayBuffer, script: Script) {
    model.play(replay, &[script], 1, &mut rng(1), |_, _| ());
}

fn compare_measures(model: &Model, replay: &ReplayBuffer) {
    assert_eq!(replay.len(), model.len());
    assert_eq!(replay.is_empty(), model.len() == 0);
    assert!(replay.len() < replay.capacity(), "T steps take T + 1 observations");
    assert_eq!(replay.mean_return(), model.mean_return());
    assert_eq!(replay.mean_reward(), model.mean_reward());
}

fn compare_transitions(model: &Model, replay: &ReplayBuffer, steps: usize, discount: f64, seed: u64) {
    let count = 24;
    let sample = match transitions(replay, count, steps, discount, seed) {
        Ok(sample) => sample,
        Err(Error::ReplayTooSmall { held: 0, needed: 1, .. }) => return assert_eq!(model.len(), 0),
        Err(error) => panic!("{error}"),
    };
    let (rewards, discounts) = (numbers(&sample.rewards), numbers(&sample.discounts));
    let (observations, actions) = (numbers(&sample.observations), numbers(&sample.actions));
    let next = numbers(&sample.next_observations);
    let improved = numbers(&sample.improved.observations);
    let (log_probabilities, continued) = (numbers(&sample.log_probabilities), numbers(&sample.continued));
    let mut apart = Vec::new();
    assert_eq!(sample.steps, 1);
    assert_eq!(sample.observations.dims(), [count, OBSERVATION_SIZE]);
    assert_eq!(continued, vec![0.0; count]);
    assert_eq!(rewards.len(), count);
    for (row, start) in starts_of(&sample).into_iter().enumerate() {
        let expected = model.transition(start, steps, discount);
        assert_eq!(observations[row * OBSERVATION_SIZE..][..OBSERVATION_SIZE], observation(start));
        assert_eq!(actions[row * ACTION_SIZE..][..ACTION_SIZE], action(start));
        assert_eq!(log_probabilities[row], log_probability(start));
        assert_eq!(next[row * OBSERVATION_SIZE..][..OBSERVATION_SIZE], observation(expected.next), "{start}");
        assert!(near(rewards[row], expected.reward), "{} from {start}: {expected:?}", rewards[row]);
        assert!(near(discounts[row], expected.discount), "{} from {start}: {expected:?}", discounts[row]);
        let around = model.around(start).nth(steps).unwrap().number;
        assert_eq!(improved[row * OBSERVATION_SIZE..][..OBSERVATION_SIZE], observation(around), "{start}");
        if around != expected.next && expected.discount > 0.0 {
            apart.push(row);
        }
    }
    assert_eq!(sample.improved.truncated, apart);
}

fn compare_sequences(model: &Model, replay: &ReplayBuffer, steps: usize, discount: f64, seed: u64) {
    let count = 12;
    let sample = match sequences(replay, count, steps, discount, seed) {
        Ok(sample) => sample,
        Err(Error::ReplayTooSmall { held: 0, needed: 1, .. }) => return assert_eq!(model.len(), 0),
        Err(error) => panic!("{error}"),
    };
    assert_eq!(sample.steps, steps);
    assert_eq!(sample.observations.dims(), [count * steps, OBSERVATION_SIZE]);
    assert_eq!(sample.actions.dims(), [count * steps, ACTION_SIZE]);
    let expect = |expected: Vec<f32>, tensor: Vec<f32>, name: &str| assert_eq!(tensor, expected, "{name}");
    let first = starts_of(&sample);
    assert!(first.iter().all(|start| model.starts().contains(start)));
    // From the numbers of the first observations alone, all else follows.
    let taken: Vec<&Held> = first.iter().flat_map(|&start| model.around(start).take(steps)).collect();
    let step = |held: &Held| held.step.expect("a step follows");
    let following: Vec<usize> =
        taken.iter().map(|held| model.around(held.number).nth(1).unwrap().number).collect();
    let next: Vec<usize> = taken.iter().map(|held| model.from(held.number)[1].number).collect();
    let all = |numbers: &[usize]| numbers.iter().copied().flat_map(observation).collect::<Vec<_>>();
    let of_taken: Vec<usize> = taken.iter().map(|held| held.number).collect();
    expect(all(&of_taken), numbers(&sample.observations), "observations");
    expect(all(&next), numbers(&sample.next_observations), "next observations");
    expect(all(&following), numbers(&sample.improved.observations), "improved");
    expect(of_taken.iter().copied().flat_map(action).collect(), numbers(&sample.actions), "actions");
    expect(
        of_taken.iter().copied().map(log_probability).collect(),
        numbers(&sample.log_probabilities),
        "log-probabilities",
    );
    expect(taken.iter().map(|held| step(held).reward).collect(), numbers(&sample.rewards), "rewards");
    let discounts = taken.iter().map(|held| if step(held).terminated { 0.0 } else { discount as f32 });
    expect(discounts.collect(), numbers(&sample.discounts), "discounts");
    let goes_on = |row: usize| !row.is_multiple_of(steps) && of_taken[row] == next[row - 1];
    let continued = (0..count * steps).map(|row| f32::from(u8::from(goes_on(row)))).collect();
    expect(continued, numbers(&sample.continued), "continued");
    let cut_off =
        |&row: &usize| following[row] != next[row] && !step(taken[row]).terminated && discount > 0.0;
    let apart: Vec<usize> = (0..count * steps).filter(cut_off).collect();
    assert_eq!(sample.improved.truncated, apart);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn holds_what_the_model_holds(
        scripts in scripts(9),
        streams in 1..4_usize,
        capacity in 2_usize..40,
        steps in 1_usize..=6,
        discount in prop_oneof![Just(0.0), Just(1.0), Just(0.99), 0.0..1.0],
        seed: u64,
    ) {
        let (mut model, mut replay) = (Model::new(capacity), replay(capacity));
        let streams = streams.min(capacity / 2);
        let mut given = 0;
        model.play(&mut replay, &scripts, streams, &mut rng(seed), |model, replay| {
            compare_measures(model, replay);
            given += 1;
            if given % 5 == 0 {
                compare_transitions(model, replay, steps, discount, seed);
                compare_sequences(model, replay, steps, discount, seed);
            }
        });
    }

    /// Every start that the model has is drawn in the end, and none else.
    #[test]
    fn reaches_every_start(
        scripts in scripts(5),
        streams in 1..4_usize,
        capacity in 2_usize..24,
        steps in 1_usize..=6,
        seed: u64,
    ) {
        let (model, replay) = played_in(streams.min(capacity / 2), capacity, &scripts);
        let sorted = |mut starts: Vec<usize>| {
            starts.sort_unstable();
            starts.dedup();
            starts
        };
        if model.len() > 0 {
            // A start is missed with a probability below 24 exp(-1000 / 24) < 1e-16.
            let drawn = starts_of(&transitions(&replay, 1000, steps, 0.9, seed).unwrap());
            prop_assert_eq!(sorted(drawn), model.starts());
            let drawn = starts_of(&sequences(&replay, 1000, steps, 0.9, seed).unwrap());
            prop_assert_eq!(sorted(drawn), model.starts());
        }
    }
}

/// Pearson's statistic of `drawn` against equal counts of `starts`, and how much of it chance allows: its
/// mean and five standard deviations.
fn chi_square(drawn: &[usize], starts: &[usize]) -> (f64, f64) {
    let mut counts: HashMap<usize, f64> = starts.iter().map(|&start| (start, 0.0)).collect();
    for start in drawn {
        *counts.get_mut(start).unwrap() += 1.0;
    }
    let expected = drawn.len() as f64 / starts.len() as f64;
    let statistic = counts.values().map(|count| (count - expected).powi(2) / expected).sum();
    let freedom = (starts.len() - 1) as f64;
    (statistic, freedom + 5.0 * (2.0 * freedom).sqrt())
}

/// Small samples, so that the last of a sample would show if they were drawn otherwise.
#[test]
fn draws_uniformly_also_where_episodes_are_short() {
    let repeat = |steps: usize, times: usize| vec![Script::new(steps, End::Terminated); times];
    let cases = [
        (
            "long episodes",
            vec![Script::new(30, End::Truncated), Script::new(19, End::Terminated)],
            64,
            [1, 4],
        ),
        ("one-step episodes", repeat(1, 20), 64, [1, 1]),
        ("one long among short ones", [repeat(1, 20), repeat(8, 2), repeat(2, 6)].concat(), 128, [1, 6]),
        // Few of the observations begin a step: rejection gives up, and the starts are listed.
        ("no steps but in one", [repeat(0, 40), repeat(4, 1), repeat(0, 40)].concat(), 128, [1, 4]),
        ("partly evicted", repeat(5, 20), 33, [1, 3]),
    ];
    for (name, scripts, capacity, lengths) in cases {
        let (model, replay) = played(capacity, &scripts);
        let (rng, device) = (&mut rng(7), &Device::flex());
        for steps in lengths {
            let mut drawn = [Vec::new(), Vec::new()];
            for _ in 0..1000 {
                let sample = replay.sample_transitions(5, steps, 0.9, rng, device).unwrap();
                drawn[0].extend(starts_of(&sample));
                let sample = replay.sample_sequences(5, steps, 0.9, rng, device).unwrap();
                drawn[1].extend(starts_of(&sample));
            }
            for drawn in &drawn {
                let (statistic, allowed) = chi_square(drawn, &model.starts());
                assert!(statistic <= allowed, "{name}, {steps} steps: {statistic:.1}, allowed {allowed:.1}");
            }
        }
    }
    // The measure itself: one start drawn half as often again as each of the others.
    let skewed: Vec<usize> = (0..5000).map(|index| if index % 21 == 20 { 0 } else { index % 20 }).collect();
    let (statistic, allowed) = chi_square(&skewed, &(0..20).collect::<Vec<_>>());
    assert!(statistic > allowed);
}

#[test]
fn the_same_seed_draws_the_same() {
    let scripts =
        [Script::new(12, End::Terminated), Script::new(1, End::Truncated), Script::new(7, End::Both)];
    let (_, replay) = played(100, &scripts);
    let draw = |seed| starts_of(&transitions(&replay, 64, 3, 0.9, seed).unwrap());
    let draw_sequences = |seed| starts_of(&sequences(&replay, 64, 3, 0.9, seed).unwrap());
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    assert_eq!(draw_sequences(1), draw_sequences(1));
    assert_ne!(draw_sequences(1), draw_sequences(2));
}

/// Rewards, discounts and last observations of n steps give the targets that whole sequences give, as long as
/// these do not go around their episode.
#[test]
fn aggregates_n_steps_as_the_targets_of_sequences() {
    let ends = [End::Terminated, End::Truncated, End::Interrupted];
    let scripts: Vec<Script> = (0..9).map(|index| Script::new(6 + index, ends[index % 3])).collect();
    let (_, replay) = played(200, &scripts);
    let value = |number: Tensor<2>| (number * 0.37).sin() * 10.0;
    for steps in 1..=6 {
        let sequences = sequences(&replay, 400, steps, 0.9, 3).unwrap();
        let all = sequences.next_observations.clone().slice([0..400 * steps, 0..1]).reshape([400, steps]);
        let [rewards, discounts] =
            [&sequences.rewards, &sequences.discounts].map(|numbers| numbers.clone().reshape([400, steps]));
        let targets = n_step_targets(rewards, discounts, value(all), steps, 1.0);
        let continued = numbers(&sequences.continued);
        let of_start: HashMap<usize, f32> = starts_of(&sequences)
            .into_iter()
            .zip(numbers(&targets.slice([0..400, 0..1])))
            .zip(continued.chunks(steps))
            .filter(|(_, continued)| continued[1..].iter().all(|&goes_on| goes_on == 1.0))
            .map(|(of_start, _)| of_start)
            .collect();

        let transitions = transitions(&replay, 400, steps, 0.9, 4).unwrap();
        let next = transitions.next_observations.clone().slice([0..400, 0..1]);
        let targets = td_targets(
            transitions.rewards.clone(),
            transitions.discounts.clone(),
            value(next).reshape([400]),
        );
        let mut compared = 0;
        for (start, target) in starts_of(&transitions).into_iter().zip(numbers(&targets)) {
            if let Some(&expected) = of_start.get(&start) {
                assert!(near(target, expected.into()), "{steps} steps: {target}, {expected}");
                compared += 1;
            }
        }
        assert!(compared > 150, "only {compared} in common");
    }
}

/// Every state in which the agent acted is improved as often as any other, the one it did not act in never:
/// in whole episodes each step leads to another of the states, and so it does in what is held of others.
#[test]
fn every_state_acted_in_is_improved_alike() {
    for episode_steps in [1, 2, 3, 5, 8, 50] {
        for end in [End::Terminated, End::Truncated, End::Interrupted] {
            for streams in [1, 3] {
                // Episodes of another length beside it must not matter.
                let lengths = [episode_steps, 4, episode_steps, 7].into_iter().take(streams + 1);
                let scripts: Vec<Script> = lengths.map(|steps| Script::new(steps, end)).collect();
                let rows: usize = scripts.iter().map(|script| script.rewards.len() + 1).sum();
                // All of it, then what is left when the beginnings are evicted.
                for capacity in [200, rows - rows.min(2 * episode_steps) / 4 - 1] {
                    let (model, replay) = played_in(streams.min(capacity / 2), capacity, &scripts);
                    for steps in [1, 5, 10] {
                        let case = format!("{episode_steps} steps, {end:?}, {streams}, {capacity}, {steps}");
                        improved_alike(&model, &replay, steps, &case);
                    }
                }
            }
        }
    }
}

fn improved_alike(model: &Model, replay: &ReplayBuffer, steps: usize, case: &str) {
    let starts = model.starts();
    let mut of_transitions = HashMap::new();
    let sample = transitions(replay, 4000, steps, 0.9, 3).unwrap();
    for (start, improved) in starts_of(&sample).into_iter().zip(seen(&sample.improved.observations)) {
        assert_eq!(*of_transitions.entry(start).or_insert(improved), improved);
    }
    let mut weighted: Vec<usize> = of_transitions.into_values().collect();
    weighted.sort_unstable();
    assert_eq!(weighted, starts, "{case}");

    // Sequences go around: all their steps, and all they lead to, are drawn alike.
    let count = 4000;
    let sample = sequences(replay, count, steps, 0.9, 3).unwrap();
    for tensor in [&sample.observations, &sample.improved.observations] {
        let mut counts: HashMap<usize, usize> = HashMap::new();
        seen(tensor).into_iter().for_each(|number| *counts.entry(number).or_default() += 1);
        assert!(counts.keys().all(|number| starts.contains(number)), "{case}");
        let expected = (count * steps) as f64 / starts.len() as f64;
        // The steps of a sequence are not drawn one by one: five deviations of whole sequences.
        let allowed = 5.0 * (steps as f64 * expected).sqrt();
        for number in &starts {
            let off = (counts.get(number).copied().unwrap_or(0) as f64 - expected).abs();
            assert!(off < allowed, "{case}: {number} off by {off}");
        }
    }
}

/// More steps than any episode has: the whole return.
#[test]
fn more_steps_than_there_are_give_the_return_of_the_episode() {
    let (model, replay) = played(100, &[Script::new(7, End::Terminated), Script::new(9, End::Truncated)]);
    for steps in [9, 1000, usize::MAX - 1, usize::MAX] {
        let sample = transitions(&replay, 64, steps, 0.5, 5).unwrap();
        let rewards = numbers(&sample.rewards);
        for (start, reward) in starts_of(&sample).into_iter().zip(rewards) {
            let expected = model.transition(start, 100, 0.5);
            assert!(near(reward, expected.reward), "{steps} steps from {start}: {reward}, {expected:?}");
        }
    }
    for steps in [usize::MAX - 1, usize::MAX] {
        let error = sequences(&replay, 4, steps, 0.5, 5).unwrap_err();
        assert!(error.to_string().contains("count times steps"), "{error}");
    }
}

#[test]
fn evicts_the_oldest() {
    let (mut model, mut replay) = (Model::new(10), replay(10));
    let held = |replay: &ReplayBuffer| {
        let mut starts = starts_of(&transitions(replay, 1000, 1, 0.9, 1).unwrap());
        starts.sort_unstable();
        starts.dedup();
        starts
    };
    play(&mut model, &mut replay, Script::new(4, End::Terminated));
    assert_eq!(held(&replay), [0, 1, 2, 3]);
    play(&mut model, &mut replay, Script::new(4, End::Terminated));
    assert_eq!(held(&replay), [0, 1, 2, 3, 5, 6, 7, 8]);
    assert_eq!(replay.mean_return(), Some(0.0));
    // 13 observations: of the first episode only the last observation, number 4, and the step from 3 stay.
    play(&mut model, &mut replay, Script::new(2, End::Terminated));
    assert_eq!(held(&replay), [3, 5, 6, 7, 8, 10, 11]);
    assert_eq!(replay.mean_return(), Some((0.0 + 0.0 - 2.0) / 3.0));
    // One episode longer than everything: nothing else stays, nor is there a complete one.
    play(&mut model, &mut replay, Script::new(25, End::Interrupted));
    assert_eq!(held(&replay), (29..38).collect::<Vec<_>>());
    assert_eq!(replay.mean_return(), None);
}

/// Rewards of a simulation that exploded, long evicted, leave the mean of what is held as it is.
#[test]
fn evicted_rewards_leave_no_trace() {
    let (mut model, mut replay) = (Model::new(8), replay(8));
    let exploded = Script { rewards: vec![1e12, 1.0, -3e11], end: End::Terminated };
    play(&mut model, &mut replay, exploded);
    for _ in 0..3 {
        play(&mut model, &mut replay, Script::new(5, End::Truncated));
    }
    assert_eq!(replay.mean_reward(), model.mean_reward());
    assert_eq!(replay.mean_return(), model.mean_return());
}

/// Whatever is refused leaves everything as it was, also for the next sample and the next step.
#[test]
fn an_error_changes_nothing() {
    let scripts = [Script::new(5, End::Terminated), Script::new(3, End::Interrupted)];
    let (mut model, mut replay) = played(9, &scripts);
    let action = |values: &[f32], log_probability| Action { values: values.to_vec(), log_probability };
    let step = |reward, observation: &[f32]| Step {
        observation: observation.to_vec(),
        reward,
        terminated: true,
        truncated: false,
    };
    let (fine, led_to) = (action(&[0.0; ACTION_SIZE], 0.0), step(0.0, &[0.0; OBSERVATION_SIZE]));
    let refused = [
        (action(&[0.0], 0.0), led_to.clone()),
        (action(&[0.0, f32::NAN], 0.0), led_to.clone()),
        (action(&[0.0; 2], f32::INFINITY), led_to.clone()),
        (fine.clone(), step(f32::NEG_INFINITY, &[0.0; 2])),
        (fine.clone(), step(0.0, &[0.0; 3])),
        (fine.clone(), step(0.0, &[f32::NAN, 0.0])),
    ];
    let before = format!("{replay:?}");
    for (action, step) in refused {
        replay.push(&action, &step).unwrap_err();
        assert_eq!(format!("{replay:?}"), before);
    }
    replay.begin_episode(&[0.0]).unwrap_err();
    replay.begin_episode(&[0.0, f32::NAN]).unwrap_err();
    replay.stream(4).unwrap_err();
    replay.stream(3).unwrap().begin_episode(&[0.0]).unwrap_err();
    replay.stream(3).unwrap().push(&fine, &led_to).unwrap_err();
    assert_eq!(format!("{replay:?}"), before);
    // The episode under way is still under way.
    model.push(&mut replay, 0, 2.5, Some(End::Terminated)).unwrap();
    compare_measures(&model, &replay);
    compare_transitions(&model, &replay, 3, 0.9, 1);
    let error = replay.push(&fine, &led_to).unwrap_err();
    assert!(matches!(error, Error::Order { .. }), "{error}");
    assert!(error.to_string().contains("begin_episode"), "{error}");
    compare_measures(&model, &replay);
}

/// The memory is that of what is stored, and does not grow once the capacity is reached.
#[test]
fn holds_no_more_than_its_capacity() {
    // Much room, taken only when it is needed.
    let roomy = 10_000_000;
    let script = [Script::new(3, End::Terminated)];
    Model::new(roomy).play(&mut replay(roomy), &script, 1, &mut rng(1), compare_measures);

    let action = Action { values: vec![1.0; ACTION_SIZE], log_probability: -1.0 };
    let observation = vec![1.0; OBSERVATION_SIZE];
    let step = Step { observation, reward: 1.0, terminated: false, truncated: false };
    let mut replay = replay(50);
    let mut sizes = Vec::new();
    for _ in 0..40 {
        replay.begin_episode(&[1.0; OBSERVATION_SIZE]).unwrap();
        for _ in 0..9 {
            replay.push(&action, &step).unwrap();
        }
        assert!(replay.len() < replay.capacity());
        // All that it holds, written out.
        sizes.push(format!("{replay:?}").len());
    }
    let full = &sizes[5..];
    let (least, most) = (full.iter().min().unwrap(), full.iter().max().unwrap());
    assert!(sizes[0] + 500 < *least, "the text grows with what is held: {sizes:?}");
    assert!(most - least < 200, "{sizes:?}");
}

/// To be seen when it is made, not hours later when the process is killed.
#[test]
#[cfg(target_os = "linux")]
fn replays_beyond_the_memory_are_refused() {
    // Pictures of 84,480 numbers; the last is more than any machine has, and the numbers of bytes overflow.
    for (capacity, observation_size, action_size, bytes) in [
        (1_000_000_000, 84_480, 1, "337937000000000"),
        (usize::MAX, OBSERVATION_SIZE, ACTION_SIZE, "18446744073709551615"),
        (usize::MAX, 1 << 24, 1 << 24, "18446744073709551615"),
    ] {
        let error = ReplayBuffer::new(capacity, observation_size, action_size).unwrap_err();
        assert!(matches!(error, Error::Config { field: "ReplayBuffer::capacity", .. }), "{error}");
        for word in [&capacity.to_string(), bytes, "bytes that this machine has"] {
            assert!(error.to_string().contains(word), "{error}");
        }
    }
    assert_eq!(ReplayBuffer::bytes_at_capacity(1_000_000, 84_480, 1), 337_937_000_000);
}

/// As one that was saved on a larger machine.
#[test]
#[cfg(target_os = "linux")]
fn files_of_replays_beyond_the_memory_are_refused() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("replay.mpo");
    let mut small = replay(50);
    small.begin_episode(&[0.0; OBSERVATION_SIZE]).unwrap();
    small.save(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let (old, new) = (b"\"capacity\":50", b"\"capacity\":99999999999999999");
    let place = whole.windows(old.len()).position(|window| window == old).unwrap();
    let start = "mpo replay".len() + 12;
    let length = u64::from_le_bytes(whole[start - 8..start].try_into().unwrap());
    let longer = length + (new.len() - old.len()) as u64;
    let rest = &whole[place + old.len()..whole.len() - 4];
    let mut forged = [&whole[..start - 8], &longer.to_le_bytes(), &whole[start..place], new, rest].concat();
    forged.extend(crc32fast::hash(&forged).to_le_bytes());
    std::fs::write(&path, forged).unwrap();
    let error = ReplayBuffer::load(&path).unwrap_err();
    assert!(matches!(error, Error::Format { .. }), "{error}");
    for words in ["replay.mpo", "99999999999999999", "bytes that this machine has"] {
        assert!(error.to_string().contains(words), "{error}");
    }
}
