//! The same seed gives the same run, whatever the number of threads.

use std::fs;
use std::path::Path;

use crate::common::agents::agent;
use crate::common::replays::{random_replay, rng};
use burn::tensor::Device;
use mpo::envs::Cartpole;
use mpo::networks::Covariance;
use mpo::{MpoAgent, MpoConfig, PolicyEvaluation, Trainer, TrainerConfig};

/// What `train` leaves of an agent, to the last bit, in a pool of this many threads.
fn in_a_pool(threads: usize, train: impl Fn(&Path) -> MpoAgent + Sync) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        assert_eq!(rayon::current_num_threads(), threads);
        let path = folder.path().join("agent.mpo");
        train(folder.path()).save(&path).unwrap();
        fs::read(path).unwrap()
    })
}

/// The presets as they are, with networks of 256 units or as wide, and settings that take other ways through
/// the code.
fn settings() -> [MpoConfig; 3] {
    let mut wide = MpoConfig::default();
    wide.critic.network.hidden = vec![256, 256];
    wide.actor.network.hidden = vec![256, 256];
    let mut retrace = wide.clone();
    retrace.evaluation = PolicyEvaluation::Retrace { steps: 8, lambda: 1.0 };
    retrace.m_step.constraint = mpo::Constraint::Joint;
    retrace.actor.covariance = Covariance::Full;
    let mut large = wide.clone();
    large.batch_size = 1000;
    [wide, retrace, large]
}

#[test]
fn updates_do_not_depend_on_the_number_of_threads() {
    for (case, config) in settings().into_iter().enumerate() {
        let train = |_: &Path| {
            let mut agent = agent(&config, 17, 6, 1);
            let (replay, mut samples) = (random_replay(40, 50, 17, 6), rng(1));
            for _ in 0..5 {
                let batch = agent.sample(&replay, &mut samples).unwrap();
                agent.update(&batch).unwrap();
                agent.act(&[0.1; 17]).unwrap();
            }
            agent
        };
        let [one, two, four] = [1, 2, 4].map(|threads| in_a_pool(threads, train));
        assert!(one == two, "settings {case}: one thread and two differ");
        assert!(one == four, "settings {case}: one thread and four differ");
    }
}

#[test]
fn runs_do_not_depend_on_the_number_of_threads() {
    let train = |folder: &Path| {
        let agent = MpoAgent::new(settings()[0].clone(), 5, 1, &Device::flex(), 2).unwrap();
        let config = TrainerConfig {
            environment_steps: 70,
            warm_up_steps: 60,
            updates_per_step: 1.0,
            evaluation_episodes: 1,
            ..TrainerConfig::default()
        };
        let mut trainer = Trainer::new(config, agent, Cartpole::balance())
            .and_then(|trainer| trainer.evaluate_in(Cartpole::balance()))
            .unwrap();
        let evaluation = trainer.run().unwrap().evaluation;
        fs::write(folder.join("evaluation"), format!("{evaluation:?}")).unwrap();
        trainer.into_agent()
    };
    let [one, two, four] = [1, 2, 4].map(|threads| in_a_pool(threads, train));
    assert!(one == two && one == four, "runs of one, two and four threads differ");
}
