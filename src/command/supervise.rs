//! One row's own process between the worker and the script: `longshore-row`, started by the worker from its own
//! binary.
//!
//! All that a script leaves behind, in whatever group or session, comes to this process when its parents end, and
//! to no other row's. It ends them all, whatever happens: when the script ends, when the worker says so, and when
//! the worker is no more, which shows as the end of the socket that is its standard input.

use super::processes;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, kill_process_group,
    setrlimit, wait, waitid,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// The name that the worker starts it by.
pub const NAME: &str = "longshore-row";

/// What to run, in one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// The program and its arguments.
    pub command: Vec<String>,
    pub folder: PathBuf,
    /// All of it: nothing is inherited.
    pub environment: BTreeMap<String, String>,
    pub timeout: Duration,
    /// From SIGTERM to SIGKILL when the time is over.
    pub grace: Duration,
    /// Bytes that its processes may have together. None: no limit, or a cgroup has it.
    pub memory: Option<u64>,
    /// Where the script is born, and where this process goes back to.
    pub cgroup: Option<(PathBuf, PathBuf)>,
}

/// How it ended, in one line of JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// It was never started.
    pub error: Option<String>,
    pub timed_out: bool,
    /// It was killed for its memory.
    pub too_large: bool,
    /// Bytes, as far as was seen.
    pub peak_memory: u64,
    pub cpu_seconds: f64,
    /// Processes that it left behind; they were killed.
    pub left_behind: usize,
}

/// What the worker may say on the way, a line each.
pub const STOP: &str = "stop";

enum Event {
    Exited,
    Stop,
    Kill,
}

/// From the first look at the processes to the next, doubling up to the last.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const MOST_BETWEEN_LOOKS: Duration = Duration::from_millis(500);
const LEAST_DATA: u64 = 32 << 20;
/// For what cannot be killed at once, like a process that waits for a disk.
const ENDED_WITHIN: Duration = Duration::from_secs(10);

/// Whether this process was started as one.
pub fn is_asked_for() -> bool {
    std::env::args_os().next().is_some_and(|name| name == NAME)
}

pub fn run() -> ExitCode {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from);
    let Ok(mut socket) = socket else { return ExitCode::FAILURE };
    let Ok(reader) = socket.try_clone() else { return ExitCode::FAILURE };
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    let order = reader.read_line(&mut line).ok().and_then(|_| serde_json::from_str::<Order>(&line).ok());
    // The worker is gone already.
    let Some(order) = order else { return ExitCode::FAILURE };
    // It holds secrets.
    drop(line);
    let ending = supervise(&order, reader);
    let mut told = serde_json::to_string(&ending).unwrap_or_default();
    told.push('\n');
    match socket.write_all(told.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn supervise(order: &Order, reader: BufReader<UnixStream>) -> Ending {
    let script = match start(order) {
        Ok(script) => script,
        Err(error) => return Ending { error: Some(error), ..Ending::default() },
    };
    let (events, inbox) = mpsc::channel();
    let exits = events.clone();
    thread::spawn(move || {
        // Seen, and not yet waited for: until then its number, and its group's, is nobody else's.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while waitid(WaitId::Pid(script), options).is_err_and(|e| e == rustix::io::Errno::INTR) {}
        let _ = exits.send(Event::Exited);
    });
    thread::spawn(move || {
        for line in reader.lines() {
            match line.as_deref() {
                Ok(STOP) => drop(events.send(Event::Stop)),
                _ => break,
            }
        }
        let _ = events.send(Event::Kill);
    });
    let mut ending = watch(order, script, &inbox);
    let status = end(script, &mut ending);
    ending.code = status.and_then(WaitStatus::exit_status);
    ending.signal = status.and_then(WaitStatus::terminating_signal);
    ending.cpu_seconds = processes::cpu_of_children();
    ending
}

fn start(order: &Order) -> Result<Pid, String> {
    let told = |what: &str, e: &dyn std::fmt::Display| format!("{what}: {e}");
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|e| told("cannot become a subreaper", &e))?;
    let limit = |resource, most| setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    // Where the machine runs out of memory, this goes before the worker, which holds other rows.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    // Nobody looks at a core, and the folder is removed.
    let _ = limit(Resource::Core, 0);
    if let Some(memory) = order.memory {
        // Of each process; this one needs a little too.
        limit(Resource::Data, memory.max(LEAST_DATA)).map_err(|e| told("cannot limit memory", &e))?;
    }
    let join = |group: &PathBuf| {
        std::fs::write(group.join("cgroup.procs"), "0").map_err(|e| told("cannot enter a cgroup", &e))
    };
    if let Some((born, _)) = &order.cgroup {
        join(born)?;
    }
    let [program, arguments @ ..] = order.command.as_slice() else { return Err("no program".into()) };
    let spawned = Command::new(program)
        .args(arguments)
        .current_dir(&order.folder)
        .env_clear()
        .envs(&order.environment)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn();
    if let Some((_, home)) = &order.cgroup {
        join(home)?;
    }
    let child = spawned.map_err(|e| told(&format!("cannot start {program}"), &e))?;
    processes::pid(child.id()).ok_or_else(|| "it has no number".to_owned())
}

/// Waits until it has ended, or is to be ended.
fn watch(order: &Order, script: Pid, inbox: &mpsc::Receiver<Event>) -> Ending {
    let mut ending = Ending::default();
    let mut deadline = Instant::now() + order.timeout;
    let mut pause = FIRST_LOOK;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match inbox.recv_timeout(pause.min(left)) {
            Ok(Event::Exited | Event::Kill) | Err(RecvTimeoutError::Disconnected) => return ending,
            Ok(Event::Stop) => ask_to_stop(script),
            Err(RecvTimeoutError::Timeout) => {
                if Instant::now() >= deadline {
                    if ending.timed_out {
                        return ending;
                    }
                    ending.timed_out = true;
                    ask_to_stop(script);
                    deadline = Instant::now() + order.grace;
                }
                let all = processes::beneath(processes::own());
                reap_strays(&all, script);
                let memory = processes::memory(&all);
                // What one of them took between two looks, and gave back, is seen of it alone.
                ending.peak_memory = ending.peak_memory.max(memory.now).max(memory.most_of_one);
                if order.memory.is_some_and(|most| memory.now > most) {
                    ending.too_large = true;
                    return ending;
                }
                pause = (pause * 2).min(MOST_BETWEEN_LOOKS);
            }
        }
    }
}

/// SIGTERM, once to each.
fn ask_to_stop(script: Pid) {
    let others = processes::beneath(processes::own());
    let others: Vec<u32> = others.into_iter().filter(|n| !processes::is_of_group(*n, script)).collect();
    let _ = kill_process_group(script, Signal::TERM);
    others.into_iter().for_each(|number| processes::signal(number, Signal::TERM));
}

/// Those that have ended, but for the script itself.
fn reap_strays(all: &[u32], script: Pid) {
    for pid in all.iter().filter_map(|n| processes::pid(*n)).filter(|pid| *pid != script) {
        // An error: it is a child's child.
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

/// Kills whatever is left, and waits for all of it. Gives how the script ended.
fn end(script: Pid, ending: &mut Ending) -> Option<WaitStatus> {
    let script_number = u32::try_from(script.as_raw_nonzero().get()).unwrap_or_default();
    let left = processes::beneath(processes::own());
    ending.left_behind = left.iter().filter(|n| **n != script_number).count();
    let _ = kill_process_group(script, Signal::KILL);
    let began = Instant::now();
    let mut status = None;
    let mut pause = Duration::from_micros(200);
    loop {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, its))) if pid == script => status = Some(its),
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                // Somebody lives.
                Ok(None) => break,
                Err(_) => return status,
            }
        }
        if began.elapsed() > ENDED_WITHIN {
            return status;
        }
        for number in processes::beneath(processes::own()) {
            processes::signal(number, Signal::KILL);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
