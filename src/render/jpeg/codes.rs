//! Huffman codes (T.81 C, F.2.2.3): one at a time, and as many as fit in an index.

use super::bits::{Buffer, Cursor, extend};
use super::lookup::{END, SLOW};
use super::tables::Huffman;

/// Codes up to so many bits are looked up, longer ones searched for.
const CODE_BITS: u32 = 9;
/// The most bits that [`DcLookup::read`] takes. More are for files that nobody writes: differences of samples
/// of 8 bits have at most 11 bits (T.81 F.1.2.1.1).
pub(super) const DC_MOST: u32 = CODE_BITS + 14;

/// A Huffman table ready for reading one code at a time.
pub(super) struct Codes {
    /// By the next [`CODE_BITS`] bits: symbol << 8 | code length; 0 when the code is longer.
    short: [u16; 1 << CODE_BITS],
    /// By code length: one past the last code, on top of 16 bits; never falls.
    limit: [u32; 17],
    /// By code length: what to add to a code to find its symbol.
    offset: [i32; 17],
    symbols: [u8; 256],
}

/// One AC symbol with its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol {
    pub(super) bits: u32,
    pub(super) run: u32,
    pub(super) size: u32,
    pub(super) value: i32,
}

/// Several symbols that are only passed over.
pub(super) struct Many {
    pub(super) bits: u32,
    pub(super) advance: u32,
    /// Which of the positions passed have a coefficient, from the lowest bit up.
    pub(super) pattern: u64,
}

impl Codes {
    /// Numbers the codes (T.81 C.2).
    pub(super) fn new(huffman: &Huffman) -> Self {
        let mut codes =
            Self { short: [0; 1 << CODE_BITS], limit: [0; 17], offset: [0; 17], symbols: [0; 256] };
        for (to, from) in codes.symbols.iter_mut().zip(&huffman.symbols) {
            *to = *from;
        }
        let (mut code, mut first) = (0u32, 0usize);
        for (length, &count) in (1u32..).zip(&huffman.counts) {
            let count = usize::from(count);
            codes.offset[length as usize] = first as i32 - code as i32;
            for nth in 0..count {
                if let Some(spare) = CODE_BITS.checked_sub(length) {
                    let start = (code as usize + nth) << spare;
                    let entry = u16::from(codes.symbols[(first + nth) & 255]) << 8 | length as u16;
                    if let Some(range) = codes.short.get_mut(start..start + (1 << spare)) {
                        range.fill(entry);
                    }
                }
            }
            code += count as u32;
            first += count;
            codes.limit[length as usize] = code << (16 - length);
            code <<= 1;
        }
        codes
    }

    /// Reads one code, up to 16 bits. None: not a code.
    #[inline(always)]
    pub(super) fn read(&self, cursor: &mut Cursor) -> Option<u8> {
        let entry = self.short[cursor.peek(CODE_BITS)];
        if entry != 0 {
            cursor.skip(u32::from(entry & 0xFF));
            return Some((entry >> 8) as u8);
        }
        let (symbol, length) = self.search(cursor.peek(16) as u32)?;
        cursor.skip(length);
        Some(symbol)
    }

    /// The same for a code of any length.
    fn search(&self, next: u32) -> Option<(u8, u32)> {
        let length = (1..17).find(|&length| next < self.limit[length as usize])?;
        let index = (next >> (16 - length)) as i32 + self.offset[length as usize];
        Some((*self.symbols.get(index as usize)?, length))
    }

    /// The AC symbol and value at the start of `index`, of `width` bits, if they fit in it.
    pub(super) fn one(&self, index: u32, width: u32) -> Option<Symbol> {
        let (symbol, length) = self.code(index << (16 - width))?;
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        let bits = length + size;
        let value = (index >> width.checked_sub(bits)?) & ((1 << size) - 1);
        Some(Symbol { bits, run, size, value: extend(value, size) })
    }

    /// Symbol and length of the code that `next`, 16 bits, begins with.
    pub(super) fn code(&self, next: u32) -> Option<(u8, u32)> {
        match self.short[(next >> (16 - CODE_BITS)) as usize] {
            0 => self.search(next),
            entry => Some(((entry >> 8) as u8, u32::from(entry & 0xFF))),
        }
    }

    /// As many symbols as an index of `width` bits holds, up to the end of a block, moving the zigzag
    /// index by at most `reach`. `ends` says whether a symbol of size 0 (no ZRL) does end a block.
    pub(super) fn many(&self, index: u32, width: u32, reach: u32, ends: impl Fn(Symbol) -> bool) -> Many {
        let mut many = Many { bits: 0, advance: 0, pattern: 0 };
        while many.advance & END == 0 {
            let rest = index << many.bits & ((1 << width) - 1);
            let Some(symbol) = self.one(rest, width) else { break };
            let fits = many.bits + symbol.bits <= width && many.advance + symbol.run < reach;
            if !fits || symbol.is_end() && !ends(symbol) {
                break;
            }
            if symbol.size > 0 {
                many.pattern |= 1 << (many.advance + symbol.run);
            }
            many.bits += symbol.bits;
            many.advance += symbol.advance();
        }
        if many.bits == 0 {
            many.advance = SLOW | 1;
        }
        many
    }
}

impl Symbol {
    /// Size 0 stands for the end of the block, or of several, unless it is ZRL: sixteen zeros.
    pub(super) fn is_end(self) -> bool {
        self.size == 0 && self.run != 15
    }

    pub(super) fn advance(self) -> u32 {
        if self.is_end() { END | 1 } else { self.run + 1 }
    }
}

/// DC differences.
pub(super) struct DcLookup {
    codes: Codes,
}

impl DcLookup {
    pub(super) fn new(huffman: &Huffman) -> Box<Self> {
        let mut codes = Codes::new(huffman);
        // These are searched for.
        for entry in
            codes.short.iter_mut().filter(|entry| (**entry & 0xFF) + (**entry >> 8 & 15) > DC_MOST as u16)
        {
            *entry = 0;
        }
        Box::new(Self { codes })
    }

    /// Reads a difference; takes at most [`DC_MOST`] bits of the window. None: not a code of this table.
    #[inline(always)]
    pub(super) fn read(&self, cursor: &mut Cursor, buffer: &Buffer) -> Option<i32> {
        let entry = u32::from(self.codes.short[cursor.peek(CODE_BITS)]);
        if entry == 0 {
            let (difference, moved) = self.read_slow(*cursor, buffer);
            *cursor = moved;
            return difference;
        }
        let (length, size) = (entry & 0xFF, entry >> 8 & 15);
        cursor.skip(length);
        Some(extend(cursor.take(size), size))
    }

    #[cold]
    #[inline(never)]
    fn read_slow(&self, mut cursor: Cursor, buffer: &Buffer) -> (Option<i32>, Cursor) {
        cursor.refill(buffer);
        let Some(size) = self.codes.read(&mut cursor) else { return (None, cursor) };
        let size = u32::from(size & 15);
        let difference = extend(cursor.take(size), size);
        cursor.refill(buffer);
        (Some(difference), cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::super::bits::CHUNK;
    use super::super::lookup::{AcLookup, KEEP_BITS};
    use super::super::tables::Tables;
    use super::*;

    /// T.81 F.2.2.3, DECODE, bit by bit.
    fn slow_decode(huffman: &Huffman, bits: &mut impl Iterator<Item = u32>) -> u8 {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for &count in &huffman.counts {
            code |= bits.next().unwrap();
            if code < first + u32::from(count) {
                return huffman.symbols[(index + code - first) as usize];
            }
            index += u32::from(count);
            first = (first + u32::from(count)) << 1;
            code <<= 1;
        }
        panic!("no code")
    }

    #[test]
    fn codes_and_look_ups_agree_with_decoding_bit_by_bit() {
        let tables = Tables::new();
        let mut buffer = Box::new([0; CHUNK + 8]);
        for number in 0..2 {
            let ac = tables.ac[number].as_ref().unwrap();
            let lookup = AcLookup::new(ac, 4);
            let dc = tables.dc[number].as_ref().unwrap();
            for next in (0..=0xFFFEu32).step_by(7) {
                buffer[..4].copy_from_slice(&(next << 16 | 0x1234).to_be_bytes());
                let mut bits = (0..).map(|nth| u32::from(buffer[nth / 8] >> (7 - nth % 8) & 1));
                let symbol = slow_decode(ac, &mut bits);
                let mut cursor = Cursor::new();
                cursor.refill(&buffer);
                assert_eq!(lookup.codes.read(&mut cursor), Some(symbol));
                let value = extend(cursor.take(u32::from(symbol & 15)), u32::from(symbol & 15));
                let keep = lookup.keep[(next >> (16 - KEEP_BITS)) as usize];
                if keep.advance() & SLOW == 0 && symbol & 15 != 0 {
                    assert_eq!((keep.run(), i32::from(keep.first())), (usize::from(symbol >> 4), value));
                }

                let mut bits = (0..).map(|nth| u32::from(buffer[nth / 8] >> (7 - nth % 8) & 1));
                if next >> 7 != 0x1FF {
                    let size = u32::from(slow_decode(dc, &mut bits));
                    let raw = bits.take(size as usize).fold(0, |value, bit| value << 1 | bit);
                    let mut cursor = Cursor::new();
                    cursor.refill(&buffer);
                    assert_eq!(DcLookup::new(dc).read(&mut cursor, &buffer), Some(extend(raw, size)));
                }
            }
        }
    }

    #[test]
    fn an_empty_table_has_no_codes_and_resolves_nothing() {
        let lookup = AcLookup::new(&Huffman { counts: [0; 16], symbols: vec![] }, 8);
        assert!(lookup.keep.iter().all(|keep| keep.advance() == SLOW | 1 && keep.bits() == 0));
        assert!(lookup.skip.iter().all(|skip| skip.advance() == SLOW | 1 && skip.bits() == 0));
    }
}
