//! What a script prints: line by line into the log, and its beginning and end for S3. Both without secrets.

use super::mask::{Masker, Secrets};
use crate::command::kept::{self, KEPT};
use crate::error::Printable;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt};
use tracing::{info, warn};

/// Of both streams, as they came.
#[derive(Clone, Default)]
pub struct Printed(Arc<Inner>);

#[derive(Default)]
struct Inner {
    kept: Mutex<Kept>,
    logged: AtomicU64,
}

#[derive(Default)]
struct Kept {
    first: Vec<u8>,
    last: VecDeque<u8>,
    cut: u64,
    total: u64,
}

/// More than this of one attempt is not for the log, which costs by the byte.
const LOGGED: u64 = 1 << 20;
/// A longer line is logged in pieces.
const LINE: usize = 8 << 10;

impl Printed {
    /// Reads a stream to its end.
    pub async fn follow(self, stream: &'static str, mut from: impl AsyncRead + Unpin, secrets: Secrets) {
        let mut masker = Masker::new(secrets);
        let mut lines = Vec::new();
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = from.read(&mut buffer).await.unwrap_or(0);
            let shown = if read == 0 { masker.finish() } else { masker.push(&buffer[..read]) };
            self.keep(&shown);
            lines.extend_from_slice(&shown);
            self.log_lines(stream, &mut lines, read == 0);
            if read == 0 {
                return;
            }
        }
    }

    fn keep(&self, bytes: &[u8]) {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.total += bytes.len() as u64;
        let (first, rest) = bytes.split_at(bytes.len().min(KEPT - kept.first.len()));
        kept.first.extend_from_slice(first);
        kept.last.extend(rest);
        let over = kept.last.len().saturating_sub(KEPT);
        kept.last.drain(..over);
        kept.cut += over as u64;
    }

    /// Lines that are whole; at the end, the rest too.
    fn log_lines(&self, stream: &'static str, lines: &mut Vec<u8>, at_end: bool) {
        let mut from = 0;
        loop {
            let rest = &lines[from..];
            let end = memchr::memchr(b'\n', &rest[..rest.len().min(LINE)]);
            let (line, next) = match end {
                Some(end) => (&rest[..end], end + 1),
                None if rest.len() >= LINE => (&rest[..LINE], LINE),
                None if at_end && !rest.is_empty() => (rest, rest.len()),
                None => break,
            };
            self.log(stream, line);
            from += next;
        }
        lines.drain(..from);
    }

    fn log(&self, stream: &'static str, line: &[u8]) {
        let before = self.0.logged.fetch_add(line.len() as u64 + 1, Ordering::Relaxed);
        if before > LOGGED {
            return;
        }
        let text = String::from_utf8_lossy(line);
        // A tab forges nothing, and tables have them.
        let parts: Vec<String> =
            text.trim_end_matches('\r').split('\t').map(|p| Printable(p).to_string()).collect();
        info!(stream, "{}", parts.join("\t"));
        if before + line.len() as u64 + 1 > LOGGED {
            warn!("it prints more than {LOGGED} bytes: the rest is kept in S3 in part, and not logged");
        }
    }

    /// How much was printed.
    pub fn total(&self) -> u64 {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner).total
    }

    /// For S3: beginning and end, and what is not there between them.
    pub fn kept(&self) -> Vec<u8> {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { first, last, cut, .. } = &mut *kept;
        kept::Kept { first, left_out: *cut, last: last.make_contiguous() }.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn beginning_and_end_are_kept_and_what_was_cut_is_told() {
        let printed = Printed::default();
        let text: Vec<u8> = (0..400_000).flat_map(|n| format!("line {n:06}\n").into_bytes()).collect();
        printed.clone().follow("stdout", text.as_slice(), Secrets::default()).await;
        let kept = String::from_utf8(printed.kept()).unwrap();
        assert_eq!(printed.total(), text.len() as u64);
        assert!(kept.starts_with("line 000000\n") && kept.ends_with("line 399999\n"));
        let cut = text.len() - 2 * KEPT;
        assert!(kept.contains(&format!("\n[longshore: {cut} bytes are left out here]\n")));
        assert!(kept.len() < 2 * KEPT + 100);
    }

    #[tokio::test]
    async fn a_little_is_kept_whole_and_secrets_are_not() {
        let printed = Printed::default();
        let text: &[u8] = b"token=hunter2\xff\nno newline at the end";
        printed.clone().follow("stdout", text, Secrets::new(["hunter2"])).await;
        assert_eq!(printed.kept(), b"token=***\xff\nno newline at the end");
    }
}
