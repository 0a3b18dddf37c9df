//! What can be wrong with a JPEG file, and what a damaged one lost.

use thiserror::Error;

/// Why a file is refused. Each one is for good: the same bytes will be refused again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    #[error("file is empty")]
    Empty,
    #[error("not a JPEG: file does not start with FF D8")]
    NotJpeg,
    #[error("unsupported JPEG: {0}")]
    Unsupported(Unsupported),
    #[error("corrupt JPEG: {what} at byte {at}")]
    Corrupt { what: &'static str, at: usize },
    #[error("truncated JPEG: {what} at byte {at}")]
    Truncated { what: &'static str, at: usize },
    #[error("{width}x{height} is {pixels} pixels, over the pixel limit of {max}")]
    PixelLimit { width: u32, height: u32, pixels: u64, max: u64 },
    #[error("file has {scans} scans or more, over the scan limit of {max}")]
    ScanLimit { scans: u32, max: u32 },
    #[error("decoding needs {needs} bytes, over the memory limit of {max}")]
    MemoryLimit { needs: u64, max: u64 },
    #[error("decoding passed its deadline at byte {at}")]
    Deadline { at: usize },
    #[error("scales {given:?} do not fit a picture of {components} components: one of 1..=8 for each")]
    Scales { given: Vec<u8>, components: usize },
}

/// Kinds of JPEG that are legal but not read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unsupported {
    #[error("12-bit samples")]
    TwelveBit,
    #[error("{0}-bit samples")]
    Precision(u8),
    #[error("lossless")]
    Lossless,
    #[error("arithmetic coding")]
    Arithmetic,
    #[error("hierarchical")]
    Hierarchical,
    #[error("{0} components")]
    Components(u8),
}

/// The first thing that was wrong with the picture data of a file that was decoded all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    pub kind: DamageKind,
    pub what: &'static str,
    /// Offset in the file, exact for markers and within one buffer for entropy-coded data.
    pub at: usize,
    /// Row of MCUs (of the frame, or of the component in a scan of one component).
    pub row: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DamageKind {
    /// Picture data is missing: in its place is the mean of the block that came last, or grey if none came.
    Truncated,
    /// Picture data is there, but wrong.
    Corrupt,
}

/// What to do with a file whose picture data is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Damaged {
    #[default]
    Reject,
    Accept,
}

/// Takes note of damage: the first of it ends decoding, or is remembered.
#[derive(Debug)]
pub(super) struct Harm {
    policy: Damaged,
    pub(super) first: Option<Damage>,
}

impl Harm {
    pub(super) fn new(policy: Damaged) -> Self {
        Self { policy, first: None }
    }

    pub(super) fn note(&mut self, damage: Damage) -> Result<(), Error> {
        match self.policy {
            Damaged::Reject => Err(damage.into()),
            Damaged::Accept => {
                self.first.get_or_insert(damage);
                Ok(())
            }
        }
    }
}

impl From<Damage> for Error {
    fn from(damage: Damage) -> Self {
        let Damage { what, at, .. } = damage;
        match damage.kind {
            DamageKind::Truncated => Error::Truncated { what, at },
            DamageKind::Corrupt => Error::Corrupt { what, at },
        }
    }
}
