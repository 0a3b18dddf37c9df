//! How much memory pictures may take together: what does not fit waits, what never fits is rejected.
//!
//! The budget has two parts, so that nobody who holds one can keep the other from those who need it to
//! finish: a third for bytes as they are downloaded, two thirds for pixels.

use crate::error::{Failure, Reason};
use crate::ops::{Phase, Shutdown};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub struct Memory {
    bytes: Share,
    pixels: Share,
    waiting: watch::Sender<usize>,
    shutdown: Shutdown,
}

/// Counts among those who wait, until dropped.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl<'a> Waiting<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|n| *n += 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}

struct Share {
    free: Arc<Semaphore>,
    units: u32,
}

/// Memory that is taken, until this is dropped.
#[derive(Debug)]
pub struct Taken(#[allow(dead_code)] OwnedSemaphorePermit);

/// Counted in 64 KiB, as semaphores count in 32 bits.
const UNIT: u64 = 64 << 10;

impl Memory {
    /// `budget` in bytes, at least 16 MiB.
    pub fn new(budget: u64, shutdown: Shutdown) -> Self {
        let bytes = budget / 3;
        let (bytes, pixels) = (Share::new(bytes), Share::new(budget - bytes));
        Self { bytes, pixels, waiting: watch::Sender::new(0), shutdown }
    }

    /// Ends when nobody waits for memory.
    pub async fn has_room(&self) {
        self.waiting.subscribe().wait_for(|n| *n == 0).await.expect("self holds the sender");
    }

    /// Waits until so many bytes of a source may be in memory.
    ///
    /// # Errors
    ///
    /// They are more than all of the share, or the worker leaves before there is room.
    pub async fn for_bytes(&self, bytes: u64, what: &impl std::fmt::Display) -> Result<Taken, Failure> {
        self.take(&self.bytes, bytes, || format!("{what} has {bytes} bytes")).await
    }

    /// Waits until the engine may take so many bytes.
    ///
    /// # Errors
    ///
    /// As [`for_bytes`](Self::for_bytes).
    pub async fn for_pixels(&self, bytes: u64, what: &impl std::fmt::Display) -> Result<Taken, Failure> {
        self.take(&self.pixels, bytes, || format!("rendering {what} takes up to {bytes} bytes")).await
    }

    /// First come, first served: a large one is not passed by small ones for ever.
    async fn take(&self, share: &Share, bytes: u64, says: impl FnOnce() -> String) -> Result<Taken, Failure> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        if units > share.units {
            let detail = format!(
                "{}, more than the {} that the memory budget has for it (--memory-budget; give the task more memory)",
                says(),
                u64::from(share.units) * UNIT
            );
            return Err(Failure::reject(Reason::MemoryBudget, detail));
        }
        if let Ok(taken) = Arc::clone(&share.free).try_acquire_many_owned(units) {
            return Ok(Taken(taken));
        }
        let _waiting = Waiting::new(&self.waiting);
        tokio::select! {
            taken = Arc::clone(&share.free).acquire_many_owned(units) => {
                Ok(Taken(taken.expect("the semaphore is never closed")))
            }
            () = self.shutdown.reached(Phase::Draining) => Err(Failure::Left),
        }
    }
}

impl Share {
    fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(1);
        let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let units = units.min(most);
        Self { free: Arc::new(Semaphore::new(units as usize)), units }
    }
}

/// The memory that this process may take: the smallest of the machine's, the container's and its own limits.
/// None if none can be told.
pub fn available() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let limit = |path: &str| read(path)?.trim().parse::<u64>().ok();
    // cgroup v2, then v1; "max" or an absurd number mean none.
    let container =
        limit("/sys/fs/cgroup/memory.max").or_else(|| limit("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    let machine = read("/proc/meminfo").and_then(|text| total(&text));
    let own = read("/proc/self/limits").and_then(|text| own(&text));
    container.into_iter().chain(machine).chain(own).min()
}

/// What `ulimit -d` and `ulimit -v` set, in bytes; unlimited is no number.
fn own(limits: &str) -> Option<u64> {
    let limit = |line: &str| {
        let rest = line.strip_prefix("Max data size").or_else(|| line.strip_prefix("Max address space"))?;
        rest.split_whitespace().next()?.parse().ok()
    };
    limits.lines().filter_map(limit).min()
}

/// `MemTotal` of /proc/meminfo, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const MIB: u64 = 1 << 20;

    #[tokio::test]
    async fn what_never_fits_is_rejected_with_both_numbers() {
        let memory = Memory::new(96 * MIB, Shutdown::default());
        let Err(Failure::Reject(rejection)) = memory.for_pixels(65 * MIB, &"s3://in/a.png").await else {
            panic!("let in")
        };
        assert_eq!(rejection.reason, Reason::MemoryBudget);
        for part in ["s3://in/a.png", &(65 * MIB).to_string(), &(64 * MIB).to_string()] {
            assert!(rejection.detail.contains(part), "{rejection}");
        }
        assert!(memory.for_pixels(64 * MIB, &"b").await.is_ok());
        assert!(memory.for_bytes(33 * MIB, &"c").await.is_err());
    }

    #[tokio::test]
    async fn what_does_not_fit_now_waits_and_keeps_its_place_in_line() {
        let memory = Memory::new(96 * MIB, Shutdown::default());
        let first = memory.for_pixels(40 * MIB, &"a").await.unwrap();
        let mut large = Box::pin(memory.for_pixels(60 * MIB, &"b"));
        let wait = Duration::from_millis(50);
        assert!(tokio::time::timeout(wait, &mut large).await.is_err());
        let small = tokio::time::timeout(wait, memory.for_pixels(MIB, &"c")).await;
        assert!(small.is_err(), "small ones do not pass a large one");
        assert!(tokio::time::timeout(wait, memory.has_room()).await.is_err(), "somebody waits");
        drop(first);
        assert!(large.await.is_ok());
        memory.has_room().await;
    }

    #[tokio::test]
    async fn who_waits_is_let_go_when_the_worker_leaves() {
        let shutdown = Shutdown::default();
        let memory = Memory::new(96 * MIB, shutdown.clone());
        let _first = memory.for_pixels(60 * MIB, &"a").await.unwrap();
        let second = memory.for_pixels(60 * MIB, &"b");
        shutdown.advance(Phase::Draining);
        assert!(matches!(second.await, Err(Failure::Left)));
    }

    #[test]
    fn limits_are_read_in_bytes() {
        assert_eq!(total("MemTotal:       16 kB\nMemFree: 3 kB\n"), Some(16384));
        assert_eq!(total("nothing"), None);
        let limits = "Max data size   4096   8192   bytes\nMax stack size   8   9   bytes\n\
                      Max address space   unlimited   unlimited   bytes\n";
        assert_eq!(own(limits), Some(4096));
        assert_eq!(own("Max address space   unlimited   unlimited   bytes\n"), None);
        assert!(available().is_none_or(|bytes| bytes > 16 * MIB));
    }
}
