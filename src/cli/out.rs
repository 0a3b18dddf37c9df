//! Standard output, whose reader may leave before the end (`| head`), or whose disk may be full.
//!
//! `println!` panics then, and what a command has to put back or to tell on the other stream is left undone.

use crate::ops::{Phase, Shutdown};
use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

static CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether something could not be written: nobody reads what comes after it.
pub fn is_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

/// Whether a command that tells something is to end: it was asked to, or nobody reads any more.
pub fn is_over(shutdown: &Shutdown) -> bool {
    shutdown.phase() > Phase::Running || is_closed()
}

/// Writes bytes as they are, unless something could not be written already.
pub fn write(bytes: &[u8]) {
    if is_closed() {
        return;
    }
    let mut out = io::stdout().lock();
    let Err(why) = out.write_all(bytes).and_then(|()| out.flush()) else { return };
    CLOSED.store(true, Ordering::Relaxed);
    // Who closes a pipe knows.
    if why.kind() != ErrorKind::BrokenPipe {
        eprintln!("error: cannot write to standard output: {why}");
    }
}

/// Writes a line.
pub fn line(line: Arguments) {
    write(format!("{line}\n").as_bytes());
}

/// `println!`, but for what [`crate::cli::out`] says.
macro_rules! out {
    ($($told:tt)*) => { $crate::cli::out::line(format_args!($($told)*)) };
}
pub(crate) use out;
