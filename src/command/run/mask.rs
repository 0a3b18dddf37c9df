//! Takes secrets out of a stream of bytes, wherever they are cut.

use memchr::memmem;

pub const MASK: &[u8] = b"***";

/// The values that no log may show.
#[derive(Clone, Default)]
pub struct Secrets(Vec<Vec<u8>>);

/// One stream.
pub struct Masker {
    secrets: Secrets,
    /// Bytes that may be the beginning of a secret.
    held: Vec<u8>,
}

impl Secrets {
    /// A secret of several lines is one, and so is each of its lines: programs print them one by one.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all: Vec<Vec<u8>> = Vec::new();
        for value in values {
            let value = value.trim();
            let lines = value.lines().map(str::trim).filter(|l| l.len() >= LEAST_LINE);
            for text in std::iter::once(value).chain(lines).filter(|text| !text.is_empty()) {
                all.push(text.as_bytes().to_vec());
            }
        }
        // The longest first, or one that begins like another would leave the other's end.
        all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        all.dedup();
        Self(all)
    }

    fn replace(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for secret in &self.0 {
            let mut masked = Vec::with_capacity(bytes.len());
            let mut from = 0;
            for at in memmem::find_iter(&bytes, secret) {
                masked.extend_from_slice(&bytes[from..at]);
                masked.extend_from_slice(MASK);
                from = at + secret.len();
            }
            if from > 0 {
                masked.extend_from_slice(&bytes[from..]);
                bytes = masked;
            }
        }
        bytes
    }

    /// Up to where bytes may be shown: what follows may be the beginning of a secret, or is one that reaches into
    /// such a beginning.
    fn cut(&self, bytes: &[u8]) -> usize {
        let mut cut = bytes.len() - self.begun(bytes);
        if cut == bytes.len() {
            return cut;
        }
        let found =
            |secret: &Vec<u8>| memmem::find_iter(bytes, secret).map(|at| (at, at + secret.len())).collect();
        let ranges: Vec<(usize, usize)> = self.0.iter().flat_map(|s| -> Vec<_> { found(s) }).collect();
        while let Some((start, _)) = ranges.iter().find(|(start, end)| *start < cut && cut < *end) {
            cut = *start;
        }
        cut
    }

    /// How many bytes at the end may be the beginning of a secret.
    fn begun(&self, bytes: &[u8]) -> usize {
        let longest = |secret: &Vec<u8>| {
            let most = (secret.len() - 1).min(bytes.len());
            (1..=most).rev().find(|n| bytes.ends_with(&secret[..*n]))
        };
        self.0.iter().filter_map(longest).max().unwrap_or(0)
    }
}

/// Shorter lines of a secret, like a brace, say nothing.
const LEAST_LINE: usize = 8;

impl Masker {
    pub fn new(secrets: Secrets) -> Self {
        Self { secrets, held: Vec::new() }
    }

    /// What may be shown after these bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.secrets.0.is_empty() {
            return bytes.to_vec();
        }
        self.held.extend_from_slice(bytes);
        let cut = self.secrets.cut(&self.held);
        let hold = self.held.split_off(cut);
        self.secrets.replace(&std::mem::replace(&mut self.held, hold))
    }

    /// The rest.
    pub fn finish(&mut self) -> Vec<u8> {
        self.secrets.replace(&std::mem::take(&mut self.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_wherever_the_stream_is_cut() {
        let secrets = Secrets::new(["hunter2", "hunter2-long", "line one of it\nline two of it\n}"]);
        let text = "a hunter2 b hunter2-long c hunthunter2\nline one of it\nline two of it\n} d line two of it hunter";
        let expected = "a *** b *** c hunt***\n*** d *** hunter";
        for size in 1..text.len() {
            let mut masker = Masker::new(secrets.clone());
            let mut out = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                out.extend(masker.push(chunk));
            }
            out.extend(masker.finish());
            assert_eq!(String::from_utf8(out).unwrap(), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn secrets_that_reach_into_one_another_are_masked() {
        let mut masker = Masker::new(Secrets::new(["abc", "cde"]));
        let mut out = masker.push(b"-abc");
        out.extend(masker.push(b"d-"));
        out.extend(masker.finish());
        assert_eq!(out, b"-***d-");
    }

    #[test]
    fn without_secrets_nothing_is_held_back() {
        let mut masker = Masker::new(Secrets::default());
        assert_eq!(masker.push(b"abc"), b"abc");
        assert!(masker.finish().is_empty());
        let mut blank = Masker::new(Secrets::new(["", "  "]));
        assert_eq!(blank.push(b"a b"), b"a b");
    }
}
