//! The peers that we are measured beside, each a process of its own that lives as long as the bench.
//!
//! How one is talked to, so that rounds interleave: it gets the files as arguments and prints a line
//! that says what it is; then, for each line on its standard input, it does every file once and prints
//! `NAME<TAB>CPU milliseconds`, or `NAME<TAB>error: WHY`. Reading a file is not part of its time.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    SharpChain,
    SharpClone,
    Vips,
    Pillow,
    /// No rendition at all: libjpeg-turbo's decode at 1/8 scale.
    Turbo8,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::SharpChain, Self::SharpClone, Self::Vips, Self::Pillow, Self::Turbo8];

    pub fn name(self) -> &'static str {
        match self {
            Self::SharpChain => "sharp chain",
            Self::SharpClone => "sharp clone",
            Self::Vips => "pyvips",
            Self::Pillow => "Pillow plain",
            Self::Turbo8 => "libjpeg-turbo 1/8",
        }
    }

    /// Its command, up to the files; or why there is none.
    fn command(self, build: &Path) -> Result<Command, String> {
        match self {
            Self::SharpChain | Self::SharpClone => {
                let mode = if self == Self::SharpChain { "chain" } else { "clone" };
                let installed = installed("node_modules/sharp")?;
                let mut command = Command::new("node");
                command.arg(script("sharp.mjs")).arg(mode).env("LONGSHORE_PEERS", installed);
                Ok(command)
            }
            Self::Vips | Self::Pillow => {
                let mode = if self == Self::Vips { "vips" } else { "plain" };
                let installed = installed("venv/bin/python")?;
                let mut command = Command::new(installed.join("venv/bin/python"));
                command.arg(script("pillow_vips.py")).arg(mode);
                Ok(command)
            }
            Self::Turbo8 => compile_turbo8(build).map(Command::new),
        }
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers").join(name)
}

/// The folder that `install` filled, if this is in it.
fn installed(what: &str) -> Result<PathBuf, String> {
    let folder = std::env::var_os("LONGSHORE_PEERS").map(PathBuf::from);
    let folder = folder.ok_or("LONGSHORE_PEERS is not set; see benches/peers/install")?;
    let folder = folder.canonicalize().map_err(|e| format!("{}: {e}", folder.display()))?;
    if folder.join(what).exists() {
        return Ok(folder);
    }
    Err(format!("{} has no {what}; run benches/peers/install", folder.display()))
}

fn compile_turbo8(build: &Path) -> Result<PathBuf, String> {
    let program = build.join("turbo8");
    let mut cc = Command::new("cc");
    cc.arg("-O2").arg(script("turbo8.c")).arg("-o").arg(&program).arg("-ljpeg");
    let output = cc.output().map_err(|e| format!("cc: {e}"))?;
    if output.status.success() {
        return Ok(program);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let first = complaint.lines().find(|l| l.contains("error")).unwrap_or("cc failed");
    Err(format!("turbo8.c does not compile: {first}"))
}

/// A peer at work.
pub struct Peer {
    pub kind: Kind,
    /// What it says it is, with versions.
    pub version: String,
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// Starts a peer on these files; or says why it is absent.
    pub fn start(kind: Kind, files: &[PathBuf], build: &Path) -> Result<Self, String> {
        let mut command = kind.command(build)?;
        let command = command.args(files).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|e| format!("{:?}: {e}", command.get_program()))?;
        let orders = child.stdin.take().expect("it is piped");
        let mut answers = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let version = answers.next().and_then(Result::ok).ok_or("it ends at once")?;
        Ok(Self { kind, version, child, orders, answers })
    }

    /// CPU milliseconds of each file, in their order; none where the peer refuses it.
    pub fn round(&mut self, files: usize) -> Vec<Option<f64>> {
        self.orders.write_all(b"round\n").expect("the peer listens");
        let mut line = || self.answers.next().and_then(Result::ok).expect("the peer answers a line a file");
        (0..files).map(|_| line().split_once('\t').and_then(|(_, ms)| ms.parse().ok())).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
