//! A wrong clock or a dead resolver for a worker: a small C file, compiled when first needed and
//! loaded before libc.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// The clocks and the resolver of one worker, which can be spoilt while it runs.
pub struct Shim {
    folder: tempfile::TempDir,
}

/// One way or the other.
#[derive(Debug, Clone, Copy)]
pub enum Offset {
    Ahead(Duration),
    Behind(Duration),
}

impl Offset {
    fn nanoseconds(self) -> i64 {
        let number =
            |time: Duration| i64::try_from(time.as_nanos()).expect("offsets are hours, not centuries");
        match self {
            Self::Ahead(time) => number(time),
            Self::Behind(time) => -number(time),
        }
    }
}

impl Shim {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("numbers"), [0; 24]).unwrap();
        Self { folder }
    }

    pub fn environment(&self) -> [(&'static str, String); 2] {
        let path = |path: PathBuf| path.to_str().expect("temporary paths are UTF-8").to_owned();
        [("LD_PRELOAD", path(library())), ("FAULTS_SHIM", path(self.folder.path().join("numbers")))]
    }

    /// The time of day is off by this from now on.
    pub fn wall(&self, offset: Offset) {
        self.write(0, offset.nanoseconds());
    }

    /// Time passes: timers and leases see it, the servers do not.
    pub fn monotonic(&self, offset: Offset) {
        self.write(8, offset.nanoseconds());
    }

    pub fn names_resolve(&self, resolve: bool) {
        self.write(16, i64::from(!resolve));
    }

    fn write(&self, at: u64, number: i64) {
        let mut file = OpenOptions::new().write(true).open(self.folder.path().join("numbers")).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&number.to_ne_bytes()).unwrap();
    }
}

fn library() -> PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/harness/shim.c");
        // Named by the process, so that two test programs do not write the same file at once.
        let library = folder.join(format!("shim-{}.so", std::process::id()));
        let mut compile = Command::new("cc");
        let status = compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
        assert!(
            status.expect("a C compiler, as Rust needs one to link").success(),
            "shim.c does not compile"
        );
        library
    };
    LIBRARY.get_or_init(build).clone()
}
