//! Properties of the M-step as a whole, with a network.

use crate::common::difference::largest_difference;
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use mpo::Distribution;
use mpo::networks::{
    Activation, CategoricalActorConfig, Covariance, GaussianActorConfig, NetworkConfig, Optimizer,
    OptimizerConfig,
};
use mpo::{
    Actor, CategoricalActor, Constraint, Error, Gaussian, GaussianActor, IndependentActors, MStep,
    MStepConfig, MStepReport, MultiplierConfig, Rng, Scale, Stream,
};
use proptest::prelude::*;

const STATES: usize = 8;
const SAMPLES: usize = 12;
const OBSERVATION: usize = 3;
const ACTION: usize = 2;

/// The kinds of covariance and constraint that fit each other.
const KINDS: [(Covariance, Constraint); 3] = [
    (Covariance::Full, Constraint::Joint),
    (Covariance::Diagonal, Constraint::Joint),
    (Covariance::Diagonal, Constraint::PerDimension),
];

fn actor(covariance: Covariance, initial_standard_deviation: f64, rng: &mut Rng) -> GaussianActor {
    let network = NetworkConfig {
        hidden: vec![16, 16],
        activation: Activation::Elu,
        layer_norm: false,
        normalise_observations: false,
    };
    let config = GaussianActorConfig {
        network,
        covariance,
        initial_standard_deviation,
        minimum_standard_deviation: 1e-3,
        bounded_mean: false,
    };
    GaussianActor::new(&config, OBSERVATION, ACTION, &Device::flex(), rng).unwrap()
}

/// A configuration whose multipliers hardly move.
fn config(constraint: Constraint) -> MStepConfig {
    MStepConfig {
        epsilon_mean: 0.1,
        epsilon_choice: 0.1,
        epsilon_covariance: 0.01,
        constraint,
        iterations: 5,
        multipliers: MultiplierConfig {
            initial_mean: 0.0,
            initial_covariance: 0.0,
            learning_rate_mean: 1e-9,
            learning_rate_covariance: 1e-9,
        },
        optimizer: OptimizerConfig { learning_rate: 1e-3, gradient_norm: None, epsilon: 1e-8 },
    }
}

fn normals<const D: usize>(rng: &mut Rng, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(rng.normals(shape.iter().product()), shape), &Device::flex())
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter().collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Observations, and actions sampled from `old` at them with weights that prefer large actions.
struct Batch {
    observations: Tensor<2>,
    old: Gaussian,
    actions: Tensor<3>,
    weights: Tensor<2>,
}

impl Batch {
    fn new(old: &GaussianActor, rng: &mut Rng) -> Self {
        Self::of(STATES, old, rng)
    }

    fn of(states: usize, old: &GaussianActor, rng: &mut Rng) -> Self {
        let observations = normals(rng, [states, OBSERVATION]);
        let old = old.valid().policy(observations.clone());
        let actions = old.sample(normals(rng, [states, SAMPLES, ACTION]));
        let mass: Tensor<2> = actions.clone().sum_dim(2).squeeze_dim::<2>(2).exp();
        let weights = mass.clone() / mass.sum_dim(1);
        Self { observations, old, actions, weights }
    }

    fn improve(&self, m_step: &mut MStep, actor: GaussianActor) -> (GaussianActor, MStepReport) {
        let (observations, actions) = (self.observations.clone(), self.actions.clone());
        m_step.improve(&actor, observations, &self.old, actions, self.weights.clone()).unwrap()
    }

    fn on_autodiff(self) -> Self {
        let scale = match self.old.scale {
            Scale::Diagonal(deviation) => Scale::Diagonal(Tensor::from_inner(deviation)),
            Scale::Cholesky(factor) => Scale::Cholesky(Tensor::from_inner(factor)),
        };
        Self {
            observations: Tensor::from_inner(self.observations),
            old: Gaussian { mean: Tensor::from_inner(self.old.mean), scale },
            actions: Tensor::from_inner(self.actions),
            weights: Tensor::from_inner(self.weights),
        }
    }

    /// -mean_s Σ_j w_j (log N(a_j; μ, Σ_k) + log N(a_j; μ_k, Σ)).
    fn loss<A: Actor<Distribution = Gaussian>>(&self, actor: &A) -> Tensor<1> {
        let policy = actor.policy(self.observations.clone());
        let log_probability = |mean: &Gaussian, scale: &Gaussian| {
            let (mean, scale) = (mean.mean.clone(), scale.scale.clone());
            Gaussian { mean, scale }.log_probability(self.actions.clone())
        };
        let both = log_probability(&policy, &self.old) + log_probability(&self.old, &policy);
        -(both * self.weights.clone()).sum_dim(1).mean()
    }
}

/// Mean and scale of what an actor does at some observations.
fn outputs(actor: &GaussianActor, observations: &Tensor<2>) -> Vec<f64> {
    let policy = actor.valid().policy(observations.clone());
    let scale = match policy.scale {
        Scale::Diagonal(deviation) => numbers(deviation),
        Scale::Cholesky(factor) => numbers(factor),
    };
    [numbers(policy.mean), scale].concat()
}

#[test]
fn the_loss_decreases() {
    for (covariance, constraint) in KINDS {
        let rng = &mut Rng::stream(1, Stream::Weights);
        let mut actor = actor(covariance, 0.5, rng);
        let batch = Batch::new(&actor, rng);
        let mut m_step = MStep::new(config(constraint), ACTION, &Device::flex()).unwrap();
        let mut last = numbers(batch.loss(&actor.valid()))[0];
        for _ in 0..10 {
            actor = batch.improve(&mut m_step, actor).0;
            let loss = numbers(batch.loss(&actor.valid()))[0];
            assert!(loss < last, "{covariance:?}: from {last} to {loss}");
            last = loss;
        }
    }
}

/// The step from the closed-form gradient is the one from the sampled loss.
#[test]
fn the_step_is_that_of_the_sampled_loss() {
    for (covariance, constraint) in KINDS {
        let rng = &mut Rng::stream(2, Stream::Weights);
        let start = actor(covariance, 0.5, rng);
        let batch = Batch::new(&start, rng);
        let (observations, before) = (batch.observations.clone(), outputs(&start, &batch.observations));
        let config = config(constraint);
        let mut m_step = MStep::new(config.clone(), ACTION, &Device::flex()).unwrap();
        let improved = outputs(&batch.improve(&mut m_step, start.clone()).0, &observations);

        let mut optimizer = Optimizer::new(config.optimizer).unwrap();
        let batch = batch.on_autodiff();
        let mut expected = start;
        for _ in 0..config.iterations {
            let loss = batch.loss(&expected);
            expected = optimizer.step(expected, loss);
        }
        let expected = outputs(&expected, &observations);
        let (moved, deviation) =
            (largest_difference(&before, &expected), largest_difference(&improved, &expected));
        assert!(deviation <= 1e-3 * moved, "{covariance:?}: off by {deviation:e} after a move by {moved:e}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// α ← max(0, α + learning rate (C / ε - 1)), with the divergences from the old policy.
    #[test]
    fn multipliers_follow_the_violation(
        seed in any::<u64>(),
        kind in 0..KINDS.len(),
        far in any::<bool>(),
        [initial_mean, initial_covariance] in [0.0..2.0_f64, 0.0..2.0_f64],
        [learning_rate_mean, learning_rate_covariance] in [0.01..3.0_f64, 0.01..3.0_f64],
    ) {
        let (covariance, constraint) = KINDS[kind];
        let rng = &mut Rng::stream(seed, Stream::Weights);
        let old = actor(covariance, 0.5, rng);
        let online = if far { actor(covariance, 1.5, rng) } else { old.clone() };
        let batch = Batch::new(&old, rng);
        let policy = online.valid().policy(batch.observations.clone());
        let multipliers =
            MultiplierConfig { initial_mean, initial_covariance, learning_rate_mean, learning_rate_covariance };
        // The means of untrained networks hardly differ.
        let config = MStepConfig { epsilon_mean: 1e-6, iterations: 1, multipliers, ..config(constraint) };
        let mut m_step = MStep::new(config.clone(), ACTION, &Device::flex()).unwrap();
        let report = batch.improve(&mut m_step, online).1;

        let kl = match constraint {
            Constraint::Joint => policy.decoupled_kl(&batch.old),
            Constraint::PerDimension => policy.decoupled_kl_per_dimension(&batch.old).unwrap(),
        };
        for (kl, epsilon, initial, rate, reported, multiplier) in [
            (kl.mean, config.epsilon_mean, initial_mean, learning_rate_mean, report.kl_mean, report.multipliers.mean),
            (
                kl.covariance,
                config.epsilon_covariance,
                initial_covariance,
                learning_rate_covariance,
                report.kl_covariance,
                report.multipliers.covariance,
            ),
        ] {
            let columns = kl.dims()[1];
            prop_assert_eq!(columns, if constraint == Constraint::Joint { 1 } else { ACTION });
            let kl = numbers(kl);
            let relative = (0..columns).map(|column| {
                mean(&kl.iter().skip(column).step_by(columns).copied().collect::<Vec<_>>()) / epsilon
            });
            let relative: Vec<f64> = relative.collect();
            let scale = relative.iter().fold(1.0_f64, |scale, kl| scale.max(*kl));
            prop_assert!(largest_difference(&numbers(reported), &relative) <= 1e-5 * scale);
            let multiplier = numbers(multiplier);
            for (multiplier, relative) in multiplier.iter().zip(&relative) {
                prop_assert!(*multiplier >= 0.0);
                prop_assert!(far || relative.abs() < 1e-3 && *multiplier <= initial);
                let expected = (initial + rate * (relative - 1.0)).max(0.0);
                prop_assert!((multiplier - expected).abs() <= 1e-4 * (1.0 + rate * scale), "{multiplier} {expected}");
            }
        }
    }
}

/// Pulled away again and again, the policy comes to rest at the border of both trust regions.
#[test]
fn the_trust_regions_hold() {
    for (covariance, constraint) in KINDS {
        let rng = &mut Rng::stream(4, Stream::Weights);
        let mut actor = actor(covariance, 0.5, rng);
        let mut batch = Batch::new(&actor, rng);
        // All weight on the samples farthest off: the mean is to move and the covariance to shrink.
        batch.weights = batch.weights.powi_scalar(20);
        batch.weights = batch.weights.clone() / batch.weights.sum_dim(1);
        let multipliers = MultiplierConfig {
            initial_mean: 1.0,
            initial_covariance: 1.0,
            learning_rate_mean: 0.1,
            learning_rate_covariance: 0.1,
        };
        let optimizer = OptimizerConfig { learning_rate: 3e-3, gradient_norm: None, epsilon: 1e-8 };
        let config = MStepConfig { multipliers, optimizer, ..config(constraint) };
        let mut m_step = MStep::new(config, ACTION, &Device::flex()).unwrap();
        let mut tail: Vec<Vec<f64>> = Vec::new();
        for iteration in 0..250 {
            let (next, report) = batch.improve(&mut m_step, actor);
            actor = next;
            let multipliers = [report.multipliers.mean, report.multipliers.covariance].map(numbers).concat();
            assert!(multipliers.iter().all(|&multiplier| multiplier >= 0.0), "{multipliers:?}");
            if iteration >= 200 {
                tail.push([report.kl_mean, report.kl_covariance].map(numbers).concat());
            }
        }
        for constraint in 0..tail[0].len() {
            let relative = mean(&tail.iter().map(|kl| kl[constraint]).collect::<Vec<_>>());
            assert!(
                (relative - 1.0).abs() < 0.02,
                "{covariance:?}, constraint {constraint}: C / ε = {relative}"
            );
        }
    }
}

fn expect_shape<T>(result: mpo::Result<T>, place: &str, shape: &[usize]) {
    match result.err().expect("an error") {
        Error::Shape { place: refused, shape: dims, .. } => assert_eq!((refused, &dims[..]), (place, shape)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let device = Device::flex();
    let rng = &mut Rng::stream(6, Stream::Weights);
    let actor = actor(Covariance::Diagonal, 0.5, rng);
    let Batch { observations, old, actions, weights } = Batch::new(&actor, rng);
    let m_step = MStep::new(config(Constraint::Joint), ACTION, &device).unwrap();
    let improve = |observations: &Tensor<2>, actions: &Tensor<3>, weights: &Tensor<2>| {
        let (observations, actions, weights) = (observations.clone(), actions.clone(), weights.clone());
        m_step.clone().improve(&actor, observations, &old, actions, weights)
    };
    assert!(improve(&observations, &actions, &weights).is_ok());
    for shape in [[STATES - 1, OBSERVATION], [STATES, 0]] {
        let observations = Tensor::zeros(shape, &device);
        expect_shape(improve(&observations, &actions, &weights), "observations", &shape);
    }
    for shape in [[STATES + 1, SAMPLES, ACTION], [STATES, SAMPLES, ACTION + 1], [STATES, 0, ACTION]] {
        let actions = Tensor::zeros(shape, &device);
        expect_shape(improve(&observations, &actions, &weights), "actions", &shape);
    }
    for shape in [[STATES, SAMPLES + 1], [STATES - 1, SAMPLES]] {
        let weights = Tensor::zeros(shape, &device);
        expect_shape(improve(&observations, &actions, &weights), "weights", &shape);
    }
}

/// Observations and actions of a size that the actor was not made for.
#[test]
fn actors_of_other_sizes_are_refused() {
    let device = Device::flex();
    let rng = &mut Rng::stream(7, Stream::Weights);
    let actor = actor(Covariance::Diagonal, 0.5, rng);
    let Batch { observations, old, actions, weights } = Batch::new(&actor, rng);
    let mut m_step = MStep::new(config(Constraint::Joint), ACTION, &device).unwrap();
    let wide = Tensor::zeros([STATES, OBSERVATION + 1], &device);
    let result = m_step.improve(&actor, wide, &old, actions, weights.clone());
    expect_shape(result, "observations", &[STATES, OBSERVATION + 1]);
    let larger = Tensor::ones([STATES, ACTION + 1], &device);
    let old = Gaussian { mean: larger.clone(), scale: Scale::Diagonal(larger) };
    let actions = Tensor::zeros([STATES, SAMPLES, ACTION + 1], &device);
    assert!(m_step.improve(&actor, observations, &old, actions, weights).is_err());
}

#[test]
fn constraints_a_dimension_need_a_diagonal_covariance_of_their_size() {
    let device = Device::flex();
    let rng = &mut Rng::stream(8, Stream::Weights);
    for (covariance, size) in [(Covariance::Full, ACTION), (Covariance::Diagonal, ACTION + 1)] {
        let actor = actor(covariance, 0.5, rng);
        let Batch { observations, old, actions, weights } = Batch::new(&actor, rng);
        let mut m_step = MStep::new(config(Constraint::PerDimension), size, &device).unwrap();
        let error = m_step.improve(&actor, observations, &old, actions, weights).unwrap_err();
        match (covariance, error) {
            (Covariance::Full, Error::Config { field: "the policy's covariance", .. }) => (),
            (Covariance::Diagonal, Error::Size { size: ACTION, expected, .. }) => assert_eq!(expected, size),
            (_, other) => panic!("{covariance:?}: {other:?}"),
        }
    }
    // A policy of another kind than the one that sampled the actions.
    let Batch { observations, old, actions, weights } =
        Batch::new(&actor(Covariance::Diagonal, 0.5, rng), rng);
    let mut m_step = MStep::new(config(Constraint::PerDimension), ACTION, &device).unwrap();
    let full = actor(Covariance::Full, 0.5, rng);
    let error = m_step.improve(&full, observations, &old, actions, weights).unwrap_err();
    assert!(matches!(error, Error::Config { field: "the policy's covariance", .. }), "{error}");
}

#[test]
fn bad_settings_are_refused_by_name() {
    let refused = |config: MStepConfig, size: usize| match MStep::new(config, size, &Device::flex()).err() {
        Some(Error::Config { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let good = || config(Constraint::Joint);
    assert_eq!(MStep::new(good(), ACTION, &Device::flex()).unwrap().config(), &good());
    assert_eq!(refused(good(), 0), "action_size");
    assert_eq!(refused(MStepConfig { iterations: 0, ..good() }, ACTION), "MStepConfig::iterations");
    for bad in [-1.0, f64::NAN, f64::INFINITY, 0.0] {
        for (field, set) in [
            ("MStepConfig::epsilon_mean", (|c, x| c.epsilon_mean = x) as fn(&mut MStepConfig, f64)),
            ("MStepConfig::epsilon_choice", |c, x| c.epsilon_choice = x),
            ("MStepConfig::epsilon_covariance", |c, x| c.epsilon_covariance = x),
            ("MultiplierConfig::learning_rate_mean", |c, x| c.multipliers.learning_rate_mean = x),
            ("MultiplierConfig::learning_rate_covariance", |c, x| c.multipliers.learning_rate_covariance = x),
            ("OptimizerConfig::learning_rate", |c, x| c.optimizer.learning_rate = x),
            ("OptimizerConfig::gradient_norm", |c, x| c.optimizer.gradient_norm = Some(x)),
            ("MultiplierConfig::initial_mean", |c, x| c.multipliers.initial_mean = x),
            ("MultiplierConfig::initial_covariance", |c, x| c.multipliers.initial_covariance = x),
        ] {
            let mut config = good();
            set(&mut config, bad);
            // 0 is a multiplier like any other.
            if bad == 0.0 && field.contains("initial") {
                assert!(MStep::new(config, ACTION, &Device::flex()).is_ok());
            } else {
                assert_eq!(refused(config, ACTION), field);
            }
        }
    }
}

/// Several turns work on the batch in pieces, one turn on the whole of it.
#[test]
fn turns_are_one_after_the_other_whatever_the_size_of_the_batch() {
    for (covariance, constraint) in KINDS {
        for states in [1, 127, 128, 129, 300] {
            let mut rng = Rng::stream(states as u64, Stream::Weights);
            let old = actor(covariance, 0.5, &mut rng);
            let batch = Batch::of(states, &old, &mut rng);
            let mut settings = config(constraint);
            settings.multipliers.learning_rate_mean = 0.1;
            settings.multipliers.learning_rate_covariance = 0.1;
            settings.optimizer.gradient_norm = Some(0.1);
            let m_step = |iterations| {
                MStep::new(MStepConfig { iterations, ..settings.clone() }, ACTION, &Device::flex()).unwrap()
            };
            let (three, report) = batch.improve(&mut m_step(3), old.clone());
            let mut one = m_step(1);
            let (mut by_turns, mut last) = batch.improve(&mut one, old.clone());
            for _ in 1..3 {
                (by_turns, last) = batch.improve(&mut one, by_turns);
            }
            let moved = [&three, &by_turns].map(|actor| outputs(actor, &batch.observations));
            assert!(largest_difference(&moved[0], &outputs(&old, &batch.observations)) > 1e-3);
            assert!(largest_difference(&moved[0], &moved[1]) <= 2e-5, "{covariance:?}, {states} states");
            let multipliers =
                |report: MStepReport| [numbers(report.multipliers.mean), numbers(report.kl_mean)].concat();
            assert!(largest_difference(&multipliers(report), &multipliers(last)) <= 1e-5);
        }
    }
}

/// Numbers and choices have trust regions of their own, unless one constraint is for both.
#[test]
fn choices_have_their_own_bound() {
    let device = Device::flex();
    let of = |seed| {
        let mut rng = Rng::stream(seed, Stream::Weights);
        let numbers = actor(Covariance::Diagonal, 0.3, &mut rng);
        let choices = CategoricalActorConfig::default();
        let choices = CategoricalActor::new(&choices, OBSERVATION, &[3, 4], &device, &mut rng).unwrap();
        IndependentActors::new(numbers, choices).unwrap()
    };
    let (now, before) = (of(1), of(2));
    let mut rng = Rng::stream(3, Stream::Weights);
    let observations: Tensor<2> = normals(&mut rng, [6, OBSERVATION]);
    let old = before.valid().policy(observations.clone());
    let actions = old.sample(normals(&mut rng, [6, 5, ACTION + 2]));
    let weights = Tensor::ones([6, 5], &device) / 5.0;
    let report = |constraint, epsilon_choice| {
        let config = MStepConfig { epsilon_choice, iterations: 1, ..config(constraint) };
        let mut m_step = MStep::new(config, ACTION + 2, &device).unwrap();
        let (actions, weights) = (actions.clone(), weights.clone());
        let (_, report) = m_step.improve(&now, observations.clone(), &old, actions, weights).unwrap();
        report.kl_mean.into_data().try_into_vec::<f32>().unwrap()
    };
    let kl =
        now.valid().policy(observations.clone()).divergence(&old, Constraint::PerDimension).unwrap().mean;
    let kl = kl.mean_dim(0).into_data().try_into_vec::<f32>().unwrap();
    let found = report(Constraint::PerDimension, 0.025);
    for (component, (found, kl)) in found.iter().zip(&kl).enumerate() {
        let epsilon = if component < ACTION { 0.1 } else { 0.025 };
        assert!(
            *kl > 0.0 && (found - kl / epsilon).abs() < 1e-2 * kl / epsilon,
            "{component}: {found}, {kl}"
        );
    }
    assert_eq!(report(Constraint::Joint, 0.025), report(Constraint::Joint, 0.1));
}
