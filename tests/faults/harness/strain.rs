//! A machine under strain: every core busy, memory short.

use super::process::footprint;
use super::worker::Worker;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Processes that take all the CPU they get; ended when dropped.
pub struct Hog(Vec<Child>);

impl Hog {
    /// One for each core, and one more.
    pub fn start() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let spin = || {
            let mut spin = Command::new("sh");
            spin.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            spin.spawn().unwrap()
        };
        Self((0..=cores).map(|_| spin()).collect())
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a container's memory limit is: whoever goes above it is killed.
pub struct MemoryLimit {
    watching: JoinHandle<()>,
    killed: Arc<AtomicBool>,
    peak_kib: Arc<AtomicU64>,
}

impl MemoryLimit {
    pub fn on(worker: &Arc<Worker>, bytes: u64) -> Self {
        let (killed, peak_kib) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let watching =
            tokio::spawn(watch(Arc::clone(worker), bytes / 1024, Arc::clone(&killed), Arc::clone(&peak_kib)));
        Self { watching, killed, peak_kib }
    }

    pub fn killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    pub fn peak_mib(&self) -> u64 {
        self.peak_kib.load(Ordering::SeqCst) / 1024
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

async fn watch(worker: Arc<Worker>, limit_kib: u64, killed: Arc<AtomicBool>, peak_kib: Arc<AtomicU64>) {
    loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if !worker.running() {
            continue;
        }
        // The kernel keeps the peak, so nothing between two looks is missed.
        let peak = footprint(worker.pid()).peak_rss_kib;
        peak_kib.fetch_max(peak, Ordering::SeqCst);
        if peak > limit_kib {
            killed.store(true, Ordering::SeqCst);
            worker.kill();
        }
    }
}
