//! Asks before something is destroyed.

use std::io::{BufRead, IsTerminal, Write};

/// True if the person says yes, or has said so by `--yes`.
///
/// # Errors
///
/// Nobody is there to be asked.
pub fn confirmed(question: &str, yes: bool) -> Result<bool, String> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(format!("{question} Pass --yes to say so: there is no terminal to ask at"));
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    let asked = std::io::stderr().flush().and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    asked.map_err(|e| format!("cannot ask: {e}"))?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
