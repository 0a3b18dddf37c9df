//! A JPEG decoder that yields planes at N/8 of their size, and does not pay for what the scale drops.
//!
//! ```text
//! bytes                read_header                                decode
//!   │  markers.rs        │ header.rs, metadata.rs, frame.rs         │
//!   ▼                    ▼                                          ▼
//! FF xx … ──▶ Header: size, colour, orientation ──▶ for each SOS: scan.rs reads the scan header
//!                                                     │
//!   segment.rs  finds the entropy-coded data, undoes FF 00, starts anew at restart markers
//!   bits.rs     a 64-bit window on it
//!   codes.rs    made from tables.rs: Huffman codes one by one
//!   lookup.rs   made from those: the next bits ─▶ one, two or many symbols (band.rs: in progressive files)
//!                                                     │
//!   baseline.rs     blocks, sixteen at a time ────────┼─────────────────────▶ idct.rs ─▶ output.rs
//!   progressive.rs  scans into compact coefficients, all blocks; at the end ▶ idct.rs ─▶ output.rs
//!   first_visit.rs, refinement.rs   what a scan does to them
//! ```
//!
//! | to find | look at | T.81 |
//! | --- | --- | --- |
//! | markers, fill bytes, junk between them | `markers.rs` | B.1.1 |
//! | restart markers: the next one found, or a lost interval | `segment.rs`, `Segment::restart` | E.1.4 |
//! | restart markers: when one is due, and what is then damaged | `scan.rs`, `Data::restart` | E.2.4, F.2.2.5 |
//! | the whole course: scans in order, tables in force, what ends it | `picture.rs` | B.2.1 |
//! | sizes, sampling factors, MCUs | `frame.rs` | A.1, A.2, B.2.2 |
//! | which scan has which components, bands and bits | `scan.rs`, `Scan::parse` | B.2.3, G.1.1.1 |
//! | quantisation and Huffman tables, the usual ones included | `tables.rs` | B.2.4, K.3.3 |
//! | codes from lengths; value bits | `codes.rs`; `bits.rs`, `extend` | C.2; F.2.2.1 |
//! | blocks of sequential files | `baseline.rs` | F.2.2 |
//! | spectral selection, successive approximation | `first_visit.rs`, `refinement.rs` | G.1.2, G.2 |
//! | the inverse DCT at N/8 | `idct.rs`, `narrow.rs` | A.3.3 |
//! | what is shown for missing data | `baseline.rs`, `BaselineScan`; `first_visit.rs`, `DcScan`; `output.rs`, `GREY` | – |
//! | bands of rows | `output.rs` | – |
//! | orientation, ICC profile, colour space | `metadata.rs` | Exif 2.32, ICC.1, Adobe TN 5116 |
//!
//! Samples are bytes. Planes and bands are rows from the top, `stride` samples apart; coefficients of a block
//! are in zigzag order until `idct.rs` places them. Offsets (`at`) are bytes from the start of the file.
//!
//! For scale N/8 only the N×N low-frequency coefficients of a block matter. They come first in zigzag
//! order; past the last that can matter, symbols are passed over, several a look-up, and nothing is
//! stored. The scale is chosen for each component, so that subsampled chroma need not be enlarged.
//!
//! Read: 8-bit baseline, extended and progressive Huffman files, 1 to 4 components, any sampling.
//! Refused by name: arithmetic coding, lossless, hierarchical, 12-bit. See [`Error`].
//!
//! Section numbers are those of ITU-T T.81 (1992). Where files and standard differ, libjpeg's habit
//! is followed, and said so.

mod band;
mod baseline;
mod bits;
mod codes;
mod error;
mod first_visit;
#[cfg(any(test, fuzzing))]
pub mod fixture;
mod frame;
mod header;
mod idct;
mod lookup;
mod markers;
mod metadata;
mod narrow;
mod output;
mod picture;
mod planes;
mod progressive;
mod refinement;
mod scan;
mod segment;
mod simd;
mod tables;
#[cfg(test)]
mod tests;

use super::Deadline;
pub use error::{Damage, DamageKind, Damaged, Error, Unsupported};
pub use frame::{Coding, Component};
pub use header::{Color, Header, read_header};
pub use output::{Rows, Sink};
pub use planes::{Plane, Planes, Scratch};

use output::Output;
use picture::Picture;

/// What a picture may cost, and whether it may be damaged.
#[derive(Debug, Clone)]
pub struct Limits {
    pub max_pixels: u64,
    pub max_scans: u32,
    /// Bytes that decoding may take, of [`memory_bound`].
    pub max_memory: u64,
    /// Checked for each row of MCUs.
    pub deadline: Option<Deadline>,
    pub damaged: Damaged,
}

impl Default for Limits {
    /// 268 megapixels as libvips and sharp; 100 scans; 1 GiB; damaged pictures are rejected.
    fn default() -> Self {
        Self {
            max_pixels: 268_402_689,
            max_scans: 100,
            max_memory: 1 << 30,
            deadline: None,
            damaged: Damaged::Reject,
        }
    }
}

/// A decoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    pub planes: Planes,
    /// What was wrong first, if [`Damaged::Accept`] let it pass.
    pub damage: Option<Damage>,
}

/// The most bytes that [`decode_rows`] takes, scratch included, the file not: for each component a band as
/// wide as its blocks and one batch of them more, as high as one row of MCUs (of blocks in progressive
/// files; all of it in sequential files with more than one scan); in progressive files also N×N + 1
/// coefficients of two bytes and eight bytes of history for each block; and 256 KiB. [`decode`] takes
/// its planes as well.
pub fn memory_bound(header: &Header, scales: &[u8]) -> u64 {
    let mut total = Scratch::FIXED + output::bytes(header, scales);
    if header.coding == Coding::Progressive {
        let stores = scales.iter().enumerate().take(header.components.len());
        total += stores.map(|(nth, &scale)| progressive::store_bytes(&header.frame, nth, scale)).sum::<u64>();
    }
    total
}

/// Decodes each component at its scale, `scales[c]`/8, each 1..=8, into planes.
///
/// `header` must be that of `bytes`. A plane has the size that [`Header::plane_size`] says.
pub fn decode(
    bytes: &[u8],
    header: &Header,
    scales: &[u8],
    limits: &Limits,
    scratch: &mut Scratch,
) -> Result<Decoded, Error> {
    check_scales(header, scales)?;
    let sizes = || (0..).zip(scales).map(|(nth, &scale)| (header.plane_size(nth, scale), scale));
    let samples: u64 = sizes().map(|((width, height), _)| width as u64 * height as u64).sum();
    check_memory(memory_bound(header, scales) + samples, limits)?;
    let mut planes: Vec<Plane> = sizes()
        .map(|((width, height), scale)| Plane {
            width,
            height,
            samples: Vec::with_capacity(width * height),
            scale,
        })
        .collect();
    let damage = decode_rows(bytes, header, scales, limits, scratch, &mut |component, rows| {
        rows.iter().for_each(|row| planes[component].samples.extend_from_slice(row));
    })?;
    Ok(Decoded { planes: Planes { planes }, damage })
}

/// As [`decode`], but each row goes to `sink` as soon as it is there. An error may come after rows.
pub fn decode_rows(
    bytes: &[u8],
    header: &Header,
    scales: &[u8],
    limits: &Limits,
    scratch: &mut Scratch,
    sink: &mut Sink,
) -> Result<Option<Damage>, Error> {
    check_scales(header, scales)?;
    check_memory(memory_bound(header, scales), limits)?;
    Picture::new(bytes, header, scales, limits, Output::new(header, scales, scratch, sink)).read(scratch)
}

fn check_scales(header: &Header, scales: &[u8]) -> Result<(), Error> {
    let components = header.components.len();
    if scales.len() == components && scales.iter().all(|scale| (1..=8).contains(scale)) {
        return Ok(());
    }
    Err(Error::Scales { given: scales.to_vec(), components })
}

fn check_memory(needs: u64, limits: &Limits) -> Result<(), Error> {
    if needs <= limits.max_memory {
        Ok(())
    } else {
        Err(Error::MemoryLimit { needs, max: limits.max_memory })
    }
}
