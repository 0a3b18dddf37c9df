//! Baseline and extended scans: entropy-coded blocks straight to samples (T.81 F.2).
//!
//! Blocks are gathered, one a lane, until there are enough for [`Transform::apply`]. Of their
//! coefficients only those that matter at the scale are kept; see [`super::lookup`].

use super::Error;
use super::bits::{Buffer, Cursor, extend};
use super::codes::{Codes, DC_MOST, DcLookup};
use super::frame::{Frame, MAX_BLOCKS_IN_MCU};
use super::idct::{Coefficients, LANES, Lane, Transform};
use super::lookup::{AcLookup, END, KEEP_BITS, Keep, SKIP_BITS, SKIP_MOST, SLOW, Skip};
use super::output::Output;
use super::scan::{Data, Scan};
use super::simd::Work;

/// Three look-ups are made for each refill of the window, one of them after a DC difference or a long value.
const _: () = assert!(DC_MOST + 3 * KEEP_BITS <= Cursor::FULL && 3 * SKIP_MOST <= Cursor::FULL);

/// What it takes to read the blocks of a component.
pub(super) struct Reader<'a> {
    pub(super) dc: &'a DcLookup,
    pub(super) ac: &'a AcLookup,
}

impl Reader<'_> {
    /// Reads a block into its lane. False: the data is damaged.
    #[inline(always)]
    fn read_block(
        &self,
        cursor: &mut Cursor,
        buffer: &Buffer,
        prediction: &mut i32,
        batch: &mut Coefficients,
        lane: usize,
    ) -> bool {
        let Some(lane) = batch[lane & (LANES - 1)..].first_chunk_mut() else { return false };
        cursor.refill(buffer);
        let Some(difference) = self.dc.read(cursor, buffer) else {
            lane[0] = *prediction as i16;
            return false;
        };
        *prediction = prediction.wrapping_add(difference);
        lane[0] = *prediction as i16;
        let mut block = Block { ac: self.ac, lane, next: 1, from: 1 };
        match block.keep(cursor, buffer) {
            Some(whole) => whole,
            None => block.skip(cursor, buffer),
        }
    }
}

/// A block while its AC coefficients are read.
struct Block<'a> {
    ac: &'a AcLookup,
    lane: &'a mut Lane,
    /// The zigzag index that comes next. Flags in an advance carry it beyond every limit.
    next: usize,
    /// The one before the last look-up.
    from: usize,
}

impl Block<'_> {
    /// Stores coefficients up to the last that matters. None: there is more to be passed over.
    #[inline(always)]
    fn keep(&mut self, cursor: &mut Cursor, buffer: &Buffer) -> Option<bool> {
        let reach = self.ac.places.reach;
        let mut entry = Keep::NOTHING;
        while self.next <= reach {
            if !(self.keep_some(cursor, &mut entry)
                || self.keep_some(cursor, &mut entry)
                || self.keep_some(cursor, &mut entry))
            {
                cursor.refill(buffer);
                continue;
            }
            let advance = entry.advance() as usize;
            let to = self.from + (advance & 63);
            if advance & SLOW as usize == 0 && to <= 64 {
                if advance & END as usize != 0 {
                    return Some(true);
                }
                break;
            }
            if advance & SLOW as usize != 0 && entry.bits() > 0 {
                cursor.refill(buffer);
                // The code was taken; its value follows.
                let size = entry.first() as u32;
                self.put(to - 1, extend(cursor.take(size), size) as i16);
                self.next = to;
                continue;
            }
            let (one, moved) = read_one(&self.ac.codes, *cursor, entry.bits(), buffer);
            *cursor = moved;
            match one {
                One::Value { run, value } => {
                    self.put(self.from + run, value);
                    self.next = self.from + run + 1;
                }
                One::End => return Some(true),
                One::Bad => return Some(false),
            }
        }
        None
    }

    /// One look-up. True if something other than another has to follow.
    #[inline(always)]
    fn keep_some(&mut self, cursor: &mut Cursor, entry: &mut Keep) -> bool {
        *entry = self.ac.keep[cursor.peek(KEEP_BITS)];
        cursor.skip(entry.bits());
        self.from = self.next;
        self.put(self.from.wrapping_add(entry.last()), entry.second());
        self.put(self.from.wrapping_add(entry.run()), entry.first());
        self.next = self.next.wrapping_add(entry.advance() as usize);
        self.next > self.ac.places.reach
    }

    #[inline(always)]
    fn put(&mut self, zigzag: usize, value: i16) {
        self.lane[self.ac.places.of(zigzag) * LANES] = value;
    }

    /// Passes over the rest of the block.
    #[inline(always)]
    fn skip(&mut self, cursor: &mut Cursor, buffer: &Buffer) -> bool {
        let mut entry = Skip::NOTHING;
        while self.next < 64 {
            cursor.refill(buffer);
            if !(self.skip_some(cursor, &mut entry)
                || self.skip_some(cursor, &mut entry)
                || self.skip_some(cursor, &mut entry))
            {
                continue;
            }
            let advance = entry.advance() as usize;
            if advance & SLOW as usize == 0 && self.from + (advance & 63) <= 64 {
                return true;
            }
            let (one, moved) = read_one(&self.ac.codes, *cursor, entry.bits(), buffer);
            *cursor = moved;
            match one {
                One::Value { run, .. } => self.next = self.from + run + 1,
                One::End => return true,
                One::Bad => return false,
            }
        }
        self.next == 64
    }

    /// One look-up. True if something other than another has to follow.
    #[inline(always)]
    fn skip_some(&mut self, cursor: &mut Cursor, entry: &mut Skip) -> bool {
        *entry = self.ac.skip[cursor.peek(SKIP_BITS)];
        cursor.skip(entry.bits());
        self.from = self.next;
        self.next = self.next.wrapping_add(entry.advance() as usize);
        self.next >= 64
    }
}

enum One {
    Value { run: usize, value: i16 },
    End,
    Bad,
}

/// Reads one symbol that a look-up could not resolve, or, after stepping back by the `taken` bits of
/// one that ran past the block, the first of those it resolved.
#[inline(never)]
fn read_one(codes: &Codes, mut cursor: Cursor, taken: u32, buffer: &Buffer) -> (One, Cursor) {
    cursor.rewind(taken, buffer);
    let Some(symbol) = codes.read(&mut cursor) else { return (One::Bad, cursor) };
    let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
    if size == 0 && run != 15 {
        return (One::End, cursor);
    }
    let value = extend(cursor.take(size), size) as i16;
    // Up to 31 bits were taken: three look-ups may follow.
    cursor.refill(buffer);
    (One::Value { run, value }, cursor)
}

/// A sequential scan. What is missing gets the DC coefficient that came last, and no others.
pub(super) struct BaselineScan<'a, 'b> {
    pub(super) frame: &'a Frame,
    pub(super) scan: &'a Scan,
    /// For each part of the scan.
    pub(super) readers: &'a [Reader<'a>],
    pub(super) transforms: &'a mut [Transform],
    pub(super) output: &'a mut Output<'b>,
    pub(super) batches: &'a mut [Box<Coefficients>],
    pub(super) data: Data<'a>,
    pub(super) cursor: Cursor,
}

/// Where a block of the MCU goes: which part of the scan, which batch, which lane after those filled.
#[derive(Clone, Copy, Default)]
struct Target {
    part: usize,
    batch: usize,
    column: usize,
}

/// How far a part has come along its row of blocks.
#[derive(Clone, Copy, Default)]
struct Progress {
    /// Blocks across and down in an MCU.
    h: usize,
    v: usize,
    first_batch: usize,
    prediction: i32,
    /// Column of the block in lane 0.
    column: usize,
    /// Lanes filled.
    filled: usize,
}

impl Work for BaselineScan<'_, '_> {
    type Output = Result<usize, Error>;

    /// Returns where to look for the next marker.
    #[inline(always)]
    fn run(mut self) -> Result<usize, Error> {
        let (mut progress, blocks) = self.lay_out();
        let parts = self.scan.parts.len();
        let (across, down) = self.scan.mcus(self.frame);
        let mut cursor = self.cursor;
        // The predictions after the last MCU that was all there, and whether none was read since the last restart.
        let (mut last, mut fresh) = ([0; 4], true);
        for row in 0..down {
            self.data.start_row(row)?;
            for _ in 0..across {
                if !fresh && !self.data.is_over(&cursor) {
                    last = progress.map(|part| part.prediction);
                }
                if self.data.is_restart_due() {
                    cursor = self.data.restart(cursor)?;
                    progress.iter_mut().for_each(|part| part.prediction = 0);
                    fresh = true;
                }
                cursor = self.data.prepare(cursor)?;
                self.data.count(1);
                if self.data.lost {
                    for block in &blocks {
                        let lane = progress[block.part].filled + block.column;
                        self.batches[block.batch][lane] = last[block.part] as i16;
                    }
                } else {
                    fresh = false;
                    for block in &blocks {
                        let part = &mut progress[block.part];
                        let lane = part.filled.wrapping_add(block.column);
                        let whole = self.readers[block.part].read_block(
                            &mut cursor,
                            self.data.segment.buffer,
                            &mut part.prediction,
                            &mut self.batches[block.batch],
                            lane,
                        );
                        if !whole {
                            self.data.bad_block()?;
                        }
                    }
                }
                for (nth, part) in progress[..parts].iter_mut().enumerate() {
                    part.filled += part.h;
                    if part.filled + part.h > LANES {
                        let component = self.scan.parts[nth].component;
                        flush(part, row, &mut self.transforms[nth], self.batches, component, self.output);
                    }
                }
            }
            for (nth, part) in progress[..parts].iter_mut().enumerate() {
                let component = self.scan.parts[nth].component;
                flush(part, row, &mut self.transforms[nth], self.batches, component, self.output);
                self.output.hand_over(component);
                part.column = 0;
            }
        }
        self.data.finish(cursor)
    }
}

impl BaselineScan<'_, '_> {
    /// Gives each block row of an MCU a batch, and lists the blocks in the order they are coded (T.81 A.2.3).
    fn lay_out(&mut self) -> ([Progress; 4], Vec<Target>) {
        let mut progress = [Progress::default(); 4];
        let mut blocks = Vec::with_capacity(MAX_BLOCKS_IN_MCU);
        let mut first_batch = 0;
        for (part, nth) in self.scan.parts.iter().zip(0..) {
            let (h, v) = self.scan.sampling(self.frame, part);
            progress[nth] = Progress { h, v, first_batch, ..Progress::default() };
            for row in 0..v {
                blocks.extend((0..h).map(|column| Target { part: nth, batch: first_batch + row, column }));
            }
            first_batch += v;
        }
        self.batches.iter_mut().for_each(|batch| batch.fill(0));
        (progress, blocks)
    }
}

/// Transforms what a part has gathered, and starts new batches.
#[inline(never)]
fn flush(
    part: &mut Progress,
    row: usize,
    transform: &mut Transform,
    batches: &mut [Box<Coefficients>],
    component: usize,
    output: &mut Output,
) {
    if part.filled == 0 {
        return;
    }
    for (nth, batch) in batches[part.first_batch..][..part.v].iter_mut().enumerate() {
        let place = output.place(row * part.v + nth, nth);
        let band = &mut output.bands[component];
        let stride = band.stride;
        transform.apply(batch, band.block_mut(part.column, place), stride);
    }
    part.column += part.filled;
    part.filled = 0;
}

#[cfg(test)]
mod tests {
    use super::super::bits::CHUNK;
    use super::super::idct::place;
    use super::super::tables::{Huffman, Tables};
    use super::*;

    /// Bits, first one on top of each byte.
    #[derive(Default)]
    struct Writer {
        bits: Vec<bool>,
    }

    impl Writer {
        fn put(&mut self, (value, count): (u32, u32)) {
            self.bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
        }

        /// A code for `run` zeros and the size of `value`, and the bits of `value` (T.81 F.1.2).
        fn code(&mut self, huffman: &Huffman, run: u32, value: i32) {
            let size = 32 - value.unsigned_abs().leading_zeros();
            self.put(code(huffman, run << 4 | size));
            let bits = if value < 0 { value - 1 } else { value };
            self.put((bits as u32 & ((1 << size) - 1), size));
        }

        fn block(&mut self, dc: &Huffman, ac: &Huffman, coefficients: &[i32; 64]) {
            self.code(dc, 0, coefficients[0]);
            let mut run = 0;
            for &coefficient in &coefficients[1..] {
                if coefficient == 0 {
                    run += 1;
                    continue;
                }
                while run > 15 {
                    self.code(ac, 15, 0);
                    run -= 16;
                }
                self.code(ac, run, coefficient);
                run = 0;
            }
            if run > 0 {
                self.code(ac, 0, 0);
            }
        }

        fn buffer(&self) -> Box<Buffer> {
            let mut buffer = Box::new([0xAA; CHUNK + 8]);
            for (byte, bits) in buffer.iter_mut().zip(self.bits.chunks(8)) {
                *byte = bits.iter().zip((0..8).rev()).fold(0, |byte, (&bit, at)| byte | u8::from(bit) << at);
            }
            buffer
        }
    }

    /// Code and length of a symbol (T.81 C.2).
    fn code(huffman: &Huffman, symbol: u32) -> (u32, u32) {
        let (mut code, mut nth) = (0, 0);
        for (length, &count) in (1..).zip(&huffman.counts) {
            let symbols = &huffman.symbols[nth..nth + usize::from(count)];
            if let Some(at) = symbols.iter().position(|&s| u32::from(s) == symbol) {
                return (code + at as u32, length);
            }
            nth += usize::from(count);
            code = (code + u32::from(count)) << 1;
        }
        panic!("no code for {symbol:#x}")
    }

    /// Long codes with long values among short ones: every look-up comes at every fill of the window.
    #[test]
    fn random_blocks_are_read_as_they_were_written() {
        let tables = Tables::new();
        let mut random = 1u32;
        let mut below = |limit: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((u64::from(random) * u64::from(limit)) >> 32) as u32
        };
        for number in 0..2 {
            let (dc, ac) = (tables.dc[number].as_ref().unwrap(), tables.ac[number].as_ref().unwrap());
            let dc_lookup = DcLookup::new(dc);
            let lookups: Vec<_> = (1..=8).map(|scale| (scale, AcLookup::new(ac, scale))).collect();
            for round in 0..20_000 {
                let mut coefficients = [0; 64];
                let (density, long) = (1 + below(64), 1 + below(16));
                for coefficient in &mut coefficients {
                    if below(64) < density {
                        let size = if below(long) == 0 { 1 + below(10) } else { 1 + below(4) };
                        let magnitude = ((1 << (size - 1)) + below(1 << (size - 1))) as i32;
                        *coefficient = if below(2) == 0 { magnitude } else { -magnitude };
                    }
                }
                let mut writer = Writer::default();
                writer.block(dc, ac, &coefficients);
                let buffer = writer.buffer();
                for (scale, lookup) in &lookups {
                    let reader = Reader { dc: &dc_lookup, ac: lookup };
                    let (mut cursor, mut prediction) = (Cursor::new(), 0);
                    let mut batch: Box<Coefficients> = Box::new([0; 256 * LANES]);
                    assert!(reader.read_block(&mut cursor, &buffer, &mut prediction, &mut batch, 5));
                    assert_eq!(cursor.bit(), writer.bits.len(), "round {round}, scale {scale}");
                    for (zigzag, &expected) in coefficients.iter().enumerate() {
                        if let Some(place) = place(zigzag, *scale) {
                            let found = i32::from(batch[place * LANES + 5]);
                            assert_eq!(found, expected, "round {round}, scale {scale}, coefficient {zigzag}");
                        }
                    }
                }
            }
        }
    }
}
