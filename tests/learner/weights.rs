//! The weights that the policy is fitted to are those that are reported: one dual and one ε hold for the
//! actions' values and for what they cost.

use crate::common::networks::{LinearActor, Parabola};
use crate::common::presets::small;
use burn::tensor::{Device, Tensor};
use mpo::{ActionCost, ActionPenalty, Batch, Improved, Metrics, MpoAgent, MpoConfig, Rng, Stream};

const STATES: usize = 4;
const MEAN: f64 = 0.4;
const DEVIATION: f64 = 0.5;

/// The first update of a policy around `MEAN` whose best action is `best`.
fn update(epsilon: f64, weight: f64, best: f64) -> (MpoConfig, Metrics) {
    let mut config = small(MpoConfig::default());
    (config.e_step.epsilon, config.e_step.minimum_temperature) = (epsilon, 0.0);
    config.action_penalty = Some(ActionPenalty { cost: ActionCost::Effort, weight });
    let actor = LinearActor::new([[MEAN as f32]], DEVIATION as f32);
    let critic = Parabola::new([[best as f32]], 1.0);
    let mut agent = MpoAgent::with_networks(config.clone(), actor, critic, 1).unwrap();
    let ones = || Tensor::<2>::ones([STATES, 1], &Device::flex());
    let batch = Batch {
        steps: 1,
        observations: ones(),
        actions: ones() * 0.5,
        rewards: Tensor::zeros([STATES], &Device::flex()),
        discounts: Tensor::ones([STATES], &Device::flex()) * 0.9,
        log_probabilities: Tensor::zeros([STATES], &Device::flex()),
        continued: Tensor::zeros([STATES], &Device::flex()),
        next_observations: ones(),
        improved: Improved { observations: ones(), truncated: vec![] },
    };
    let metrics = agent.update(&batch).unwrap();
    (config, metrics)
}

/// What each action of the first update's samples is worth, less its cost.
fn preferences(samples: usize, weight: f64, best: f64) -> Vec<Vec<f64>> {
    let noise = Rng::stream(1, Stream::ActionSamples).normals(STATES * samples);
    let of = |&z: &f32| {
        let action = MEAN + DEVIATION * f64::from(z);
        -(action.clamp(-1.0, 1.0) - best).powi(2) - weight * action * action
    };
    noise.chunks(samples).map(|state| state.iter().map(of).collect()).collect()
}

/// mean_s KL(q ‖ 1/M) of the weights q ∝ exp(preference / η).
fn kl(preferences: &[Vec<f64>], temperature: f64) -> f64 {
    let of_state = |state: &Vec<f64>| {
        let most = state.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = state.iter().map(|one| ((one - most) / temperature).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let share = |weight: f64| {
            if weight > 0.0 { weight / sum * (weight / sum * state.len() as f64).ln() } else { 0.0 }
        };
        weights.into_iter().map(share).sum::<f64>()
    };
    preferences.iter().map(of_state).sum::<f64>() / preferences.len() as f64
}

#[test]
fn values_and_costs_are_weighed_under_one_epsilon() {
    for (epsilon, weight, best) in [(0.1, 0.0, -0.5), (0.1, 0.3, -0.5), (0.1, 5.0, 1.0), (0.5, 1.0, 0.9)] {
        let (config, metrics) = update(epsilon, weight, best);
        let preferences = preferences(config.sampled_actions, weight, best);
        let (mut low, mut high) = (1e-6_f64, 1e6);
        for _ in 0..200 {
            let middle = (low * high).sqrt();
            if kl(&preferences, middle) > epsilon { low = middle } else { high = middle }
        }
        assert!((metrics.temperature / low - 1.0).abs() < 1e-4, "{weight}: {}, {low}", metrics.temperature);
        assert!((metrics.kl - 1.0).abs() < 1e-5, "{metrics:?}");
    }
}

/// The best action for its value and the best for its cost are two, and all weight is on one of them.
#[test]
fn opposed_preferences_give_weights() {
    for weight in [1e-6, 1.0, 1e6] {
        let (config, metrics) = update(4.0, weight, 1.0);
        let most = (config.sampled_actions as f64).ln();
        assert!((metrics.kl * 4.0 - most).abs() < 1e-3, "{metrics:?}");
        assert_eq!(metrics.interior, 0.0);
    }
}
