//! What the end of a script means for its row.

use super::Trouble;
use crate::command::supervise::Ending;
use crate::error::{Reason, Rejection};
use std::time::Duration;

/// What the end of a script means.
pub fn judge(
    ending: Option<Ending>,
    ran_out_of_memory: bool,
    permanent: &[i32],
    timeout: Duration,
    memory: Option<u64>,
) -> Result<(), Trouble> {
    let limit = memory.map_or_else(|| "the container's limit".to_owned(), |bytes| format!("{bytes} bytes"));
    let out_of_memory =
        || Trouble::failed(Reason::CommandMemory, format!("killed: out of memory (limit: {limit})"));
    let Some(ending) = ending else {
        let detail = "killed together with what watches over it: most likely out of memory";
        return Err(if ran_out_of_memory {
            out_of_memory()
        } else {
            Trouble::failed(Reason::CommandKilled, detail)
        });
    };
    if let Some(why) = ending.error {
        return Err(Trouble::failed(Reason::CommandFailed, why));
    }
    if ending.timed_out {
        let detail = format!("not finished within {} s", timeout.as_secs());
        return Err(Trouble::failed(Reason::CommandTimeout, detail));
    }
    if ending.too_large || ran_out_of_memory && ending.code != Some(0) {
        return Err(out_of_memory());
    }
    let hint = hint(ending.peak_memory, memory);
    match (ending.code, ending.signal) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => {
            let (reason, meaning) = match code {
                SIGKILLED => (Reason::CommandKilled, " (SIGKILL: most likely out of memory)".to_owned()),
                126 => (Reason::CommandFailed, " (cannot be executed)".to_owned()),
                127 => (Reason::CommandFailed, " (a command was not found)".to_owned()),
                129..=192 => (Reason::CommandFailed, format!(" ({}){hint}", signal_name(code - 128))),
                _ => (Reason::CommandFailed, hint),
            };
            let rejection = Rejection::new(reason, format!("exit code {code}{meaning}"));
            Err(Trouble::Failed { rejection, for_good: permanent.contains(&code) })
        }
        (None, signal) => {
            let number = signal.unwrap_or_default();
            let likely = if number == 9 { ": most likely out of memory" } else { hint.as_str() };
            let detail = format!("killed by {}{likely}", signal_name(number));
            // As a shell tells it of what it ran: those who name 137 mean this, too.
            let for_good = permanent.contains(&(128 + number));
            Err(Trouble::Failed { rejection: Rejection::new(Reason::CommandKilled, detail), for_good })
        }
    }
}

/// 128 and the number of SIGKILL.
const SIGKILLED: i32 = 137;

/// Where a limit is each process's own, programs are refused memory and say in their own way that they end. Buffers
/// are doubled as a rule: with half of the limit in use, the next one is too much.
fn hint(peak: u64, limit: Option<u64>) -> String {
    match limit.filter(|limit| peak >= limit / 2) {
        Some(limit) => format!(" (perhaps out of memory: its processes had {peak} of {limit} bytes)"),
        None => String::new(),
    }
}

/// Of those that end programs, by their numbers in Linux.
fn signal_name(number: i32) -> String {
    let name = match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return format!("signal {number}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(ending: Ending, ran_out: bool) -> (Reason, String, bool) {
        match judge(Some(ending), ran_out, &[3], Duration::from_secs(60), None) {
            Err(Trouble::Failed { rejection, for_good }) => (rejection.reason, rejection.detail, for_good),
            other => panic!("{other:?}"),
        }
    }

    fn exit(code: i32) -> Ending {
        Ending { code: Some(code), ..Ending::default() }
    }

    #[test]
    fn every_end_has_its_name() {
        assert!(judge(Some(exit(0)), false, &[], Duration::from_secs(5), None).is_ok());
        assert_eq!(reason(exit(1), false), (Reason::CommandFailed, "exit code 1".into(), false));
        assert_eq!(reason(exit(3), false), (Reason::CommandFailed, "exit code 3".into(), true));
        assert!(reason(exit(137), false).1.contains("out of memory"));
        assert_eq!(reason(exit(137), true).0, Reason::CommandMemory);
        assert_eq!(reason(exit(143), false).1, "exit code 143 (SIGTERM)");
        let killed = Ending { signal: Some(11), ..Ending::default() };
        assert_eq!(reason(killed, false), (Reason::CommandKilled, "killed by SIGSEGV".into(), false));
        let slow = Ending { timed_out: true, code: Some(0), ..Ending::default() };
        assert_eq!(reason(slow, false), (Reason::CommandTimeout, "not finished within 60 s".into(), false));
        let large = Ending { too_large: true, signal: Some(9), ..Ending::default() };
        assert_eq!(reason(large, false).0, Reason::CommandMemory);
        assert!(judge(None, false, &[], Duration::from_secs(5), None).is_err());
    }

    #[test]
    fn a_signal_is_permanent_as_what_a_shell_says_of_it() {
        let killed = |number| {
            let ending = Ending { signal: Some(number), ..Ending::default() };
            match judge(Some(ending), false, &[137], Duration::from_secs(60), None) {
                Err(Trouble::Failed { for_good, .. }) => for_good,
                other => panic!("{other:?}"),
            }
        };
        assert!(killed(9) && !killed(15));
    }

    #[test]
    fn what_ends_by_itself_with_its_memory_nearly_used_up_has_a_hint() {
        let told =
            |ending: Ending, limit| match judge(Some(ending), false, &[], Duration::from_secs(60), limit) {
                Err(Trouble::Failed { rejection, .. }) => rejection.detail,
                other => panic!("{other:?}"),
            };
        let ending = |peak_memory| Ending { peak_memory, ..exit(2) };
        let hint = "exit code 2 (perhaps out of memory: its processes had 60 of 100 bytes)";
        assert_eq!(told(ending(60), Some(100)), hint);
        assert_eq!(told(ending(40), Some(100)), "exit code 2");
        assert_eq!(told(ending(60), None), "exit code 2");
        let aborted = Ending { code: None, signal: Some(6), ..ending(60) };
        assert!(told(aborted, Some(100)).starts_with("killed by SIGABRT (perhaps out of memory"));
    }
}
