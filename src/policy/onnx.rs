//! Policies as ONNX models, which run without this library: normalisation, network and the bounds of the
//! actions in one graph.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Policy;
use crate::action_space::ActionSpace;
use crate::error::{Error, Result};
use crate::files::file::Refusal;
use crate::files::protobuf::Message;
use crate::files::tensor_file::{Tensors, put};
use crate::networks::moments::{LARGEST, LARGEST_RAW, SMALLEST_PART, SMALLEST_UNIT};
use crate::networks::{Activation, Actor, Covariance, GaussianActorConfig};

/// What stands in an ONNX model beside the action.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnnxOptions {
    /// What the policy is for, as its metadata are to say: any text.
    pub task: String,
    /// Whether the model has the outputs `mean` and `deviation` too, `[batch, action]` each: the policy's mean
    /// before it is clipped, and the standard deviation of each component, in the environment's units.
    pub distribution: bool,
}

impl<A: Actor> Policy<A> {
    /// Writes the policy as an ONNX model (operators of version 17), for ONNX Runtime and others: its input
    /// `observation`, `[batch, observation]`, is what the environment measures; its output `action`,
    /// `[batch, action]`, what [`act`](Self::act) answers, in the environment's units and inside its bounds.
    /// What stood there before is replaced at once, or not at all.
    ///
    /// # Errors
    /// If the file cannot be written, or the network is not a [`GaussianActor`](crate::GaussianActor), whose
    /// graph alone is known.
    pub fn export_onnx(&self, path: impl AsRef<Path>) -> Result<()> {
        self.export_onnx_with(path, &OnnxOptions::default())
    }

    /// The same, with more in it.
    ///
    /// # Errors
    /// As [`export_onnx`](Self::export_onnx).
    pub fn export_onnx_with(&self, path: impl AsRef<Path>, options: &OnnxOptions) -> Result<()> {
        let mut tensors = Tensors::default();
        tensors.add_module("", &self.actor)?;
        let (settings, path) = (self.actor.settings(), path.as_ref());
        if !self.action_space.choices().is_empty() {
            return Err(own_network(format!("one of choices, with the settings {settings}")));
        }
        let config = GaussianActorConfig::deserialize(&settings)
            .map_err(|_| own_network(format!("one with the settings {settings}")))?;
        let model =
            Model { config, bounds: &self.action_space, observation_size: self.actor.observation_size() };
        let contents = model.contents(tensors, options).map_err(|refusal| match refusal {
            Refusal::Other(found, _) | Refusal::Damaged(found) => {
                own_network(found.replacen("a file", "one", 1))
            }
            Refusal::Unreadable(source) => Error::File { path: path.to_owned(), source },
        })?;
        put(path, || Ok(contents))
    }
}

fn own_network(value: String) -> Error {
    Error::Config {
        field: "the network of Policy::export_onnx",
        value,
        accepted: "a GaussianActor, the default network; own networks have their parameters written by \
                   Policy::export_safetensors",
    }
}

/// The version of the format, and of its operators: the first to have LayerNormalization.
const IR_VERSION: i64 = 8;
const OPERATORS: i64 = 17;

/// Burn's LayerNorm has it for its default.
const LAYER_NORM_EPSILON: f32 = 1e-5;

/// What a graph is made of beside the parameters.
struct Model<'a> {
    config: GaussianActorConfig,
    bounds: &'a ActionSpace,
    observation_size: usize,
}

impl Model<'_> {
    fn contents(&self, parameters: Tensors, options: &OnnxOptions) -> Result<Vec<u8>, Refusal> {
        let size = self.bounds.size();
        let mut graph = Graph { parameters, nodes: Vec::new(), constants: Vec::new() };
        let half_range: Vec<f32> =
            self.bounds.low().iter().zip(self.bounds.high()).map(|(low, high)| 0.5 * (high - low)).collect();
        graph.constant(LOW, &[size], self.bounds.low());
        graph.constant(HIGH, &[size], self.bounds.high());
        graph.constant(HALF_RANGE, &[size], &half_range);
        graph.constant(ONE, &[], &[1.0]);
        let seen = self.seen(&mut graph)?;
        let features = self.features(&mut graph, seen)?;
        let mean = self.mean(&mut graph, &features)?;
        action(&mut graph, &mean);
        let without = (graph.nodes.len(), graph.constants.len());
        let deviation = self.deviation(&mut graph, &features)?;
        graph.parameters.finished()?;
        let names: &[&str] = if options.distribution {
            in_units(&mut graph, &mean, "mean");
            graph.node("Mul", &[&deviation, HALF_RANGE], "deviation");
            &["action", "mean", "deviation"]
        } else {
            graph.nodes.truncate(without.0);
            graph.constants.truncate(without.1);
            &["action"]
        };
        let outputs = names.iter().map(|name| matrix(name, size));
        let graph = Message::default()
            .messages(1, graph.nodes)
            .text(2, "policy")
            .messages(5, graph.constants)
            .messages(11, [matrix("observation", self.observation_size)])
            .messages(12, outputs);
        let metadata = self.metadata(options).into_iter();
        let metadata = metadata.map(|(key, value)| Message::default().text(1, key).text(2, &value));
        let model = Message::default()
            .integer(1, IR_VERSION)
            .text(2, "mpo")
            .text(3, env!("CARGO_PKG_VERSION"))
            .message(7, &graph)
            .message(8, &Message::default().text(1, "").integer(2, OPERATORS))
            .messages(14, metadata);
        Ok(model.into_bytes())
    }

    fn metadata(&self, options: &OnnxOptions) -> [(&'static str, String); 5] {
        let text = |value: Value| value.to_string();
        [
            ("mpo.crate_version", env!("CARGO_PKG_VERSION").into()),
            ("mpo.task", options.task.clone()),
            ("mpo.action_low", text(json!(self.bounds.low()))),
            ("mpo.action_high", text(json!(self.bounds.high()))),
            ("mpo.actor", text(json!(self.config))),
        ]
    }

    /// Observations as the first layer sees them: see `networks::moments`.
    fn seen(&self, graph: &mut Graph) -> Result<String, Refusal> {
        let observation = "observation".to_owned();
        if !self.config.network.normalise_observations {
            return Ok(graph.clipped(&observation, LARGEST_RAW, "seen"));
        }
        let size = self.observation_size;
        let of = |graph: &mut Graph, part| graph.parameters.take(&format!("moments.{part}"), &[size]);
        let (mean, remainder, deviation) =
            (of(graph, "mean")?, of(graph, "remainder")?, of(graph, "deviation")?);
        // Before the first batch observations are seen as they are.
        let known = graph.parameters.take("moments.batches", &[1])?[0].min(1.0);
        let unit = |(mean, deviation): (&f32, &f32)| {
            deviation.max(mean.abs() * SMALLEST_PART).max(SMALLEST_UNIT) * known + (1.0 - known)
        };
        let unit = mean.iter().zip(&deviation).map(unit).collect();
        let [mean, remainder, unit] =
            [("moments.mean", mean), ("moments.remainder", remainder), ("moments.unit", unit)]
                .map(|(name, numbers)| graph.constant(name, &[size], &numbers));
        let centred = graph.node("Sub", &[&observation, &mean], "centred");
        let centred = graph.node("Sub", &[&centred, &remainder], "centred.remainder");
        let standard = graph.node("Div", &[&centred, &unit], "standard");
        Ok(graph.clipped(&standard, LARGEST, "seen"))
    }

    /// What the last hidden layer gives out.
    fn features(&self, graph: &mut Graph, seen: String) -> Result<String, Refusal> {
        let (mut x, mut inputs) = (seen, self.observation_size);
        for (index, &size) in self.config.network.hidden.iter().enumerate() {
            let name = match index {
                0 => "first".to_owned(),
                _ => format!("hidden.layers.{}", index - 1),
            };
            x = graph.linear(&x, &name, inputs, size)?;
            if self.config.network.layer_norm {
                x = graph.layer_norm(&x, &format!("hidden.norms.{index}"), size)?;
            }
            let function = match self.config.network.activation {
                Activation::Relu => "Relu",
                Activation::Elu => "Elu",
                Activation::Tanh => "Tanh",
            };
            x = graph.node(function, &[&x], &format!("features.{index}"));
            inputs = size;
        }
        Ok(x)
    }

    fn last(&self) -> usize {
        self.config.network.hidden.last().copied().unwrap_or(self.observation_size)
    }

    /// In the policy's units.
    fn mean(&self, graph: &mut Graph, features: &str) -> Result<String, Refusal> {
        let mean = graph.linear(features, "mean", self.last(), self.bounds.size())?;
        Ok(if self.config.bounded_mean { graph.node("Tanh", &[&mean], "mean.tanh") } else { mean })
    }

    /// The standard deviation of each component, in the policy's units: √Σ_j L_ij².
    fn deviation(&self, graph: &mut Graph, features: &str) -> Result<String, Refusal> {
        let (last, size) = (self.last(), self.bounds.size());
        // softplus(0) = log 2.
        let unit = (self.config.initial_standard_deviation / std::f64::consts::LN_2) as f32;
        let unit = graph.constant("deviation.unit", &[], &[unit]);
        let least = graph.constant("deviation.least", &[], &[self.config.minimum_standard_deviation as f32]);
        let diagonal = graph.linear(features, "diagonal", last, size)?;
        let diagonal = graph.node("Softplus", &[&diagonal], "diagonal.softplus");
        let diagonal = graph.node("Mul", &[&diagonal, &unit], "diagonal.scaled");
        let diagonal = graph.node("Add", &[&diagonal, &least], "diagonal.factor");
        let below = size * (size - 1) / 2;
        if self.config.covariance == Covariance::Diagonal || below == 0 {
            return Ok(diagonal);
        }
        let lower = graph.linear(features, "lower", last, below)?;
        let lower = graph.node("Mul", &[&lower, &unit], "lower.factor");
        // Which row each entry below the diagonal stands in, row after row.
        let rows = (0..size).flat_map(|row| (0..row).map(move |_| row));
        let rows: Vec<f32> =
            rows.flat_map(|row| (0..size).map(move |column| f32::from(row == column))).collect();
        let rows = graph.constant("lower.rows", &[below, size], &rows);
        let lower = graph.node("Mul", &[&lower, &lower], "lower.squares");
        let lower = graph.node("MatMul", &[&lower, &rows], "lower.variance");
        let diagonal = graph.node("Mul", &[&diagonal, &diagonal], "diagonal.variance");
        let variance = graph.node("Add", &[&diagonal, &lower], "variance");
        Ok(graph.node("Sqrt", &[&variance], "deviation.policy"))
    }
}

/// Constants that several nodes take.
const LOW: &str = "bounds.low";
const HIGH: &str = "bounds.high";
const HALF_RANGE: &str = "bounds.half_range";
const ONE: &str = "one";

/// The mean clipped to the bounds, as `ActionSpace::to_environment` does.
fn action(graph: &mut Graph, mean: &str) {
    let clipped = graph.clipped(mean, 1.0, "action.clipped");
    let mapped = in_units(graph, &clipped, "action.units");
    let above = graph.node("Max", &[&mapped, LOW], "action.above");
    graph.node("Min", &[&above, HIGH], "action");
}

/// From [-1, 1] to the environment's units: low + ½ (high - low) (x + 1).
fn in_units(graph: &mut Graph, x: &str, output: &str) -> String {
    let above = graph.node("Add", &[x, ONE], &format!("{output}.above_low"));
    let distance = graph.node("Mul", &[&above, HALF_RANGE], &format!("{output}.distance"));
    graph.node("Add", &[&distance, LOW], output)
}

/// A graph under way. What a node or constant gives is known by its name.
struct Graph {
    /// Those that no node has taken yet.
    parameters: Tensors,
    nodes: Vec<Message>,
    constants: Vec<Message>,
}

/// The number that the format gives to single precision.
const FLOAT: i64 = 1;

impl Graph {
    fn constant(&mut self, name: &str, shape: &[usize], numbers: &[f32]) -> String {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let shape = shape.iter().fold(Message::default(), |message, &size| message.integer(1, size as i64));
        self.constants.push(shape.integer(2, FLOAT).text(8, name).bytes(9, &bytes));
        name.to_owned()
    }

    fn parameter(&mut self, name: &str, shape: &[usize]) -> Result<String, Refusal> {
        let numbers = self.parameters.take(name, shape)?;
        Ok(self.constant(name, shape, &numbers))
    }

    fn node(&mut self, operator: &str, inputs: &[&str], output: &str) -> String {
        self.node_with(operator, inputs, output, [])
    }

    fn node_with<const N: usize>(
        &mut self,
        operator: &str,
        inputs: &[&str],
        output: &str,
        attributes: [Message; N],
    ) -> String {
        let inputs = inputs.iter().fold(Message::default(), |message, input| message.text(1, input));
        let node = inputs.text(2, output).text(3, output).text(4, operator).messages(5, attributes);
        self.nodes.push(node);
        output.to_owned()
    }

    /// `x` W + b.
    fn linear(&mut self, x: &str, name: &str, inputs: usize, outputs: usize) -> Result<String, Refusal> {
        let weight = self.parameter(&format!("{name}.weight"), &[inputs, outputs])?;
        let bias = self.parameter(&format!("{name}.bias"), &[outputs])?;
        Ok(self.node("Gemm", &[x, &weight, &bias], &format!("{name}.output")))
    }

    fn layer_norm(&mut self, x: &str, name: &str, size: usize) -> Result<String, Refusal> {
        let scale = self.parameter(&format!("{name}.gamma"), &[size])?;
        let offset = self.parameter(&format!("{name}.beta"), &[size])?;
        // Each attribute is its name, its value and the number of its type.
        let axis = Message::default().text(1, "axis").integer(3, -1).integer(20, 2);
        let epsilon = Message::default().text(1, "epsilon").float(2, LAYER_NORM_EPSILON).integer(20, 1);
        Ok(self.node_with(
            "LayerNormalization",
            &[x, &scale, &offset],
            &format!("{name}.output"),
            [axis, epsilon],
        ))
    }

    /// To [-`reach`, `reach`].
    fn clipped(&mut self, x: &str, reach: f32, output: &str) -> String {
        let low = self.constant(&format!("{output}.low"), &[], &[-reach]);
        let high = self.constant(&format!("{output}.high"), &[], &[reach]);
        self.node("Clip", &[x, &low, &high], output)
    }
}

/// Of any number of rows, `[batch, size]`, as the description of an input or output.
fn matrix(name: &str, size: usize) -> Message {
    let sizes = [Message::default().text(2, "batch"), Message::default().integer(1, size as i64)];
    let shape = Message::default().messages(1, sizes);
    let tensor = Message::default().integer(1, FLOAT).message(2, &shape);
    Message::default().text(1, name).message(2, &Message::default().message(1, &tensor))
}
