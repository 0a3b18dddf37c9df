//! A scan as symbols not yet given codes: it is read twice, once to count, once to write.

use super::bits::BitWriter;
use super::huffman::Table;

/// A symbol of one of four tables and the bits that follow it, or bits alone.
///
/// From the lowest bit: 16 bits, their number in 5, the table in 2, whether there is a symbol, the symbol.
#[derive(Debug, Clone, Copy)]
struct Token(u32);

const SYMBOL: u32 = 1 << 23;

/// What a scan says. Tables 0 and 1 are DC (luminance, chrominance), 2 and 3 are AC.
#[derive(Debug, Default)]
pub struct Tokens {
    tokens: Vec<Token>,
}

impl Tokens {
    /// Forgets the last scan, keeps the memory.
    pub fn clear(&mut self) {
        self.tokens.clear();
    }

    /// A symbol followed by the lowest `length` bits of `bits`, at most 16; the others must be zero.
    #[inline(always)]
    pub fn symbol(&mut self, table: usize, symbol: u8, bits: u32, length: u32) {
        let symbol = u32::from(symbol) << 24 | SYMBOL | (table as u32) << 21;
        self.tokens.push(Token(symbol | length << 16 | bits));
    }

    /// Bits without a symbol, at most 16.
    #[inline(always)]
    pub fn bits(&mut self, bits: u32, length: u32) {
        self.tokens.push(Token(length << 16 | bits));
    }

    /// The best tables for this scan; none where no symbol of that table occurs.
    pub fn tables(&self) -> [Option<Table>; 4] {
        let mut occurrences = [[0; 256]; 4];
        for token in &self.tokens {
            occurrences[token.table()][token.symbol()] += u64::from(token.0 & SYMBOL != 0);
        }
        occurrences.map(|counts| counts.iter().any(|&count| count > 0).then(|| Table::best(&counts)))
    }

    /// Writes the scan with such tables; `memory` is what the bytes are written to.
    pub fn write<'a>(&self, tables: &[Option<Table>; 4], memory: &'a mut Vec<u8>) -> &'a [u8] {
        let codes = tables.each_ref().map(|table| table.as_ref().map_or([(0, 0); 256], Table::codes));
        let mut writer = BitWriter::new(memory);
        // At most 32 bits each: 32 of them take no more than the room of a block.
        for tokens in self.tokens.chunks(32) {
            writer.reserve_blocks(1);
            writer.block(|writer| {
                for token in tokens {
                    let (bits, extra) = (token.0 & 0xFFFF, token.0 >> 16 & 31);
                    let with_symbol = token.0 & SYMBOL != 0;
                    let (code, length) = codes[token.table()][token.symbol()];
                    let (code, length) = if with_symbol { (code, length) } else { (0, 0) };
                    // A code may be 16 bits and be followed by 16 bits, never by more.
                    writer.put(u32::from(code) << extra | bits, u32::from(length) + extra);
                }
            });
        }
        writer.finish()
    }
}

impl Token {
    fn table(self) -> usize {
        (self.0 >> 21 & 3) as usize
    }

    fn symbol(self) -> usize {
        (self.0 >> 24) as usize
    }
}
