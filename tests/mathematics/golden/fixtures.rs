//! The reference values of `fixtures/golden`, or of the folder that the environment variable
//! `MPO_GOLDEN_DIR` names.

use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::common::double::tensor;

/// An array of any rank.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Nested")]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Nested {
    Number(f64),
    List(Vec<Nested>),
}

impl From<Nested> for Array {
    fn from(nested: Nested) -> Self {
        let parts: Vec<Self> = match nested {
            Nested::Number(value) => {
                return Self { shape: Vec::new(), values: vec![value] };
            }
            Nested::List(parts) => parts.into_iter().map(Self::from).collect(),
        };
        let mut shape = vec![parts.len()];
        if let Some(first) = parts.first() {
            assert!(parts.iter().all(|part| part.shape == first.shape), "a ragged array");
            shape.extend(&first.shape);
        }
        let values = parts.into_iter().flat_map(|part| part.values).collect();
        Self { shape, values }
    }
}

impl Array {
    pub fn tensor<const D: usize>(&self) -> Tensor<D> {
        let shape = self.shape.clone().try_into().expect("an array of this rank");
        tensor(self.values.clone(), shape)
    }

    /// The array with its first two axes exchanged.
    pub fn transposed<const D: usize>(&self) -> Tensor<D> {
        self.tensor().swap_dims(0, 1)
    }
}

/// The content of a file.
pub fn read<T: DeserializeOwned>(name: &str) -> T {
    let fixtures = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden");
    let folder = std::env::var_os("MPO_GOLDEN_DIR").map_or_else(fixtures, PathBuf::from);
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// A file of cases.
#[derive(Deserialize)]
pub struct Cases<T> {
    /// The lowest temperature of the dual.
    #[serde(default = "usual_lower_bound")]
    pub lower_bound: f64,
    cases: Vec<T>,
}

fn usual_lower_bound() -> f64 {
    1e-6
}

impl<T> Cases<T> {
    /// The cases with their numbers, at least one.
    pub fn enumerate(&self) -> impl Iterator<Item = (usize, &T)> {
        assert!(!self.cases.is_empty(), "a file without a case");
        self.cases.iter().enumerate()
    }
}
