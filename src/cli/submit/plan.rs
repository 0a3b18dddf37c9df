//! Which rows are queued, by what was submitted before and how it stands.

use super::describe::ranges;
use super::stored::Stored;
use crate::command::spool::{Spool, Writer, beside};
use crate::command::states::{Standing, States};
use crate::command::table::{Mistakes, Place};
use crate::command::wire::{Column, Row};
use crate::error::Error;
use std::io;

/// Which rows a person wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    All,
    /// Those that have failed.
    Failed,
    /// These, from and to.
    Rows(Vec<(u64, u64)>),
}

impl Selection {
    /// # Errors
    ///
    /// What is wrong with the list.
    pub fn read(only_failed: bool, rows: Option<&str>) -> Result<Self, String> {
        match rows.map(|text| (text, ranges(text))) {
            None if only_failed => Ok(Self::Failed),
            None => Ok(Self::All),
            Some((_, Some(ranges))) => Ok(Self::Rows(ranges)),
            Some((text, None)) => Err(format!("--rows is {text:?}: write numbers of rows, like 3,7-9")),
        }
    }

    pub fn names(&self, row: u64) -> bool {
        matches!(self, Self::Rows(ranges) if ranges.iter().any(|(low, high)| (*low..=*high).contains(&row)))
    }

    /// Whether a row that was never queued is to be.
    pub fn takes_new(&self, row: u64) -> bool {
        *self == Self::All || self.names(row)
    }
}

pub struct Plan {
    /// The table as it will be: rows that were or are queued.
    pub next: Spool,
    /// Rows to queue.
    pub queue: Spool,
    /// Those of them whose records are removed before.
    pub again: Spool,
    /// Whether `next` is another table than the stored one.
    pub changes: bool,
    pub tally: Tally,
}

#[derive(Debug, Default)]
pub struct Tally {
    pub new: u64,
    pub changed: u64,
    pub again: u64,
    pub unchanged: u64,
}

/// What is to be done about a row.
#[derive(Debug, PartialEq, Eq)]
enum Deed {
    /// Not queued, now or before.
    Leave,
    Keep(Row),
    New(Row),
    /// As before, once more.
    Again(Row),
    /// As before, once more, and its records stay.
    Resume(Row),
    Changed(Row),
    Refuse(String),
}

impl Plan {
    pub async fn make(
        columns: &[Column],
        new: &Spool,
        stored: &Stored,
        selection: &Selection,
        resume: bool,
        mut states: States,
        mistakes: &mut Mistakes,
    ) -> Result<Self, Error> {
        let (mut next, mut queue, mut again) = (writer()?, writer()?, writer()?);
        let mut tally = Tally::default();
        for pair in beside(new.rows().map_err(disk)?, stored.table.rows().map_err(disk)?) {
            let (new, old) = pair.map_err(disk)?;
            let row = new.as_ref().or(old.as_ref()).map_or(0, |row| row.row);
            let owed = stored.owed.binary_search(&row).is_ok();
            // Only where it matters: it costs listings.
            let asks = match (&new, &old) {
                (Some(new), Some(old)) => {
                    resume || *selection == Selection::Failed || new.digest != old.digest
                }
                _ => false,
            };
            let standing = if asks { states.at(row).await?.standing() } else { Standing::Waiting };
            let deed = decide(columns, new, old, selection, resume, owed, standing);
            let (row, queued, is_again) = match deed {
                Deed::Leave => continue,
                Deed::Refuse(why) => {
                    mistakes.add(&Place::WholeRow { row }, why);
                    continue;
                }
                Deed::Keep(row) => {
                    tally.unchanged += 1;
                    (row, false, false)
                }
                Deed::New(row) => {
                    tally.new += 1;
                    (row, true, owed)
                }
                Deed::Resume(row) => {
                    tally.again += 1;
                    (row, true, false)
                }
                Deed::Again(row) => {
                    tally.again += 1;
                    (row, true, true)
                }
                Deed::Changed(row) => {
                    tally.changed += 1;
                    (row, true, true)
                }
            };
            next.add(&row).map_err(disk)?;
            if is_again {
                again.add(&Row { values: Vec::new(), ..row.clone() }).map_err(disk)?;
            }
            if queued {
                queue.add(&row).map_err(disk)?;
            }
        }
        if let Selection::Rows(ranges) = selection
            && let Some((_, high)) = ranges.iter().find(|(_, high)| *high > new.rows || *high == 0)
        {
            mistakes.add(&Place::Table, format_args!("has {} rows, and --rows names row {high}", new.rows));
        }
        let next = next.finish().map_err(disk)?;
        let changes = next.sha256 != stored.table.sha256;
        let (queue, again) = (queue.finish().map_err(disk)?, again.finish().map_err(disk)?);
        Ok(Self { next, queue, again, changes, tally })
    }
}

/// `owed`: its records may be gone, and its message not be sent.
fn decide(
    columns: &[Column],
    new: Option<Row>,
    old: Option<Row>,
    selection: &Selection,
    resume: bool,
    owed: bool,
    standing: Standing,
) -> Deed {
    match (new, old) {
        (None, None) => Deed::Leave,
        (Some(new), None) if owed || selection.takes_new(new.row) => Deed::New(new),
        (Some(_), None) => Deed::Leave,
        (None, Some(old)) if *selection == Selection::All => {
            let row = old.row;
            Deed::Refuse(format!(
                "was submitted before and is not in it any more: rows are changed or added at the end; choose \
                 another --name for another table, or name the rows to run ({row} is not among them) with --rows"
            ))
        }
        (None, Some(old)) => Deed::Keep(old),
        (Some(new), Some(old)) if new.digest == old.digest => {
            let failed = *selection == Selection::Failed && standing == Standing::Failed;
            if owed || selection.names(new.row) || failed {
                Deed::Again(new)
            } else if resume && *selection == Selection::All && standing == Standing::Failed {
                // Of what was cancelled, the workers say so as of a failure.
                Deed::Again(new)
            } else if resume && *selection == Selection::All && standing != Standing::Done {
                Deed::Resume(new)
            } else {
                Deed::Keep(old)
            }
        }
        (Some(new), Some(_)) if selection.names(new.row) => Deed::Changed(new),
        (Some(new), Some(old)) => match (selection, standing) {
            (Selection::Failed, Standing::Failed) | (Selection::All, Standing::Done | Standing::Failed) => {
                Deed::Changed(new)
            }
            (Selection::All, _) => Deed::Refuse(format!(
                "was changed in {}, and what it was is {}: wait for its end, or say that both may run with --rows {}",
                changed(columns, &new, &old),
                standing.word(),
                new.row
            )),
            _ => Deed::Keep(old),
        },
    }
}

/// The columns in which two rows differ.
fn changed(columns: &[Column], new: &Row, old: &Row) -> String {
    let differ = columns.iter().zip(new.values.iter().zip(&old.values)).filter(|(_, (new, old))| new != old);
    let names: Vec<String> =
        differ.map(|(column, _)| format!("column --{} {}", column.kind.word(), column.name)).collect();
    // More are in nobody's way, but in a line.
    match names.len() {
        0 => "its columns".into(),
        1..=3 => names.join(", "),
        more => format!("{} and {} more", names[..2].join(", "), more - 2),
    }
}

fn writer() -> Result<Writer, Error> {
    Writer::new().map_err(disk)
}

pub fn disk(error: io::Error) -> Error {
    Error::new(format!("cannot keep the rows in a temporary file: {error} (set TMPDIR)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::wire::Kind;

    #[test]
    fn what_becomes_of_a_row_follows_from_what_it_was() {
        let row = |digest: &str| Some(Row { row: 3, digest: digest.into(), values: Vec::new() });
        let a = || row("a").unwrap();
        let b = || row("b").unwrap();
        let all = Selection::All;
        let three = Selection::Rows(vec![(2, 3)]);
        let other = Selection::Rows(vec![(1, 1)]);
        let failed = Selection::Failed;
        use Standing::{Done, Failed, Retrying, Running, Waiting};
        let plain = |new, old, selection: &Selection, standing| {
            decide(&[], new, old, selection, false, false, standing)
        };
        for (deed, expected) in [
            (plain(row("a"), None, &all, Waiting), Deed::New(a())),
            (plain(row("a"), None, &three, Waiting), Deed::New(a())),
            (plain(row("a"), None, &other, Waiting), Deed::Leave),
            (plain(row("a"), None, &failed, Waiting), Deed::Leave),
            (plain(row("a"), row("a"), &all, Failed), Deed::Keep(a())),
            (plain(row("a"), row("a"), &three, Done), Deed::Again(a())),
            (plain(row("a"), row("a"), &failed, Failed), Deed::Again(a())),
            (plain(row("a"), row("a"), &failed, Retrying), Deed::Keep(a())),
            (plain(row("b"), row("a"), &all, Done), Deed::Changed(b())),
            (plain(row("b"), row("a"), &three, Running), Deed::Changed(b())),
            (plain(row("b"), row("a"), &other, Done), Deed::Keep(a())),
            (plain(row("b"), row("a"), &failed, Failed), Deed::Changed(b())),
            (plain(row("b"), row("a"), &failed, Done), Deed::Keep(a())),
            (plain(None, row("a"), &three, Done), Deed::Keep(a())),
            (decide(&[], row("a"), None, &other, false, true, Waiting), Deed::New(a())),
            (decide(&[], row("a"), row("a"), &all, true, false, Running), Deed::Resume(a())),
            (decide(&[], row("a"), row("a"), &all, true, false, Done), Deed::Keep(a())),
            (decide(&[], row("a"), row("a"), &all, true, false, Failed), Deed::Again(a())),
        ] {
            assert_eq!(deed, expected);
        }
        assert!(
            matches!(plain(row("b"), row("a"), &all, Waiting), Deed::Refuse(why) if why.contains("--rows 3"))
        );
        assert!(matches!(plain(None, row("a"), &all, Done), Deed::Refuse(why) if why.contains("--name")));
    }

    #[test]
    fn what_differs_is_named_by_its_columns() {
        let columns = |count: usize| -> Vec<Column> {
            (0..count).map(|n| Column { kind: Kind::Env, name: format!("C{n}") }).collect()
        };
        let row = |values: &[&str]| Row {
            row: 1,
            digest: String::new(),
            values: values.iter().map(|v| (*v).to_owned()).collect(),
        };
        assert_eq!(changed(&columns(2), &row(&["a", "b"]), &row(&["a", "c"])), "column --env C1");
        let many = changed(&columns(5), &row(&["a"; 5]), &row(&["b"; 5]));
        assert_eq!(many, "column --env C0, column --env C1 and 3 more");
    }
}
