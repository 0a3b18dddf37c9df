//! A look as text.

use super::cluster::Task;
use super::gather::{Status, Told};
use super::workers::Worker;
use crate::cli;
use crate::error::Printable;
use crate::queue::{Depth, queue_name};
use aws_sdk_cloudwatch::primitives::{DateTime, DateTimeFormat};
use std::fmt::Write;
use std::time::Duration;

/// Lines of at most this many characters of somebody else's text.
const WIDTH: usize = 100;
/// Lines of each list. Of tasks there are two lists: those that stopped, and the others.
const MOST: usize = 12;

pub fn text(status: &Status) -> String {
    let mut out = String::new();
    queues(&mut out, status);
    workers(&mut out, status);
    cluster(&mut out, status);
    scaling(&mut out, status);
    changes(&mut out, status);
    out
}

/// As RFC 3339 has it.
pub fn moment(at: u64) -> String {
    let at = DateTime::from_secs(at as i64);
    at.fmt(DateTimeFormat::DateTime).unwrap_or_else(|_| at.secs().to_string())
}

fn queues(out: &mut String, status: &Status) {
    let name = queue_name(&status.queue_url);
    let oldest = match &status.oldest_seconds {
        Told::Is(Some(seconds)) => age(*seconds as i64),
        Told::Is(None) => "unknown".into(),
        Told::CannotRead { .. } => "not readable".into(),
    };
    let depth = |Depth { waiting, hidden, delayed }: Depth| {
        format!("{} waiting, {} in flight, {} delayed", number(waiting), number(hidden), number(delayed))
    };
    let known = known(&status.queue, |d| format!("{}; oldest {oldest}", depth(*d)));
    let _ = writeln!(out, "queue      {}: {known}", clean(name));
    if let Told::CannotRead { cannot_read, .. } = &status.oldest_seconds {
        let _ = writeln!(out, "           age of the oldest: {}", Printable(cannot_read));
    }
    let dead = self::known(&status.dead_letters, |d| {
        let mend = if d.waiting + d.hidden > 0 { " (longshore dlq list)" } else { "" };
        let noun = if d.waiting + d.hidden == 1 { "dead letter" } else { "dead letters" };
        format!("{} {noun}{mend}", number(d.waiting + d.hidden))
    });
    let _ = writeln!(out, "dlq        {dead}");
}

fn workers(out: &mut String, status: &Status) {
    if status.workers.is_empty() {
        let _ = writeln!(
            out,
            "workers    none asked (--worker HOST:PORT, or --task-port where tasks can be reached)"
        );
        return;
    }
    let answering: Vec<&Worker> = status.workers.values().filter_map(is).collect();
    let sum = |of: fn(&Worker) -> u64| number(answering.iter().map(|w| of(w)).sum());
    let rates: Vec<f64> = answering.iter().filter_map(|w| w.per_second).collect();
    let per_second = (!rates.is_empty()).then(|| rates.iter().sum::<f64>());
    let _ = writeln!(
        out,
        "workers    {} of {} answer: {}/s, {} in work; {} done, {} rejected, {} tried again",
        answering.len(),
        status.workers.len(),
        per_second.map_or("-".into(), |r| format!("{r:.1}")),
        sum(|w| w.in_flight),
        sum(|w| w.done),
        sum(|w| w.rejected),
        sum(|w| w.retried)
    );
    for (address, told) in &status.workers {
        let line = known(told, |w| {
            let state =
                w.trouble.as_deref().map_or("ready".into(), |why| format!("NOT READY: {}", clean(why)));
            let rate = w.per_second.map_or("-".into(), |r| format!("{r:.1}"));
            format!("{rate}/s, p50 {}, p99 {}, {state}", seconds(w.p50_seconds), seconds(w.p99_seconds))
        });
        let _ = writeln!(out, "           {}: {line}", clean(address));
    }
}

fn cluster(out: &mut String, status: &Status) {
    let Some(cluster) = &status.cluster else { return };
    let now = status.at as i64;
    if let Some(why) = cluster.not_there() {
        let _ = writeln!(out, "{:<10} {}", "cluster", Printable(why));
        return;
    }
    each(out, "service", &cluster.services, |s| {
        let event = s
            .event
            .as_ref()
            .map_or(String::new(), |(at, what)| format!("; {} ago: {}", age(now - at), clean(what)));
        format!(
            "{}: {} desired, {} running, {} pending; {}{event}",
            clean(&s.name),
            s.desired,
            s.running,
            s.pending,
            s.rollout
        )
    });
    match &cluster.tasks {
        Told::Is(all) => block(out, "tasks", &tasks(all, now)),
        unread => each(out, "tasks", unread, |_| String::new()),
    }
    each(out, "instances", &cluster.instances, |i| {
        let free = |n: Option<i32>| n.map_or("-".into(), |n| n.to_string());
        let agent = if i.agent_connected { "" } else { "  AGENT NOT CONNECTED" };
        format!(
            "{:<20} {:<12} {:<10} {} running, {} pending; free {} CPU, {} MiB{agent}",
            clean(&i.id),
            i.kind.as_deref().unwrap_or("-"),
            i.status,
            i.running,
            i.pending,
            free(i.free_cpu),
            free(i.free_memory)
        )
    });
}

/// Those that stopped come first, then those that do not run yet: tasks that are well must not push the others out.
fn tasks(all: &[Task], now: i64) -> Vec<String> {
    let (stopped, mut others): (Vec<&Task>, Vec<&Task>) = all.iter().partition(|t| t.status == "STOPPED");
    others.sort_by_key(|t| t.status == "RUNNING");
    let mut lines = Vec::new();
    for alike in [stopped, others] {
        let (shown, rest) = alike.split_at(alike.len().min(MOST));
        lines.extend(shown.iter().map(|t| {
            let since = t.stopped.or(t.since).map_or("-".into(), |at| age(now - at));
            let why = t.reason.as_deref().map_or(String::new(), |why| format!("  {}", clean(why)));
            format!("{:<34} {:<14} {since:>7}{why}", clean(&t.id), t.status)
        }));
        let Some(first) = rest.first() else { continue };
        // What does not run yet comes first: it is seldom among the rest.
        let same = rest.iter().all(|t| t.status == first.status);
        let state = if same { format!(" {}", clean(&first.status).to_lowercase()) } else { String::new() };
        let oldest = rest.iter().filter_map(|t| t.stopped.or(t.since)).min();
        let oldest = oldest.map_or(String::new(), |at| format!(", oldest {}", age(now - at)));
        lines.push(format!("and {} more{state}{oldest}", rest.len()));
    }
    lines
}

fn scaling(out: &mut String, status: &Status) {
    let Some(scaling) = &status.scaling else { return };
    let now = status.at as i64;
    each(out, "scaling", scaling, |s| {
        let mut line =
            format!("{} to {} tasks{}", s.least, s.most, if s.suspended { ", SUSPENDED" } else { "" });
        for activity in &s.activities {
            let ago = age(now - activity.at);
            let _ = write!(line, "\n           {ago} ago: {} ({})", clean(&activity.what), activity.status);
            let _ = write!(line, "\n             {}", clean(&activity.why));
        }
        line
    });
}

fn changes(out: &mut String, status: &Status) {
    let Some(changes) = &status.changes else { return };
    each(out, "changes", changes, |c| {
        format!("{}  {} {}  {}", clean(&c.time), clean(&c.who), clean(&c.status), clean(&c.why))
    });
}

/// A heading before the first line, and not more than fit on a screen.
fn each<T>(out: &mut String, heading: &str, told: &Told<Vec<T>>, line: impl Fn(&T) -> String) {
    match told {
        Told::CannotRead { cannot_read, .. } => {
            let _ = writeln!(out, "{heading:<10} cannot be read: {}", Printable(cannot_read));
        }
        Told::Is(all) => {
            let mut lines: Vec<String> = all.iter().take(MOST).map(line).collect();
            if all.len() > MOST {
                lines.push(format!("and {} more", all.len() - MOST));
            }
            block(out, heading, &lines);
        }
    }
}

fn block(out: &mut String, heading: &str, lines: &[String]) {
    if lines.is_empty() {
        let _ = writeln!(out, "{heading:<10} none");
    }
    for (nth, line) in lines.iter().enumerate() {
        let heading = if nth == 0 { heading } else { "" };
        let _ = writeln!(out, "{heading:<10} {line}");
    }
}

fn known<T>(told: &Told<T>, line: impl Fn(&T) -> String) -> String {
    match told {
        Told::Is(value) => line(value),
        Told::CannotRead { cannot_read, .. } => format!("cannot be read: {}", Printable(cannot_read)),
    }
}

fn is<T>(told: &Told<T>) -> Option<&T> {
    match told {
        Told::Is(value) => Some(value),
        Told::CannotRead { .. } => None,
    }
}

/// One line, no control characters, not too long.
fn clean(text: &str) -> String {
    let text = Printable(text).to_string();
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// With commas between thousands.
fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn seconds(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".into(),
        Some(s) if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        Some(s) => format!("{s:.1} s"),
    }
}

/// Clocks differ: what has yet to come is now.
fn age(seconds: i64) -> String {
    cli::age(Duration::from_secs(seconds.max(0).unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([-5, 99, 100, 7000, 200_000].map(age), ["0 s", "99 s", "1 min", "1 h", "2 d"]);
        assert_eq!([None, Some(0.0421), Some(2.25)].map(seconds), ["-", "42 ms", "2.2 s"]);
    }

    #[test]
    fn a_large_fleet_does_not_push_out_what_stopped() {
        let task = |nth: i64, status: &str| Task {
            id: format!("{status}-{nth}"),
            status: status.into(),
            since: Some(1000 - 60 * nth),
            stopped: (status == "STOPPED").then_some(990),
            reason: (status == "STOPPED").then(|| "out of memory".into()),
            address: None,
        };
        let mut all: Vec<Task> = (1..=15).map(|nth| task(nth, "RUNNING")).collect();
        all.push(task(1, "PENDING"));
        all.extend((1..=13).map(|nth| task(nth, "STOPPED")));
        let lines = tasks(&all, 1000);
        assert!(lines[0].starts_with("STOPPED-1 ") && lines[0].ends_with("10 s  out of memory"), "{lines:?}");
        assert_eq!(lines[MOST], "and 1 more stopped, oldest 10 s");
        assert!(lines[MOST + 1].starts_with("PENDING-1 "), "{lines:?}");
        assert!(lines[MOST + 2].starts_with("RUNNING-1 "), "{lines:?}");
        assert_eq!(lines.last().unwrap(), "and 4 more running, oldest 15 min");
    }

    #[test]
    fn what_others_wrote_stays_on_its_line() {
        assert!(!clean("a\nb\x1b[2J").contains(['\n', '\x1b']));
        assert_eq!(clean(&"é".repeat(200)).chars().count(), WIDTH + 1);
    }
}
