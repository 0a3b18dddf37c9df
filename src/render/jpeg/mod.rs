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
//! | sizes, sampling factors, MCUs | `frame.rs` | A.1, A.2, B.2.2 |
//! | which scan has which components, bands and bits | `scan.rs`, `Scan::parse` | B.2.3, G.1.1.1 |
//! | quantisation and Huffman tables, the usual ones included | `tables.rs` | B.2.4, K.3.3 |
//! | codes from lengths; value bits | `codes.rs`; `bits.rs`, `extend` | C.2; F.2.2.1 |
//! | blocks of sequential files | `baseline.rs` | F.2.2 |
//! | spectral selection, successive approximation | `first_visit.rs`, `refinement.rs` | G.1.2, G.2 |
//! | the inverse DCT at N/8 | `idct.rs` | A.3.3 |
//! | what is grey when data is missing; bands of rows | `output.rs` | – |
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
mod output;
mod planes;
mod progressive;
mod refinement;
mod scan;
mod segment;
mod simd;
mod tables;
#[cfg(test)]
mod tests;

use std::time::Instant;

pub use error::{Damage, DamageKind, Damaged, Error, Unsupported};
pub use frame::{Coding, Component};
pub use header::{Color, Header, read_header};
pub use output::{Rows, Sink};
pub use planes::{Plane, Planes, Scratch};

use baseline::{BaselineScan, Reader};
use codes::DcLookup;
use error::Harm;
use frame::Frame;
use idct::Transform;
use lookup::AcLookup;
use markers::Markers;
use output::Output;
use progressive::Progression;
use scan::{Data, Part, Scan};
use tables::{Quantisation, Tables};

/// What a picture may cost, and whether it may be damaged.
#[derive(Debug, Clone)]
pub struct Limits {
    pub max_pixels: u64,
    pub max_scans: u32,
    /// Bytes that decoding may take, of [`memory_bound`].
    pub max_memory: u64,
    /// Checked for each row of MCUs.
    pub deadline: Option<Instant>,
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
    let mut picture = Picture {
        bytes,
        frame: &header.frame,
        scales,
        limits,
        tables: Tables::new(),
        interval: 0,
        harm: Harm::new(limits.damaged),
        output: Output::new(header, scales, scratch, sink),
        ended: false,
    };
    let done = match header.coding {
        Coding::Progressive => picture.read_progressive(scratch),
        Coding::Baseline | Coding::Extended => picture.read_sequential(scratch),
    };
    picture.output.recycle(scratch);
    done.map(|()| picture.harm.first)
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

/// A picture on its way.
struct Picture<'a> {
    bytes: &'a [u8],
    frame: &'a Frame,
    scales: &'a [u8],
    limits: &'a Limits,
    tables: Tables,
    /// MCUs between restart markers, 0 for none.
    interval: usize,
    harm: Harm,
    output: Output<'a>,
    /// EOI was seen.
    ended: bool,
}

impl Picture<'_> {
    /// Decodes scans until every component has been seen; what follows is not looked at.
    fn read_sequential(&mut self, scratch: &mut Scratch) -> Result<(), Error> {
        let mut markers = Markers::open(self.bytes)?;
        let mut seen = [false; 4];
        let missing = |seen: &[bool; 4]| seen[..self.frame.components.len()].contains(&false);
        while missing(&seen) {
            let Some(scan) = self.next_scan(&mut markers)? else { break };
            scan.parts.iter().for_each(|part| seen[part.component] = true);
            markers.at = self.read_baseline_scan(&scan, scratch)?;
        }
        if missing(&seen) {
            self.note_missing_scans(markers.at)?;
            let unseen = self.output.bands.iter_mut().zip(seen).filter(|(_, seen)| !seen);
            unseen.for_each(|(band, _)| band.clear());
        }
        self.output.finish();
        Ok(())
    }

    fn read_baseline_scan(&mut self, scan: &Scan, scratch: &mut Scratch) -> Result<usize, Error> {
        let missing = |what| Error::Corrupt { what, at: scan.data };
        let scale = |part: &Part| self.scales[part.component];
        let mut lookups = Lookups::default();
        for part in &scan.parts {
            lookups.add_dc(part.dc, &self.tables).ok_or(missing("Huffman table for DC is not defined"))?;
            lookups
                .add_ac(part.ac, scale(part), &self.tables)
                .ok_or(missing("Huffman table for AC is not defined"))?;
        }
        let (mut readers, mut transforms) = (Vec::with_capacity(4), Vec::with_capacity(4));
        for part in &scan.parts {
            transforms.push(Transform::new(&self.quantisation(part.component, scan.data)?, scale(part)));
            if let (Some(dc), Some(ac)) = (lookups.dc(part.dc), lookups.ac(part.ac, scale(part))) {
                readers.push(Reader { dc, ac });
            }
        }
        let Scratch { buffer, batches, .. } = scratch;
        let (data, cursor) =
            Data::open(self.bytes, scan.data, buffer, self.interval, &mut self.harm, self.limits.deadline);
        let (frame, output) = (self.frame, &mut self.output);
        let (readers, transforms) = (&readers, &mut transforms);
        simd::fastest(BaselineScan { frame, scan, readers, transforms, output, batches, data, cursor })
    }

    /// Reads all scans into coefficients, then turns those into samples.
    fn read_progressive(&mut self, scratch: &mut Scratch) -> Result<(), Error> {
        let mut markers = Markers::open(self.bytes)?;
        let mut progression = Progression::new(self.bytes, self.frame, self.scales, scratch);
        let mut transforms: [Option<Transform>; 4] = [const { None }; 4];
        while let Some(scan) = self.next_scan(&mut markers)? {
            // libjpeg too takes the quantisation table in force at a component's first scan.
            for part in &scan.parts {
                if transforms[part.component].is_none() {
                    let table = self.quantisation(part.component, scan.data)?;
                    transforms[part.component] = Some(Transform::new(&table, self.scales[part.component]));
                }
            }
            markers.at = progression.read_scan(
                self.bytes,
                &scan,
                &self.tables,
                self.interval,
                &mut self.harm,
                self.limits.deadline,
            )?;
        }
        if !(progression.is_complete() || self.ended && progression.is_begun()) {
            self.note_missing_scans(markers.at)?;
        }
        for (nth, transform) in transforms.iter_mut().enumerate() {
            if let Some(transform) = transform {
                progression.write_samples(nth, transform, &mut self.output, self.limits.deadline)?;
            }
        }
        self.output.finish();
        Ok(())
    }

    /// Takes over tables up to the next scan. None at the end of the picture or of the file.
    fn next_scan(&mut self, markers: &mut Markers) -> Result<Option<Scan>, Error> {
        loop {
            let marker = match markers.next() {
                Ok(Some(marker)) if marker.code != markers::EOI => marker,
                Ok(end) => {
                    self.ended = end.is_some();
                    return Ok(None);
                }
                Err(error) => return self.forgive(error),
            };
            let done = match marker.code {
                markers::DQT => self.tables.define_quantisation(&marker),
                markers::DHT => self.tables.define_huffman(&marker),
                markers::DRI => self.define_interval(&marker),
                markers::SOS => match Scan::parse(&marker, self.frame) {
                    Ok(scan) => return Ok(Some(scan)),
                    Err(error) => Err(error),
                },
                _ => Ok(()),
            };
            if let Err(error) = done {
                return self.forgive(error);
            }
        }
    }

    /// An error between scans ends the picture, but not the hope for what came before it.
    fn forgive<T>(&mut self, error: Error) -> Result<Option<T>, Error> {
        let (kind, what, at) = match error {
            Error::Corrupt { what, at } => (DamageKind::Corrupt, what, at),
            Error::Truncated { what, at } => (DamageKind::Truncated, what, at),
            other => return Err(other),
        };
        self.harm.note(Damage { kind, what, at, row: 0 })?;
        Ok(None)
    }

    fn define_interval(&mut self, marker: &markers::Marker) -> Result<(), Error> {
        let &[high, low] = marker.payload else {
            return Err(Error::Corrupt { what: "restart interval is not two bytes", at: marker.at });
        };
        self.interval = usize::from(u16::from_be_bytes([high, low]));
        Ok(())
    }

    fn quantisation(&self, component: usize, at: usize) -> Result<Quantisation, Error> {
        let number = usize::from(self.frame.components[component].tq);
        self.tables.quantisation[number]
            .ok_or(Error::Corrupt { what: "quantisation table is not defined", at })
    }

    fn note_missing_scans(&mut self, at: usize) -> Result<(), Error> {
        self.harm.note(Damage {
            kind: DamageKind::Truncated,
            what: "file ends before all scans have come",
            at,
            row: 0,
        })
    }
}

/// Look-up tables of a scan, each made once: by number, those for AC by scale too.
#[derive(Default)]
struct Lookups {
    dc: Vec<(usize, Box<DcLookup>)>,
    ac: Vec<(usize, u8, Box<AcLookup>)>,
}

impl Lookups {
    fn dc(&self, number: usize) -> Option<&DcLookup> {
        self.dc.iter().find(|made| made.0 == number).map(|made| &*made.1)
    }

    fn ac(&self, number: usize, scale: u8) -> Option<&AcLookup> {
        self.ac.iter().find(|made| (made.0, made.1) == (number, scale)).map(|made| &*made.2)
    }

    /// None if the file defines no such table.
    fn add_dc(&mut self, number: usize, tables: &Tables) -> Option<()> {
        if self.dc(number).is_none() {
            self.dc.push((number, DcLookup::new(tables.dc[number].as_ref()?)));
        }
        Some(())
    }

    /// None if the file defines no such table.
    fn add_ac(&mut self, number: usize, scale: u8, tables: &Tables) -> Option<()> {
        if self.ac(number, scale).is_none() {
            self.ac.push((number, scale, AcLookup::new(tables.ac[number].as_ref()?, scale)));
        }
        Some(())
    }
}
