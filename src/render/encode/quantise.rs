//! Quantisation: the step of each coefficient, and division by it without dividing.

use super::fdct::SCALE;

/// ITU-T T.81 table K.1 (luminance) and K.2 (chrominance), row by row.
const ANNEX_K: [[u8; 64]; 2] = [
    [
        16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14,
        17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49,
        64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
    ],
    [
        17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47,
        66, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
        99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    ],
];

/// The steps of one kind of component, and what [`quantise`] needs to divide by them.
///
/// The lanes are those of [`super::fdct::Pair`]: `[u][v]` for horizontal frequency `u` and vertical
/// frequency `v`, the eight `v` twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantiser {
    /// 1 to 255, row by row.
    pub steps: [u8; 64],
    pub reciprocal: [[u16; 16]; 8],
    pub shift: [[i16; 16]; 8],
}

impl Quantiser {
    /// The steps of quality 1 (coarse) to 100 (all ones), scaled from Annex K as libjpeg does:
    /// quality 50 is the table as printed.
    pub fn new(quality: u8, chroma: bool) -> Self {
        let quality = u32::from(quality.clamp(1, 100));
        let percent = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
        let steps = ANNEX_K[usize::from(chroma)]
            .map(|base| ((u32::from(base) * percent + 50) / 100).clamp(1, 255) as u8);
        let mut made = Self { steps, reciprocal: [[0; 16]; 8], shift: [[0; 16]; 8] };
        for (u, lane) in (0..8).flat_map(|u| (0..16).map(move |lane| (u, lane))) {
            let divisor = Divisor::new(steps[lane % 8 * 8 + u]);
            made.reciprocal[u][lane] = divisor.reciprocal;
            made.shift[u][lane] = divisor.shift;
        }
        made
    }
}

/// Rounded division of a scaled coefficient by a step, as two 16-bit multiplications.
#[derive(Debug, Clone, Copy)]
struct Divisor {
    reciprocal: u16,
    shift: i16,
}

impl Divisor {
    /// For a divisor `d` with `2^b <= d < 2^(b+1)` the reciprocal is `m = 2^(16+b) / d` rounded up. With
    /// `m d = 2^(16+b) + e` and `e < d`, `n m / 2^(16+b)` is `n / d` and `n e / 2^(16+b)` parts of `1 / d`,
    /// fewer than one as long as `n <= 2^15`: too little to reach the next multiple of `1 / d`, so
    /// rounding gives the same. (After T. Granlund and P. L. Montgomery, "Division by invariant integers
    /// using multiplication", 1994.)
    fn new(step: u8) -> Self {
        let d = u32::from(step) * SCALE;
        let b = d.ilog2();
        if d.is_power_of_two() {
            // The reciprocal, 2^16, would not fit; half of it with a bit less to shift is as exact.
            return Self { reciprocal: 1 << 15, shift: 1 << (16 - b) };
        }
        Self { reciprocal: (1u32 << (16 + b)).div_ceil(d) as u16, shift: 1 << (15 - b) }
    }
}

/// `coefficient / (SCALE * step)`, rounded to nearest, halves away from zero.
#[inline(always)]
pub fn quantise(coefficient: i16, reciprocal: u16, shift: i16) -> i16 {
    let product = (u32::from(coefficient.unsigned_abs()) * u32::from(reciprocal)) >> 16;
    let magnitude = ((product as i32 * i32::from(shift) + (1 << 14)) >> 15) as i16;
    if coefficient < 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiplying_by_the_reciprocal_equals_dividing() {
        for step in 1..=255 {
            let Divisor { reciprocal, shift } = Divisor::new(step);
            let d = i32::from(step) * SCALE as i32;
            for coefficient in i16::MIN..=i16::MAX {
                let wide = i32::from(coefficient);
                let expected = (wide.abs() + d / 2) / d * wide.signum();
                let found = i32::from(quantise(coefficient, reciprocal, shift));
                assert_eq!(found, expected, "{coefficient} / {d}");
            }
        }
    }

    #[test]
    fn quality_scales_the_tables_as_libjpeg_does() {
        assert_eq!(Quantiser::new(50, false).steps, ANNEX_K[0]);
        assert_eq!(Quantiser::new(100, true).steps, [1; 64]);
        assert_eq!(Quantiser::new(1, true).steps, [255; 64]);
        // cjpeg -quality 82.
        assert_eq!(Quantiser::new(82, false).steps[..8], [6, 4, 4, 6, 9, 14, 18, 22]);
        assert_eq!(Quantiser::new(25, false).steps[..3], [32, 22, 20]);
    }
}
