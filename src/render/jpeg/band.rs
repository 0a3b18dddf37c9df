//! Look-up tables for the AC scans of progressive files: see [`super::lookup`].

use super::codes::{Codes, Symbol};
use super::lookup::{KEEP_BITS, SKIP_BITS, SLOW};
use super::tables::Huffman;

/// Everything to read an AC scan of a progressive file.
pub(super) struct BandLookup {
    pub(super) one: [One; 1 << KEEP_BITS],
    pub(super) many: [Passed; 1 << SKIP_BITS],
    pub(super) codes: Codes,
}

/// One coefficient, in 32 bits: bits 0..6 length, 6..14 advance and flags, the value from bit 16.
#[derive(Debug, Clone, Copy)]
pub(super) struct One(u32);

/// Several symbols to pass over, in 32 bits: bits 0..6 length, 6..14 advance and flags, from bit 14
/// which of the positions passed have a coefficient.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passed(u32);

/// How far a [`Passed`] entry may move the zigzag index, so that its pattern has room.
const PASSED_REACH: u32 = 18;

impl One {
    #[inline(always)]
    pub(super) fn bits(self) -> u32 {
        self.0 & 63
    }

    #[inline(always)]
    pub(super) fn advance(self) -> u32 {
        self.0 >> 6 & 0xFF
    }

    #[inline(always)]
    pub(super) fn value(self) -> i16 {
        (self.0 as i32 >> 16) as i16
    }
}

impl Passed {
    #[inline(always)]
    pub(super) fn bits(self) -> u32 {
        self.0 & 63
    }

    #[inline(always)]
    pub(super) fn advance(self) -> u32 {
        self.0 >> 6 & 0xFF
    }

    #[inline(always)]
    pub(super) fn pattern(self) -> u64 {
        u64::from(self.0 >> 14)
    }
}

impl BandLookup {
    /// In a refinement scan (T.81 G.1.2.3) every coefficient is new and has size 1.
    pub(super) fn new(huffman: &Huffman, refinement: bool) -> Box<Self> {
        let codes = Codes::new(huffman);
        let slow = One((SLOW | 1) << 6);
        let mut lookup =
            Box::new(Self { one: [slow; 1 << KEEP_BITS], many: [Passed(0); 1 << SKIP_BITS], codes });
        let legal = |symbol: &Symbol| !(refinement && symbol.size > 1 || symbol.is_end() && symbol.run > 0);
        for index in 0..1 << KEEP_BITS {
            if let Some(one) = lookup.codes.one(index as u32, KEEP_BITS).filter(legal) {
                lookup.one[index] = One(one.bits | one.advance() << 6 | (one.value as u32) << 16);
            }
        }
        for index in 0..1 << SKIP_BITS {
            let many = lookup.codes.many(index as u32, SKIP_BITS, PASSED_REACH, |symbol| symbol.run == 0);
            lookup.many[index] = Passed(many.bits | many.advance << 6 | (many.pattern as u32) << 14);
        }
        lookup
    }
}
