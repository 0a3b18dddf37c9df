//! A bar while letters are gone through.

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
    let (visible, _) = letters.estimate().await?;
    let bar = bar(visible);
    let counting = |letter: &Letter| {
        bar.inc(1);
        decide(letter)
    };
    let tally = letters.go_through(counting, stop).await;
    bar.finish_and_clear();
    tally
}

pub fn bar(total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}  {eta}");
    ProgressBar::new(total).with_style(style.expect("the template is fixed"))
}
