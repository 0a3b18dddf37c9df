//! The scaled inverse DCT: the N×N low-frequency coefficients of a block to N×N samples, N = 1..=8.
//!
//! Sixteen blocks at a time, one a lane, in single precision: the same straight-line code for each
//! lane, so that the compiler turns it into vector instructions. The N-point transform is applied
//! down the columns, then along the rows (T.81 A.3.3 with N in place of 8):
//!
//! ```text
//! s(x, y) = 128 + 1/4 · Σ Σ C(u) C(v) S(u, v) cos((2x + 1)uπ / 2N) cos((2y + 1)vπ / 2N),  u, v < N
//! ```
//!
//! The factors before the cosines are folded into the quantisation table: see [`Transform`]. Where sixteen
//! bits will do, [`super::narrow`] is quicker.
#![expect(
    clippy::needless_range_loop,
    reason = "with iterators these loops are not vectorised, and take four times as long"
)]

use super::narrow::Narrow;
use super::simd;
use super::tables::{Quantisation, ZIGZAG};

/// Blocks transformed at once.
pub(super) const LANES: usize = 16;
/// The coefficients of [`LANES`] blocks: `[place][lane]`. N×N places are in use, row after row, and the
/// [`SPARE`] one. As many as a byte can name, so that an index need not be checked.
pub(super) type Coefficients = [i16; 256 * LANES];
/// The coefficients of one block, from its own lane's first on: every [`LANES`]th.
pub(super) type Lane = [i16; 255 * LANES + 1];
/// The place for coefficients that do not matter: next to the last of those that may.
pub(super) const SPARE: u8 = 64;

/// Room that must follow the samples of a row: rows are written eight samples at a time.
pub(super) const ROOM: usize = 8;

/// The transform for one component: its scale, and what its coefficients were divided by.
#[derive(Debug, Clone)]
pub(super) struct Transform {
    /// By place: divisor and the factors before the cosines.
    factors: [f32; 64],
    pub(super) scale: u8,
    narrow: Option<Narrow>,
    /// Between the passes: `[row][column][lane]`. Kept, because clearing it each time would cost.
    middle: Box<[[[f32; LANES]; 8]; 8]>,
}

impl Transform {
    /// For coefficients divided by `table`, at `scale` = N.
    pub(super) fn new(table: &Quantisation, scale: u8) -> Self {
        let n = usize::from(scale);
        let mut factors = [0.0; 64];
        for (zigzag, &divisor) in table.iter().enumerate() {
            if let Some(place) = place(zigzag, scale) {
                // C(0) = 1/√2, C(u) = 1 otherwise (T.81 A.3.3), in both directions.
                let c = |index: usize| if index == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
                factors[place] = (f64::from(divisor) * c(place / n) * c(place % n) / 4.0) as f32;
            }
        }
        let middle = Box::new([[[0.0; LANES]; 8]; 8]);
        Self { factors, scale, narrow: Narrow::new(table, scale), middle }
    }

    /// Transforms [`LANES`] blocks to samples, side by side: N rows, `stride` apart, of [`LANES`] · N
    /// samples and [`ROOM`]. Clears the coefficients, for the next blocks.
    pub(super) fn apply(&mut self, coefficients: &mut Coefficients, rows: &mut [u8], stride: usize) {
        let Self { factors, scale, narrow, middle } = self;
        if let Some(narrow) = narrow {
            return narrow.apply(coefficients, rows, stride);
        }
        match scale {
            1 => simd::fastest(Blocks::<1> { coefficients, factors, middle, rows, stride }),
            2 => simd::fastest(Blocks::<2> { coefficients, factors, middle, rows, stride }),
            3 => simd::fastest(Blocks::<3> { coefficients, factors, middle, rows, stride }),
            4 => simd::fastest(Blocks::<4> { coefficients, factors, middle, rows, stride }),
            5 => simd::fastest(Blocks::<5> { coefficients, factors, middle, rows, stride }),
            6 => simd::fastest(Blocks::<6> { coefficients, factors, middle, rows, stride }),
            7 => simd::fastest(Blocks::<7> { coefficients, factors, middle, rows, stride }),
            _ => simd::fastest(Blocks::<8> { coefficients, factors, middle, rows, stride }),
        }
    }
}

/// Where the coefficient of a zigzag index is kept at `scale` = N: row · N + column, if both are below N.
pub(super) fn place(zigzag: usize, scale: u8) -> Option<usize> {
    let natural = usize::from(ZIGZAG[zigzag]);
    let (row, column, n) = (natural / 8, natural % 8, usize::from(scale));
    (row < n && column < n).then_some(row * n + column)
}

/// The last zigzag index that matters at `scale` = N.
pub(super) fn reach(scale: u8) -> usize {
    (0..64).rev().find(|&zigzag| place(zigzag, scale).is_some()).unwrap_or(0)
}

struct Blocks<'a, const N: usize> {
    coefficients: &'a mut Coefficients,
    factors: &'a [f32; 64],
    middle: &'a mut [[[f32; LANES]; 8]; 8],
    rows: &'a mut [u8],
    stride: usize,
}

impl<const N: usize> simd::Work for Blocks<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for column in 0..N {
            let factors: [f32; N] = std::array::from_fn(|row| self.factors[row * N + column]);
            let shift = if column == 0 { 128.0 } else { 0.0 };
            for lane in 0..LANES {
                let mut input: [f32; N] = std::array::from_fn(|row| {
                    f32::from(self.coefficients[(row * N + column) * LANES + lane]) * factors[row]
                });
                input[0] += shift;
                let output = Cosines::<N>::inverse(input);
                for row in 0..N {
                    self.middle[row][column][lane] = output[row];
                }
            }
        }
        self.coefficients[..N * N * LANES].fill(0);
        for (row, samples) in self.middle[..N].iter().zip(self.rows.chunks_mut(self.stride)) {
            let samples = &mut samples[..LANES * N + ROOM];
            if N.is_power_of_two() {
                let (samples, _) = samples.as_chunks_mut::<N>();
                for lane in 0..LANES {
                    let output = Cosines::<N>::inverse(std::array::from_fn(|column| row[column][lane]));
                    samples[lane] = output.map(sample);
                }
                continue;
            }
            // Other strides are stored one sample at a time: rather eight, of which the next block
            // overwrites those too many.
            let mut wide = [[0; 8]; LANES];
            for lane in 0..LANES {
                let output = Cosines::<N>::inverse(std::array::from_fn(|column| row[column][lane]));
                wide[lane] = std::array::from_fn(|x| if x < N { sample(output[x]) } else { 0 });
            }
            for (lane, eight) in wide.iter().enumerate() {
                samples[lane * N..][..8].copy_from_slice(eight);
            }
        }
    }
}

/// Rounds to the nearest of 0..=255.
#[inline(always)]
fn sample(value: f32) -> u8 {
    /// 1.5 · 2²³: adding it leaves the rounded integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let low = if value > 0.0 { value } else { 0.0 };
    let clamped = if low < 255.0 { low } else { 255.0 };
    (clamped + ROUND).to_bits() as u8
}

struct Cosines<const N: usize>;

impl<const N: usize> Cosines<N> {
    /// `[x][u]`: cos((2x + 1)uπ / 2N).
    const TABLE: [[f32; N]; N] = {
        let mut table = [[0.0; N]; N];
        let mut x = 0;
        while x < N {
            let mut u = 0;
            while u < N {
                table[x][u] = cosine((2 * x + 1) * u, N) as f32;
                u += 1;
            }
            x += 1;
        }
        table
    };

    /// The N-point inverse transform. Even terms are the same at x and N - 1 - x, odd ones opposite.
    #[inline(always)]
    fn inverse(input: [f32; N]) -> [f32; N] {
        let mut output = [0.0; N];
        for x in 0..N.div_ceil(2) {
            let mut even = input[0];
            let mut odd = 0.0;
            for u in 1..N {
                let term = input[u] * Self::TABLE[x][u];
                if u % 2 == 0 {
                    even += term;
                } else if u == 1 {
                    odd = term;
                } else {
                    odd += term;
                }
            }
            output[x] = even + odd;
            output[N - 1 - x] = even - odd;
        }
        output
    }
}

/// cos(`steps` · π / (2 · `n`)), by its Taylor series on the first quadrant.
pub(super) const fn cosine(steps: usize, n: usize) -> f64 {
    let steps = steps % (4 * n);
    let steps = if steps > 2 * n { 4 * n - steps } else { steps };
    let (steps, sign) = if steps > n { (2 * n - steps, -1.0) } else { (steps, 1.0) };
    if steps == n {
        return 0.0;
    }
    let angle = steps as f64 * std::f64::consts::PI / (2 * n) as f64;
    let (mut sum, mut term, mut k) = (1.0, 1.0, 1.0);
    while k < 24.0 {
        term *= -angle * angle / (k * (k + 1.0));
        sum += term;
        k += 2.0;
    }
    sign * sum
}

#[cfg(test)]
mod tests {
    use super::super::simd::Work;
    use super::*;
    use std::f64::consts::PI;

    /// Coefficients of at most 2047, or of what eight bits of a sample can come to if they are divided by 12.
    fn random_blocks(scale: u8, most: i16, seed: &mut u64) -> Box<Coefficients> {
        let mut blocks = Box::new([0; 256 * LANES]);
        let n = usize::from(scale);
        for value in &mut blocks[..n * n * LANES] {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *value = (((*seed >> 40) as i16) >> (4 + (*seed >> 33) % 10)) % most;
        }
        blocks
    }

    #[test]
    fn const_cosines_are_cosines() {
        for n in 1..=8 {
            for steps in 0..100 {
                let expected = (steps as f64 * PI / (2 * n) as f64).cos();
                assert!((cosine(steps, n) - expected).abs() < 1e-13, "{steps} {n}");
            }
        }
    }

    #[test]
    fn every_scale_agrees_with_the_definition_in_double_precision() {
        let mut table = [0; 64];
        (0..64).for_each(|n| table[n] = 1 + (n as u16 * 7) % 12);
        let mut seed = 1;
        for scale in 1..=8u8 {
            let n = usize::from(scale);
            let divisor = |row: usize, column: usize| {
                f64::from(
                    table[ZIGZAG
                        .iter()
                        .position(|&natural| usize::from(natural) == row * 8 + column)
                        .unwrap()],
                )
            };
            for _ in 0..20 {
                // Sixteen bits hold what is possible, and round a little more.
                let (most, off) = if scale > 4 { (2047, 0.51) } else { (1100 / 12, 0.9) };
                let blocks = random_blocks(scale, most, &mut seed);
                let stride = LANES * n + ROOM;
                let mut rows = vec![0; n * stride];
                Transform::new(&table, scale).apply(&mut blocks.clone(), &mut rows, stride);
                for (at, &sample) in rows.iter().enumerate().filter(|(at, _)| at % stride < LANES * n) {
                    let (y, x, lane) = (at / stride, at % stride % n, at % stride / n);
                    let mut sum = 128.0;
                    for v in 0..n {
                        for u in 0..n {
                            let c = |index| if index == 0 { 0.5f64.sqrt() } else { 1.0 };
                            let wave = |x: usize, u: usize| {
                                ((2 * x + 1) as f64 * u as f64 * PI / (2 * n) as f64).cos()
                            };
                            sum +=
                                f64::from(blocks[(v * n + u) * LANES + lane]) * divisor(v, u) * c(u) * c(v)
                                    / 4.0
                                    * wave(x, u)
                                    * wave(y, v);
                        }
                    }
                    let expected = sum.clamp(0.0, 255.0);
                    assert!(
                        (expected - f64::from(sample)).abs() <= off,
                        "scale {scale}: {expected} is {sample}"
                    );
                }
            }
        }
    }

    #[test]
    fn portable_and_fastest_code_give_the_same_samples() {
        let table = [3; 64];
        let mut seed = 7;
        for _ in 0..50 {
            let blocks = random_blocks(8, 2047, &mut seed);
            let mut transform = Transform::new(&table, 8);
            let stride = 8 * LANES + ROOM;
            let (mut fast, mut portable) = (vec![0; 8 * stride], vec![0; 8 * stride]);
            transform.apply(&mut blocks.clone(), &mut fast, stride);
            let Transform { factors, middle, .. } = &mut transform;
            Blocks::<8> { coefficients: &mut blocks.clone(), factors, middle, rows: &mut portable, stride }
                .run();
            assert_eq!(fast, portable);
        }
    }

    #[test]
    fn extreme_coefficients_are_clamped() {
        let blocks = Box::new([i16::MIN; 256 * LANES]);
        let mut rows = vec![9; 8 * (8 * LANES + ROOM)];
        Transform::new(&[u16::MAX; 64], 8).apply(&mut blocks.clone(), &mut rows, 8 * LANES + ROOM);
        assert_eq!(rows[0], 0);
        for (coefficient, sample) in [(i16::MIN, 0), (i16::MAX, 255)] {
            let mut blocks = Box::new([0; 256 * LANES]);
            blocks[..LANES].fill(coefficient);
            let mut rows = vec![9; 4 * (4 * LANES + ROOM)];
            Transform::new(&[255; 64], 4).apply(&mut blocks, &mut rows, 4 * LANES + ROOM);
            assert_eq!(rows[..4 * LANES], [sample; 4 * LANES]);
        }
    }

    #[test]
    fn reach_is_the_zigzag_index_of_the_corner() {
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 8].map(reach), [0, 4, 12, 24, 39, 51, 59, 63]);
    }
}
