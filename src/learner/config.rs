//! Every setting of the algorithm, and the presets.

use serde::{Deserialize, Serialize};

use crate::checks::{check, check_any, check_count, check_not_negative, check_share};
use crate::error::Result;
use crate::exploration::{Excursions, Exploration, NoiseColour};
use crate::learner::action_cost::{ActionCost, ActionPenalty};
use crate::learner::critic_step::PolicyEvaluation;
use crate::learner::e_step::{EStepConfig, EStepKind};
use crate::learner::m_step::{MStepConfig, MultiplierConfig};
use crate::mathematics::distribution::Constraint;
use crate::networks::{
    Activation, CategoricalActorConfig, Covariance, CriticLoss, GaussianActorConfig, NetworkConfig,
    OptimizerConfig, QNetworkConfig,
};

/// The settings of an [`MpoAgent`](crate::MpoAgent).
///
/// [`MpoConfig::default`] is a modern preset that learns fast, [`MpoConfig::simulation`] the same with bolder
/// exploration, [`MpoConfig::discrete`] the same for actions that are choices, [`MpoConfig::parametric`] the
/// same with the parametric E-step (arXiv 1806.06920), and [`MpoConfig::paper`] has the settings of the
/// replication paper's Table 1. Change fields of one of them; they are checked when the agent is built.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MpoConfig {
    /// γ, how much a reward counts one step later. Accepted: 0 to 1. It looks about 1 / (1 - γ) steps ahead;
    /// raise it where rewards come late or a step is short.
    pub discount: f64,
    /// What the critic is regressed on.
    pub evaluation: PolicyEvaluation,
    /// The critic.
    pub critic: QNetworkConfig,
    /// The critic's optimizer.
    pub critic_optimizer: OptimizerConfig,
    /// The policy network for components inside bounds.
    pub actor: GaussianActorConfig,
    /// The policy network for choices.
    pub choices: CategoricalActorConfig,
    /// How it explores.
    pub exploration: Exploration,
    /// M, the actions sampled for each state, in the E-step and for the targets. Accepted: 2 to 16,777,216.
    /// More make both less noisy; the time of an update grows with it.
    pub sampled_actions: usize,
    /// The number of states in a batch. Accepted: 1 to 16,777,216. With Retrace, sequences are drawn until
    /// they hold that many.
    pub batch_size: usize,
    /// At which states of a batch the policy is improved.
    pub improve_at: ImproveAt,
    /// How many updates lie between two copies of the networks to their targets. Accepted: at least 1. Small
    /// values learn faster while they are stable. A period is an iteration i of the paper's Algorithm 1.
    pub target_period: u64,
    /// The policy that is evaluated and deployed is an exponential moving average of the policies over about
    /// 1 / `average_rate` updates (the plain average while fewer are made): a policy that learns wanders a
    /// little with each update, its average does not. Accepted: above 0, to 1, which takes the latest policy
    /// itself. It changes nothing of what is learnt.
    pub average_rate: f64,
    /// The E-step.
    pub e_step: EStepConfig,
    /// What actions cost beside their values; none leaves it out.
    pub action_penalty: Option<ActionPenalty>,
    /// The M-step.
    pub m_step: MStepConfig,
}

/// At which states the E-step and the M-step work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ImproveAt {
    /// The states s of the batch, as in the paper, with samples of their own.
    States,
    /// The next states s', whose sampled actions and values the critic's targets need anyway: the most
    /// expensive part of an update is done once, not twice. Every state in which the agent acted counts the
    /// same, as with [`States`](Self::States): where the episode ends before the next state, one of its first
    /// states takes its place (see [`Improved`](crate::Improved)).
    NextStates,
}

impl Default for MpoConfig {
    /// The modern preset, one for all of the control suite's tasks: normalised networks, observations and
    /// values, a critic that learns faster than the policy, a diagonal covariance with a constraint for each
    /// dimension, 5-step targets.
    ///
    /// Neither the unit of the rewards nor a constant added to all of them is meant to change what is learnt.
    /// For factors of 2^-13 to 2^13 a test finds the same bits after 100 updates, for constants of -100 to 10
    /// the same means up to rounding. A longer run that differs by rounding alone is another run. Where
    /// episodes can terminate, a constant is another task: it says what going on is worth.
    ///
    /// No action is anything but the policy's, with its noise: see [`MpoConfig::simulation`] for what
    /// explores more boldly.
    fn default() -> Self {
        Self {
            discount: 0.995,
            evaluation: PolicyEvaluation::NStep { steps: 5 },
            critic: QNetworkConfig::default(),
            critic_optimizer: OptimizerConfig { learning_rate: 1e-3, gradient_norm: None, epsilon: 1e-8 },
            actor: GaussianActorConfig::default(),
            choices: CategoricalActorConfig::default(),
            exploration: Exploration::default(),
            sampled_actions: 20,
            batch_size: 256,
            improve_at: ImproveAt::NextStates,
            target_period: 100,
            average_rate: 0.002,
            e_step: EStepConfig::default(),
            action_penalty: Some(ActionPenalty { cost: ActionCost::Effort, weight: 0.002 }),
            m_step: MStepConfig::default(),
        }
    }
}

impl MpoConfig {
    /// The default preset for simulations in which rewards are rare: besides its noise it explores by
    /// [`Excursions`], which drive each component of the action from one of its ends to the other for 1,000
    /// actions at a time. Not for machines that can break.
    pub fn simulation() -> Self {
        let default = Self::default();
        let exploration = Exploration { excursions: Some(Excursions::default()), ..default.exploration };
        Self { exploration, ..default }
    }

    /// The default preset for actions that are choices and nothing else: its targets are Retrace's, over
    /// sequences of 8 steps. The default's, uncorrected, say in part what older policies would go on to do,
    /// and CartPole-v1 is then not learnt with every seed; of numbers Retrace learned more slowly
    /// (`docs/results/ablations.md`). For a simulation with rare rewards there is
    /// `MpoConfig { exploration: MpoConfig::simulation().exploration, ..MpoConfig::discrete() }`.
    pub fn discrete() -> Self {
        Self { evaluation: PolicyEvaluation::Retrace { steps: 8, lambda: 1.0 }, ..Self::default() }
    }

    /// The default preset with the parametric E-step ([`EStepKind::Parametric`]): the policy follows the
    /// likelihood-ratio gradient of its advantage, inside the same trust regions, and there is no
    /// temperature.
    pub fn parametric() -> Self {
        let default = Self::default();
        let e_step = EStepConfig { kind: EStepKind::Parametric, ..default.e_step };
        Self { e_step, ..default }
    }

    /// The replication paper's settings: Table 1, 64 sampled actions, TD(0), ReLU layers of 256, a full
    /// covariance, five turns of multipliers and policy, gradients clipped to 0.1.
    ///
    /// What the paper does not state is taken from the code it is modelled on (the Huber loss, the batch of
    /// 256, the multipliers' steps). Targets are copied every iteration, which is 100 updates here: the paper
    /// makes three passes over the trajectories of an iteration, but does not state how many these are.
    pub fn paper() -> Self {
        let network = NetworkConfig {
            hidden: vec![256, 256],
            activation: Activation::Relu,
            layer_norm: false,
            normalise_observations: false,
        };
        Self {
            discount: 0.99,
            evaluation: PolicyEvaluation::NStep { steps: 1 },
            critic: QNetworkConfig {
                network: network.clone(),
                normalise_values: false,
                loss: CriticLoss::Huber,
                distribution: None,
            },
            critic_optimizer: OptimizerConfig { learning_rate: 3e-4, gradient_norm: None, epsilon: 1e-8 },
            choices: CategoricalActorConfig { network: network.clone(), uniform_share: 0.0 },
            actor: GaussianActorConfig {
                network,
                covariance: Covariance::Full,
                initial_standard_deviation: std::f64::consts::LN_2,
                minimum_standard_deviation: 1e-4,
                bounded_mean: false,
            },
            exploration: Exploration { noise: NoiseColour::White, excursions: None },
            sampled_actions: 64,
            batch_size: 256,
            improve_at: ImproveAt::States,
            target_period: 100,
            average_rate: 1.0,
            e_step: EStepConfig { minimum_temperature: 0.0, ..EStepConfig::default() },
            action_penalty: None,
            m_step: MStepConfig {
                epsilon_mean: 0.1,
                epsilon_choice: 0.1,
                epsilon_covariance: 1e-4,
                constraint: Constraint::Joint,
                iterations: 5,
                multipliers: MultiplierConfig {
                    initial_mean: 0.0,
                    initial_covariance: 0.0,
                    learning_rate_mean: 0.1,
                    learning_rate_covariance: 0.01,
                },
                optimizer: OptimizerConfig { learning_rate: 3e-4, gradient_norm: Some(0.1), epsilon: 1e-8 },
            },
        }
    }

    /// Checks the settings that no part checks by itself.
    pub(crate) fn validate(&self) -> Result<()> {
        check_share("MpoConfig::discount", self.discount)?;
        check_count("MpoConfig::sampled_actions", self.sampled_actions, 2)?;
        check_count("MpoConfig::batch_size", self.batch_size, 1)?;
        check_any("MpoConfig::target_period", self.target_period)?;
        check(
            "MpoConfig::average_rate",
            self.average_rate,
            |&rate| rate > 0.0 && rate <= 1.0,
            "above 0, at most 1",
        )?;
        let Some(penalty) = self.action_penalty else { return Ok(()) };
        check_not_negative("ActionPenalty::weight", penalty.weight)
    }
}
