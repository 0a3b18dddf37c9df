//! Entropy-coded segments: found, unstuffed chunk by chunk, and ended by markers (T.81 F.1.2.3, E.1.4).
//!
//! A segment runs from SOS or a restart marker to the next marker. Data after its end reads as zero
//! bits; [`Segment::is_spent`] tells when a reader has gone beyond.

use super::bits::{Buffer, CHUNK, Cursor};
use super::markers::{self, find_marker};

/// At least one MCU fits in so many bytes: 10 blocks of 64 symbols of 31 bits are 2,480. Also the zero
/// bytes after the end, so that the MCU that runs past it stays inside the buffer.
const MARGIN: usize = 2560;

/// One scan's entropy-coded data, as the cursor moves through it.
#[derive(Debug)]
pub(super) struct Segment<'a> {
    source: &'a [u8],
    /// Offset in the source of the first byte not yet unstuffed.
    pub(super) at: usize,
    pub(super) buffer: &'a mut Buffer,
    /// How many bytes of the buffer are data.
    filled: usize,
    /// The data ends with the buffer: a marker follows, or nothing.
    ended: bool,
    /// A cursor beyond this must be looked after before the next MCU.
    mark: usize,
}

/// What was found where a restart marker should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    /// The right marker, right after the data.
    Found,
    /// The right one, or one taken for it, after bytes that belong to nothing.
    Resynchronised,
    /// Another marker that must stay where it is: this restart interval is missing.
    Missing,
}

impl<'a> Segment<'a> {
    /// Opens the data that starts at `at` in `source`.
    pub(super) fn open(source: &'a [u8], at: usize, buffer: &'a mut Buffer) -> (Self, Cursor) {
        let mut segment = Self { source, at, buffer, filled: 0, ended: false, mark: 0 };
        let cursor = segment.fill(Cursor::new());
        (segment, cursor)
    }

    /// Whether the cursor needs [`Segment::fill`] before the next MCU.
    #[inline(always)]
    pub(super) fn is_low(&self, cursor: &Cursor) -> bool {
        cursor.byte() > self.mark
    }

    /// Whether more bits were read than there are.
    #[inline(always)]
    pub(super) fn is_spent(&self, cursor: &Cursor) -> bool {
        self.ended && cursor.bit() > self.filled * 8
    }

    /// Whether the file ends within the marker that should follow the data.
    pub(super) fn is_cut(&self) -> bool {
        self.ended && self.at < self.source.len() && find_marker(self.source, self.at).is_none()
    }

    /// Moves what is unread to the front of the buffer and unstuffs as much as fits behind it.
    #[cold]
    pub(super) fn fill(&mut self, mut cursor: Cursor) -> Cursor {
        if self.ended {
            return cursor;
        }
        let read = cursor.byte().min(self.filled);
        self.buffer.copy_within(read..self.filled, 0);
        self.filled -= read;
        cursor.rebase(read);
        while !self.ended && self.filled < CHUNK - MARGIN {
            self.unstuff_run();
        }
        self.mark = self.filled.saturating_sub(MARGIN);
        if self.ended {
            self.mark = self.filled;
            self.pad();
        }
        cursor
    }

    /// Copies up to the next FF, then deals with what that FF starts.
    fn unstuff_run(&mut self) {
        let rest = self.source.get(self.at..).unwrap_or_default();
        let room = (CHUNK - MARGIN - self.filled).min(rest.len());
        let run = memchr::memchr(0xFF, &rest[..room]).unwrap_or(room);
        self.buffer[self.filled..self.filled + run].copy_from_slice(&rest[..run]);
        self.filled += run;
        self.at += run;
        match rest[run..] {
            [] => self.ended = true,
            [0xFF, ref after @ ..] if run < room => match after.iter().position(|&byte| byte != 0xFF) {
                // FF 00 is the data byte FF; libjpeg allows fill bytes before it.
                Some(fill) if after[fill] == 0 => {
                    self.buffer[self.filled] = 0xFF;
                    self.filled += 1;
                    self.at += fill + 2;
                }
                _ => self.ended = true,
            },
            _ => {}
        }
    }

    /// Ends this segment and starts the next at restart marker RSTm, m = `expected` (0..=7).
    ///
    /// Anything but that marker right here is damage. Which marker is then taken for it follows
    /// libjpeg's reasoning: one or two early or another thing than RST: an interval is missing; one or
    /// two late: the marker is old, look further; else: take it.
    pub(super) fn restart(&mut self, expected: u8, cursor: Cursor) -> (Restart, Cursor) {
        let unread = self.filled.saturating_sub(cursor.bit().div_ceil(8));
        let mut outcome = if self.ended && unread <= 1 { Restart::Found } else { Restart::Resynchronised };
        let mut from = self.at;
        while let Some(at) = find_marker(self.source, from) {
            let code = self.source[at];
            let old = code < markers::SOF0_BASELINE;
            let ahead = code.wrapping_sub(markers::RST0).wrapping_sub(expected) & 7;
            if !old && (!markers::is_restart(code) || ahead == 1 || ahead == 2) {
                // Stay before it, so that the next search need not come all the way again.
                return (Restart::Missing, self.close(at - 1));
            }
            if !old && ahead < 6 {
                if ahead != 0 {
                    outcome = Restart::Resynchronised;
                }
                return (outcome, self.reopen(at + 1));
            }
            outcome = Restart::Resynchronised;
            from = at + 1;
        }
        (Restart::Missing, self.close(self.source.len()))
    }

    fn reopen(&mut self, at: usize) -> Cursor {
        self.at = at;
        self.filled = 0;
        self.ended = false;
        self.fill(Cursor::new())
    }

    /// An empty segment before whatever comes next: the first read spends it.
    fn close(&mut self, at: usize) -> Cursor {
        self.at = at;
        self.filled = 0;
        self.ended = true;
        self.mark = 0;
        self.pad();
        Cursor::new()
    }

    fn pad(&mut self) {
        self.buffer[self.filled..][..MARGIN + 8].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer() -> Box<Buffer> {
        Box::new([0xAA; CHUNK + 8])
    }

    #[test]
    fn stuffed_bytes_are_undone_and_a_marker_ends_the_data() {
        let mut buffer = buffer();
        let source = [1, 0xFF, 0, 2, 0xFF, 0xFF, 0, 3, 0xFF, 0xD9, 4];
        let (segment, mut cursor) = Segment::open(&source, 0, &mut buffer);
        assert_eq!((segment.filled, segment.ended, segment.at), (5, true, 8));
        assert_eq!(segment.buffer[..6], [1, 0xFF, 2, 0xFF, 3, 0]);
        for byte in [1, 0xFF, 2, 0xFF, 3] {
            assert!(!segment.is_spent(&cursor));
            cursor.refill(segment.buffer);
            assert_eq!(cursor.take(8), byte);
        }
        assert!(!segment.is_spent(&cursor));
        cursor.take(1);
        assert!(segment.is_spent(&cursor));
    }

    #[test]
    fn long_data_comes_through_whole_whatever_the_chunks() {
        let mut buffer = buffer();
        let data: Vec<u8> =
            (0..5 * CHUNK as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let mut source = vec![0x55];
        for &byte in &data {
            source.push(byte);
            if byte == 0xFF {
                source.push(0);
            }
        }
        let (mut segment, mut cursor) = Segment::open(&source, 1, &mut buffer);
        for &byte in &data {
            if segment.is_low(&cursor) {
                cursor = segment.fill(cursor);
            }
            cursor.refill(segment.buffer);
            assert_eq!(cursor.take(8), u32::from(byte));
        }
        assert!(!segment.is_spent(&cursor) && segment.at == source.len());
    }

    #[test]
    fn restart_markers_are_matched_as_libjpeg_does() {
        let cases: [(&[u8], Restart); 6] = [
            (&[0xFF, 0xD3, 9], Restart::Found),
            (&[1, 2, 3, 0xFF, 0xD3, 9], Restart::Resynchronised),
            (&[0xFF, 0xD2, 0xFF, 0xD3, 9], Restart::Resynchronised),
            (&[0xFF, 0xD4, 9], Restart::Missing),
            (&[0xFF, 0xD0, 9], Restart::Resynchronised),
            (&[0xFF, 0xD9, 9], Restart::Missing),
        ];
        for (source, expected) in cases {
            let mut buffer = buffer();
            let (mut segment, cursor) = Segment::open(source, 0, &mut buffer);
            let (outcome, mut cursor) = segment.restart(3, cursor);
            assert_eq!(outcome, expected, "{source:?}");
            if outcome != Restart::Missing {
                cursor.refill(segment.buffer);
                assert_eq!(cursor.take(8), 9);
            }
        }
    }
}
