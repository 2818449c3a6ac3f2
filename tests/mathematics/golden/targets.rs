//! The cases of the targets of the policy evaluation.

use burn::tensor::Tensor;
use serde::Deserialize;

use crate::common::double::{numbers, tensor};

#[derive(Deserialize)]
pub struct Targets {
    pub retrace: Vec<RetraceCase>,
    pub n_step: Vec<NStepCase>,
}

#[derive(Deserialize)]
pub struct RetraceCase {
    pub lam: f64,
    pub q_sa: Vec<f64>,
    pub v_next: Vec<f64>,
    pub r: Vec<f64>,
    pub discount: Vec<f64>,
    pub log_rho: Vec<f64>,
    pub c: Vec<f64>,
    pub target: Vec<f64>,
}

#[derive(Deserialize)]
pub struct NStepCase {
    pub n: usize,
    pub lambda_: f64,
    pub r: Vec<f64>,
    pub discount: Vec<f64>,
    pub v_next: Vec<f64>,
    pub target: Vec<f64>,
}

pub fn row(values: &[f64]) -> Tensor<2> {
    tensor(values.to_vec(), [1, values.len()])
}

/// Sequences of different lengths as the rows of one batch. Targets depend on what follows alone, so that any
/// numbers may stand in front of the shorter ones.
pub fn batch<T>(cases: &[T], values: impl Fn(&T) -> &Vec<f64>) -> Tensor<2> {
    let length = cases.iter().map(|case| values(case).len()).max().expect("at least one case");
    let rows = cases.iter().flat_map(|case| {
        let padding = (values(case).len()..length).map(|step| 0.5 + step as f64);
        padding.chain(values(case).iter().copied())
    });
    tensor(rows.collect(), [cases.len(), length])
}

/// The end of a row.
pub fn last(values: &Tensor<2>, row: usize, count: usize) -> Vec<f64> {
    let [_, length] = values.dims();
    numbers(values.clone().slice([row..row + 1, length - count..length]))
}
