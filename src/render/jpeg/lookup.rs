//! Look-up tables that resolve the next bits to one or more whole symbols, value bits included.
//!
//! A table is made for one Huffman table and one *reach*: the last zigzag index that matters at the
//! scale asked for. Up to there, [`AcLookup::keep`] yields up to two coefficients a look-up; past it,
//! [`AcLookup::skip`] passes over as many symbols as its index holds. Whatever does not fit in an
//! index is a [`SLOW`] entry and goes through [`Codes`].

use super::codes::Codes;
use super::idct::{self, SPARE};
use super::tables::Huffman;

/// Index widths in bits. Wider resolves more symbols at once, but crowds the first-level cache.
pub(super) const KEEP_BITS: u32 = 11;
pub(super) const SKIP_BITS: u32 = 12;
/// The most bits that a [`Skip`] entry takes.
pub(super) const SKIP_MOST: u32 = 18;

/// Flags in the advance of an entry: the block ends here; nothing was resolved.
pub(super) const END: u32 = 64;
pub(super) const SLOW: u32 = 128;
/// Nothing is known: it takes no bits and "advances" by one, so that storing its zero does no harm.
const SLOW_ENTRY: Entry = Entry { bits: 0, advance: SLOW | 1, run: 0, first: 0, second: 0 };

/// What one look-up resolves: one or two coefficients.
#[derive(Debug, Clone, Copy)]
struct Entry {
    bits: u32,
    /// How far the zigzag index moves, up to 63, and flags. End of block counts as one zero.
    advance: u32,
    /// Zeros before the first coefficient.
    run: u32,
    first: i32,
    /// The second coefficient, at `advance` - 1. With one only, both have one place, and the first wins.
    second: i32,
}

impl Entry {
    /// The one or two coefficients at the start of a [`Keep`] index.
    fn up_to_two(codes: &Codes, index: u32) -> Self {
        let Some(one) = codes.one(index, KEEP_BITS).filter(|one| (-64..64).contains(&one.value)) else {
            return Self::code_alone(codes, index);
        };
        let mut entry =
            Entry { bits: one.bits, advance: one.advance(), run: one.run, first: one.value, second: 0 };
        if one.is_end() {
            return Entry { run: 0, ..entry };
        }
        let rest = index << one.bits & ((1 << KEEP_BITS) - 1);
        if let Some(two) = codes.one(rest, KEEP_BITS)
            && one.bits + two.bits <= KEEP_BITS
            && (-16..16).contains(&two.value)
        {
            entry.bits += two.bits;
            entry.advance += two.advance();
            entry.second = two.value;
        }
        entry
    }

    /// A code that fits in a [`Keep`] index without its value: a slow entry that takes the code, and has
    /// the size where the coefficient should be.
    fn code_alone(codes: &Codes, index: u32) -> Self {
        match codes.code(index << (16 - KEEP_BITS)) {
            Some((symbol, bits)) if bits <= KEEP_BITS => {
                let (run, size) = (u32::from(symbol >> 4), i32::from(symbol & 15));
                Entry { bits, advance: SLOW | (run + 1), run, first: size, second: 0 }
            }
            _ => SLOW_ENTRY,
        }
    }
}

/// An [`Entry`] in 32 bits: bits 0..8 length, which is on the critical path and therefore a byte of its own,
/// 8..16 advance and flags, 16..20 run, 20..27 first value, 27..32 second value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep(u32);

impl Keep {
    pub(super) const NOTHING: Self = Self(0);

    fn pack(entry: Entry) -> Self {
        let Entry { bits, advance, run, first, second } = entry;
        Self(bits | advance << 8 | run << 16 | (first as u32 & 0x7F) << 20 | (second as u32) << 27)
    }

    #[inline(always)]
    pub(super) fn bits(self) -> u32 {
        self.0 & 0xFF
    }

    /// How far the zigzag index moves, with flags.
    #[inline(always)]
    pub(super) fn advance(self) -> u32 {
        self.0 >> 8 & 0xFF
    }

    /// How far the second coefficient is from the next zigzag index.
    #[inline(always)]
    pub(super) fn last(self) -> usize {
        ((self.0 >> 8 & 63) as usize).wrapping_sub(1)
    }

    #[inline(always)]
    pub(super) fn run(self) -> usize {
        (self.0 >> 16 & 15) as usize
    }

    #[inline(always)]
    pub(super) fn first(self) -> i16 {
        ((self.0 as i32) << 5 >> 25) as i16
    }

    #[inline(always)]
    pub(super) fn second(self) -> i16 {
        (self.0 as i32 >> 27) as i16
    }
}

/// Several symbols to pass over, in 16 bits: bits 0..8 length, 8..16 advance and flags.
#[derive(Debug, Clone, Copy)]
pub(super) struct Skip(u16);

impl Skip {
    pub(super) const NOTHING: Self = Self(0);

    /// The symbols of a [`Skip`] index, or one whose value goes beyond it.
    fn pack(codes: &Codes, index: u32) -> Self {
        let many = codes.many(index, SKIP_BITS, 48, |_| true);
        let (mut bits, mut advance) = (many.bits, many.advance);
        if bits == 0
            && let Some((symbol, length)) = codes.code(index << (16 - SKIP_BITS))
            && length <= SKIP_BITS
            && length + u32::from(symbol & 15) <= SKIP_MOST
        {
            (bits, advance) = (length + u32::from(symbol & 15), u32::from(symbol >> 4) + 1);
        }
        Skip((bits | advance << 8) as u16)
    }

    #[inline(always)]
    pub(super) fn bits(self) -> u32 {
        u32::from(self.0 & 0xFF)
    }

    #[inline(always)]
    pub(super) fn advance(self) -> u32 {
        u32::from(self.0) >> 8
    }
}

/// Everything to read the AC coefficients of a sequential block at one scale.
pub(super) struct AcLookup {
    pub(super) keep: [Keep; 1 << KEEP_BITS],
    pub(super) skip: [Skip; 1 << SKIP_BITS],
    /// Where coefficients go: see [`Places`].
    pub(super) places: Places,
    pub(super) codes: Codes,
}

/// By zigzag index, and for indices past the block, where a coefficient is kept.
#[derive(Debug, Clone)]
pub(super) struct Places {
    places: [u8; 128],
    /// Last zigzag index that matters.
    pub(super) reach: usize,
}

impl Places {
    /// Those of [`idct::place`]; coefficients that do not matter go to `spare`.
    pub(super) fn new(scale: u8, spare: u8) -> Self {
        let place = |zigzag| if zigzag < 64 { idct::place(zigzag, scale) } else { None };
        let places = std::array::from_fn(|zigzag| place(zigzag).map_or(spare, |place| place as u8));
        Self { places, reach: idct::reach(scale) }
    }

    #[inline(always)]
    pub(super) fn of(&self, zigzag: usize) -> usize {
        usize::from(self.places[zigzag & 127])
    }
}

impl AcLookup {
    pub(super) fn new(huffman: &Huffman, scale: u8) -> Box<Self> {
        let codes = Codes::new(huffman);
        let places = Places::new(scale, SPARE);
        let mut lookup = Box::new(Self {
            keep: [Keep::NOTHING; 1 << KEEP_BITS],
            skip: [Skip::NOTHING; 1 << SKIP_BITS],
            places,
            codes,
        });
        for index in 0..1 << KEEP_BITS {
            lookup.keep[index] = Keep::pack(Entry::up_to_two(&lookup.codes, index as u32));
        }
        for index in 0..1 << SKIP_BITS {
            lookup.skip[index] = Skip::pack(&lookup.codes, index as u32);
        }
        lookup
    }
}
