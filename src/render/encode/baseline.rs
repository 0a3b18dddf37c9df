//! Coefficients to bits with tables known beforehand: one look-up for nearly every coefficient.

use super::bits::{BitWriter, BlockWriter};
use super::blocks::Grid;
use super::fdct::{PLACE, Pair};
use super::huffman::Table;
use std::sync::LazyLock;

/// Values from `-SMALL` to `SMALL - 1` have their code and their own bits in one table.
const SMALL: i32 = 32;

/// The DC and the AC table of one kind of component, made for look-up.
struct Coder {
    /// By size: the code shifted left by it, and the length of both together.
    dc: [(u32, u32); 12],
    /// By run times 64 and value plus 32: all bits times 64, and their number.
    small: [u32; 16 * 2 * SMALL as usize],
    /// By run times 16 and size, as `dc`.
    ac: [(u32, u32); 256],
}

/// The coefficients of a block yet to be coded, by zigzag index, and the last one that was.
struct Walk {
    left: u64,
    last: u32,
}

/// The coders of the standard tables: luminance, chrominance.
static STANDARD: LazyLock<[Coder; 2]> =
    LazyLock::new(|| [false, true].map(|c| Coder::new(&Table::standard_dc(c), &Table::standard_ac(c))));

const END_OF_BLOCK: usize = 0x00;
const SIXTEEN_ZEROS: usize = 0xF0;

impl Coder {
    /// Both tables must have a code for every symbol of 8-bit baseline, as the standard ones do.
    fn new(dc: &Table, ac: &Table) -> Self {
        let with_size = |symbol: usize, (code, length): (u16, u8)| {
            let size = symbol as u32 & 15;
            (u32::from(code) << size, u32::from(length) + size)
        };
        let dc_codes = dc.codes();
        let ac_codes = ac.codes();
        let dc = std::array::from_fn(|size| with_size(size, dc_codes[size]));
        let ac: [(u32, u32); 256] = std::array::from_fn(|symbol| with_size(symbol, ac_codes[symbol]));
        let small = std::array::from_fn(|at| {
            let value = at as i32 % (2 * SMALL) - SMALL;
            let (size, bits) = size_and_bits(value);
            let (code, length) = ac[at / (2 * SMALL as usize) * 16 + size as usize];
            (code | bits) << 6 | length
        });
        Self { dc, small, ac }
    }

    /// Codes one block of a pair: its DC coefficient as a difference, then the others.
    #[inline(always)]
    fn block(&self, writer: &mut BitWriter, pair: &Pair, right: usize, difference: i32) {
        let values = pair.coefficients.as_flattened();
        writer.block(|writer| {
            let (size, bits) = size_and_bits(difference);
            let (code, length) = self.dc[size as usize];
            writer.push(code | bits, length);

            let mut walk = Walk { left: pair.nonzero[right & 1], last: 0 };
            // DC and one coefficient take at most 22 and 26 bits, two coefficients 52: a flush for two.
            while walk.left != 0 {
                self.coefficient(writer, values, right, &mut walk);
                writer.flush();
                if walk.left == 0 {
                    break;
                }
                self.coefficient(writer, values, right, &mut walk);
            }
            if walk.last < 63 {
                writer.flush();
                writer.push(self.ac[END_OF_BLOCK].0, self.ac[END_OF_BLOCK].1);
            }
            writer.flush();
        });
    }

    /// A run of zeros and what ends it, without a flush after it.
    #[inline(always)]
    fn coefficient(&self, writer: &mut BlockWriter, values: &[i16], right: usize, walk: &mut Walk) {
        let k = walk.left.trailing_zeros();
        walk.left &= walk.left - 1;
        let mut run = k - walk.last - 1;
        walk.last = k;
        while run > 15 {
            writer.flush();
            writer.put(self.ac[SIXTEEN_ZEROS].0, self.ac[SIXTEEN_ZEROS].1);
            run -= 16;
        }
        let value = i32::from(values[(usize::from(PLACE[k as usize]) + 8 * right) % 128]);
        let nearby = value + SMALL;
        if (0..2 * SMALL).contains(&nearby) {
            let entry = self.small[(run as usize * 2 * SMALL as usize + nearby as usize) % 1024];
            writer.push(entry >> 6, entry & 63);
        } else {
            let (size, bits) = size_and_bits(value);
            let (code, length) = self.ac[((run * 16 + size) % 256) as usize];
            writer.push(code | bits, length);
        }
    }
}

/// Writes a row of MCUs; `before` holds each component's last DC coefficient.
pub fn write_mcu_row(
    writer: &mut BitWriter,
    grids: &[Grid],
    pairs: &[Vec<Pair>; 3],
    mcus_across: usize,
    before: &mut [i32; 3],
) {
    let standard = &*STANDARD;
    for mcu in 0..mcus_across {
        for (index, grid) in grids.iter().enumerate() {
            let coder = &standard[usize::from(index > 0)];
            for line in 0..grid.down {
                let pairs = &pairs[index][line * grid.pairs..];
                for column in mcu * grid.across..(mcu + 1) * grid.across {
                    let (pair, right) = (&pairs[column / 2], column % 2);
                    let mean = i32::from(pair.coefficients[0][8 * right]);
                    coder.block(writer, pair, right, mean - before[index]);
                    before[index] = mean;
                }
            }
        }
    }
}

/// How many bits a value takes, and which: a negative one is written less one (T.81 F.1.2.1).
#[inline(always)]
pub fn size_and_bits(value: i32) -> (u32, u32) {
    let size = 32 - value.unsigned_abs().leading_zeros();
    let bits = (value + (value >> 31)) as u32 & ((1 << size) - 1);
    (size, bits)
}
