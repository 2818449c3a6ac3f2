//! ONNX graphs: nodes and constants under names.

use std::collections::HashSet;

use crate::files::file::Refusal;
use crate::files::protobuf::Message;
use crate::files::tensor_file::Tensors;

/// Burn's LayerNorm has it for its default.
const LAYER_NORM_EPSILON: f32 = 1e-5;

/// The number that the format gives to single precision.
pub(super) const FLOAT: i64 = 1;

/// A graph under way. What a node or constant gives is known by its name.
pub(super) struct Graph {
    /// Those that no node has taken yet.
    pub(super) parameters: Tensors,
    /// What the names of the network begin with whose part is under way.
    pub(super) prefix: &'static str,
    /// In the order in which they are computed.
    nodes: Vec<Named>,
    constants: Vec<Named>,
}

/// A node or a constant.
struct Named {
    name: String,
    inputs: Vec<String>,
    message: Message,
}

impl Graph {
    pub(super) fn new(parameters: Tensors) -> Self {
        Self { parameters, prefix: "", nodes: Vec::new(), constants: Vec::new() }
    }

    pub(super) fn constant(&mut self, name: &str, shape: &[usize], numbers: &[f32]) -> String {
        let name = format!("{}{name}", self.prefix);
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let shape = shape.iter().fold(Message::default(), |message, &size| message.integer(1, size as i64));
        let message = shape.integer(2, FLOAT).text(8, &name).bytes(9, &bytes);
        self.constants.push(Named { name: name.clone(), inputs: Vec::new(), message });
        name
    }

    /// The numbers of a parameter.
    pub(super) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Refusal> {
        self.parameters.take(&format!("{}{name}", self.prefix), shape)
    }

    fn parameter(&mut self, name: &str, shape: &[usize]) -> Result<String, Refusal> {
        let numbers = self.take(name, shape)?;
        Ok(self.constant(name, shape, &numbers))
    }

    pub(super) fn node(&mut self, operator: &str, inputs: &[&str], output: &str) -> String {
        self.node_with(operator, inputs, output, [])
    }

    pub(super) fn node_with<const N: usize>(
        &mut self,
        operator: &str,
        inputs: &[&str],
        output: &str,
        attributes: [Message; N],
    ) -> String {
        let output = format!("{}{output}", self.prefix);
        let message = inputs.iter().fold(Message::default(), |message, input| message.text(1, input));
        let message = message.text(2, &output).text(3, &output).text(4, operator).messages(5, attributes);
        let inputs = inputs.iter().map(|&input| input.to_owned()).collect();
        self.nodes.push(Named { name: output.clone(), inputs, message });
        output
    }

    /// `x` W + b.
    pub(super) fn linear(
        &mut self,
        x: &str,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<String, Refusal> {
        let weight = self.parameter(&format!("{name}.weight"), &[inputs, outputs])?;
        let bias = self.parameter(&format!("{name}.bias"), &[outputs])?;
        Ok(self.node("Gemm", &[x, &weight, &bias], &format!("{name}.output")))
    }

    pub(super) fn layer_norm(&mut self, x: &str, name: &str, size: usize) -> Result<String, Refusal> {
        let scale = self.parameter(&format!("{name}.gamma"), &[size])?;
        let offset = self.parameter(&format!("{name}.beta"), &[size])?;
        let epsilon = Message::default().text(1, "epsilon").float(2, LAYER_NORM_EPSILON).integer(20, 1);
        Ok(self.node_with(
            "LayerNormalization",
            &[x, &scale, &offset],
            &format!("{name}.output"),
            [integer("axis", -1), epsilon],
        ))
    }

    /// To [-`reach`, `reach`].
    pub(super) fn clipped(&mut self, x: &str, reach: f32, output: &str) -> String {
        let low = self.constant(&format!("{output}.low"), &[], &[-reach]);
        let high = self.constant(&format!("{output}.high"), &[], &[reach]);
        self.node("Clip", &[x, &low, &high], output)
    }

    /// Columns after columns.
    pub(super) fn side_by_side(&mut self, parts: &[String], output: &str) -> String {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts[..] {
            [lone] => self.node("Identity", &[lone], output),
            _ => self.node_with("Concat", &parts, output, [integer("axis", 1)]),
        }
    }
}

impl Graph {
    /// As a message, with what these outputs need and no more.
    pub(super) fn into_message(self, input: Message, outputs: &[(&str, usize)]) -> Message {
        let mut needed: HashSet<String> = outputs.iter().map(|&(name, _)| name.to_owned()).collect();
        let mut nodes = Vec::new();
        for node in self.nodes.into_iter().rev() {
            if needed.contains(&node.name) {
                needed.extend(node.inputs);
                nodes.push(node.message);
            }
        }
        nodes.reverse();
        let constants = self.constants.into_iter().filter(|constant| needed.contains(&constant.name));
        Message::default()
            .messages(1, nodes)
            .text(2, "policy")
            .messages(5, constants.map(|constant| constant.message))
            .messages(11, [input])
            .messages(12, outputs.iter().map(|&(name, size)| matrix(name, size)))
    }
}

/// An attribute: its name, its value and the number of its type.
pub(super) fn integer(name: &str, value: i64) -> Message {
    Message::default().text(1, name).integer(3, value).integer(20, 2)
}

/// Of any number of rows, `[batch, size]`, as the description of an input or output.
pub(super) fn matrix(name: &str, size: usize) -> Message {
    let sizes = [Message::default().text(2, "batch"), Message::default().integer(1, size as i64)];
    let shape = Message::default().messages(1, sizes);
    let tensor = Message::default().integer(1, FLOAT).message(2, &shape);
    Message::default().text(1, name).message(2, &Message::default().message(1, &tensor))
}
