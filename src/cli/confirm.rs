//! Asks before something is destroyed.

use super::{FAILED, USAGE, failed};
use crate::ops::{Phase, Shutdown};
use std::io::{BufRead, IsTerminal, Write};
use tokio::sync::oneshot;

/// The exit code, if it is not to be done: somebody said no, or left, or nobody could be asked.
pub async fn refusal(question: &str, yes: bool, shutdown: &Shutdown) -> Option<u8> {
    match confirmed(question, yes, shutdown.reached(Phase::Draining)).await {
        Ok(true) => None,
        Ok(false) => {
            eprintln!("nothing was deleted");
            Some(FAILED)
        }
        Err(why) => {
            failed(why);
            Some(USAGE)
        }
    }
}

/// True if the person says yes, or has said so by `--yes`; false if not, or if `left` ends first.
///
/// # Errors
///
/// Nobody is there to be asked.
async fn confirmed(question: &str, yes: bool, left: impl Future<Output = ()>) -> Result<bool, String> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(format!("{question} Pass --yes to say so: there is no terminal to ask at"));
    }
    eprint!("{question} [y/N] ");
    // A thread of its own: nothing wakes it up but a line, and a runtime would wait for it at its end.
    let (say, answer) = oneshot::channel();
    std::thread::spawn(move || {
        let mut answer = String::new();
        let asked = std::io::stderr().flush().and_then(|()| std::io::stdin().lock().read_line(&mut answer));
        // Nobody listens any more.
        let _ = say.send(asked.map(|_| answer));
    });
    tokio::select! {
        answer = answer => match answer.map_err(|e| e.to_string()) {
            Ok(Ok(answer)) => Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")),
            Ok(Err(why)) => Err(format!("cannot ask: {why}")),
            Err(why) => Err(format!("cannot ask: {why}")),
        },
        () = left => {
            eprintln!();
            Ok(false)
        }
    }
}
