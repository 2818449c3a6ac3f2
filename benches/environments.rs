//! How long a control step of each task takes, with random actions, on one core.
//!
//! ```text
//! cargo bench --bench environments
//! ```

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mpo::envs::{Acrobot, Cartpole, ControlError, Hopper};
use mpo::{Environment, Rng, Stream};

fn environments(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("environments");
    group.throughput(Throughput::Elements(1));
    let mut measure = |name: &str, task: &mut dyn Environment<Error = ControlError>| {
        let mut rng = Rng::stream(1, Stream::Exploration);
        let mut action = vec![0.0; task.action_space().size()];
        let mut last = true;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                if last {
                    task.reset(rng.next_seed()).expect("any seed will do");
                }
                action.fill_with(|| rng.uniform(-1.0, 1.0) as f32);
                last = task.step(&action).expect("the action is finite").is_last();
            });
        });
    };
    measure("cartpole", &mut Cartpole::swingup());
    measure("acrobot", &mut Acrobot::swingup());
    measure("hopper", &mut Hopper::hop());
}

criterion_group!(benches, environments);
criterion_main!(benches);
