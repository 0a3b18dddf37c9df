//! Limits of memory and processors by cgroup v2, where this process may make cgroups: as root of its own, or in a
//! service of systemd with `Delegate=yes`. In most containers it may not; then [`super::supervise`] does what can
//! be done without.
//!
//! [`super::supervise`]: crate::command::supervise

use std::fs;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where rows get theirs.
pub struct Cgroups {
    base: PathBuf,
    /// This worker's own: only a cgroup without processes can have others with limits beneath it.
    pub home: PathBuf,
    next: AtomicU64,
}

/// One row's own, removed on drop.
pub struct Cgroup {
    pub path: PathBuf,
}

impl Cgroups {
    /// # Errors
    ///
    /// Why there can be none.
    pub fn find() -> std::result::Result<Self, String> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let base = place(&mounts, &own).ok_or("there is no cgroup v2")?;
        Self::at(base, std::process::id()).map_err(|(what, e)| format!("cgroup v2: {what}: {e}"))
    }

    fn at(base: PathBuf, process: u32) -> std::result::Result<Self, (String, Error)> {
        let told = |what: &str, path: &Path| format!("{what} {}", path.display());
        let read = |name: &str| {
            let path = base.join(name);
            fs::read_to_string(&path).map_err(|e| (told("cannot read", &path), e))
        };
        let offered = read("cgroup.controllers")?;
        for controller in ["memory", "cpu"] {
            if !offered.split_whitespace().any(|c| c == controller) {
                return Err((
                    base.display().to_string(),
                    Error::other(format!("no controller {controller}")),
                ));
            }
        }
        let others = read("cgroup.procs")?;
        if others.lines().any(|line| line.trim() != process.to_string()) {
            return Err((base.display().to_string(), Error::other("other processes are in it")));
        }
        let home = base.join(format!("longshore-{process}"));
        fs::create_dir(&home).map_err(|e| (told("cannot make", &home), e))?;
        let cgroups = Self { base: base.clone(), home: home.clone(), next: AtomicU64::new(1) };
        let write = |path: PathBuf, text: &str| {
            fs::write(&path, text).map_err(|e| {
                let _ = fs::remove_dir(&home);
                (told("cannot write", &path), e)
            })
        };
        write(home.join("cgroup.procs"), "0")?;
        if let Err(why) = write(base.join("cgroup.subtree_control"), "+memory +cpu") {
            // Back to where it was.
            let _ = fs::write(base.join("cgroup.procs"), "0");
            let _ = fs::remove_dir(&home);
            return Err(why);
        }
        Ok(cgroups)
    }

    /// # Errors
    ///
    /// The kernel refuses.
    pub fn make(&self, memory: Option<u64>, milli_cpus: Option<u64>) -> Result<Cgroup> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.base.join(format!("longshore-row-{}-{number}", std::process::id()));
        fs::create_dir(&path)?;
        let cgroup = Cgroup { path };
        if let Some(memory) = memory {
            fs::write(cgroup.path.join("memory.max"), memory.to_string())?;
            // Where there is swap, it would only be slow before it is killed.
            let _ = fs::write(cgroup.path.join("memory.swap.max"), "0");
            // The script dies as a whole, or what is left of it would go on with a part missing.
            let _ = fs::write(cgroup.path.join("memory.oom.group"), "1");
        }
        if let Some(milli) = milli_cpus {
            // Of every tenth of a second, in microseconds.
            fs::write(cgroup.path.join("cpu.max"), format!("{} 100000", (milli * 100).max(1000)))?;
        }
        Ok(cgroup)
    }
}

impl Cgroup {
    /// Whether the kernel has killed something in it for its memory.
    pub fn ran_out_of_memory(&self) -> bool {
        self.value("memory.events", "oom_kill").is_some_and(|n| n > 0)
    }

    /// Bytes; None before Linux 5.19.
    pub fn peak_memory(&self) -> Option<u64> {
        fs::read_to_string(self.path.join("memory.peak")).ok()?.trim().parse().ok()
    }

    pub fn cpu_seconds(&self) -> Option<f64> {
        Some(self.value("cpu.stat", "usage_usec")? as f64 / 1e6)
    }

    fn value(&self, file: &str, name: &str) -> Option<u64> {
        let text = fs::read_to_string(self.path.join(file)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.trim().parse().ok()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Whoever is still in it: the supervisor has killed all that it saw.
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
        for _ in 0..50 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}

/// The folder of this process's cgroup.
fn place(mounts: &str, own: &str) -> Option<PathBuf> {
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, at, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then_some(at)
    })?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(Path::new(mount).join(path.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_cgroup_is_found() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let own = "8:pids:/\n0::/system.slice/longshore.service\n";
        let found = place(mounts, own).unwrap();
        assert_eq!(found, Path::new("/sys/fs/cgroup/unified/system.slice/longshore.service"));
        assert_eq!(place("proc /proc proc rw 0 0\n", own), None);
    }

    /// A folder that looks like a cgroup: what is written there is what the kernel would be told.
    #[test]
    fn limits_are_written_as_the_kernel_wants_them() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().to_owned();
        fs::write(base.join("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        fs::write(base.join("cgroup.procs"), "42\n7\n").unwrap();
        let busy = Cgroups::at(base.clone(), 42).err().unwrap();
        assert!(busy.1.to_string().contains("other processes"), "{busy:?}");
        fs::write(base.join("cgroup.procs"), "42\n").unwrap();
        let cgroups = Cgroups::at(base.clone(), 42).unwrap();
        assert_eq!(fs::read_to_string(base.join("cgroup.subtree_control")).unwrap(), "+memory +cpu");
        let row = cgroups.make(Some(1 << 20), Some(1500)).unwrap();
        assert_eq!(fs::read_to_string(row.path.join("memory.max")).unwrap(), "1048576");
        assert_eq!(fs::read_to_string(row.path.join("cpu.max")).unwrap(), "150000 100000");
        fs::write(row.path.join("memory.events"), "low 0\noom 1\noom_kill 2\n").unwrap();
        fs::write(row.path.join("cpu.stat"), "usage_usec 2500000\nuser_usec 1\n").unwrap();
        assert!(row.ran_out_of_memory());
        assert_eq!((row.cpu_seconds(), row.peak_memory()), (Some(2.5), None));
    }
}
