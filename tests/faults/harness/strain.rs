//! A machine under strain: every core busy.

use std::process::{Child, Command, Stdio};

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
