//! The worker's end of a row's own process, see [`supervise`].

use crate::command::processes;
use crate::command::supervise::{Ending, NAME, Order, STOP};
use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

/// A started script. Dropped, it is killed with all that it started.
pub struct Script {
    child: Child,
    number: u32,
    socket: Option<BufReader<UnixStream>>,
    children: Children,
}

/// Supervisors that live: everybody else who comes to this process is a stray.
#[derive(Clone, Default)]
pub struct Children(Arc<Mutex<HashSet<u32>>>);

/// In the environment of every script.
pub const MARK: &str = "LONGSHORE_JOB=";
/// From the end of the socket to the end of all processes.
const ENDED_WITHIN: Duration = Duration::from_secs(5);

impl Children {
    fn known(&self) -> MutexGuard<'_, HashSet<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what has come to this process, as a supervisor was killed; waits for what has ended.
    pub fn adopt(&self, before: &HashSet<u32>) -> HashSet<u32> {
        processes::adopt(&self.known(), MARK, before)
    }

    /// # Errors
    ///
    /// There can be no process, or it does not take its order.
    pub async fn start(
        &self,
        title: &str,
        order: &Order,
    ) -> std::io::Result<(Script, ChildStdout, ChildStderr)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(own_binary()?);
        // Its own group: a terminal's Ctrl-C is for the worker, which knows what to do.
        command.arg0(NAME).arg(title).env_clear().process_group(0);
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (mut child, number) = {
            // Held, so that nobody takes it for a stray.
            let mut known = self.known();
            let child = command.spawn()?;
            let number = child.id().unwrap_or_default();
            known.insert(number);
            (child, number)
        };
        // The command holds the other end of the socket.
        drop(command);
        let pipes = child.stdout.take().zip(child.stderr.take());
        let socket = BufReader::new(UnixStream::from_std(ours)?);
        let mut script = Script { child, number, socket: Some(socket), children: self.clone() };
        let (stdout, stderr) = pipes.ok_or_else(|| std::io::Error::other("no pipes"))?;
        let mut line = serde_json::to_vec(order).map_err(std::io::Error::other)?;
        line.push(b'\n');
        script.say(&line).await?;
        Ok((script, stdout, stderr))
    }
}

/// Also when the file was replaced meanwhile.
fn own_binary() -> std::io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { std::env::current_exe() }
}

impl Script {
    async fn say(&mut self, line: &[u8]) -> std::io::Result<()> {
        match &mut self.socket {
            Some(socket) => socket.get_mut().write_all(line).await,
            None => Ok(()),
        }
    }

    /// Asks it to stop: SIGTERM to all of it.
    pub async fn stop(&mut self) {
        // An error: it has ended.
        let _ = self.say(format!("{STOP}\n").as_bytes()).await;
    }

    /// Waits until it has ended and nothing of it is left. None: its supervisor was killed. Can be dropped and
    /// asked again.
    pub async fn ending(&mut self, line: &mut Vec<u8>) -> Option<Ending> {
        if let Some(socket) = &mut self.socket {
            // An error is an end, too.
            let _ = socket.read_until(b'\n', line).await;
        }
        let ending = serde_json::from_slice(line).ok();
        self.over().await;
        ending
    }

    /// Kills it, and waits until nothing of it is left.
    pub async fn kill(&mut self) {
        self.socket = None;
        self.over().await;
    }

    async fn over(&mut self) {
        self.socket = None;
        let _ = tokio::time::timeout(ENDED_WITHIN * 3, self.child.wait()).await;
        self.forget();
    }

    /// What it left if it was killed has come to this process.
    fn forget(&self) {
        if self.children.known().remove(&self.number) {
            self.children.adopt(&HashSet::new());
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if self.socket.take().is_none() {
            return;
        }
        // Cut off. Its folder is removed next, and somebody else may begin with this row: for that it must be over.
        let began = Instant::now();
        while began.elapsed() < ENDED_WITHIN && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.forget();
    }
}
