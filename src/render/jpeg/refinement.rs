//! Refinement of AC coefficients: one more bit of those known, and new ones (T.81 G.1.2.3).
//!
//! The bits of known coefficients come between the symbols of new ones, in zigzag order. The history
//! says how many to expect: those of coefficients that do not matter are counted and passed over.

use super::Error;
use super::band::BandLookup;
use super::bits::{Buffer, Cursor};
use super::first_visit::{Last, One, read_one};
use super::lookup::{END, KEEP_BITS, SKIP_BITS, SLOW};
use super::progressive::{Band, Store, band_mask};
use super::scan::Scan;
use super::simd::Work;

pub(super) struct RefinementScan<'a>(pub(super) Band<'a>);

impl Work for RefinementScan<'_> {
    type Output = Result<usize, Error>;

    #[inline(always)]
    fn run(self) -> Result<usize, Error> {
        let Band { scan, lookup, store, size: (across, down), coefficients, history, mut data, mut cursor } =
            self.0;
        let reader = Reader {
            scan,
            lookup,
            store,
            band: band_mask(scan),
            kept: u64::MAX >> (63 - store.places.reach),
        };
        let mut run = 0;
        for row in 0..down {
            data.start_row(row)?;
            for column in 0..across {
                if data.is_restart_due() {
                    cursor = data.restart(cursor)?;
                    run = 0;
                }
                data.count(1);
                cursor = data.prepare(cursor)?;
                if data.lost {
                    continue;
                }
                let (block, history) = store.block(column, row, coefficients, history);
                if run > 0 {
                    run -= 1;
                    reader.correct(*history & reader.band, &mut cursor, data.segment.buffer, block);
                    continue;
                }
                match reader.read_block(&mut cursor, data.segment.buffer, block, history) {
                    Last::Full => {}
                    Last::Run(blocks) => run = blocks,
                    Last::Bad => data.bad_block()?,
                }
            }
        }
        data.finish(cursor)
    }
}

struct Reader<'a> {
    scan: &'a Scan,
    lookup: &'a BandLookup,
    store: &'a Store,
    /// The scan's zigzag indices, and those up to the last that matters, as bits.
    band: u64,
    kept: u64,
}

impl Reader<'_> {
    #[inline(always)]
    fn read_block(&self, cursor: &mut Cursor, buffer: &Buffer, block: &mut [i16], history: &mut u64) -> Last {
        let end = self.scan.last + 1;
        let mut known = *history & self.band;
        let mut next = self.scan.first;
        let last = loop {
            // `known` has only bits from `next` on in this loop.
            if known == 0 && next > self.store.places.reach {
                break self.read_tail(next, cursor, buffer, history);
            }
            cursor.refill(buffer);
            let entry = self.lookup.one[cursor.peek(KEEP_BITS)];
            let advance = entry.advance() as usize;
            cursor.skip(entry.bits());
            let (run, value) = if advance & (END | SLOW) as usize == 0 {
                (advance - 1, entry.value())
            } else if advance & END as usize != 0 {
                break Last::Run(0);
            } else {
                let (symbol, moved) = read_one(&self.lookup.codes, *cursor, buffer);
                *cursor = moved;
                match symbol {
                    One::Run(blocks) => break Last::Run(blocks),
                    One::Value { run, value } if (-1..=1).contains(&value) => (run, value),
                    _ => break Last::Bad,
                }
            };
            let mut at = next + run;
            if known & (u64::MAX << next & !(u64::MAX << 1 << at.min(63))) != 0 {
                let mut fresh = !known & self.band & u64::MAX << next;
                for _ in 0..run {
                    fresh &= fresh.wrapping_sub(1);
                }
                at = fresh.trailing_zeros() as usize;
                let passed = known & !u64::MAX.checked_shl(at as u32).unwrap_or(0);
                self.correct(passed, cursor, buffer, block);
                known &= !passed;
            }
            if at >= end {
                break Last::Bad;
            }
            if value != 0 {
                block[self.store.places.of(at)] = value << self.scan.low;
                *history |= 1 << at;
            }
            next = at + 1;
            if next == end {
                break Last::Full;
            }
        };
        if known != 0 {
            self.correct(known, cursor, buffer, block);
        }
        last
    }

    /// Reads the rest of a block in which nothing known and nothing that matters is left: only the
    /// history is kept up.
    #[inline(always)]
    fn read_tail(&self, mut next: usize, cursor: &mut Cursor, buffer: &Buffer, history: &mut u64) -> Last {
        let end = self.scan.last + 1;
        while next < end {
            cursor.refill(buffer);
            let entry = self.lookup.many[cursor.peek(SKIP_BITS)];
            let advance = entry.advance() as usize;
            if advance & SLOW as usize == 0 && next + (advance & 63) <= end {
                cursor.skip(entry.bits());
                *history |= entry.pattern() << next;
                next += advance & 63;
                if advance & END as usize != 0 {
                    return Last::Run(0);
                }
                continue;
            }
            let (symbol, moved) = read_one(&self.lookup.codes, *cursor, buffer);
            *cursor = moved;
            match symbol {
                One::Run(blocks) => return Last::Run(blocks),
                One::Value { run, value } if next + run < end => {
                    *history |= u64::from(value != 0) << (next + run);
                    next += run + 1;
                }
                _ => return Last::Bad,
            }
        }
        Last::Full
    }

    /// Takes one more bit for each of the `known` coefficients.
    #[inline(always)]
    fn correct(&self, known: u64, cursor: &mut Cursor, buffer: &Buffer, block: &mut [i16]) {
        // At most 32 at a time, so that one refill is enough.
        for half in [known & 0xFFFF_FFFF, known & !0xFFFF_FFFF] {
            if half == 0 {
                continue;
            }
            cursor.refill(buffer);
            let count = half.count_ones();
            let mut bits = cursor.top();
            let mut kept = half & self.kept;
            while kept != 0 {
                let place = self.store.places.of(kept.trailing_zeros() as usize);
                let value = block[place];
                let away = (value >> 15 | 1) << self.scan.low;
                block[place] = value.wrapping_add(away & ((bits as i64) >> 63) as i16);
                bits <<= 1;
                kept &= kept - 1;
            }
            cursor.skip(count);
        }
    }
}
