//! AC coefficients in a progressive scan: a band of them, some of their bits (T.81 G.1.2.2 and G.1.2.3).

use super::fdct::{PLACE, Pair};
use super::headers::Band;
use super::tokens::Tokens;

const SIXTEEN_ZEROS: u8 = 0xF0;
/// How many blocks one symbol can end.
const MAX_ENDED: u32 = 0x7FFF;
/// How many refining bits wait for that symbol. Any number is right; this bounds memory.
const MAX_WAITING: usize = 4096;

/// Codes the blocks of one component, one after the other.
pub struct Progressive<'a> {
    tokens: &'a mut Tokens,
    table: usize,
    band: Band,
    /// Blocks ended and not yet said so.
    ended: u32,
    /// Their refining bits.
    waiting: Vec<bool>,
    /// The refining bits of the current block since its last symbol.
    refining: Vec<bool>,
}

impl<'a> Progressive<'a> {
    pub fn new(tokens: &'a mut Tokens, table: usize, band: Band) -> Self {
        Self { tokens, table, band, ended: 0, waiting: Vec::new(), refining: Vec::new() }
    }

    /// The band of one block of a pair.
    pub fn block(&mut self, pair: &Pair, right: usize) {
        let in_band = (u64::MAX >> (63 - self.band.last)) & (u64::MAX << self.band.first);
        let left = pair.nonzero[right] & in_band;
        let finished =
            if self.band.high == 0 { self.first(pair, right, left) } else { self.refine(pair, right, left) };
        if !finished {
            self.ended += 1;
            self.waiting.append(&mut self.refining);
            if self.ended == MAX_ENDED || self.waiting.len() > MAX_WAITING {
                self.end_blocks();
            }
        }
    }

    /// Says that blocks have ended (the EOBn symbols), if any have.
    pub fn end_blocks(&mut self) {
        if self.ended > 0 {
            let n = self.ended.ilog2();
            self.tokens.symbol(self.table, (n << 4) as u8, self.ended - (1 << n), n);
            bits(self.tokens, &mut self.waiting);
            self.ended = 0;
        }
    }

    /// The first scan of these coefficients. False if zeros follow the last one coded.
    fn first(&mut self, pair: &Pair, right: usize, mut left: u64) -> bool {
        let mut next = u32::from(self.band.first);
        while left != 0 {
            let k = left.trailing_zeros();
            left &= left - 1;
            let value = coefficient(pair, right, k);
            let magnitude = value.unsigned_abs() >> self.band.low;
            if magnitude == 0 {
                continue;
            }
            self.end_blocks();
            let mut run = k - next;
            while run > 15 {
                self.tokens.symbol(self.table, SIXTEEN_ZEROS, 0, 0);
                run -= 16;
            }
            let size = 32 - magnitude.leading_zeros();
            let bits = if value < 0 { !magnitude & ((1 << size) - 1) } else { magnitude };
            self.tokens.symbol(self.table, (run << 4 | size) as u8, bits, size);
            next = k + 1;
        }
        next > u32::from(self.band.last)
    }

    /// One more bit of each. False if zeros or refining bits follow the last symbol.
    fn refine(&mut self, pair: &Pair, right: usize, mut left: u64) -> bool {
        let magnitude = |k| coefficient(pair, right, k).unsigned_abs() >> self.band.low;
        let newest = ones(left).filter(|&k| magnitude(k) == 1).last().unwrap_or(0);
        let mut next = u32::from(self.band.first);
        let mut run = 0;
        while left != 0 {
            let k = left.trailing_zeros();
            left &= left - 1;
            let value = coefficient(pair, right, k);
            let magnitude = value.unsigned_abs() >> self.band.low;
            if magnitude == 0 {
                continue;
            }
            run += k - next;
            next = k + 1;
            while run > 15 && k <= newest {
                self.end_blocks();
                self.tokens.symbol(self.table, SIXTEEN_ZEROS, 0, 0);
                bits(self.tokens, &mut self.refining);
                run -= 16;
            }
            if magnitude > 1 {
                self.refining.push(magnitude & 1 == 1);
                continue;
            }
            self.end_blocks();
            self.tokens.symbol(self.table, (run << 4 | 1) as u8, u32::from(value > 0), 1);
            bits(self.tokens, &mut self.refining);
            run = 0;
        }
        run == 0 && next > u32::from(self.band.last) && self.refining.is_empty()
    }
}

#[inline(always)]
fn coefficient(pair: &Pair, right: usize, k: u32) -> i32 {
    i32::from(pair.coefficients.as_flattened()[usize::from(PLACE[k as usize]) + 8 * right])
}

/// The positions of the bits set, ascending.
fn ones(mut set: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let k = set.trailing_zeros();
        (set != 0).then(|| {
            set &= set - 1;
            k
        })
    })
}

fn bits(tokens: &mut Tokens, bits: &mut Vec<bool>) {
    for bits in bits.chunks(16) {
        let word = bits.iter().fold(0, |word, &bit| word << 1 | u32::from(bit));
        tokens.bits(word, bits.len() as u32);
    }
    bits.clear();
}
