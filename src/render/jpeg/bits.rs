//! Reading bits from unstuffed data through a 64-bit window, without a branch.
//!
//! Here, and wherever something is done for each symbol, arithmetic wraps: a check for overflow costs a
//! twelfth of decoding, and every index is bounded by a mask or by the length of what it is an index of.

/// Bytes of unstuffed data held at once. Small enough to stay in the fast caches.
pub(super) const CHUNK: usize = 1 << 14;

/// Unstuffed data: a chunk, and room for the last window load to run past it.
pub(super) type Buffer = [u8; CHUNK + 8];

/// A place in a [`Buffer`], with the bits that follow it. A copy is a bookmark.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    /// The next bits, first one on top. Below those that count are some that come after them, or zeros.
    window: u64,
    /// The byte after the last that counts.
    next: usize,
    /// How many bits of the window count.
    have: u32,
}

impl Cursor {
    /// How many bits may be taken after [`Cursor::refill`].
    pub(super) const FULL: u32 = 56;

    pub(super) fn new() -> Self {
        Self { window: 0, next: 0, have: 0 }
    }

    /// Fills the window with whole bytes, without a branch. Where the next fill starts does not depend on what
    /// is read in between, only how far its bits are shifted: the load need not wait for it.
    #[inline(always)]
    pub(super) fn refill(&mut self, buffer: &Buffer) {
        let at = self.next & (CHUNK - 1);
        let bytes = buffer[at..].first_chunk::<8>().copied().unwrap_or_default();
        self.window |= u64::from_be_bytes(bytes) >> (self.have & 63);
        self.next = self.next.wrapping_add(((63 ^ self.have) >> 3) as usize);
        self.have |= 56;
    }

    /// The next `bits` bits, 1..=32, as a table index.
    #[inline(always)]
    pub(super) fn peek(&self, bits: u32) -> usize {
        (self.window >> (64 - bits)) as usize
    }

    /// The next bits, first one on top.
    #[inline(always)]
    pub(super) fn top(&self) -> u64 {
        self.window
    }

    /// Moves on by `bits` bits, 0..=63, of those that refill promised.
    #[inline(always)]
    pub(super) fn skip(&mut self, bits: u32) {
        self.window <<= bits & 63;
        self.have = self.have.wrapping_sub(bits);
    }

    /// Takes `bits` bits, 0..=32.
    #[inline(always)]
    pub(super) fn take(&mut self, bits: u32) -> u32 {
        let value = (self.window >> 1 >> (63u32.wrapping_sub(bits) & 63)) as u32;
        self.skip(bits);
        value
    }

    /// Steps back by `bits` bits, and fills the window.
    pub(super) fn rewind(&mut self, bits: u32, buffer: &Buffer) {
        let bit = self.bit() - bits as usize;
        *self = Self { window: 0, next: bit >> 3, have: 0 };
        self.refill(buffer);
        self.skip((bit & 7) as u32);
    }

    /// Moves back by whole bytes, when those before them have left the buffer.
    pub(super) fn rebase(&mut self, bytes: usize) {
        self.next -= bytes;
    }

    /// Bits consumed since the start of the buffer.
    #[inline(always)]
    pub(super) fn bit(&self) -> usize {
        self.next.wrapping_mul(8).wrapping_sub(self.have as usize)
    }

    /// The byte that the next bit is in.
    #[inline(always)]
    pub(super) fn byte(&self) -> usize {
        self.bit() >> 3
    }
}

/// The coefficient that `size` bits stand for (T.81 F.2.2.1, EXTEND).
#[inline(always)]
pub(super) fn extend(bits: u32, size: u32) -> i32 {
    let half = (1 << size) >> 1;
    let bits = bits as i32;
    if bits < half { bits.wrapping_sub((1 << size) - 1) } else { bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_in_order_whatever_the_steps() {
        let mut buffer = Box::new([0; CHUNK + 8]);
        let mut random = 1u32;
        for byte in &mut buffer[..600] {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (random >> 24) as u8;
        }
        let bit = |at: usize| u32::from(buffer[at / 8] >> (7 - at % 8) & 1);
        let (mut cursor, mut at) = (Cursor::new(), 0);
        while at < 4000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let bits = (random >> 24) % 17;
            cursor.refill(&buffer);
            let expected = (at..at + bits as usize).fold(0, |value, at| value << 1 | bit(at));
            assert_eq!(cursor.take(bits), expected);
            at += bits as usize;
            assert_eq!(cursor.bit(), at);
            let mut back = cursor;
            back.rewind(bits, &buffer);
            assert_eq!(back.take(bits), expected);
        }
    }

    #[test]
    fn values_extend_as_the_standard_says() {
        assert_eq!([0, 1].map(|bits| extend(bits, 1)), [-1, 1]);
        assert_eq!([0, 3, 4, 7].map(|bits| extend(bits, 3)), [-7, -4, 4, 7]);
        assert_eq!(extend(0, 0), 0);
    }
}
