//! Progressive files (T.81 G): scans are read into a store of the coefficients that matter at the scale.
//!
//! Of the others only one bit is kept: whether they are non-zero, which refinement scans have to know.
//! Scans that touch nothing that matters, now or for a later scan, are not read at all.

use super::Error;
use super::band::BandLookup;
use super::bits::Cursor;
use super::codes::DcLookup;
use super::error::Harm;
use super::first_visit::{DcScan, FirstScan};
use super::frame::Frame;
use super::idct::{LANES, Transform};
use super::lookup::Places;
use super::markers::{self, Markers};
use super::output::Output;
use super::planes::Scratch;
use super::refinement::RefinementScan;
use super::scan::{Data, Scan};
use super::simd;
use super::tables::Tables;
use super::{Damage, DamageKind, Deadline};

/// Bytes that the coefficients and history of a component take.
pub(super) fn store_bytes(frame: &Frame, component: usize, scale: u8) -> u64 {
    let (across, down) = frame.padded_blocks(&frame.components[component]);
    (across * down) as u64 * (slots(scale) as u64 * 2 + 8)
}

/// Values kept for a block: N×N, and a spare one for coefficients that do not matter.
fn slots(scale: u8) -> usize {
    usize::from(scale) * usize::from(scale) + 1
}

/// One component's coefficients.
pub(super) struct Store {
    /// Blocks from one row to the next.
    pub(super) across: usize,
    down: usize,
    pub(super) slots: usize,
    /// Index of the first block's first coefficient, and of its history.
    pub(super) coefficients: usize,
    history: usize,
    /// By zigzag index: which of the slots.
    pub(super) places: Places,
    /// By zigzag index: the lowest bit known so far.
    known: [u32; 64],
}

/// All coefficients of a picture, scan after scan.
pub(super) struct Progression<'a> {
    frame: &'a Frame,
    stores: Vec<Store>,
    /// By number of the scan: whether it must be read.
    needed: Vec<bool>,
    scans: usize,
    scratch: &'a mut Scratch,
}

impl<'a> Progression<'a> {
    pub(super) fn new(bytes: &[u8], frame: &'a Frame, scales: &[u8], scratch: &'a mut Scratch) -> Self {
        let (mut coefficients, mut history) = (0, 0);
        let mut stores = Vec::with_capacity(4);
        for (component, &scale) in frame.components.iter().zip(scales) {
            let (across, down) = frame.padded_blocks(component);
            let slots = slots(scale);
            let places = Places::new(scale, slots as u8 - 1);
            stores.push(Store { across, down, slots, coefficients, history, places, known: [u32::MAX; 64] });
            coefficients += across * down * slots;
            history += across * down;
        }
        scratch.coefficients.clear();
        scratch.coefficients.resize(coefficients, 0);
        scratch.history.clear();
        scratch.history.resize(history, 0);
        let needed = needed_scans(bytes, frame, &stores);
        Self { frame, stores, needed, scans: 0, scratch }
    }

    /// Reads a scan, or passes over it. Returns where to look for the next marker.
    pub(super) fn read_scan(
        &mut self,
        bytes: &[u8],
        scan: &Scan,
        tables: &Tables,
        interval: usize,
        harm: &mut Harm,
        deadline: Option<Deadline>,
    ) -> Result<usize, Error> {
        let needed = self.needed.get(self.scans).copied().unwrap_or(true);
        self.scans += 1;
        if !needed {
            return skip_scan(bytes, scan, harm);
        }
        for part in &scan.parts {
            self.stores[part.component].known[scan.first..=scan.last].fill(scan.low);
        }
        let missing = |what| Error::Corrupt { what, at: scan.data };
        let Scratch { buffer, coefficients, history, .. } = &mut *self.scratch;
        let (data, cursor) = Data::open(bytes, scan.data, buffer, interval, harm, deadline);
        if scan.first == 0 {
            let mut lookups = Vec::with_capacity(4);
            for part in scan.parts.iter().filter(|_| scan.high == 0) {
                let table = tables.dc[part.dc].as_ref();
                lookups.push(DcLookup::new(table.ok_or(missing("Huffman table for DC is not defined"))?));
            }
            let Self { frame, stores, .. } = self;
            return simd::fastest(DcScan {
                frame,
                scan,
                lookups: &lookups,
                stores,
                coefficients,
                data,
                cursor,
            });
        }
        let part = scan.parts[0];
        let table = tables.ac[part.ac].as_ref().ok_or(missing("Huffman table for AC is not defined"))?;
        let lookup = &*BandLookup::new(table, scan.high > 0);
        let store = &self.stores[part.component];
        let size = self.frame.blocks(&self.frame.components[part.component]);
        let coefficients = &mut coefficients[store.coefficients..];
        let history = &mut history[store.history..];
        let band = Band { scan, lookup, store, size, coefficients, history, data, cursor };
        if scan.high == 0 { simd::fastest(FirstScan(band)) } else { simd::fastest(RefinementScan(band)) }
    }

    /// Whether every coefficient that matters is known to its last bit.
    pub(super) fn is_complete(&self) -> bool {
        self.stores.iter().all(|store| store.known[..=store.places.reach].iter().all(|&low| low == 0))
    }

    /// Whether every component has been seen at all.
    pub(super) fn is_begun(&self) -> bool {
        self.stores.iter().all(|store| store.known[0] != u32::MAX)
    }

    /// Turns a component's coefficients into samples.
    pub(super) fn write_samples(
        &mut self,
        component: usize,
        transform: &mut Transform,
        output: &mut Output,
        deadline: Option<Deadline>,
    ) -> Result<(), Error> {
        let store = &self.stores[component];
        let mut batch = Box::new([0; 256 * LANES]);
        let stride = output.bands[component].stride;
        for row in 0..store.down {
            if deadline.is_some_and(|deadline| deadline.is_over()) {
                return Err(Error::Deadline { at: 0 });
            }
            for column in (0..store.across).step_by(LANES) {
                let from = store.coefficients + (row * store.across + column) * store.slots;
                let lanes = LANES.min(store.across - column);
                let blocks = &self.scratch.coefficients[from..][..lanes * store.slots];
                for (lane, block) in blocks.chunks_exact(store.slots).enumerate() {
                    for (place, &value) in block[..store.slots - 1].iter().enumerate() {
                        batch[place * LANES + lane] = value;
                    }
                }
                transform.apply(&mut batch, output.bands[component].block_mut(column, 0), stride);
            }
            output.hand_over(component);
        }
        Ok(())
    }
}

/// Which scans must be read: those with coefficients that matter, and those whose history a later
/// scan that must be read depends on.
fn needed_scans(bytes: &[u8], frame: &Frame, stores: &[Store]) -> Vec<bool> {
    let mut bands = Vec::new();
    let Ok(mut markers) = Markers::open(bytes) else { return Vec::new() };
    while let Ok(Some(marker)) = markers.next() {
        match marker.code {
            markers::EOI => break,
            markers::SOS => {
                let Ok(scan) = Scan::parse(&marker, frame) else { break };
                bands.push((scan.parts[0].component, band_mask(&scan)));
                match markers::find_end_of_scan(bytes, scan.data) {
                    Some(code) => markers.at = code - 1,
                    None => break,
                }
            }
            _ => {}
        }
    }
    let mut wanted: Vec<u64> = stores.iter().map(|store| u64::MAX >> (63 - store.places.reach)).collect();
    let mut needed = vec![true; bands.len()];
    for (needed, (component, band)) in needed.iter_mut().zip(bands).rev() {
        *needed = band & 1 != 0 || wanted[component] & band != 0;
        if *needed {
            wanted[component] |= band;
        }
    }
    needed
}

/// The zigzag indices of a scan, as bits.
pub(super) fn band_mask(scan: &Scan) -> u64 {
    u64::MAX << scan.first & u64::MAX >> (63 - scan.last)
}

fn skip_scan(bytes: &[u8], scan: &Scan, harm: &mut Harm) -> Result<usize, Error> {
    match markers::find_end_of_scan(bytes, scan.data) {
        Some(code) => Ok(code - 1),
        None => {
            let what = "entropy-coded data ends too early";
            harm.note(Damage { kind: DamageKind::Truncated, what, at: bytes.len(), row: 0 })?;
            Ok(bytes.len())
        }
    }
}

/// A scan of one component's AC coefficients, all blocks, from `scan.first` to `scan.last`.
pub(super) struct Band<'a> {
    pub(super) scan: &'a Scan,
    pub(super) lookup: &'a BandLookup,
    pub(super) store: &'a Store,
    /// Blocks across and down.
    pub(super) size: (usize, usize),
    pub(super) coefficients: &'a mut [i16],
    pub(super) history: &'a mut [u64],
    pub(super) data: Data<'a>,
    pub(super) cursor: Cursor,
}

impl Store {
    /// The coefficients and the history of a block.
    #[inline(always)]
    pub(super) fn block<'b>(
        &self,
        column: usize,
        row: usize,
        coefficients: &'b mut [i16],
        history: &'b mut [u64],
    ) -> (&'b mut [i16], &'b mut u64) {
        let block = row * self.across + column;
        (&mut coefficients[block * self.slots..][..self.slots], &mut history[block])
    }
}
