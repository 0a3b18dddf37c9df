//! What a WebP file can make a decoder take memory for before there is a pixel: the sizes of its chunks, and the
//! codes of a lossless one.
//!
//! RFC 9649, 2: `RIFF`, the file's size, `WEBP`, then chunks, each a name of four bytes, its size in 32 bits
//! (little-endian), its data, and a byte of padding if that is odd. A frame of an animation (`ANMF`) holds
//! chunks after 16 bytes of its own.

mod codes;

use crate::error::{Reason, Rejection};

const HEADER: usize = 12;
const CHUNK_HEADER: usize = 8;
const FRAME_HEADER: usize = 16;

/// Those that a decoder looks into.
const KNOWN: [&[u8]; 9] = [b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP "];

/// Looks at all of the file, whatever size it says that it has: decoders go beyond that too.
///
/// # Errors
///
/// A chunk says that it is longer than what holds it.
pub fn check_chunks(file: &[u8]) -> Result<(), Rejection> {
    check(file.get(HEADER..).unwrap_or_default(), true)
}

/// Frames are in no frames: looked for in the file only, or a file made for it would exhaust the stack.
fn check(mut chunks: &[u8], in_file: bool) -> Result<(), Rejection> {
    while let Some((header, rest)) = chunks.split_at_checked(CHUNK_HEADER) {
        let (name, size) = (&header[..4], size(&header[4..]));
        let Some(data) = rest.get(..size) else {
            if !KNOWN.contains(&name) {
                break;
            }
            let name = String::from_utf8_lossy(name);
            let detail =
                format!("chunk {name:?} of the WebP file says {size} bytes, and {} follow", rest.len());
            return Err(Rejection::new(Reason::Truncated, detail));
        };
        if in_file && name == b"ANMF" {
            check(data.get(FRAME_HEADER..).unwrap_or_default(), false)?;
        }
        chunks = rest.get(size + size % 2..).unwrap_or_default();
    }
    Ok(())
}

/// Bytes that the codes of lossless data take when the file is decoded, or the first frame of an animation.
///
/// # Errors
///
/// The data is broken before its pixels, or they take more than `most`.
pub fn code_memory(file: &[u8], most: u64) -> Result<u64, Rejection> {
    let chunks = file.get(HEADER..).unwrap_or_default();
    // Widths and heights are in three bytes, less one.
    let size = |data: &[u8], at: usize| match data.get(at..at + 6) {
        Some(&[w0, w1, w2, h0, h1, h2]) => {
            Some((u32::from_le_bytes([w0, w1, w2, 0]) + 1, u32::from_le_bytes([h0, h1, h2, 0]) + 1))
        }
        _ => None,
    };
    let canvas = first(chunks, b"VP8X").and_then(|data| size(data, 4));
    let mut total = codes_of(chunks, canvas, most)?;
    if let Some((header, chunks)) =
        first(chunks, b"ANMF").and_then(|data| data.split_at_checked(FRAME_HEADER))
    {
        total += codes_of(chunks, size(header, 6), most)?;
    }
    Ok(total)
}

fn codes_of(chunks: &[u8], size: Option<(u32, u32)>, most: u64) -> Result<u64, Rejection> {
    let mut total = 0;
    if let Some(stream) = first(chunks, b"VP8L") {
        total += codes::memory(stream, None, most)?;
    }
    // Transparency of a lossy picture may be a lossless stream: the lowest bits of the first byte tell.
    if let (Some([how, stream @ ..]), Some(_)) = (first(chunks, b"ALPH"), size)
        && how & 3 == 1
    {
        total += codes::memory(stream, size, most)?;
    }
    Ok(total)
}

/// The data of the first chunk of a name.
fn first<'a>(mut chunks: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    loop {
        let (header, rest) = chunks.split_at_checked(CHUNK_HEADER)?;
        let size = size(&header[4..]);
        let data = rest.get(..size)?;
        if &header[..4] == name {
            return Some(data);
        }
        chunks = rest.get(size + size % 2..)?;
    }
}

fn size(bytes: &[u8]) -> usize {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(name: &[u8; 4], size: u32, data: &[u8]) -> Vec<u8> {
        [&name[..], &size.to_le_bytes(), data].concat()
    }

    fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
        let chunks = chunks.concat();
        [&chunk(b"RIFF", chunks.len() as u32 + 4, b"WEBP")[..], &chunks].concat()
    }

    #[test]
    fn no_chunk_is_longer_than_what_holds_it() {
        let sound = [chunk(b"VP8X", 3, &[0; 4]), chunk(b"EXIF", 2, &[1, 2]), chunk(b"VP8L", 5, &[0; 5])];
        assert!(check_chunks(&file(&sound)).is_ok(), "padding may be missing at the end");
        assert!(check_chunks(&[file(&sound), vec![0xFF; 30]].concat()).is_ok(), "what follows is no chunk");
        let frame = [vec![0; 16], chunk(b"ALPH", 4, &[0; 4])].concat();
        assert!(check_chunks(&file(&[chunk(b"ANMF", 28, &frame)])).is_ok());

        for huge in [5, 600 << 20, u32::MAX - 1, u32::MAX] {
            let told = check_chunks(&file(&[chunk(b"ICCP", huge, &[0; 4])])).unwrap_err();
            assert_eq!(told.reason, Reason::Truncated);
            assert!(told.detail.contains("ICCP") && told.detail.contains(&huge.to_string()), "{told}");
            let after = [file(&sound), vec![0], chunk(b"EXIF", huge, &[])].concat();
            assert!(check_chunks(&after).is_err(), "beyond the size that the file says");
            let frame = [vec![0; 16], chunk(b"ALPH", huge, &[0; 4])].concat();
            assert!(check_chunks(&file(&[chunk(b"ANMF", 28, &frame)])).is_err());
        }
        let mut nested = Vec::new();
        for depth in (0..100_000_u32).rev() {
            nested.extend(chunk(b"ANMF", depth * 24 + 16, &[0; 16]));
        }
        assert!(check_chunks(&file(&[nested])).is_ok(), "as deep as it likes");
        assert!(check_chunks(b"RIFF").is_ok() && check_chunks(b"").is_ok(), "the decoder says what is wrong");
    }
}
