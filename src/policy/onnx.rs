//! Policies as ONNX models, which run without this library: normalisation, network and the bounds of the
//! actions in one graph.

mod graph;
mod network;

use std::path::Path;

use serde_json::{Value, json};

use super::Policy;
use crate::action_space::ActionSpace;
use crate::error::{Error, Result};
use crate::files::file::Refusal;
use crate::files::protobuf::Message;
use crate::files::tensor_file::{Tensors, put};
use crate::networks::Actor;
use graph::{Graph, matrix};
use network::{Network, Outputs, networks};

/// What stands in an ONNX model beside the action.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnnxOptions {
    /// What the policy is for, as its metadata are to say: any text.
    pub task: String,
    /// Whether the model says more of the policy than its action. Of numbers inside bounds, `mean` and
    /// `deviation`, `[batch, numbers]` each: the policy's mean before it is clipped, and the standard
    /// deviation of each component, in the environment's units. Of choices, `probabilities`, `[batch,
    /// alternatives]`, those of the first choice first.
    pub distribution: bool,
}

impl<A: Actor> Policy<A> {
    /// Writes the policy as an ONNX model (operators of version 17), for ONNX Runtime and others: its input
    /// `observation`, `[batch, observation]`, is what the environment measures; its output `action`,
    /// `[batch, action]`, what [`act`](Self::act) answers, in the environment's units and inside its
    /// bounds, and of a choice the index of what is chosen. What stood there before is replaced at once, or
    /// not at all.
    ///
    /// # Errors
    /// If the file cannot be written, or the network is none of the default ones, whose graphs alone are
    /// known: [`GaussianActor`](crate::GaussianActor),
    /// [`CategoricalActor`](crate::networks::CategoricalActor),
    /// [`HybridActor`](crate::networks::HybridActor).
    pub fn export_onnx(&self, path: impl AsRef<Path>) -> Result<()> {
        self.export_onnx_with(path, &OnnxOptions::default())
    }

    /// The same, with more in it.
    ///
    /// # Errors
    /// If [`export_onnx`](Self::export_onnx) would fail.
    pub fn export_onnx_with(&self, path: impl AsRef<Path>, options: &OnnxOptions) -> Result<()> {
        let mut tensors = Tensors::default();
        tensors.add_module("", &self.actor)?;
        let (settings, path) = (self.actor.settings(), path.as_ref());
        let networks =
            networks(&settings).ok_or_else(|| own_network(format!("one with the settings {settings}")))?;
        let (observation_size, space) = (self.actor.observation_size(), &self.action_space);
        let model = Model { networks, settings, space, observation_size };
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
        accepted: "a GaussianActor, CategoricalActor or HybridActor, the default networks; own networks have \
                   their parameters written by Policy::export_safetensors",
    }
}

/// The version of the format, and of its operators: the first to have LayerNormalization.
const IR_VERSION: i64 = 8;
const OPERATORS: i64 = 17;

/// What a model is made of beside the parameters.
struct Model<'a> {
    networks: Vec<(&'static str, Network)>,
    settings: Value,
    space: &'a ActionSpace,
    observation_size: usize,
}

impl Model<'_> {
    fn contents(&self, parameters: Tensors, options: &OnnxOptions) -> Result<Vec<u8>, Refusal> {
        let (mut graph, mut parts) = (Graph::new(parameters), Outputs::default());
        for (prefix, network) in &self.networks {
            graph.prefix = prefix;
            network.add(&mut graph, self.observation_size, self.space, &mut parts)?;
        }
        graph.prefix = "";
        graph.parameters.finished()?;
        let (numbers, alternatives) = (self.space.bounded_size(), self.space.choices().iter().sum());
        let of_distribution = [
            ("mean", numbers, parts.mean),
            ("deviation", numbers, parts.deviation),
            ("probabilities", alternatives, parts.probabilities),
        ];
        let mut outputs = vec![("action", self.space.size())];
        graph.side_by_side(&parts.action, "action");
        for (name, size, parts) in of_distribution {
            if options.distribution && size > 0 {
                graph.side_by_side(&parts, name);
                outputs.push((name, size));
            }
        }
        let graph = graph.into_message(matrix("observation", self.observation_size), &outputs);
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

    fn metadata(&self, options: &OnnxOptions) -> [(&'static str, String); 6] {
        let text = |value: Value| value.to_string();
        [
            ("mpo.crate_version", env!("CARGO_PKG_VERSION").into()),
            ("mpo.task", options.task.clone()),
            ("mpo.action_low", text(json!(self.space.low()))),
            ("mpo.action_high", text(json!(self.space.high()))),
            ("mpo.action_choices", text(json!(self.space.choices()))),
            ("mpo.actor", self.settings.to_string()),
        ]
    }
}
