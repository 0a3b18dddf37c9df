//! Finding markers and their segments (T.81 B.1.1).

use super::Error;

/// Marker codes: the byte after FF (T.81 table B.1).
pub(super) const SOF0_BASELINE: u8 = 0xC0;
pub(super) const SOF1_EXTENDED: u8 = 0xC1;
pub(super) const SOF2_PROGRESSIVE: u8 = 0xC2;
pub(super) const DHT: u8 = 0xC4;
pub(super) const JPG: u8 = 0xC8;
pub(super) const DAC: u8 = 0xCC;
pub(super) const RST0: u8 = 0xD0;
pub(super) const RST7: u8 = 0xD7;
pub(super) const SOI: u8 = 0xD8;
pub(super) const EOI: u8 = 0xD9;
pub(super) const SOS: u8 = 0xDA;
pub(super) const DQT: u8 = 0xDB;
pub(super) const DRI: u8 = 0xDD;
pub(super) const DHP: u8 = 0xDE;
pub(super) const APP0: u8 = 0xE0;
pub(super) const APP1: u8 = 0xE1;
pub(super) const APP2: u8 = 0xE2;
pub(super) const APP14: u8 = 0xEE;
const TEM: u8 = 0x01;

/// A marker and, when it has one, its segment without the two length bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marker<'a> {
    pub(super) code: u8,
    /// Offset of the byte that holds the code.
    pub(super) at: usize,
    pub(super) payload: &'a [u8],
    /// Offset of the first byte after marker and segment.
    pub(super) end: usize,
}

/// Steps through the markers of a file, passing over anything between them.
#[derive(Debug, Clone)]
pub(super) struct Markers<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Markers<'a> {
    /// Starts after SOI, which must be the first thing in the file.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        match bytes {
            [] => Err(Error::Empty),
            [0xFF, SOI, ..] => Ok(Self { bytes, at: 2 }),
            _ => Err(Error::NotJpeg),
        }
    }

    /// The next marker, or none at the end of the file.
    ///
    /// Fill bytes, FF 00 and junk before it are passed over, as libjpeg does with a warning.
    pub(super) fn next(&mut self) -> Result<Option<Marker<'a>>, Error> {
        let Some(at) = find_marker(self.bytes, self.at) else {
            self.at = self.bytes.len();
            return Ok(None);
        };
        let code = self.bytes[at];
        if stands_alone(code) {
            self.at = at + 1;
            return Ok(Some(Marker { code, at, payload: &[], end: self.at }));
        }
        let truncated = Error::Truncated { what: "file ends inside a marker segment", at };
        let Some(&[high, low]) = self.bytes.get(at + 1..at + 3).and_then(|b| b.first_chunk()) else {
            return Err(truncated);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length < 2 {
            return Err(Error::Corrupt { what: "marker segment shorter than its own length", at });
        }
        let end = at + 1 + length;
        let payload = self.bytes.get(at + 3..end).ok_or(truncated)?;
        self.at = end;
        Ok(Some(Marker { code, at, payload, end }))
    }
}

/// Offset of the code of the first marker at or after `from`: not 00 (a stuffed byte), not FF (fill).
pub(super) fn find_marker(bytes: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let ff = from + memchr::memchr(0xFF, bytes.get(from..)?)?;
        let code = ff + bytes[ff..].iter().position(|&byte| byte != 0xFF)?;
        if bytes[code] != 0 {
            return Some(code);
        }
        from = code + 1;
    }
}

/// Like [`find_marker`], but restart markers belong to the scan and are passed over.
pub(super) fn find_end_of_scan(bytes: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let at = find_marker(bytes, from)?;
        if !is_restart(bytes[at]) {
            return Some(at);
        }
        from = at + 1;
    }
}

pub(super) fn is_restart(code: u8) -> bool {
    (RST0..=RST7).contains(&code)
}

fn stands_alone(code: u8) -> bool {
    matches!(code, TEM | RST0..=EOI)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fill_bytes_stuffed_bytes_and_junk_before_a_marker_are_passed_over() {
        let bytes = [0xFF, 0xD8, 7, 0xFF, 0x00, 9, 0xFF, 0xFF, 0xFF, 0xDD, 0, 4, 1, 2, 0xFF, 0xD9];
        let mut markers = Markers::open(&bytes).unwrap();
        let dri = markers.next().unwrap().unwrap();
        assert_eq!((dri.code, dri.payload, dri.at, dri.end), (DRI, &[1u8, 2][..], 9, 14));
        assert_eq!(markers.next().unwrap().unwrap().code, EOI);
        assert!(markers.next().unwrap().is_none());
    }

    #[test]
    fn a_segment_longer_than_the_file_is_truncated() {
        let bytes = [0xFF, 0xD8, 0xFF, 0xDD, 0, 40, 1];
        let mut markers = Markers::open(&bytes).unwrap();
        assert!(matches!(markers.next(), Err(Error::Truncated { at: 3, .. })));
    }

    #[test]
    fn the_end_of_a_scan_is_the_first_marker_that_is_no_restart() {
        let bytes = [1, 0xFF, 0, 2, 0xFF, 0xD3, 3, 0xFF, 0xFF, 0xDA];
        assert_eq!(find_marker(&bytes, 0), Some(5));
        assert_eq!(find_end_of_scan(&bytes, 0), Some(9));
        assert_eq!(find_end_of_scan(&bytes[..9], 0), None);
    }
}
