//! The table at the end: picture, outcome, sizes, milliseconds.

use crate::error::Printable;
use crate::job::{Made, Outcome};
use crate::worker::Report;
use std::path::Path;
use std::time::Duration;

#[derive(Debug)]
pub struct Row {
    key: String,
    bytes_in: u64,
    pub state: State,
    elapsed: Duration,
}

#[derive(Debug)]
pub enum State {
    /// No end was told: interrupted.
    Waiting,
    /// Tried, and to be tried again, with the reason.
    Retrying(String),
    Done(Made),
    /// Finished without work, with the reason.
    Skipped(String),
    /// Rejected or given up, with the reason.
    Failed(String),
}

impl Row {
    pub fn new(key: &str, bytes_in: u64) -> Self {
        Self { key: key.to_owned(), bytes_in, state: State::Waiting, elapsed: Duration::ZERO }
    }

    /// What the worker told of this picture. After `deliveries` the queue gives a message up.
    pub fn take(&mut self, report: &Report, deliveries: u32) {
        self.elapsed = report.elapsed;
        self.state = match &report.outcome {
            Outcome::Done(made) => State::Done(made.clone()),
            Outcome::Superseded => State::Skipped("superseded by a newer version".into()),
            Outcome::Ignored(noise) => State::Skipped(format!("ignored: {}", noise.slug())),
            Outcome::Gone(error) => State::Skipped(format!("gone: {error}")),
            Outcome::Rejected(rejection) => State::Failed(format!("rejected, {rejection}")),
            Outcome::Retry(error) | Outcome::Blocked(_, error) if report.receive_count >= deliveries => {
                State::Failed(format!("given up after {deliveries} tries: {error}"))
            }
            Outcome::Retry(error) | Outcome::Blocked(_, error) => State::Retrying(error.to_string()),
            Outcome::Left => State::Retrying("not begun".into()),
        };
    }

    pub fn is_final(&self) -> bool {
        !matches!(self.state, State::Waiting | State::Retrying(_))
    }

    pub fn failed(&self) -> bool {
        matches!(self.state, State::Failed(_)) || !self.is_final()
    }

    pub fn name(&self) -> String {
        Printable(&self.key).to_string()
    }

    fn outcome(&self) -> String {
        match &self.state {
            State::Waiting => "not finished".into(),
            State::Retrying(why) => format!("not finished: {}", Printable(why)),
            State::Done(made) if made.outputs.iter().any(|o| o.written) => "done".into(),
            State::Done(_) => "done (unchanged)".into(),
            State::Skipped(why) | State::Failed(why) => Printable(why).to_string(),
        }
    }

    pub fn line(&self) -> String {
        format!("{}: {}, {} ms", self.name(), self.outcome(), self.elapsed.as_millis())
    }

    fn size_of(&self, rendition: &str) -> String {
        let State::Done(made) = &self.state else { return "–".into() };
        match made.outputs.iter().find(|o| o.name == rendition) {
            Some(o) => format!("{} ({}×{})", bytes(o.bytes), o.width, o.height),
            None => "–".into(),
        }
    }
}

/// `names`: the renditions, a column each. Reasons stand last, as they are long.
pub fn render(rows: &[Row], names: &[String]) -> String {
    let mut head = vec!["picture".to_owned(), "in".to_owned()];
    head.extend(names.iter().cloned());
    head.extend(["ms".to_owned(), "outcome".to_owned()]);
    let mut lines = vec![head];
    for row in rows {
        let mut line = vec![row.name(), bytes(row.bytes_in)];
        line.extend(names.iter().map(|name| row.size_of(name)));
        line.extend([format!("{:.0}", row.elapsed.as_secs_f64() * 1e3), row.outcome()]);
        lines.push(line);
    }
    let columns = lines[0].len();
    let width = |c: usize| lines.iter().map(|line| line[c].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        for (c, cell) in line.iter().enumerate() {
            let pad = widths[c] - cell.chars().count();
            let left = c == 0 || c + 1 == columns;
            let (before, after) = if left { (0, pad) } else { (pad, 0) };
            text.push_str(&format!("{}{cell}{}  ", " ".repeat(before), " ".repeat(after)));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

pub fn summary(rows: &[Row], elapsed: Duration, outputs: &Path) -> String {
    let count = |is: fn(&State) -> bool| rows.iter().filter(|r| is(&r.state)).count();
    let parts: Vec<String> = [
        (count(|s| matches!(s, State::Done(_))), "done"),
        (count(|s| matches!(s, State::Skipped(_))), "skipped"),
        (count(|s| matches!(s, State::Failed(_))), "rejected or failed"),
        (count(|s| matches!(s, State::Waiting | State::Retrying(_))), "not finished"),
    ]
    .iter()
    .filter(|(n, what)| *n > 0 || *what == "done")
    .map(|(n, what)| format!("{n} {what}"))
    .collect();
    format!(
        "{} of {} pictures: {}, in {:.1} s; the renditions are in {}",
        count(|s| !matches!(s, State::Waiting | State::Retrying(_))),
        rows.len(),
        parts.join(", "),
        elapsed.as_secs_f64(),
        outputs.display()
    )
}

/// A size as people read it.
fn bytes(n: u64) -> String {
    match n {
        0..10_000 => format!("{n} B"),
        10_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        _ => format!("{:.1} MB", n as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_control_characters_are_escaped() {
        let rows = [Row::new("a\n.jpg", 12_345), Row::new("日本.jpg", 3)];
        let table = render(&rows, &["thumbs".to_owned()]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].starts_with("a\\u{a}.jpg"));
        let column =
            |line: &str| line.chars().count() - line.chars().rev().position(|c| c == 'B').unwrap_or(0);
        assert_eq!(column(lines[1]), column(lines[2]));
    }
}
