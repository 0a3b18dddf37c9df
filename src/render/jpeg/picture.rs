//! A whole picture: its scans one after the other, with the tables in force.

use super::baseline::{BaselineScan, Reader};
use super::codes::DcLookup;
use super::error::Harm;
use super::frame::{Coding, Frame};
use super::header::Header;
use super::idct::Transform;
use super::lookup::AcLookup;
use super::markers::{self, Markers};
use super::output::Output;
use super::planes::Scratch;
use super::progressive::Progression;
use super::scan::{Data, Part, Scan};
use super::tables::{Quantisation, Tables};
use super::{Damage, DamageKind, Error, Limits, simd};

/// A picture on its way.
pub(super) struct Picture<'a> {
    bytes: &'a [u8],
    frame: &'a Frame,
    scales: &'a [u8],
    limits: &'a Limits,
    tables: Tables,
    /// MCUs between restart markers, 0 for none.
    interval: usize,
    /// So far.
    scans: u32,
    harm: Harm,
    output: Output<'a>,
    /// A scan that shows something was read.
    begun: bool,
    /// EOI was seen.
    ended: bool,
}

impl<'a> Picture<'a> {
    pub(super) fn new(
        bytes: &'a [u8],
        header: &'a Header,
        scales: &'a [u8],
        limits: &'a Limits,
        output: Output<'a>,
    ) -> Self {
        Self {
            bytes,
            frame: &header.frame,
            scales,
            limits,
            tables: Tables::new(),
            interval: 0,
            scans: 0,
            harm: Harm::new(limits.damaged),
            output,
            begun: false,
            ended: false,
        }
    }

    /// Reads all of it, and tells what was damaged first.
    pub(super) fn read(mut self, scratch: &mut Scratch) -> Result<Option<Damage>, Error> {
        let done = match self.frame.coding {
            Coding::Progressive => self.read_progressive(scratch),
            Coding::Baseline | Coding::Extended => self.read_sequential(scratch),
        };
        self.output.recycle(scratch);
        done.map(|()| self.harm.first)
    }

    /// Decodes scans until every component has been seen; what follows is not looked at.
    fn read_sequential(&mut self, scratch: &mut Scratch) -> Result<(), Error> {
        let mut markers = Markers::open(self.bytes)?;
        let mut seen = [false; 4];
        let missing = |seen: &[bool; 4]| seen[..self.frame.components.len()].contains(&false);
        while missing(&seen) {
            let Some(scan) = self.next_scan(&mut markers)? else { break };
            let read = self.read_baseline_scan(&scan, scratch);
            let Some(after) = self.go_on(&scan, read)? else { break };
            scan.parts.iter().for_each(|part| seen[part.component] = true);
            markers.at = after;
        }
        self.insist_on_data(markers.at)?;
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
            let read = self.read_progressive_scan(&scan, &mut progression, &mut transforms);
            let Some(after) = self.go_on(&scan, read)? else { break };
            markers.at = after;
        }
        self.insist_on_data(markers.at)?;
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

    fn read_progressive_scan(
        &mut self,
        scan: &Scan,
        progression: &mut Progression,
        transforms: &mut [Option<Transform>; 4],
    ) -> Result<usize, Error> {
        // libjpeg too takes the quantisation table in force at a component's first scan.
        for part in &scan.parts {
            if transforms[part.component].is_none() {
                let table = self.quantisation(part.component, scan.data)?;
                transforms[part.component] = Some(Transform::new(&table, self.scales[part.component]));
            }
        }
        let Self { bytes, tables, interval, harm, limits, .. } = self;
        progression.read_scan(bytes, scan, tables, *interval, harm, limits.deadline)
    }

    /// What `read` says: where to look for the next marker. None if the scan cannot be read, for want of a
    /// table: it ends the picture, as in browsers, but for what came before it.
    fn go_on(&mut self, scan: &Scan, read: Result<usize, Error>) -> Result<Option<usize>, Error> {
        match read {
            Ok(after) => {
                self.begun |= self.shows_something(scan);
                Ok(Some(after))
            }
            Err(error) if self.begun => self.forgive(error),
            Err(error) => Err(error),
        }
    }

    /// A scan without data shows nothing, nor do details of nothing.
    fn shows_something(&self, scan: &Scan) -> bool {
        let has_data = match self.bytes.get(scan.data..).unwrap_or_default() {
            [] | [0xFF] => false,
            [0xFF, code, ..] => *code == 0 || markers::is_restart(*code),
            _ => true,
        };
        has_data && (self.frame.coding != Coding::Progressive || scan.first == 0)
    }

    /// Of nothing no picture is made, whatever may be missing.
    fn insist_on_data(&self, at: usize) -> Result<(), Error> {
        if self.begun {
            return Ok(());
        }
        Err(self.harm.first.unwrap_or(missing_scans(at)).into())
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
                    // Counted again: after damage, more may come to light than a look at the markers shows.
                    Ok(scan) => {
                        self.scans += 1;
                        let (scans, max) = (self.scans, self.limits.max_scans);
                        return if scans > max {
                            Err(Error::ScanLimit { scans, max })
                        } else {
                            Ok(Some(scan))
                        };
                    }
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
        self.harm.note(missing_scans(at))
    }
}

fn missing_scans(at: usize) -> Damage {
    Damage { kind: DamageKind::Truncated, what: "file ends before all scans have come", at, row: 0 }
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
