//! Matrix products of plain numbers, on one thread: the innermost loop of most of an update's arithmetic on a
//! CPU.
//!
//! The right matrix is packed once into panels of [`WIDE`] columns, and so is the left one where it is
//! transposed, so that the innermost loop reads both from one end to the other. Its sums, [`TALL`] rows of as
//! many columns as there are registers for, stay in these (after Goto and van de Geijn, "Anatomy of
//! High-Performance Matrix Multiplication", 2008). Each sum adds the same products in the same order, however
//! wide the registers are.

use std::array;

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

const WIDE: usize = 32;
const TALL: usize = 6;

/// Rows of the left matrix that all panels pass over in turn: with 256 columns, half of a core's second
/// cache.
const BLOCK: usize = 16 * TALL;

/// A row of a panel, which begins where a line of the cache does.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Row([f32; WIDE]);

impl Row {
    const ZERO: Self = Self([0.0; WIDE]);
}

/// The right matrix of a product, packed.
#[derive(Debug, Clone)]
pub(crate) struct Panels {
    /// Panel after panel, each with `rows` rows. The last one is filled up with zeros.
    packed: Vec<Row>,
    rows: usize,
    columns: usize,
}

impl Panels {
    /// Of a matrix with `columns` numbers a row.
    pub(crate) fn new(matrix: &[f32], columns: usize) -> Self {
        let mut packed = Vec::with_capacity(matrix.len() / columns * columns.div_ceil(WIDE));
        for start in (0..columns).step_by(WIDE) {
            let width = WIDE.min(columns - start);
            packed.extend(matrix.chunks_exact(columns).map(|row| {
                let mut packed = Row::ZERO;
                packed.0[..width].copy_from_slice(&row[start..start + width]);
                packed
            }));
        }
        Self { packed, rows: matrix.len() / columns, columns }
    }

    /// Of the transpose of a matrix with `columns` numbers a row.
    pub(crate) fn transposed(matrix: &[f32], columns: usize) -> Self {
        let mut packed = vec![Row::ZERO; columns * (matrix.len() / columns).div_ceil(WIDE)];
        let panels = packed.chunks_exact_mut(columns.max(1));
        for (panel, rows) in panels.zip(matrix.chunks(columns * WIDE)) {
            for (place, row) in rows.chunks_exact(columns).enumerate() {
                panel.iter_mut().zip(row).for_each(|(packed, &x)| packed.0[place] = x);
            }
        }
        Self { packed, rows: columns, columns: matrix.len() / columns }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }
}

/// The left matrix of a product.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Left<'a> {
    /// As it lies, row after row.
    Rows(&'a [f32]),
    /// The transpose of a matrix with so many numbers a row.
    Transposed(&'a [f32], usize),
}

/// What computes products, with memory for strips of a transposed matrix, which is taken once.
#[derive(Debug, Default)]
pub(crate) struct Products {
    strips: Vec<[f32; TALL]>,
}

impl Products {
    /// `left` times `right`, into `out`, row after row.
    pub(crate) fn compute_into(&mut self, left: Left<'_>, right: &Panels, out: &mut [f32]) {
        if right.rows == 0 || right.columns == 0 {
            return out.fill(0.0);
        }
        compute(left, right, &mut self.strips, out);
    }

    /// `left` times `right`, row after row.
    pub(crate) fn compute(&mut self, left: Left<'_>, right: &Panels) -> Vec<f32> {
        let rows = match left {
            Left::Rows(matrix) => matrix.len() / right.rows.max(1),
            Left::Transposed(_, columns) => columns,
        };
        let mut out = vec![0.0; rows * right.columns];
        self.compute_into(left, right, &mut out);
        out
    }
}

#[multiversion(targets("x86_64+avx2+fma+avx512f", "x86_64+avx2+fma"))]
fn compute(left: Left, right: &Panels, strips: &mut Vec<[f32; TALL]>, out: &mut [f32]) {
    let fused = target_cfg_f!(any(target_feature = "fma", target_arch = "aarch64"));
    let wide = target_cfg_f!(target_feature = "avx512f");
    if wide {
        blocks::<32>(left, right, strips, out, |x, y, sum| x.mul_add(y, sum));
    } else if fused {
        blocks::<16>(left, right, strips, out, |x, y, sum| x.mul_add(y, sum));
    } else {
        blocks::<16>(left, right, strips, out, |x, y, sum| x * y + sum);
    }
}

/// `LANES` columns at a time.
#[inline(always)]
fn blocks<const LANES: usize>(
    left: Left<'_>,
    right: &Panels,
    strips: &mut Vec<[f32; TALL]>,
    out: &mut [f32],
    add: impl Fn(f32, f32, f32) -> f32 + Copy,
) {
    let inner = right.rows;
    for (index, out) in out.chunks_mut(BLOCK * right.columns).enumerate() {
        let first = index * BLOCK;
        match left {
            Left::Rows(matrix) => {
                let last = matrix.len() / inner - 1;
                let strip = |place: usize| {
                    let rows: [&[f32]; TALL] = array::from_fn(|row| {
                        &matrix[(first + place * TALL + row).min(last) * inner..][..inner]
                    });
                    move |k: usize| rows.map(|row| row[k])
                };
                block::<LANES, _>(strip, right, out, add);
            }
            Left::Transposed(matrix, columns) => {
                strips.resize(inner * BLOCK / TALL, [0.0; TALL]);
                for (place, strip) in
                    (0..out.len().div_ceil(TALL * right.columns)).zip(strips.chunks_exact_mut(inner))
                {
                    pack(matrix, columns, first + place * TALL, strip);
                }
                let strips = &*strips;
                let strip = |place: usize| {
                    let strip = &strips[place * inner..][..inner];
                    move |k: usize| strip[k]
                };
                block::<LANES, _>(strip, right, out, add);
            }
        }
    }
}

/// Rows of a matrix, as strips of `TALL` rows that give out their columns, times all panels.
#[inline(always)]
fn block<const LANES: usize, S: Fn(usize) -> [f32; TALL]>(
    strip: impl Fn(usize) -> S,
    right: &Panels,
    out: &mut [f32],
    add: impl Fn(f32, f32, f32) -> f32 + Copy,
) {
    let Panels { packed, rows: inner, columns } = right;
    for start in (0..*columns).step_by(LANES) {
        let panel = &packed[start / WIDE * inner..][..*inner];
        for (place, out) in out.chunks_mut(TALL * columns).enumerate() {
            let sums = tile::<LANES>(strip(place), panel, start % WIDE / LANES, add);
            for (sums, out) in sums.iter().zip(out.chunks_exact_mut(*columns)) {
                let out = &mut out[start..];
                match out.first_chunk_mut() {
                    Some(out) => *out = *sums,
                    None => out.copy_from_slice(&sums[..out.len()]),
                }
            }
        }
    }
}

/// `TALL` rows of a transposed matrix from `row` on; what is beyond its last row stays as it is.
#[inline(always)]
fn pack(matrix: &[f32], columns: usize, row: usize, strip: &mut [[f32; TALL]]) {
    for (packed, column) in strip.iter_mut().zip(matrix.chunks_exact(columns)) {
        match column[row..].first_chunk() {
            Some(column) => *packed = *column,
            None => packed.iter_mut().zip(&column[row..]).for_each(|(packed, &x)| *packed = x),
        }
    }
}

/// A strip times `LANES` columns of a panel, the `part`-th of them.
#[inline(always)]
fn tile<const LANES: usize>(
    strip: impl Fn(usize) -> [f32; TALL],
    panel: &[Row],
    part: usize,
    add: impl Fn(f32, f32, f32) -> f32,
) -> [[f32; LANES]; TALL] {
    assert!(part < WIDE / LANES);
    let mut sums = [[0.0; LANES]; TALL];
    #[expect(
        clippy::needless_range_loop,
        reason = "an iterator leaves checks of the left rows' ends in the loop"
    )]
    for k in 0..panel.len() {
        // Copies, which then stay in registers.
        let (left, right) = (strip(k), panel[k].0.as_chunks::<LANES>().0[part]);
        for (sums, x) in sums.iter_mut().zip(left) {
            for (sum, y) in sums.iter_mut().zip(right) {
                *sum = add(x, y, *sum);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Rng, Stream};

    fn exact(left: &[f32], right: &[f32], inner: usize, columns: usize) -> Vec<f64> {
        let row = |row: &[f32]| -> Vec<f64> {
            let terms =
                |column| (0..inner).map(move |k| f64::from(row[k]) * f64::from(right[k * columns + column]));
            (0..columns).map(|column| terms(column).sum()).collect()
        };
        left.chunks_exact(inner).flat_map(row).collect()
    }

    fn transpose(matrix: &[f32], columns: usize) -> Vec<f32> {
        (0..columns).flat_map(|column| matrix.iter().skip(column).step_by(columns)).copied().collect()
    }

    /// All sizes around those of strips, panels and blocks.
    #[test]
    fn products_are_those_of_double_precision() {
        let mut rng = Rng::stream(1, Stream::Replay);
        for rows in [1, 2, 5, 6, 7, 95, 96, 97, 200] {
            for inner in [1, 2, 6, 17, 300] {
                for columns in [1, 2, 15, 16, 17, 31, 32, 33, 100] {
                    let (left, right) = (rng.normals(rows * inner), rng.normals(inner * columns));
                    let panels = Panels::new(&right, columns);
                    let (left_transpose, right_transpose) =
                        (transpose(&left, inner), transpose(&right, columns));
                    let products = [
                        Products::default().compute(Left::Rows(&left), &panels),
                        Products::default().compute(Left::Transposed(&left_transpose, rows), &panels),
                        Products::default()
                            .compute(Left::Rows(&left), &Panels::transposed(&right_transpose, inner)),
                    ];
                    let exact = exact(&left, &right, inner, columns);
                    for product in products {
                        assert_eq!(product.len(), exact.len());
                        for (index, (product, exact)) in product.iter().zip(&exact).enumerate() {
                            let off = (f64::from(*product) - exact).abs();
                            assert!(
                                off < 2e-6 * inner as f64,
                                "{rows}x{inner}x{columns}, {index}: {product}"
                            );
                        }
                    }
                }
            }
        }
    }

    /// The same bits with AVX2's registers and with AVX-512's, whichever this CPU has.
    #[test]
    fn the_width_of_the_registers_does_not_matter() {
        let mut rng = Rng::stream(2, Stream::Replay);
        for (rows, inner, columns) in [(7, 3, 15), (100, 17, 33), (97, 40, 64)] {
            let (left, right) = (rng.normals(rows * inner), rng.normals(inner * columns));
            let right = Panels::new(&right, columns);
            for left in [Left::Rows(&left), Left::Transposed(&left, rows)] {
                let [mut narrow, mut wide] = [0, 1].map(|_| vec![0.0; rows * columns]);
                let add = |x: f32, y, sum| x.mul_add(y, sum);
                blocks::<16>(left, &right, &mut Vec::new(), &mut narrow, add);
                blocks::<32>(left, &right, &mut Vec::new(), &mut wide, add);
                assert_eq!(narrow, wide, "{rows}x{inner}x{columns}");
            }
        }
    }

    /// What was in `out` does not matter, and what is not a number is not lost.
    #[test]
    fn numbers_that_are_none_stay_so() {
        let mut out = [f32::NAN; 2];
        let (mut products, right) = (Products::default(), Panels::new(&[3.0, 4.0, 5.0, 6.0], 2));
        products.compute_into(Left::Rows(&[1.0, 2.0]), &right, &mut out);
        assert_eq!(out, [13.0, 16.0]);
        products.compute_into(Left::Rows(&[0.0, f32::NAN]), &right, &mut out);
        assert!(out.iter().all(|x| x.is_nan()));
    }
}
