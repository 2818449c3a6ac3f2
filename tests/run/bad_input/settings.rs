//! Settings and what they refuse.

use mpo::{Excursions, MpoConfig, PolicyEvaluation, TemperatureSolver, TrainerConfig};

const POSITIVE: ([f64; 4], &str) = ([0.0, -1.0, f64::NAN, f64::INFINITY], "positive");
const NOT_NEGATIVE: ([f64; 4], &str) = ([-1e-9, -1.0, f64::NAN, f64::INFINITY], "0 or more");
const UNIT: ([f64; 4], &str) = ([-0.1, 1.1, f64::NAN, f64::INFINITY], "0 to 1");

/// A setting's name, how it is set, which values it refuses, and what it says it accepts.
pub type Number = (&'static str, fn(&mut MpoConfig, f64), ([f64; 4], &'static str));

/// A part of the message, how the setting is set to a wrong value, and what it says it accepts.
pub type Wrong<T> = (&'static str, fn(&mut T), &'static str);

/// Of agents, whose values are real numbers.
pub const NUMBERS: [Number; 24] = [
    (
        "MpoConfig::average_rate",
        |c, x| c.average_rate = x,
        ([0.0, -0.1, 1.1, f64::NAN], "above 0, at most 1"),
    ),
    ("MpoConfig::discount", |c, x| c.discount = x, UNIT),
    ("Retrace::lambda", |c, x| c.evaluation = PolicyEvaluation::Retrace { steps: 2, lambda: x }, UNIT),
    ("OptimizerConfig::learning_rate", |c, x| c.critic_optimizer.learning_rate = x, POSITIVE),
    ("OptimizerConfig::learning_rate", |c, x| c.m_step.optimizer.learning_rate = x, POSITIVE),
    ("OptimizerConfig::gradient_norm", |c, x| c.critic_optimizer.gradient_norm = Some(x), POSITIVE),
    ("OptimizerConfig::gradient_norm", |c, x| c.m_step.optimizer.gradient_norm = Some(x), POSITIVE),
    ("GaussianActorConfig::initial_standard", |c, x| c.actor.initial_standard_deviation = x, POSITIVE),
    ("GaussianActorConfig::minimum_standard", |c, x| c.actor.minimum_standard_deviation = x, POSITIVE),
    ("EStepConfig::epsilon", |c, x| c.e_step.epsilon = x, POSITIVE),
    ("ActionPenalty::weight", |c, x| c.action_penalty.as_mut().unwrap().weight = x, NOT_NEGATIVE),
    ("Excursions::uninformed", |c, x| excursions(c).uninformed = x, UNIT),
    ("Excursions::informed", |c, x| excursions(c).informed = x, UNIT),
    ("Excursions::hold", |c, x| excursions(c).hold = x, ([0.0, 0.9, f64::NAN, f64::INFINITY], "at least 1")),
    ("EStepConfig::minimum_temperature", |c, x| c.e_step.minimum_temperature = x, NOT_NEGATIVE),
    ("GradientStep::learning_rate", |c, x| c.e_step.solver = solver(x, 1.0), POSITIVE),
    ("GradientStep::initial_temperature", |c, x| c.e_step.solver = solver(0.1, x), POSITIVE),
    ("MStepConfig::epsilon_mean", |c, x| c.m_step.epsilon_mean = x, POSITIVE),
    ("MStepConfig::epsilon_choice", |c, x| c.m_step.epsilon_choice = x, POSITIVE),
    (
        "MultiplierConfig::initial_covariance",
        |c, x| c.m_step.multipliers.initial_covariance = x,
        NOT_NEGATIVE,
    ),
    ("MStepConfig::epsilon_covariance", |c, x| c.m_step.epsilon_covariance = x, POSITIVE),
    ("MultiplierConfig::initial_mean", |c, x| c.m_step.multipliers.initial_mean = x, NOT_NEGATIVE),
    ("MultiplierConfig::learning_rate_mean", |c, x| c.m_step.multipliers.learning_rate_mean = x, POSITIVE),
    (
        "MultiplierConfig::learning_rate_covariance",
        |c, x| c.m_step.multipliers.learning_rate_covariance = x,
        POSITIVE,
    ),
];

/// Of agents: counts that are refused.
pub const COUNTS: [Wrong<MpoConfig>; 12] = [
    ("MpoConfig::sampled_actions is 1", |c| c.sampled_actions = 1, "at least 2"),
    ("MpoConfig::sampled_actions is 0", |c| c.sampled_actions = 0, "at least 2"),
    ("MpoConfig::batch_size is 0", |c| c.batch_size = 0, "at least 1"),
    ("MpoConfig::target_period is 0", |c| c.target_period = 0, "at least 1"),
    ("Excursions::phase is 0", |c| excursions(c).phase = 0, "at least 1"),
    ("steps is 0", |c| c.evaluation = PolicyEvaluation::NStep { steps: 0 }, "at least 1"),
    ("steps is 0", |c| c.evaluation = PolicyEvaluation::Retrace { steps: 0, lambda: 1.0 }, "at least 1"),
    ("MStepConfig::iterations is 0", |c| c.m_step.iterations = 0, "at least 1"),
    ("NetworkConfig::hidden is []", |c| c.actor.network.hidden = vec![], "at least one layer"),
    ("NetworkConfig::hidden is [0]", |c| c.actor.network.hidden = vec![0], "none of size 0"),
    ("NetworkConfig::hidden is []", |c| c.critic.network.hidden = vec![], "at least one layer"),
    ("NetworkConfig::hidden is [8, 0]", |c| c.critic.network.hidden = vec![8, 0], "none of size 0"),
];

/// Of trainers, all that are refused.
pub const OF_TRAINERS: [Wrong<TrainerConfig>; 10] = [
    ("TrainerConfig::warm_up_steps is 0", |c| c.warm_up_steps = 0, "at least 1"),
    ("TrainerConfig::evaluation_period is 0", |c| c.evaluation_period = 0, "at least 1"),
    (
        "TrainerConfig::stop_at_return is Some(1.0)",
        |c| (c.evaluation_episodes, c.stop_at_return) = (0, Some(1.0)),
        "a number with TrainerConfig::evaluation_episodes above 0",
    ),
    ("TrainerConfig::metrics_period is 0", |c| c.metrics_period = 0, "at least 1"),
    ("TrainerConfig::updates_per_step is -1.0", |c| c.updates_per_step = -1.0, "0 or more, finite"),
    ("TrainerConfig::updates_per_step is NaN", |c| c.updates_per_step = f64::NAN, "0 or more, finite"),
    ("TrainerConfig::updates_per_step is inf", |c| c.updates_per_step = f64::INFINITY, "finite"),
    ("capacity is 0", |c| c.replay_capacity = 0, "at least 2"),
    ("capacity is 1", |c| c.replay_capacity = 1, "at least 2"),
    ("TrainerConfig::stop_at_return", |c| c.stop_at_return = Some(f64::NAN), "none"),
];

fn excursions(config: &mut MpoConfig) -> &mut Excursions {
    config.exploration.excursions.get_or_insert_default()
}

fn solver(learning_rate: f64, initial_temperature: f64) -> TemperatureSolver {
    TemperatureSolver::GradientStep { learning_rate, initial_temperature }
}
