//! A bar while letters are gone through, and word of those that are not to be seen.

use crate::cli::{FAILED, OK};
use crate::error::Error;
use crate::queue::letters::{Fate, Letter, Letters, Tally};
use indicatif::{ProgressBar, ProgressStyle};

/// Goes through all letters, with a bar as long as SQS guesses that there are.
///
/// # Errors
///
/// As [`Letters::go_through`].
pub async fn go_through(
    letters: &Letters,
    mut decide: impl FnMut(&Letter) -> Fate,
    stop: impl Fn() -> bool,
) -> Result<Tally, Error> {
    let (visible, hidden) = letters.estimate().await?;
    let bar = bar(visible);
    let counting = |letter: &Letter| {
        bar.inc(1);
        decide(letter)
    };
    let tally = letters.go_through(counting, stop).await;
    bar.finish_and_clear();
    tally.map(|tally| Tally { hidden: unseen(visible, hidden, &tally), ..tally })
}

/// What others hid when we began, but for those that have come back meanwhile.
fn unseen(visible: u64, hidden: u64, tally: &Tally) -> u64 {
    (visible + hidden).saturating_sub(tally.seen).min(hidden)
}

/// Tells what was not looked at, and gives the exit code: nobody shall take what was seen for all that there is.
pub fn end(tally: &Tally) -> u8 {
    if tally.cut_short {
        eprintln!("interrupted after {}: there may be more", tally.seen);
        return FAILED;
    }
    if tally.hidden > 0 {
        eprintln!(
            "{} more are hidden now: somebody looks at them, or a look was cut off. They show again within 5 minutes",
            tally.hidden
        );
        return FAILED;
    }
    OK
}

pub fn bar(total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}  {eta}");
    ProgressBar::new(total).with_style(style.expect("the template is fixed"))
}
