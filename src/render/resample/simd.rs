//! The one place of the resampler that knows of processor features: the passes for AVX2.
//!
//! It makes what [`Passes::take`] makes, bit for bit, 16 lanes of 16 bits at a time.

#[cfg(target_arch = "x86_64")]
use super::super::processor;
use super::passes::Passes;

/// [`Passes::take`] by the fastest way this processor has.
pub fn take<'a>(passes: &mut Passes, rows: impl Iterator<Item = &'a [u8]>, made: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if processor::has_v3() {
        #[allow(unsafe_code)]
        // SAFETY: the function needs nothing but the feature just found.
        return unsafe { avx2::take(passes, rows, made) };
    }
    passes.take(rows, made);
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::super::passes::{STRIP, ZERO, exact_sum};
    use super::*;
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2")]
    pub fn take<'a>(passes: &mut Passes, rows: impl Iterator<Item = &'a [u8]>, made: &mut [u8]) {
        let width = passes.across.starts.len();
        for row in rows {
            passes.widen(row);
            while let Some(nth) = passes.next_row() {
                first_pass(passes, nth);
                if let Some(strip) = passes.count_row() {
                    turn_over(passes);
                    second_pass(passes);
                    turn_back(passes, &mut made[strip.start * width..strip.end * width]);
                }
            }
        }
    }

    /// One row, 64 samples at a time.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn first_pass(passes: &mut Passes, nth: usize) {
        let row = nth % STRIP;
        if passes.down.exact() {
            for chunk in 0..passes.stride {
                let taps =
                    passes.taps_down(nth).map(|(at, weight)| (&passes.buffers.widened[at + chunk], weight));
                passes.buffers.rows[row * passes.stride + chunk] = exact_sum(taps, passes.down.bits);
            }
            return;
        }
        let widened = passes.buffers.widened.as_chunks::<4>().0;
        for group in 0..passes.stride / 4 {
            let mut sums = [_mm256_setzero_si256(); 4];
            for (at, weight) in passes.taps_down(nth) {
                let weight = _mm256_set1_epi16(weight);
                for (sum, values) in sums.iter_mut().zip(&widened[at / 4 + group]) {
                    *sum = _mm256_add_epi16(*sum, _mm256_mulhrs_epi16(load(values), weight));
                }
            }
            let rows = passes.buffers.rows.as_chunks_mut::<4>().0;
            for (sum, values) in sums.into_iter().zip(&mut rows[row * passes.stride / 4 + group]) {
                store(sum, values);
            }
        }
    }

    /// Rows to columns.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn turn_over(passes: &mut Passes) {
        let chunks = passes.width.div_ceil(16);
        for (chunk, columns) in
            passes.buffers.columns.as_chunks_mut::<16>().0[..chunks].iter_mut().enumerate()
        {
            let mut upper = [_mm256_setzero_si256(); 8];
            let mut lower = upper;
            for row in 0..8 {
                upper[row] = load(&passes.buffers.rows[row * passes.stride + chunk]);
                lower[row] = load(&passes.buffers.rows[(row + 8) * passes.stride + chunk]);
            }
            let (upper, lower) = (turned_halves(upper), turned_halves(lower));
            for (x, (upper, lower)) in upper.into_iter().zip(lower).enumerate() {
                store(_mm256_permute2x128_si256::<0x20>(upper, lower), &mut columns[x]);
                store(_mm256_permute2x128_si256::<0x31>(upper, lower), &mut columns[x + 8]);
            }
        }
    }

    /// Each 8×8 half turned over its diagonal: three perfect shuffles of the rows.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn turned_halves(mut rows: [__m256i; 8]) -> [__m256i; 8] {
        for _ in 0..3 {
            let before = rows;
            for nth in 0..4 {
                rows[2 * nth] = _mm256_unpacklo_epi16(before[nth], before[nth + 4]);
                rows[2 * nth + 1] = _mm256_unpackhi_epi16(before[nth], before[nth + 4]);
            }
        }
        rows
    }

    /// All columns made, 16 samples each.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn second_pass(passes: &mut Passes) {
        let taps = passes.across.taps;
        let weights = passes.across.values.chunks_exact(taps);
        for ((out, &start), weights) in passes.buffers.out.iter_mut().zip(&passes.across.starts).zip(weights)
        {
            let columns = &passes.buffers.columns[start..][..taps];
            let mut sum = _mm256_setzero_si256();
            if passes.across.exact() {
                sum = load(&exact_sum(columns.iter().zip(weights.iter().copied()), passes.across.bits));
            } else {
                for (column, &weight) in columns.iter().zip(weights) {
                    let product = _mm256_mulhrs_epi16(load(column), _mm256_set1_epi16(weight));
                    sum = _mm256_add_epi16(sum, product);
                }
            }
            let sum = _mm256_srai_epi16::<6>(_mm256_add_epi16(sum, _mm256_set1_epi16(ZERO + 32)));
            let (low, high) = (_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
            store_bytes(_mm_packus_epi16(low, high), out);
        }
    }

    /// Columns to rows: four perfect shuffles.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn turn_back(passes: &mut Passes, lines: &mut [u8]) {
        let width = passes.across.starts.len();
        for (chunk, columns) in passes.buffers.out.as_chunks::<16>().0.iter().enumerate() {
            let mut bytes = [_mm_setzero_si128(); STRIP];
            for (bytes, column) in bytes.iter_mut().zip(columns) {
                *bytes = load_bytes(column);
            }
            for _ in 0..4 {
                let before = bytes;
                for nth in 0..8 {
                    bytes[2 * nth] = _mm_unpacklo_epi8(before[nth], before[nth + 8]);
                    bytes[2 * nth + 1] = _mm_unpackhi_epi8(before[nth], before[nth + 8]);
                }
            }
            for (line, bytes) in lines.chunks_exact_mut(width).zip(bytes) {
                let line = &mut line[16 * chunk..];
                if let Some(whole) = line.first_chunk_mut() {
                    store_bytes(bytes, whole);
                } else {
                    let mut samples = [0; 16];
                    store_bytes(bytes, &mut samples);
                    line.copy_from_slice(&samples[..line.len()]);
                }
            }
        }
    }

    // The compiler makes each of these one instruction.

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load(v: &[i16; 16]) -> __m256i {
        _mm256_setr_epi16(
            v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12], v[13], v[14],
            v[15],
        )
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn store(lanes: __m256i, values: &mut [i16; 16]) {
        let quarters = [
            _mm256_extract_epi64::<0>(lanes),
            _mm256_extract_epi64::<1>(lanes),
            _mm256_extract_epi64::<2>(lanes),
            _mm256_extract_epi64::<3>(lanes),
        ];
        for (quarter, values) in quarters.into_iter().zip(values.as_chunks_mut::<4>().0) {
            *values = std::array::from_fn(|nth| (quarter >> (16 * nth)) as i16);
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load_bytes(bytes: &[u8; 16]) -> __m128i {
        let (halves, _) = bytes.as_chunks();
        _mm_set_epi64x(i64::from_le_bytes(halves[1]), i64::from_le_bytes(halves[0]))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn store_bytes(lanes: __m128i, bytes: &mut [u8; 16]) {
        let (halves, _) = bytes.as_chunks_mut();
        halves[0] = _mm_extract_epi64::<0>(lanes).to_le_bytes();
        halves[1] = _mm_extract_epi64::<1>(lanes).to_le_bytes();
    }
}
