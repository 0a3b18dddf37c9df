//! Bits to bytes, most significant first; and the stuffing of 0xFF.

/// Collects the bits of one scan, as yet without stuffing: that is done once, in bulk.
#[derive(Debug)]
pub struct BitWriter<'a> {
    bytes: &'a mut Vec<u8>,
    /// How many bytes are complete.
    at: usize,
    /// The last `pending` bits are yet to be written, fewer than 8.
    window: u64,
    pending: u32,
}

/// A place to write the bits of one block to, without asking each time whether there is room.
pub struct BlockWriter<'a> {
    room: &'a mut [u8],
    at: usize,
    window: u64,
    pending: u32,
}

/// In bytes. A block needs at most 11 + 11 bits for DC and 63 times 16 + 10 for AC, and a write takes 8 bytes.
const BLOCK_ROOM: usize = 256;

impl<'a> BitWriter<'a> {
    /// Overwrites what `bytes` holds: it is only memory to reuse.
    pub fn new(bytes: &'a mut Vec<u8>) -> Self {
        Self { bytes, at: 0, window: 0, pending: 0 }
    }

    /// Makes room for so many blocks.
    pub fn reserve_blocks(&mut self, blocks: usize) {
        let needed = self.at + (blocks + 1) * BLOCK_ROOM;
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
    }

    /// Lets `code` write at most a block's worth of bits; there must be room for one.
    #[inline(always)]
    pub fn block(&mut self, code: impl FnOnce(&mut BlockWriter)) {
        let room = &mut self.bytes[self.at..][..BLOCK_ROOM];
        let mut writer = BlockWriter { room, at: 0, window: self.window, pending: self.pending };
        code(&mut writer);
        debug_assert!(writer.pending < 8, "a block ends with a flush");
        (self.window, self.pending) = (writer.window, writer.pending);
        self.at += writer.at;
    }

    /// The bytes, the last one filled up with ones (T.81 F.1.2.3).
    pub fn finish(mut self) -> &'a [u8] {
        self.reserve_blocks(1);
        if self.pending > 0 {
            let missing = 8 - self.pending;
            self.block(|writer| writer.put((1 << missing) - 1, missing));
        }
        &self.bytes[..self.at]
    }
}

impl BlockWriter<'_> {
    /// Adds the lowest `length` bits of `bits`; the others must be zero. Between two flushes no more than 57.
    #[inline(always)]
    pub fn push(&mut self, bits: u32, length: u32) {
        self.window = self.window << length | u64::from(bits);
        self.pending += length;
    }

    /// Writes all that is pending, each time; what is no whole byte is overwritten by the next flush. This
    /// is cheaper than a branch that is never foreseen.
    #[inline(always)]
    pub fn flush(&mut self) {
        let word = self.window.wrapping_shl(64u32.wrapping_sub(self.pending));
        self.room[self.at..self.at + 8].copy_from_slice(&word.to_be_bytes());
        self.at += (self.pending / 8) as usize;
        self.pending %= 8;
    }

    /// Adds and writes.
    #[inline(always)]
    pub fn put(&mut self, bits: u32, length: u32) {
        self.push(bits, length);
        self.flush();
    }
}

/// Appends entropy-coded bytes, each 0xFF followed by a zero (T.81 B.1.1.5).
pub fn append_stuffed(bytes: &[u8], out: &mut Vec<u8>) {
    const CHUNK: usize = 32;
    out.reserve(bytes.len() + bytes.len() / 64 + 16);
    let (chunks, rest) = bytes.as_chunks::<CHUNK>();
    for chunk in chunks {
        if chunk.iter().fold(0, |found, &byte| found | u8::from(byte == 0xFF)) == 0 {
            out.extend_from_slice(chunk);
        } else {
            append_bytewise(chunk, out);
        }
    }
    append_bytewise(rest, out);
}

fn append_bytewise(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        out.push(byte);
        if byte == 0xFF {
            out.push(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_out_in_order_and_ones_fill_the_last_byte() {
        let mut memory = vec![0xAA; 3];
        let mut writer = BitWriter::new(&mut memory);
        writer.reserve_blocks(1);
        writer.block(|block| {
            block.put(0b101, 3);
            block.put(0xFFFF_FFFF, 32);
            block.put(0, 2);
        });
        writer.reserve_blocks(1);
        writer.block(|block| block.put(1, 5));
        assert_eq!(writer.finish(), [0b1011_1111, 0xFF, 0xFF, 0xFF, 0b1110_0000, 0b0111_1111]);
    }

    #[test]
    fn every_ff_is_stuffed_wherever_it_stands() {
        for at in 0..70 {
            let mut bytes = [7; 70];
            bytes[at] = 0xFF;
            let mut out = Vec::new();
            append_stuffed(&bytes, &mut out);
            assert_eq!(out.len(), 71);
            assert_eq!(out[at..at + 2], [0xFF, 0]);
        }
    }
}
