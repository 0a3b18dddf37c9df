//! One component of a picture: a plane of 8-bit samples.

/// `width * height` samples, rows tightly packed, top row first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plane {
    pub width: usize,
    pub height: usize,
    pub samples: Vec<u8>,
}

impl Plane {
    /// A plane with the same value everywhere.
    pub fn filled(width: usize, height: usize, value: u8) -> Self {
        Self { width, height, samples: vec![value; width * height] }
    }

    /// The samples of row `y`.
    pub fn row(&self, y: usize) -> &[u8] {
        &self.samples[y * self.width..][..self.width]
    }
}
