//! What lies between two matrix products, in one pass over each row of numbers while it is in the cache:
//! bias, LayerNorm and activation, and their way back.

use multiversion::multiversion;

use super::layers::Activation;

/// γ and β of a LayerNorm, one number a unit each.
pub(super) struct Norm {
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
}

/// What the way back needs of a layer beside its outputs.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// (x - mean) / standard deviation of each row; empty without a LayerNorm.
    standard: Vec<f32>,
    /// 1 / standard deviation of each row; empty without one.
    inverse: Vec<f32>,
}

/// Added to the variance of a row.
pub(super) const EPSILON: f32 = 1e-5;

/// Numbers that are added up side by side: four registers of a CPU with AVX2.
const LANES: usize = 32;

/// activation(LayerNorm(x + addend)) in place, for rows of `width` numbers. Each row of `addend` is for as
/// many of them, one after another, as there are of them for one.
#[multiversion(targets("x86_64+avx2+fma+avx512f", "x86_64+avx2+fma"))]
pub(super) fn forward(
    rows: &mut [f32],
    width: usize,
    addend: &[f32],
    norm: Option<&Norm>,
    activation: Activation,
) {
    match activation {
        Activation::Relu => layer(rows, width, addend, norm, relu, |_, _| {}),
        Activation::Elu => layer(rows, width, addend, norm, elu, |_, _| {}),
        Activation::Tanh => layer(rows, width, addend, norm, f32::tanh, |_, _| {}),
    }
}

/// The same, with what [`backward`] needs.
#[multiversion(targets("x86_64+avx2+fma+avx512f", "x86_64+avx2+fma"))]
pub(super) fn recorded(
    rows: &mut [f32],
    width: usize,
    addend: &[f32],
    norm: Option<&Norm>,
    activation: Activation,
) -> Record {
    let mut record = Record::default();
    if norm.is_some() {
        record.standard.reserve(rows.len());
    }
    let note = |row: &[f32], inverse: f32| {
        record.inverse.push(inverse);
        record.standard.extend(row.iter().map(|x| x * inverse));
    };
    match activation {
        Activation::Relu => layer(rows, width, addend, norm, relu, note),
        Activation::Elu => layer(rows, width, addend, norm, elu, note),
        Activation::Tanh => layer(rows, width, addend, norm, f32::tanh, note),
    }
    record
}

/// See [`forward`]; `note` is told each row less its mean, and 1 / standard deviation.
#[inline(always)]
fn layer(
    rows: &mut [f32],
    width: usize,
    addend: &[f32],
    norm: Option<&Norm>,
    activate: impl Fn(f32) -> f32,
    mut note: impl FnMut(&[f32], f32),
) {
    let group = width * (rows.len() / addend.len().max(1)).max(1);
    for (rows, addend) in rows.chunks_mut(group).zip(addend.chunks_exact(width)) {
        for row in rows.chunks_exact_mut(width) {
            let Some(Norm { gamma, beta }) = norm else {
                row.iter_mut().zip(addend).for_each(|(x, addend)| *x = activate(*x + addend));
                continue;
            };
            let sum = add(row, addend);
            let inverse = centre(row, sum);
            note(row, inverse);
            for ((x, gamma), beta) in row.iter_mut().zip(gamma).zip(beta) {
                *x = activate(*x * inverse * gamma + beta);
            }
        }
    }
}

/// What is not a number stays so, and is found.
#[inline(always)]
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

#[inline(always)]
fn elu(x: f32) -> f32 {
    if x < 0.0 { x.exp_m1() } else { x }
}

/// The slopes of a loss with respect to a layer's parameters, one number a unit each.
#[derive(Debug)]
pub(super) struct Slopes {
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
    pub bias: Vec<f32>,
}

/// From the slopes of a loss with respect to what a layer gave out, `outputs`, to those with respect to what
/// its matrix product gave, in place.
#[multiversion(targets("x86_64+avx2+fma+avx512f", "x86_64+avx2+fma"))]
pub(super) fn backward(
    rows: &mut [f32],
    outputs: &[f32],
    width: usize,
    record: &Record,
    norm: Option<&Norm>,
    activation: Activation,
) -> Slopes {
    let zeros = || vec![0.0; width];
    let mut slopes = Slopes { gamma: zeros(), beta: zeros(), bias: zeros() };
    let mut weighted = zeros();
    for (index, (row, outputs)) in rows.chunks_exact_mut(width).zip(outputs.chunks_exact(width)).enumerate() {
        deactivate(row, outputs, activation);
        if let Some(Norm { gamma, .. }) = norm {
            let standard = &record.standard[index * width..(index + 1) * width];
            for ((sum, slope), standard) in slopes.gamma.iter_mut().zip(&*row).zip(standard) {
                *sum += slope * standard;
            }
            add(&mut slopes.beta, row);
            for ((slope, gamma), (weighted, standard)) in
                row.iter_mut().zip(gamma).zip(weighted.iter_mut().zip(standard))
            {
                *slope *= gamma;
                *weighted = *slope * standard;
            }
            let mean = total(row) / width as f32;
            let along = total(&weighted) / width as f32;
            let inverse = record.inverse[index];
            for (slope, standard) in row.iter_mut().zip(standard) {
                *slope = (*slope - mean - standard * along) * inverse;
            }
        }
        add(&mut slopes.bias, row);
    }
    slopes
}

/// The scalar product of each row with `weights`, plus `bias`.
#[multiversion(targets("x86_64+avx2+fma+avx512f", "x86_64+avx2+fma"))]
pub(super) fn outputs(rows: &[f32], weights: &[f32], bias: f32, outputs: &mut [f32]) {
    for (output, row) in outputs.iter_mut().zip(rows.chunks_exact(weights.len())) {
        let mut lanes = [0.0; LANES];
        let (chunks, rest) = row.as_chunks::<LANES>();
        let (weight_chunks, rest_of_weights) = weights.as_chunks::<LANES>();
        for (chunk, weights) in chunks.iter().zip(weight_chunks) {
            for ((lane, x), weight) in lanes.iter_mut().zip(chunk).zip(weights) {
                *lane += x * weight;
            }
        }
        let rest: f32 = rest.iter().zip(rest_of_weights).map(|(x, weight)| x * weight).sum();
        *output = together(lanes) + rest + bias;
    }
}

/// Adds to a row, and tells its sum.
#[inline(always)]
fn add(row: &mut [f32], addend: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    let (addends, rest_of_addend) = addend.as_chunks::<LANES>();
    for (chunk, addends) in chunks.iter_mut().zip(addends) {
        for ((x, addend), lane) in chunk.iter_mut().zip(addends).zip(&mut lanes) {
            *x += addend;
            *lane += *x;
        }
    }
    let mut sum = together(lanes);
    for (x, addend) in rest.iter_mut().zip(rest_of_addend) {
        *x += addend;
        sum += *x;
    }
    sum
}

/// Subtracts the mean of a row of this sum, and tells 1 / standard deviation.
#[inline(always)]
fn centre(row: &mut [f32], sum: f32) -> f32 {
    let width = row.len() as f32;
    let mean = sum / width;
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for (x, lane) in chunk.iter_mut().zip(&mut lanes) {
            *x -= mean;
            *lane += *x * *x;
        }
    }
    let mut squares = together(lanes);
    for x in rest {
        *x -= mean;
        squares += *x * *x;
    }
    1.0 / (squares / width + EPSILON).sqrt()
}

#[inline(always)]
fn total(row: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += x;
        }
    }
    together(lanes) + rest.iter().sum::<f32>()
}

#[inline(always)]
fn together(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES;
    while half > 1 {
        half /= 2;
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}

/// Slopes before the activation from those behind it, where it gave `outputs`.
#[inline(always)]
fn deactivate(row: &mut [f32], outputs: &[f32], activation: Activation) {
    let slopes = row.iter_mut().zip(outputs);
    match activation {
        // A product, as CPUs are slow to store some numbers of a row and not others.
        Activation::Relu => slopes.for_each(|(slope, y)| *slope *= f32::from(u8::from(*y > 0.0))),
        Activation::Elu => slopes.for_each(|(slope, y)| *slope *= if *y < 0.0 { y + 1.0 } else { 1.0 }),
        Activation::Tanh => slopes.for_each(|(slope, y)| *slope *= 1.0 - y * y),
    }
}
