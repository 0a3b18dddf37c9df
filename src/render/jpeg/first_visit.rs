//! First visits of coefficients in progressive files, and DC refinements (T.81 G.1.2.1, G.1.2.2).

use super::Error;
use super::band::BandLookup;
use super::bits::{Buffer, Cursor, extend};
use super::codes::{Codes, DcLookup};
use super::frame::Frame;
use super::lookup::{END, KEEP_BITS, SKIP_BITS, SLOW};
use super::progressive::{Band, Store};
use super::scan::{Data, Scan};
use super::simd::Work;

/// DC coefficients, of any number of components: first visit or refinement (T.81 G.1.2.1).
pub(super) struct DcScan<'a> {
    pub(super) frame: &'a Frame,
    pub(super) scan: &'a Scan,
    /// For each part; none in a refinement.
    pub(super) lookups: &'a [Box<DcLookup>],
    pub(super) stores: &'a [Store],
    pub(super) coefficients: &'a mut [i16],
    pub(super) data: Data<'a>,
    pub(super) cursor: Cursor,
}

impl Work for DcScan<'_> {
    type Output = Result<usize, Error>;

    #[inline(always)]
    fn run(mut self) -> Result<usize, Error> {
        let (across, down) = self.scan.mcus(self.frame);
        let mut predictions = [0i32; 4];
        // Those after the last MCU that was all there, and whether none was read since the last restart.
        let (mut last, mut fresh) = (predictions, true);
        let mut cursor = self.cursor;
        let low = self.scan.low;
        for row in 0..down {
            self.data.start_row(row)?;
            for column in 0..across {
                if !fresh && !self.data.is_over(&cursor) {
                    last = predictions;
                }
                if self.data.is_restart_due() {
                    cursor = self.data.restart(cursor)?;
                    predictions = [0; 4];
                    fresh = true;
                }
                cursor = self.data.prepare(cursor)?;
                self.data.count(1);
                fresh &= self.data.lost;
                for (nth, part) in self.scan.parts.iter().enumerate() {
                    let store = &self.stores[part.component];
                    let (h, v) = self.scan.sampling(self.frame, part);
                    for block in 0..h * v {
                        let place = (row * v + block / h) * store.across + column * h + block % h;
                        let dc = &mut self.coefficients[store.coefficients + place * store.slots];
                        let lookup = self.lookups.get(nth);
                        if self.data.lost {
                            if lookup.is_some() {
                                *dc = (last[nth] << low) as i16;
                            }
                            continue;
                        }
                        cursor.refill(self.data.segment.buffer);
                        let Some(lookup) = lookup else {
                            *dc |= (cursor.take(1) << low) as i16;
                            continue;
                        };
                        match lookup.read(&mut cursor, self.data.segment.buffer) {
                            Some(difference) => predictions[nth] = predictions[nth].wrapping_add(difference),
                            None => self.data.bad_block()?,
                        }
                        *dc = (predictions[nth] << low) as i16;
                    }
                }
            }
        }
        self.data.finish(cursor)
    }
}

/// What a block's data said last.
pub(super) enum Last {
    /// The block is full.
    Full,
    /// It ended early, and so many blocks after it have nothing of their own.
    Run(usize),
    Bad,
}

/// First visit of AC coefficients (T.81 G.1.2.2).
pub(super) struct FirstScan<'a>(pub(super) Band<'a>);

impl Work for FirstScan<'_> {
    type Output = Result<usize, Error>;

    #[inline(always)]
    fn run(self) -> Result<usize, Error> {
        let Band { scan, lookup, store, size: (across, down), coefficients, history, mut data, mut cursor } =
            self.0;
        let mut run = 0;
        for row in 0..down {
            data.start_row(row)?;
            let mut column = 0;
            while column < across {
                if data.is_restart_due() {
                    cursor = data.restart(cursor)?;
                    run = 0;
                }
                if run > 0 || data.lost {
                    let pass = if data.lost { usize::MAX } else { run };
                    let pass = pass.min(across - column).min(data.left());
                    run = run.saturating_sub(pass);
                    column += pass;
                    data.count(pass);
                    continue;
                }
                cursor = data.prepare(cursor)?;
                if data.lost {
                    continue;
                }
                let (block, history) = store.block(column, row, coefficients, history);
                match read_block(scan, lookup, store, &mut cursor, data.segment.buffer, block, history) {
                    Last::Full => {}
                    Last::Run(blocks) => run = blocks,
                    Last::Bad => data.bad_block()?,
                }
                column += 1;
                data.count(1);
            }
        }
        data.finish(cursor)
    }
}

#[inline(always)]
fn read_block(
    scan: &Scan,
    lookup: &BandLookup,
    store: &Store,
    cursor: &mut Cursor,
    buffer: &Buffer,
    block: &mut [i16],
    history: &mut u64,
) -> Last {
    let end = scan.last + 1;
    let keep = end.min(store.places.reach + 1);
    let mut seen = *history;
    let mut next = scan.first;
    let mut put = |zigzag: usize, value: i16| block[store.places.of(zigzag)] = value << scan.low;
    let last = loop {
        cursor.refill(buffer);
        let from = next;
        let advance = if from < keep {
            let entry = lookup.one[cursor.peek(KEEP_BITS)];
            cursor.skip(entry.bits());
            let advance = entry.advance() as usize;
            let at = from + (advance & 63) - 1;
            put(at, entry.value());
            seen |= u64::from(entry.value() != 0) << (at & 63);
            advance
        } else {
            let entry = lookup.many[cursor.peek(SKIP_BITS)];
            let advance = entry.advance() as usize;
            if advance & SLOW as usize == 0 && from + (advance & 63) > end {
                SLOW as usize
            } else {
                cursor.skip(entry.bits());
                seen |= entry.pattern() << from;
                advance
            }
        };
        next += advance;
        if next < end {
            continue;
        }
        if advance & END as usize != 0 {
            break Last::Run(0);
        }
        if advance & SLOW as usize == 0 {
            break if next == end { Last::Full } else { Last::Bad };
        }
        let (symbol, moved) = read_one(&lookup.codes, *cursor, buffer);
        *cursor = moved;
        match symbol {
            One::Value { run, value } => {
                let at = from + run;
                if at >= end {
                    break Last::Bad;
                }
                put(at, value);
                seen |= u64::from(value != 0) << at;
                next = at + 1;
                if next == end {
                    break Last::Full;
                }
            }
            One::Run(blocks) => break Last::Run(blocks),
            One::Bad => break Last::Bad,
        }
    };
    *history = seen;
    last
}

pub(super) enum One {
    Value {
        run: usize,
        value: i16,
    },
    /// The block has ended, and so many after it too (EOBn without this block).
    Run(usize),
    Bad,
}

/// Reads one symbol that a look-up could not resolve.
#[inline(never)]
pub(super) fn read_one(codes: &Codes, mut cursor: Cursor, buffer: &Buffer) -> (One, Cursor) {
    cursor.refill(buffer);
    let Some(symbol) = codes.read(&mut cursor) else { return (One::Bad, cursor) };
    let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
    let one = if size == 0 && run != 15 {
        One::Run(((1 << run) - 1 + cursor.take(run)) as usize)
    } else {
        One::Value { run: run as usize, value: extend(cursor.take(size), size) as i16 }
    };
    (one, cursor)
}
