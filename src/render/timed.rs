//! A file that can only be read while there is time: so a decoder that knows no clock is stopped.

use super::Deadline;
use std::io::{self, BufRead, Cursor, ErrorKind, Read, Seek, SeekFrom};

/// In bytes: the clock is looked at for each.
const PIECE: usize = 64 << 10;

/// Fails with [`ErrorKind::TimedOut`] when its time is over. None: never.
pub struct Timed<'a> {
    bytes: Cursor<&'a [u8]>,
    deadline: Option<Deadline>,
}

impl<'a> Timed<'a> {
    pub fn new(bytes: &'a [u8], deadline: Option<Deadline>) -> Self {
        Self { bytes: Cursor::new(bytes), deadline }
    }
}

impl BufRead for Timed<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.deadline.is_some_and(|deadline| deadline.is_over()) {
            return Err(ErrorKind::TimedOut.into());
        }
        let rest = self.bytes.fill_buf()?;
        Ok(&rest[..rest.len().min(PIECE)])
    }

    fn consume(&mut self, bytes: usize) {
        self.bytes.consume(bytes);
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl Seek for Timed<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn everything_can_be_read_in_time_and_nothing_after() {
        let bytes: Vec<u8> = (0..3 * PIECE as u32 + 5).map(|n| (n / 7) as u8).collect();
        let mut read = Vec::new();
        Timed::new(&bytes, None).read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes);
        let mut late = Timed::new(&bytes, Some(Deadline::after(Duration::ZERO)));
        assert_eq!(late.seek(SeekFrom::End(-5)).unwrap(), 3 * PIECE as u64);
        assert_eq!(late.read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
