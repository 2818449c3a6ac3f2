//! Networks that are frozen, by Burn's `no_grad`: they stay to the bit, their statistics of observations and
//! values too, while the others learn.

use crate::common::agents::agent;
use crate::common::presets::small;
use crate::common::replays::{random_replay, rng};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use mpo::{MpoAgent, MpoConfig, ReplayBuffer};

/// All parameters, statistics among them.
fn parameters<M: Module>(module: &M) -> Vec<u32> {
    struct Read(Vec<u32>);
    impl ModuleVisitor for Read {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let numbers: Vec<f32> = param.val().inner().into_data().try_into_vec().unwrap();
            self.0.extend(numbers.into_iter().map(f32::to_bits));
        }
    }
    let mut read = Read(Vec::new());
    module.visit(&mut read);
    read.0
}

fn train(agent: &mut MpoAgent, replay: &ReplayBuffer, updates: usize) {
    for seed in 0..updates as u64 {
        let batch = agent.sample(replay, &mut rng(seed)).unwrap();
        agent.update(&batch).unwrap();
    }
}

/// Frozen after some updates, when their statistics are of something.
#[test]
fn frozen_networks_stay_while_the_others_learn() {
    let replay = random_replay(20, 20, 3, 2);
    for preset in [MpoConfig::default(), MpoConfig::paper()] {
        let config = small(preset);
        for freeze in [[true, false], [false, true], [true, true], [false, false]] {
            let mut untrained = agent(&config, 3, 2, 1);
            train(&mut untrained, &replay, 3);
            let (actor, critic) = (untrained.actor().clone(), untrained.critic().clone());
            let actor = if freeze[0] { actor.no_grad() } else { actor };
            let critic = if freeze[1] { critic.no_grad() } else { critic };
            let before = (parameters(&actor), parameters(&critic));
            let mut agent = MpoAgent::with_networks(config.clone(), actor, critic, 2).unwrap();
            train(&mut agent, &replay, 5);
            let stayed = [parameters(agent.actor()) == before.0, parameters(agent.critic()) == before.1];
            assert_eq!(stayed, freeze, "whether actor and critic stayed");
            // So is what is deployed.
            assert_eq!(parameters(agent.policy().actor()) == before.0, freeze[0]);
        }
    }
}
