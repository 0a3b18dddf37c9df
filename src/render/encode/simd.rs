//! The one place of the encoder that knows of processor features: the forward transform for AVX2.
//!
//! It computes what [`fdct::transform`] computes, bit for bit, 16 lanes of 16 bits at a time.

#[cfg(target_arch = "x86_64")]
use super::super::processor;
use super::fdct::{self, Pair};
use super::quantise::Quantiser;

/// [`fdct::transform`] by the fastest way this processor has.
pub fn transform(lines: &[&[u8]; 8], quantiser: &Quantiser, pairs: &mut [Pair]) {
    #[cfg(target_arch = "x86_64")]
    if processor::has_v3() {
        #[allow(unsafe_code)]
        // SAFETY: the function needs nothing but the feature just found.
        return unsafe { avx2::transform(lines, quantiser, pairs) };
    }
    fdct::transform(lines, quantiser, pairs);
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::fdct::{
        COS_1, COS_3, EIGHTH, Pair, ROOT_COS_2_LESS_1, ROOT_LESS_1, ROOT_SIN_2, SIN_1, SIN_3, zigzag_bits,
    };
    use super::*;
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2")]
    pub fn transform(lines: &[&[u8]; 8], quantiser: &Quantiser, pairs: &mut [Pair]) {
        let lines = lines.map(|line| &line.as_chunks::<16>().0[..pairs.len()]);
        for (nth, pair) in pairs.iter_mut().enumerate() {
            let mut rows = [_mm256_setzero_si256(); 8];
            for (row, line) in rows.iter_mut().zip(lines) {
                *row = _mm256_slli_epi16::<5>(_mm256_cvtepu8_epi16(load_bytes(&line[nth])));
            }
            let mut first = dct(rows);
            first[0] = _mm256_xor_si256(first[0], _mm256_set1_epi16(i16::MIN));
            let mut columns = transposed(first);
            for column in &mut columns {
                *column = times(*column, EIGHTH);
            }
            let coefficients = dct(columns);
            // Multipliers widened before the loop would no longer be seen to fit the 16-bit instruction.
            let quantiser = std::hint::black_box(quantiser);
            let mut quantised = [_mm256_setzero_si256(); 8];
            for u in 0..8 {
                let magnitude = _mm256_abs_epi16(coefficients[u]);
                let reciprocal = load_words(&quantiser.reciprocal[u].map(u16::cast_signed));
                let product = _mm256_mulhi_epu16(magnitude, reciprocal);
                let rounded = _mm256_mulhrs_epi16(product, load_words(&quantiser.shift[u]));
                quantised[u] = _mm256_sign_epi16(rounded, coefficients[u]);
                store_words(quantised[u], &mut pair.coefficients[u]);
            }
            pair.nonzero = nonzero(quantised).map(zigzag_bits);
        }
    }

    /// Of each block, bit `8 u + v` if that coefficient is not zero.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn nonzero(columns: [__m256i; 8]) -> [u64; 2] {
        let mut blocks = [0; 2];
        for pair in 0..4 {
            // Saturation keeps what is not zero. The left block's bytes come first, then the right one's.
            let bytes = _mm256_packs_epi16(columns[2 * pair], columns[2 * pair + 1]);
            let zero = _mm256_cmpeq_epi8(bytes, _mm256_setzero_si256());
            let bits = !_mm256_movemask_epi8(zero) as u32;
            blocks[0] |= u64::from(bits & 0xFFFF) << (16 * pair);
            blocks[1] |= u64::from(bits >> 16) << (16 * pair);
        }
        blocks
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn dct(x: [__m256i; 8]) -> [__m256i; 8] {
        let (sum_0, difference_0) = butterfly(x[0], x[7]);
        let (sum_1, difference_1) = butterfly(x[1], x[6]);
        let (sum_2, difference_2) = butterfly(x[2], x[5]);
        let (sum_3, difference_3) = butterfly(x[3], x[4]);

        let (even_0, even_2) = butterfly(sum_0, sum_3);
        let (even_1, even_3) = butterfly(sum_1, sum_2);
        let (y_0, y_4) = butterfly(even_0, even_1);
        let y_2 = add(add(even_2, times(even_2, ROOT_COS_2_LESS_1)), times(even_3, ROOT_SIN_2));
        let y_6 = sub(sub(times(even_2, ROOT_SIN_2), times(even_3, ROOT_COS_2_LESS_1)), even_3);

        let a = add(times(difference_3, COS_3), times(difference_0, SIN_3));
        let b = sub(times(difference_0, COS_3), times(difference_3, SIN_3));
        let c = add(times(difference_2, COS_1), times(difference_1, SIN_1));
        let d = sub(times(difference_1, COS_1), times(difference_2, SIN_1));
        let (a_plus_d, a_less_d) = butterfly(a, d);
        let (b_plus_c, b_less_c) = butterfly(b, c);
        let (y_1, y_7) = butterfly(b_plus_c, a_plus_d);
        let y_3 = add(b_less_c, times(b_less_c, ROOT_LESS_1));
        let y_5 = add(a_less_d, times(a_less_d, ROOT_LESS_1));
        [y_0, y_1, y_2, y_3, y_4, y_5, y_6, y_7]
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn butterfly(a: __m256i, b: __m256i) -> (__m256i, __m256i) {
        (add(a, b), sub(a, b))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn add(a: __m256i, b: __m256i) -> __m256i {
        _mm256_add_epi16(a, b)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn sub(a: __m256i, b: __m256i) -> __m256i {
        _mm256_sub_epi16(a, b)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn times(value: __m256i, constant: i16) -> __m256i {
        _mm256_mulhrs_epi16(value, _mm256_set1_epi16(constant))
    }

    /// Each 8×8 half turned over its diagonal: three perfect shuffles of the rows.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn transposed(mut rows: [__m256i; 8]) -> [__m256i; 8] {
        for _ in 0..3 {
            let [a, b, c, d, e, f, g, h] = rows;
            rows = [
                _mm256_unpacklo_epi16(a, e),
                _mm256_unpackhi_epi16(a, e),
                _mm256_unpacklo_epi16(b, f),
                _mm256_unpackhi_epi16(b, f),
                _mm256_unpacklo_epi16(c, g),
                _mm256_unpackhi_epi16(c, g),
                _mm256_unpacklo_epi16(d, h),
                _mm256_unpackhi_epi16(d, h),
            ];
        }
        rows
    }

    /// 16 bytes; the compiler makes it one load.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn load_bytes(bytes: &[u8; 16]) -> __m128i {
        let word = |at: usize| i64::from_le_bytes(std::array::from_fn(|nth| bytes[at + nth]));
        _mm_set_epi64x(word(8), word(0))
    }

    /// 16 lanes; the compiler makes it one load.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn load_words(w: &[i16; 16]) -> __m256i {
        _mm256_setr_epi16(
            w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10], w[11], w[12], w[13], w[14],
            w[15],
        )
    }

    /// 16 lanes; the compiler makes it one store.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn store_words(lanes: __m256i, words: &mut [i16; 16]) {
        let quarters = [
            _mm256_extract_epi64::<0>(lanes),
            _mm256_extract_epi64::<1>(lanes),
            _mm256_extract_epi64::<2>(lanes),
            _mm256_extract_epi64::<3>(lanes),
        ];
        for (quarter, words) in quarters.into_iter().zip(words.as_chunks_mut::<4>().0) {
            *words = std::array::from_fn(|nth| (quarter >> (16 * nth)) as i16);
        }
    }
}
