//! What is kept of what a script printed: all of it, or its beginning and its end, and how much is not there between
//! them.

/// Of the beginning, and of the end.
pub const KEPT: usize = 1 << 20;

/// A log, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept<'a> {
    pub first: &'a [u8],
    /// Bytes between the two.
    pub left_out: u64,
    pub last: &'a [u8],
}

/// Stands for bytes that are not there.
pub fn gap(bytes: u64) -> Vec<u8> {
    format!("\n[longshore: {bytes} bytes are left out here]\n").into_bytes()
}

impl<'a> Kept<'a> {
    /// Where something is left out, beginning and end have their full length: no script can print what looks so.
    pub fn read(text: &'a [u8]) -> Self {
        let (first, rest) = text.split_at(text.len().min(KEPT));
        if let Some(between) = rest.len().checked_sub(KEPT).filter(|between| *between > 0) {
            let (mark, last) = rest.split_at(between);
            if let Some(left_out) = left_out(mark) {
                return Self { first, left_out, last };
            }
        }
        Self { first, left_out: 0, last: rest }
    }

    /// As it is stored.
    pub fn text(&self) -> Vec<u8> {
        let mut text = self.first.to_vec();
        if self.left_out > 0 {
            text.extend(gap(self.left_out));
        }
        text.extend(self.last);
        text
    }

    /// How much was printed.
    pub fn total(&self) -> u64 {
        self.first.len() as u64 + self.left_out + self.last.len() as u64
    }
}

fn left_out(mark: &[u8]) -> Option<u64> {
    let words = std::str::from_utf8(mark).ok()?.strip_prefix("\n[longshore: ")?;
    words.strip_suffix(" bytes are left out here]\n")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let (a, b) = (vec![b'a'; KEPT], vec![b'b'; KEPT]);
        for kept in [
            Kept { first: b"", left_out: 0, last: b"" },
            Kept { first: b"abc", left_out: 0, last: b"" },
            Kept { first: &a, left_out: 0, last: b"b" },
            Kept { first: &a, left_out: 0, last: &b },
            Kept { first: &a, left_out: 12, last: &b },
        ] {
            let text = kept.text();
            assert_eq!(Kept::read(&text), kept);
        }
    }
}
