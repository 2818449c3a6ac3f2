//! Environments around environments.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use mpo::{ActionRepeat, ActionSpace, Environment, Paced, Step, TimeLimit};

/// Counts its steps, and ends by itself after seven: the task, or a limit of its own.
#[derive(Default)]
struct Count {
    steps: u8,
    terminates: bool,
}

impl Environment for Count {
    type Error = Infallible;

    fn observation_size(&self) -> usize {
        3
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::symmetric(2)
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>, Infallible> {
        self.steps = 0;
        Ok(vec![seed as f32; 3])
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, Infallible> {
        self.steps += 1;
        let last = self.steps == 7;
        Ok(Step {
            observation: vec![f32::from(self.steps); 3],
            reward: action[0],
            terminated: last && self.terminates,
            truncated: last && !self.terminates,
        })
    }

    fn repeatable(&self) -> bool {
        true
    }
}

fn check_passes_on(wrapped: &mut impl Environment<Error = Infallible>) {
    assert_eq!((wrapped.observation_size(), wrapped.action_space()), (3, ActionSpace::symmetric(2)));
    assert!(wrapped.repeatable());
    assert_eq!(wrapped.reset(5), Ok(vec![5.0; 3]));
}

/// The last observation, the ends and the steps of two episodes.
fn episodes(environment: &mut impl Environment<Error = Infallible>) -> [(f32, bool, bool, u32); 2] {
    [1, 2].map(|seed| {
        environment.reset(seed).unwrap();
        (1..)
            .map(|made| (made, environment.step(&[1.0, 0.0]).unwrap()))
            .find(|(_, step)| step.is_last())
            .map(|(made, step)| (step.observation[0], step.terminated, step.truncated, made))
            .unwrap()
    })
}

/// Cut off at the limit, unless the episode is over before; what terminates at the limit has terminated.
#[test]
fn time_limits_cut_episodes_off() {
    for terminates in [false, true] {
        let limited = |steps| TimeLimit::new(Count { terminates, ..Count::default() }, steps).unwrap();
        check_passes_on(&mut limited(3));
        assert_eq!(episodes(&mut limited(1)), [(1.0, false, true, 1); 2]);
        assert_eq!(episodes(&mut limited(3)), [(3.0, false, true, 3); 2]);
        for steps in [7, 8] {
            assert_eq!(episodes(&mut limited(steps)), [(7.0, terminates, !terminates, 7); 2]);
        }
    }
    assert!(TimeLimit::new(Count::default(), 0).is_err());
}

/// Rewards are added up, and no step is made beyond an episode's end.
#[test]
fn actions_are_repeated_until_the_end() {
    for terminates in [false, true] {
        let repeated = |times| ActionRepeat::new(Count { terminates, ..Count::default() }, times).unwrap();
        check_passes_on(&mut repeated(3));
        let mut environment = repeated(3);
        environment.reset(1).unwrap();
        let rewards = [1, 2, 3].map(|_| environment.step(&[0.5, 0.0]).unwrap().reward);
        assert_eq!(rewards, [1.5, 1.5, 0.5]);
        for (times, steps) in [(1, 7), (3, 3), (7, 1), (100, 1)] {
            assert_eq!(episodes(&mut repeated(times)), [(7.0, terminates, !terminates, steps); 2]);
        }
    }
    assert!(ActionRepeat::new(Count::default(), 0).is_err());
}

/// A step every so often, whatever was done between; a tick that was missed is not made up for.
#[test]
fn paced_environments_answer_at_ticks() {
    let mut paced = Paced::new(Count::default(), Duration::from_millis(20)).unwrap();
    check_passes_on(&mut paced);
    let begun = Instant::now();
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(10));
        paced.step(&[0.0; 2]).unwrap();
    }
    let after = begun.elapsed();
    assert!((Duration::from_millis(39)..Duration::from_millis(150)).contains(&after), "{after:?}");
    std::thread::sleep(Duration::from_millis(60));
    let begun = Instant::now();
    paced.step(&[0.0; 2]).unwrap();
    let late = begun.elapsed();
    paced.step(&[0.0; 2]).unwrap();
    let next = begun.elapsed();
    assert!(late < Duration::from_millis(15) && next > Duration::from_millis(19), "{late:?}, {next:?}");
    assert!(Paced::new(Count::default(), Duration::ZERO).is_err());
}
