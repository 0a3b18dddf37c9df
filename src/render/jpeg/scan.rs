//! Scan headers (T.81 B.2.3), and what sequential and progressive scans have in common.

use super::bits::{Buffer, Cursor};
use super::error::Harm;
use super::frame::{Coding, Frame, MAX_BLOCKS_IN_MCU};
use super::markers::Marker;
use super::segment::{Restart, Segment};
use super::{Damage, DamageKind, Deadline, Error};

/// One component's part in a scan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// Which component of the frame.
    pub(super) component: usize,
    /// Which Huffman tables, 0..=3.
    pub(super) dc: usize,
    pub(super) ac: usize,
}

/// A scan: which components, and for progressive ones which coefficients and which of their bits.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    pub(super) parts: Vec<Part>,
    /// First and last zigzag index.
    pub(super) first: usize,
    pub(super) last: usize,
    /// Bit positions: known before (0: none), known after. "Ah" and "Al".
    pub(super) high: u32,
    pub(super) low: u32,
    /// Where the entropy-coded data starts.
    pub(super) data: usize,
}

impl Scan {
    /// Reads an SOS segment.
    pub(super) fn parse(marker: &Marker, frame: &Frame) -> Result<Self, Error> {
        let corrupt = |what| Error::Corrupt { what, at: marker.at };
        let [count @ 1..=4, rest @ ..] = marker.payload else {
            return Err(corrupt("scan header does not have 1 to 4 components"));
        };
        let count = usize::from(*count);
        let Some((pairs, &[first, last, bits])) =
            rest.split_last_chunk::<3>().filter(|(pairs, _)| pairs.len() == count * 2)
        else {
            return Err(corrupt("scan header length does not fit its components"));
        };
        let mut parts: Vec<Part> = Vec::with_capacity(4);
        for &[id, tables] in pairs.as_chunks::<2>().0 {
            let component = frame.components.iter().position(|component| component.id == id);
            let component = component.ok_or(corrupt("scan names a component the frame does not have"))?;
            let (dc, ac) = (usize::from(tables >> 4), usize::from(tables & 15));
            if dc > 3 || ac > 3 {
                return Err(corrupt("scan names a Huffman table over 3"));
            }
            if parts.iter().any(|part| part.component == component) {
                return Err(corrupt("scan names a component twice"));
            }
            parts.push(Part { component, dc, ac });
        }
        let scan = Self {
            parts,
            first: usize::from(first),
            last: usize::from(last),
            high: u32::from(bits >> 4),
            low: u32::from(bits & 15),
            data: marker.end,
        };
        if scan.parts.len() > 1 && scan.blocks_in_mcu(frame) > MAX_BLOCKS_IN_MCU {
            return Err(corrupt("MCU has more than ten blocks"));
        }
        if frame.coding == Coding::Progressive && !scan.is_progression() {
            return Err(corrupt("progressive scan has impossible parameters"));
        }
        Ok(scan)
    }

    fn blocks_in_mcu(&self, frame: &Frame) -> usize {
        let blocks = |part: &Part| {
            usize::from(frame.components[part.component].h * frame.components[part.component].v)
        };
        self.parts.iter().map(blocks).sum()
    }

    /// T.81 G.1.1.1: DC alone or a band of AC of one component; all bits but the low ones, or one more.
    fn is_progression(&self) -> bool {
        let band = match self.first {
            0 => self.last == 0,
            first => first <= self.last && self.last < 64 && self.parts.len() == 1,
        };
        band && self.low <= 13 && (self.high == 0 || self.high == self.low + 1)
    }

    /// MCUs across and down: a scan of one component has its blocks for MCUs (T.81 A.2.2).
    pub(super) fn mcus(&self, frame: &Frame) -> (usize, usize) {
        match self.parts[..] {
            [part] => frame.blocks(&frame.components[part.component]),
            _ => frame.mcus(),
        }
    }

    /// Blocks of a part in an MCU, across and down.
    pub(super) fn sampling(&self, frame: &Frame, part: &Part) -> (usize, usize) {
        let component = frame.components[part.component];
        if self.parts.len() == 1 { (1, 1) } else { (usize::from(component.h), usize::from(component.v)) }
    }
}

/// The entropy-coded data of a scan, with its restart intervals and whatever is wrong with it.
pub(super) struct Data<'a> {
    pub(super) segment: Segment<'a>,
    interval: usize,
    /// MCUs to go before the next restart marker.
    left: usize,
    /// Number of the next restart marker, 0..=7.
    expected: u8,
    /// Nothing more can be read before the next restart marker.
    pub(super) lost: bool,
    harm: &'a mut Harm,
    deadline: Option<Deadline>,
    row: u32,
}

impl<'a> Data<'a> {
    pub(super) fn open(
        source: &'a [u8],
        at: usize,
        buffer: &'a mut Buffer,
        interval: usize,
        harm: &'a mut Harm,
        deadline: Option<Deadline>,
    ) -> (Self, Cursor) {
        let (segment, cursor) = Segment::open(source, at, buffer);
        let left = if interval == 0 { usize::MAX } else { interval };
        (Self { segment, interval, left, expected: 0, lost: false, harm, deadline, row: 0 }, cursor)
    }

    /// To be called before each row of MCUs.
    pub(super) fn start_row(&mut self, row: usize) -> Result<(), Error> {
        self.row = row as u32;
        match self.deadline {
            Some(deadline) if deadline.is_over() => Err(Error::Deadline { at: self.segment.at }),
            _ => Ok(()),
        }
    }

    /// Whether the MCU before the cursor, or one before that, was not all there.
    #[inline(always)]
    pub(super) fn is_over(&self, cursor: &Cursor) -> bool {
        self.lost || self.segment.is_spent(cursor)
    }

    /// To be called before each MCU: true if a restart marker belongs here, so that [`Data::restart`] must be called.
    #[inline(always)]
    pub(super) fn is_restart_due(&self) -> bool {
        self.left == 0
    }

    /// How many MCUs may be read before the next restart marker.
    #[inline(always)]
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Counts MCUs that were read, up to [`Data::left`].
    #[inline(always)]
    pub(super) fn count(&mut self, mcus: usize) {
        self.left -= mcus;
    }

    /// Makes sure of enough data for an MCU, or sets `lost`.
    #[inline(always)]
    pub(super) fn prepare(&mut self, cursor: Cursor) -> Result<Cursor, Error> {
        if self.segment.is_low(&cursor) { self.refill(cursor) } else { Ok(cursor) }
    }

    #[cold]
    #[inline(never)]
    fn refill(&mut self, cursor: Cursor) -> Result<Cursor, Error> {
        let cursor = self.segment.fill(cursor);
        self.check_spent(&cursor)?;
        Ok(cursor)
    }

    /// Goes on at the next restart marker; predictions and runs start anew.
    #[cold]
    #[inline(never)]
    pub(super) fn restart(&mut self, cursor: Cursor) -> Result<Cursor, Error> {
        self.check_spent(&cursor)?;
        let (outcome, cursor) = self.segment.restart(self.expected, cursor);
        match outcome {
            Restart::Found => {}
            Restart::Resynchronised => {
                self.note(DamageKind::Corrupt, "restart marker is not where it should be")?
            }
            Restart::Missing => self.note(DamageKind::Truncated, "restart interval is missing")?,
        }
        self.lost = outcome == Restart::Missing;
        self.expected = (self.expected + 1) & 7;
        self.left = self.interval;
        Ok(cursor)
    }

    /// To be called after the last MCU. Returns where to look for the next marker.
    pub(super) fn finish(mut self, cursor: Cursor) -> Result<usize, Error> {
        self.check_spent(&cursor)?;
        if self.segment.is_cut() {
            self.note(DamageKind::Truncated, "file ends inside a marker")?;
        }
        Ok(self.segment.at)
    }

    /// A code that is in no table, or a block that does not end where it must.
    #[cold]
    #[inline(never)]
    pub(super) fn bad_block(&mut self) -> Result<(), Error> {
        self.note(DamageKind::Corrupt, "entropy-coded data makes no sense")
    }

    fn check_spent(&mut self, cursor: &Cursor) -> Result<(), Error> {
        if self.segment.is_spent(cursor) && !self.lost {
            self.lost = true;
            self.note(DamageKind::Truncated, "entropy-coded data ends too early")?;
        }
        Ok(())
    }

    fn note(&mut self, kind: DamageKind, what: &'static str) -> Result<(), Error> {
        self.harm.note(Damage { kind, what, at: self.segment.at, row: self.row })
    }
}
