//! A small reader of ONNX models: what the policies' models are made of, in double precision.

use std::collections::HashMap;

/// A field's number, and its value.
type Field<'a> = (u64, Value<'a>);

#[derive(Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(number) => panic!("{number}, where bytes were expected"),
        }
    }

    fn number(self) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Bytes(bytes) => panic!("{bytes:?}, where a number was expected"),
        }
    }

    fn text(self) -> &'a str {
        str::from_utf8(self.bytes()).unwrap()
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn fields(mut bytes: &[u8]) -> Vec<Field<'_>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => Value::Number(varint(&mut bytes)),
            wire => {
                let length = match wire {
                    2 => varint(&mut bytes) as usize,
                    5 => 4,
                    _ => panic!("a field laid out as {wire}"),
                };
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                Value::Bytes(value)
            }
        };
        fields.push((key >> 3, value));
    }
    fields
}

fn all(message: &[u8], number: u64) -> Vec<Value<'_>> {
    fields(message).into_iter().filter(|field| field.0 == number).map(|field| field.1).collect()
}

fn one(message: &[u8], number: u64) -> Value<'_> {
    let found = all(message, number);
    assert_eq!(found.len(), 1, "field {number}");
    found[0]
}

/// Rows of numbers; a single row counts for all.
type Matrix = Vec<Vec<f64>>;

pub struct Model {
    contents: Vec<u8>,
}

impl Model {
    pub fn new(contents: Vec<u8>) -> Self {
        Self { contents }
    }

    fn graph(&self) -> &[u8] {
        one(&self.contents, 7).bytes()
    }

    pub fn metadata(&self) -> HashMap<String, String> {
        let entries = all(&self.contents, 14).into_iter();
        entries
            .map(|entry| (one(entry.bytes(), 1).text().into(), one(entry.bytes(), 2).text().into()))
            .collect()
    }

    /// The names of the inputs (11) or outputs (12), and the sizes of their rows.
    pub fn ends(&self, field: u64) -> Vec<(String, u64)> {
        let of = |end: Value<'_>| {
            let tensor = one(one(end.bytes(), 2).bytes(), 1).bytes();
            assert_eq!(one(tensor, 1).number(), 1, "single precision");
            let sizes = all(one(tensor, 2).bytes(), 1);
            assert_eq!(one(sizes[0].bytes(), 2).text(), "batch");
            (one(end.bytes(), 1).text().to_owned(), one(sizes[1].bytes(), 1).number())
        };
        all(self.graph(), field).into_iter().map(of).collect()
    }

    pub fn operators(&self) -> Vec<String> {
        all(self.graph(), 1).into_iter().map(|node| one(node.bytes(), 4).text().into()).collect()
    }

    /// The output of this name for one observation.
    pub fn run(&self, observation: &[f32], output: &str) -> Vec<f64> {
        let graph = self.graph();
        let mut values: HashMap<&str, Matrix> = HashMap::new();
        values.insert("observation", vec![observation.iter().map(|&number| number.into()).collect()]);
        for constant in all(graph, 5) {
            let constant = constant.bytes();
            let shape: Vec<usize> = all(constant, 1).iter().map(|size| size.number() as usize).collect();
            assert_eq!(one(constant, 2).number(), 1, "single precision");
            let (numbers, _) = one(constant, 9).bytes().as_chunks();
            let numbers: Vec<f64> = numbers.iter().map(|&bytes| f32::from_le_bytes(bytes).into()).collect();
            assert_eq!(shape.iter().product::<usize>(), numbers.len());
            let width = shape.last().copied().unwrap_or(1);
            let taken =
                values.insert(one(constant, 8).text(), numbers.chunks(width).map(<[f64]>::to_vec).collect());
            assert!(taken.is_none());
        }
        for node in all(graph, 1) {
            let node = node.bytes();
            let inputs: Vec<_> = all(node, 1).iter().map(|name| &values[name.text()]).collect();
            let result = apply(one(node, 4).text(), &inputs);
            let name = one(node, 2).text();
            assert!(values.insert(name, result).is_none(), "{name} twice");
        }
        values[output][0].clone()
    }
}

fn apply(operator: &str, inputs: &[&Matrix]) -> Matrix {
    let each = |function: &dyn Fn(f64) -> f64| vec![inputs[0][0].iter().map(|&x| function(x)).collect()];
    let pairs = |function: &dyn Fn(f64, f64) -> f64| {
        let other = |place: usize| inputs[1][0][if inputs[1][0].len() == 1 { 0 } else { place }];
        vec![inputs[0][0].iter().enumerate().map(|(place, &x)| function(x, other(place))).collect()]
    };
    let product = || -> Vec<f64> {
        let columns = 0..inputs[1][0].len();
        columns
            .map(|column| inputs[0][0].iter().zip(inputs[1]).map(|(x, row)| x * row[column]).sum())
            .collect()
    };
    match operator {
        "Add" => pairs(&|a, b| a + b),
        "Sub" => pairs(&|a, b| a - b),
        "Mul" => pairs(&|a, b| a * b),
        "Div" => pairs(&|a, b| a / b),
        "Max" => pairs(&f64::max),
        "Min" => pairs(&f64::min),
        "Clip" => each(&|x| x.clamp(inputs[1][0][0], inputs[2][0][0])),
        "Relu" => each(&|x| x.max(0.0)),
        "Elu" => each(&|x| if x > 0.0 { x } else { x.exp_m1() }),
        "Tanh" => each(&f64::tanh),
        "Softplus" => each(&|x| x.exp().ln_1p()),
        "Sqrt" => each(&f64::sqrt),
        "Identity" | "Cast" => inputs[0].clone(),
        "Concat" => vec![inputs.iter().flat_map(|part| part[0].clone()).collect()],
        "Softmax" => {
            let whole: f64 = inputs[0][0].iter().map(|x| x.exp()).sum();
            each(&|x| x.exp() / whole)
        }
        "ArgMax" => {
            let row = &inputs[0][0];
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            vec![vec![row.iter().position(|&x| x == largest).unwrap() as f64]]
        }
        "MatMul" => vec![product()],
        "Gemm" => vec![product().iter().zip(&inputs[2][0]).map(|(x, bias)| x + bias).collect()],
        "LayerNormalization" => {
            let x = &inputs[0][0];
            let mean = x.iter().sum::<f64>() / x.len() as f64;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
            let of = |(x, (scale, offset)): (&f64, (&f64, &f64))| {
                (x - mean) / (variance + 1e-5).sqrt() * scale + offset
            };
            vec![x.iter().zip(inputs[1][0].iter().zip(&inputs[2][0])).map(of).collect()]
        }
        _ => panic!("{operator} is no operator that was expected"),
    }
}
