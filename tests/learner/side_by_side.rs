//! Agents that are updated at the same time, on threads of their own or by a pool: none waits for another for
//! ever, whatever parameters they share.

use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::common::replays::{random_replay, rng};
use crate::twice::{ACTION, OBSERVATION, Twice};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use mpo::networks::{Activation, linear};
use mpo::{Actor, Batch, Critic, Gaussian, MpoAgent, MpoConfig};
use rayon::prelude::*;

const WIDTH: usize = 256;

/// Far more than a few updates take.
const LIMIT: Duration = Duration::from_secs(60);

/// Fails where `work` is not done in time, and ends the process: whatever waits for ever within the pool that
/// all tests share would let none of them end.
fn in_time(what: &str, work: impl FnOnce() + Send + 'static) {
    let (done, answer) = channel();
    thread::spawn(move || {
        work();
        let _ = done.send(());
    });
    match answer.recv_timeout(LIMIT) {
        Ok(()) => {}
        Err(RecvTimeoutError::Timeout) => {
            // The macros that print would write into what is told at the end of the tests.
            let _ = writeln!(std::io::stderr(), "{what}: not done within {LIMIT:?}");
            std::process::exit(101)
        }
        Err(RecvTimeoutError::Disconnected) => panic!("{what}: an update panicked"),
    }
}

/// Layers so wide that their matrix products are split between threads, and few sampled actions.
fn config() -> MpoConfig {
    let mut config = MpoConfig::default();
    config.critic.network.hidden = vec![WIDTH, WIDTH];
    config.actor.network.hidden = vec![WIDTH, WIDTH];
    config.batch_size = 256;
    config.sampled_actions = 2;
    config
}

fn batch() -> Batch {
    let replay = random_replay(20, 20, OBSERVATION, ACTION);
    replay.sample_transitions(256, 5, 0.9, &mut rng(2), &Device::flex()).unwrap()
}

fn agent(seed: u64) -> MpoAgent {
    MpoAgent::new(config(), OBSERVATION, ACTION, &Device::flex(), seed).unwrap()
}

/// Each agent on a thread of its own.
fn on_threads<A: Actor, C: Critic>(agents: Vec<MpoAgent<A, C>>, batch: &Batch) {
    thread::scope(|scope| {
        for mut agent in agents {
            scope.spawn(move || update(&mut agent, batch));
        }
    });
}

/// The agents by a pool of two threads, either of which takes up another update wherever it has to wait
/// within one.
fn in_a_pool<A: Actor, C: Critic>(mut agents: Vec<MpoAgent<A, C>>, batch: &Batch) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    pool.install(|| agents.par_iter_mut().for_each(|agent| update(agent, batch)));
}

/// Parameters are shared until the first update replaces them.
fn update<A: Actor, C: Critic>(agent: &mut MpoAgent<A, C>, batch: &Batch) {
    for _ in 0..2 {
        agent.update(batch).unwrap();
    }
}

const TRIES: u64 = 20;

/// Updates many groups of agents, each in both ways.
fn many_times<A: Actor + 'static, C: Critic + 'static>(agents: impl Fn(u64) -> Vec<MpoAgent<A, C>>) {
    let batch = batch();
    for seed in 0..TRIES {
        for (how, all) in [("on threads", on_threads as fn(_, &_)), ("in a pool", in_a_pool)] {
            let (agents, batch) = (agents(seed), batch.clone());
            in_time(&format!("group {seed} {how}"), move || all(agents, &batch));
        }
    }
}

#[test]
fn clones_of_one_agent() {
    many_times(|seed| vec![agent(seed); 4]);
}

#[test]
fn agents_made_apart() {
    many_times(|seed| (0..4).map(|number| agent(4 * seed + number)).collect());
}

#[test]
fn clones_and_agents_made_apart() {
    many_times(|seed| {
        let [one, other] = [agent(2 * seed), agent(2 * seed + 1)];
        vec![one.clone(), other.clone(), one, other]
    });
}

#[test]
fn agents_made_from_clones_of_the_same_networks() {
    many_times(|seed| {
        let actor = Twice::new(OBSERVATION, WIDTH, ACTION, seed);
        let critic = Twice::new(OBSERVATION + ACTION, WIDTH, 1, seed + TRIES);
        let made = |seed| MpoAgent::with_networks(config(), actor.clone(), critic.clone(), seed).unwrap();
        (0..4).map(made).collect()
    });
}

/// What an actor and a critic see of the observation.
#[derive(Module, Debug)]
struct OnShared {
    shared: Linear,
    own: Twice,
}

impl OnShared {
    fn features(&self, observations: Tensor<2>) -> Tensor<2> {
        Activation::Tanh.forward(self.shared.forward(observations))
    }
}

impl Actor for OnShared {
    type Distribution = Gaussian;

    fn policy(&self, observations: Tensor<2>) -> Gaussian {
        self.own.policy(self.features(observations))
    }

    fn observation_size(&self) -> usize {
        OBSERVATION
    }

    fn action_size(&self) -> usize {
        ACTION
    }
}

impl Critic for OnShared {
    fn values(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<1> {
        self.own.values(self.features(observations), actions)
    }

    fn observation_size(&self) -> usize {
        OBSERVATION
    }

    fn action_size(&self) -> usize {
        ACTION
    }
}

#[test]
fn an_actor_and_a_critic_that_share_a_layer() {
    many_times(|seed| {
        let shared = linear(OBSERVATION, OBSERVATION, 1.0, &Device::flex().autodiff(), &mut rng(seed));
        let actor = OnShared { shared: shared.clone(), own: Twice::new(OBSERVATION, WIDTH, ACTION, seed) };
        let critic = OnShared { shared, own: Twice::new(OBSERVATION + ACTION, WIDTH, 1, seed + TRIES) };
        let one = MpoAgent::with_networks(config(), actor, critic, seed).unwrap();
        vec![one; 4]
    });
}
