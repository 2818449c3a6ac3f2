//! The default policy networks as parts of a graph.

use serde::Deserialize;
use serde_json::Value;

use super::graph::{FLOAT, Graph, integer};
use crate::action_space::ActionSpace;
use crate::files::file::Refusal;
use crate::networks::moments::{LARGEST, LARGEST_RAW, SMALLEST_PART, SMALLEST_UNIT};
use crate::networks::{Activation, CategoricalActorConfig, Covariance, GaussianActorConfig, NetworkConfig};

/// What a network of the library's own gives out.
pub(super) enum Network {
    Numbers(GaussianActorConfig),
    Choices(CategoricalActorConfig),
}

/// The outputs of a graph or of a part of it, by what they are, each `[batch, components]`.
#[derive(Default)]
pub(super) struct Outputs {
    /// In the environment's units and inside its bounds; of choices, the likeliest alternative's index.
    pub(super) action: Vec<String>,
    /// Before it is clipped.
    pub(super) mean: Vec<String>,
    pub(super) deviation: Vec<String>,
    /// Of each alternative, choice after choice.
    pub(super) probabilities: Vec<String>,
}

/// The networks that a policy with these [settings](crate::Actor::settings) is made of, and what the names of
/// each one's parameters begin with; none where it is another.
pub(super) fn networks(settings: &Value) -> Option<Vec<(&'static str, Network)>> {
    let lone = |settings| {
        let numbers = GaussianActorConfig::deserialize(settings).map(Network::Numbers);
        numbers.or_else(|_| CategoricalActorConfig::deserialize(settings).map(Network::Choices)).ok()
    };
    match settings.as_array().map(Vec::as_slice) {
        Some([first, second]) => Some(vec![("first.", lone(first)?), ("second.", lone(second)?)]),
        Some(_) => None,
        None => Some(vec![("", lone(settings)?)]),
    }
}

impl Network {
    /// Adds itself to `graph`, and what it gives out to `outputs`.
    pub(super) fn add(
        &self,
        graph: &mut Graph,
        observation_size: usize,
        space: &ActionSpace,
        outputs: &mut Outputs,
    ) -> Result<(), Refusal> {
        let network = match self {
            Self::Numbers(config) => &config.network,
            Self::Choices(config) => &config.network,
        };
        let seen = seen(network, graph, observation_size)?;
        let features = features(network, graph, seen, observation_size)?;
        match self {
            Self::Numbers(config) => numbers(config, graph, &features, space, outputs),
            Self::Choices(config) => choices(config, graph, &features, space.choices(), outputs),
        }
    }
}

/// Observations as the first layer sees them: see `networks::moments`.
fn seen(config: &NetworkConfig, graph: &mut Graph, size: usize) -> Result<String, Refusal> {
    let observation = "observation";
    if !config.normalise_observations {
        return Ok(graph.clipped(observation, LARGEST_RAW, "seen"));
    }
    let of = |graph: &mut Graph, part| graph.take(&format!("moments.{part}"), &[size]);
    let (mean, remainder, deviation) = (of(graph, "mean")?, of(graph, "remainder")?, of(graph, "deviation")?);
    // Before the first batch observations are seen as they are.
    let known = graph.take("moments.batches", &[1])?[0].min(1.0);
    let unit = |(mean, deviation): (&f32, &f32)| {
        deviation.max(mean.abs() * SMALLEST_PART).max(SMALLEST_UNIT) * known + (1.0 - known)
    };
    let unit = mean.iter().zip(&deviation).map(unit).collect();
    let [mean, remainder, unit] =
        [("moments.mean", mean), ("moments.remainder", remainder), ("moments.unit", unit)]
            .map(|(name, numbers)| graph.constant(name, &[size], &numbers));
    let centred = graph.node("Sub", &[observation, &mean], "centred");
    let centred = graph.node("Sub", &[&centred, &remainder], "centred.remainder");
    let standard = graph.node("Div", &[&centred, &unit], "standard");
    Ok(graph.clipped(&standard, LARGEST, "seen"))
}

/// What the last hidden layer gives out.
struct Features {
    name: String,
    size: usize,
}

fn features(
    config: &NetworkConfig,
    graph: &mut Graph,
    seen: String,
    observation_size: usize,
) -> Result<Features, Refusal> {
    let (mut x, mut inputs) = (seen, observation_size);
    for (index, &size) in config.hidden.iter().enumerate() {
        let name = match index {
            0 => "first".to_owned(),
            _ => format!("hidden.layers.{}", index - 1),
        };
        x = graph.linear(&x, &name, inputs, size)?;
        if config.layer_norm {
            x = graph.layer_norm(&x, &format!("hidden.norms.{index}"), size)?;
        }
        let function = match config.activation {
            Activation::Relu => "Relu",
            Activation::Elu => "Elu",
            Activation::Tanh => "Tanh",
        };
        x = graph.node(function, &[&x], &format!("features.{index}"));
        inputs = size;
    }
    Ok(Features { name: x, size: inputs })
}

/// A policy over numbers inside bounds, whose mean is clipped as `ActionSpace::to_environment` does.
fn numbers(
    config: &GaussianActorConfig,
    graph: &mut Graph,
    features: &Features,
    space: &ActionSpace,
    outputs: &mut Outputs,
) -> Result<(), Refusal> {
    let size = space.bounded_size();
    let half_range: Vec<f32> =
        space.low().iter().zip(space.high()).map(|(low, high)| 0.5 * (high - low)).collect();
    let bounds = Bounds {
        low: graph.constant("bounds.low", &[size], space.low()),
        high: graph.constant("bounds.high", &[size], space.high()),
        half_range: graph.constant("bounds.half_range", &[size], &half_range),
        one: graph.constant("one", &[], &[1.0]),
    };
    let mean = graph.linear(&features.name, "mean", features.size, size)?;
    let mean = if config.bounded_mean { graph.node("Tanh", &[&mean], "mean.tanh") } else { mean };
    let clipped = graph.clipped(&mean, 1.0, "mean.clipped");
    let mapped = bounds.units(graph, &clipped, "mean.mapped");
    let above = graph.node("Max", &[&mapped, &bounds.low], "mean.above");
    outputs.action.push(graph.node("Min", &[&above, &bounds.high], "mean.action"));
    outputs.mean.push(bounds.units(graph, &mean, "mean.units"));
    let deviation = deviation(config, graph, features, size)?;
    outputs.deviation.push(graph.node("Mul", &[&deviation, &bounds.half_range], "deviation.units"));
    Ok(())
}

/// The names of what maps [-1, 1] to the environment's units.
struct Bounds {
    low: String,
    high: String,
    half_range: String,
    one: String,
}

impl Bounds {
    /// low + ½ (high - low) (x + 1).
    fn units(&self, graph: &mut Graph, x: &str, output: &str) -> String {
        let above = graph.node("Add", &[x, &self.one], &format!("{output}.above_low"));
        let distance = graph.node("Mul", &[&above, &self.half_range], &format!("{output}.distance"));
        graph.node("Add", &[&distance, &self.low], output)
    }
}

/// The standard deviation of each component, in the policy's units: √Σ_j L_ij².
fn deviation(
    config: &GaussianActorConfig,
    graph: &mut Graph,
    features: &Features,
    size: usize,
) -> Result<String, Refusal> {
    // softplus(0) = log 2.
    let unit = (config.initial_standard_deviation / std::f64::consts::LN_2) as f32;
    let unit = graph.constant("deviation.unit", &[], &[unit]);
    let least = graph.constant("deviation.least", &[], &[config.minimum_standard_deviation as f32]);
    let diagonal = graph.linear(&features.name, "diagonal", features.size, size)?;
    let diagonal = graph.node("Softplus", &[&diagonal], "diagonal.softplus");
    let diagonal = graph.node("Mul", &[&diagonal, &unit], "diagonal.scaled");
    let diagonal = graph.node("Add", &[&diagonal, &least], "diagonal.factor");
    let below = size * size.saturating_sub(1) / 2;
    if config.covariance == Covariance::Diagonal || below == 0 {
        return Ok(diagonal);
    }
    let lower = graph.linear(&features.name, "lower", features.size, below)?;
    let lower = graph.node("Mul", &[&lower, &unit], "lower.factor");
    // Which row each entry below the diagonal stands in, row after row.
    let rows = (0..size).flat_map(|row| (0..row).map(move |_| row));
    let rows: Vec<f32> = rows.flat_map(|row| (0..size).map(move |column| f32::from(row == column))).collect();
    let rows = graph.constant("lower.rows", &[below, size], &rows);
    let lower = graph.node("Mul", &[&lower, &lower], "lower.squares");
    let lower = graph.node("MatMul", &[&lower, &rows], "lower.variance");
    let diagonal = graph.node("Mul", &[&diagonal, &diagonal], "diagonal.variance");
    let variance = graph.node("Add", &[&diagonal, &lower], "variance");
    Ok(graph.node("Sqrt", &[&variance], "deviation.policy"))
}

/// A policy over choices. Each takes its own columns of the layer that gives all of them.
fn choices(
    config: &CategoricalActorConfig,
    graph: &mut Graph,
    features: &Features,
    choices: &[usize],
    outputs: &mut Outputs,
) -> Result<(), Refusal> {
    let all = choices.iter().sum();
    let weight = graph.take("logits.weight", &[features.size, all])?;
    let bias = graph.take("logits.bias", &[all])?;
    let mut start = 0;
    for (choice, &alternatives) in choices.iter().enumerate() {
        let columns = start..start + alternatives;
        start += alternatives;
        let name = |part: &str| format!("choice.{choice}.{part}");
        let of_choice: Vec<f32> = weight.chunks(all).flat_map(|row| &row[columns.clone()]).copied().collect();
        let of_choice = graph.constant(&name("weight"), &[features.size, alternatives], &of_choice);
        let its_bias = graph.constant(&name("bias"), &[alternatives], &bias[columns]);
        let logits = graph.node("Gemm", &[&features.name, &of_choice, &its_bias], &name("logits"));
        let likeliest = graph.node_with("ArgMax", &[&logits], &name("likeliest"), [integer("axis", 1)]);
        let index = graph.node_with("Cast", &[&likeliest], &name("index"), [integer("to", FLOAT)]);
        outputs.action.push(index);
        let probabilities = graph.node("Softmax", &[&logits], &name("softmax"));
        let share = config.uniform_share as f32;
        let kept = graph.constant(&name("kept"), &[], &[1.0 - share]);
        let uniform = graph.constant(&name("uniform"), &[], &[share / alternatives as f32]);
        let probabilities = graph.node("Mul", &[&probabilities, &kept], &name("kept_part"));
        outputs.probabilities.push(graph.node("Add", &[&probabilities, &uniform], &name("probabilities")));
    }
    Ok(())
}
