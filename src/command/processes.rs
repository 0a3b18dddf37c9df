//! Processes beneath one of ours, as /proc tells them. Where there is no /proc, none are seen.

use rustix::process::{Pid, Signal, WaitOptions, getpgid, kill_process, waitpid};
use std::collections::{HashMap, HashSet};
use std::fs;

pub fn own() -> u32 {
    std::process::id()
}

pub fn pid(number: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(number).ok()?)
}

/// All processes beneath this one, parents before children; zombies too.
pub fn beneath(root: u32) -> Vec<u32> {
    let mut parents = None;
    let mut found = Vec::new();
    let mut next = vec![root];
    while let Some(parent) = next.pop() {
        let children = match told_children(parent) {
            Some(children) => children,
            None => parents.get_or_insert_with(everybody).get(&parent).cloned().unwrap_or_default(),
        };
        next.extend(&children);
        found.extend(children);
        // Processes come and go while this looks: a ring cannot be, but a number may be used again.
        if found.len() > 100_000 {
            break;
        }
    }
    found
}

/// None: this kernel does not tell.
fn told_children(parent: u32) -> Option<Vec<u32>> {
    if !fs::exists("/proc/thread-self/children").unwrap_or(false) {
        return None;
    }
    let threads = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let texts = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    Some(texts.flat_map(|text| numbers(&text)).collect())
}

fn numbers(text: &str) -> Vec<u32> {
    text.split_whitespace().filter_map(|n| n.parse().ok()).collect()
}

/// Of every parent its children.
fn everybody() -> HashMap<u32, Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(number) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
        if let Some((_, parent)) = stat(number) {
            children.entry(parent).or_default().push(number);
        }
    }
    children
}

/// State and parent.
fn stat(number: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses too.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Seconds of processor that all children took that were waited for, and theirs.
pub fn cpu_of_children() -> f64 {
    // Linux tells them in hundredths of a second, on every processor that it runs on.
    const TICKS: f64 = 100.0;
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    // Fields 16 and 17 of the whole line.
    fields.skip(13).take(2).filter_map(|n| n.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// Of some processes, in bytes.
#[derive(Debug, Default)]
pub struct Memory {
    /// Resident of all of them now; what they share counts for each.
    pub now: u64,
    /// The most that one of them ever had.
    pub most_of_one: u64,
}

pub fn memory(processes: &[u32]) -> Memory {
    let mut memory = Memory::default();
    for number in processes {
        let text = fs::read_to_string(format!("/proc/{number}/status")).unwrap_or_default();
        let told = |name: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(name))?;
            Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
        };
        memory.now += told("VmRSS:").unwrap_or(0);
        memory.most_of_one = memory.most_of_one.max(told("VmHWM:").unwrap_or(0));
    }
    memory
}

pub fn signal(number: u32, signal: Signal) {
    if let Some(pid) = pid(number) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, signal);
    }
}

/// Whether it is of this process group.
pub fn is_of_group(number: u32, group: Pid) -> bool {
    pid(number).is_some_and(|pid| getpgid(Some(pid)).is_ok_and(|its| its == group))
}

/// Children of this process that it did not start: they came to it when their parents ended. Those that bear
/// `mark` in their environment are killed; those that have ended are waited for. `known` are left alone, and so
/// is whoever was not seen in `before`, as its parent may be about to wait for it. Gives whom to pass as `before`
/// next time.
pub fn adopt(known: &HashSet<u32>, mark: &str, before: &HashSet<u32>) -> HashSet<u32> {
    let strangers = told_children(own()).unwrap_or_else(|| everybody().remove(&own()).unwrap_or_default());
    let mut seen = HashSet::new();
    for number in strangers.into_iter().filter(|n| !known.contains(n)) {
        let environment = fs::read(format!("/proc/{number}/environ")).unwrap_or_default();
        let marked = environment.split(|b| *b == 0).any(|entry| entry.starts_with(mark.as_bytes()));
        if marked {
            signal(number, Signal::KILL);
        }
        let over = stat(number).is_some_and(|(state, _)| state == 'Z');
        if over && before.contains(&number) {
            if let Some(pid) = pid(number) {
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        } else {
            seen.insert(number);
        }
    }
    seen
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn whoever_is_beneath_is_found_in_either_way() {
        let mut child =
            Command::new("sh").args(["-c", "sleep 60 & wait"]).stdin(Stdio::null()).spawn().unwrap();
        let started = std::time::Instant::now();
        let both = loop {
            let found = beneath(child.id());
            if !found.is_empty() || started.elapsed().as_secs() > 30 {
                break found;
            }
        };
        assert_eq!(both.len(), 1);
        assert_eq!(everybody().get(&child.id()), Some(&both));
        assert!(beneath(own()).contains(&both[0]));
        let memory = memory(&both);
        assert!(memory.now > 0 && memory.most_of_one >= memory.now, "{memory:?}");
        both.iter().for_each(|n| signal(*n, Signal::KILL));
        child.wait().unwrap();
        assert!(cpu_of_children() >= 0.0);
    }
}
