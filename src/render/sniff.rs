//! What bytes are, by their content, and what a JPEG's markers say before anything is decoded.

use crate::error::{Reason, Rejection};
use image::ImageFormat;

/// Formats that the `image` crate reads and that can be told by their first bytes.
pub fn sniff(bytes: &[u8]) -> Result<ImageFormat, Rejection> {
    if bytes.is_empty() {
        return Err(Rejection::new(Reason::Empty, "the file has no bytes"));
    }
    let format = image::guess_format(bytes).map_err(|_| not_an_image(bytes))?;
    if format.reading_enabled() { Ok(format) } else { Err(not_an_image(bytes)) }
}

fn not_an_image(bytes: &[u8]) -> Rejection {
    let start: Vec<String> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
    let detail = format!("the file starts with {} and is of no image format that we read", start.join(" "));
    Rejection::new(Reason::NotAnImage, detail)
}

/// What the markers of a JPEG say (ITU-T T.81, Annex B).
#[derive(Debug, PartialEq, Eq)]
pub struct JpegMarkers {
    pub width: u32,
    pub height: u32,
    pub scans: u32,
    /// An EOI marker follows the last scan.
    pub complete: bool,
}

/// Walks the markers without decoding a coefficient; refuses by name what is not read.
pub fn jpeg_markers(bytes: &[u8]) -> Result<JpegMarkers, Rejection> {
    let mut found = JpegMarkers { width: 0, height: 0, scans: 0, complete: false };
    let mut framed = false;
    let mut at = 2;
    while let Some(marker) = next_marker(bytes, &mut at) {
        match marker {
            0xd9 => {
                found.complete = true;
                break;
            }
            0x01 | 0xd0..=0xd8 => continue, // stand alone
            _ => {}
        }
        let Some(&[high, low]) = bytes.get(at..at + 2) else { break };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let body = bytes.get(at + 2..at + length.max(2)).unwrap_or_default();
        match marker {
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf if !framed => {
                framed = true;
                (found.width, found.height) = frame(marker, body)?;
            }
            0xda => found.scans += 1,
            _ => {}
        }
        at += length.max(2);
    }
    if !framed {
        return Err(Rejection::new(Reason::Corrupt, "the JPEG has no frame header"));
    }
    if found.scans == 0 {
        return Err(Rejection::new(Reason::Corrupt, "the JPEG has no scan"));
    }
    Ok(found)
}

/// Moves past the next marker and gives its code; skips entropy-coded data, stuffing and fill bytes.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let next = bytes.get(*at..)?.iter().position(|&b| b == 0xff)?;
        *at += next + 1;
        match *bytes.get(*at)? {
            0x00 => *at += 1,
            0xff => {}
            marker => {
                *at += 1;
                return Some(marker);
            }
        }
    }
}

fn frame(marker: u8, body: &[u8]) -> Result<(u32, u32), Rejection> {
    let unsupported = |what| Err(Rejection::new(Reason::Unsupported, format!("{what} JPEG is not read")));
    match marker {
        0xc3 => return unsupported("lossless (SOF3)"),
        0xc5..=0xc7 | 0xcd..=0xcf => return unsupported("hierarchical"),
        0xc9..=0xcb => return unsupported("arithmetic-coded"),
        _ => {}
    }
    let &[precision, h1, h0, w1, w0, ..] = body else {
        return Err(Rejection::new(Reason::Corrupt, "the JPEG's frame header is cut short"));
    };
    if precision != 8 {
        return unsupported(if precision == 12 { "12-bit" } else { "other than 8-bit" });
    }
    let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
    if width == 0 || height == 0 {
        let detail = format!("the JPEG's frame header says {width}x{height}");
        return Err(Rejection::new(Reason::Corrupt, detail));
    }
    Ok((width.into(), height.into()))
}
