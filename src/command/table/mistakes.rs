//! What is wrong in a table: all at once, and not without end.

use crate::command::wire::Column;
use crate::error::Printable;
use std::fmt;

/// The first of them as lines, and how many there are.
#[derive(Debug, Default)]
pub struct Mistakes {
    /// What it is called that they are in.
    table: String,
    lines: Vec<String>,
    count: u64,
}

/// More lines than this nobody reads.
const SHOWN: usize = 100;
/// Of a stranger's text in one line.
const BRIEF: usize = 60;

impl Mistakes {
    pub fn new(table: &str) -> Self {
        Self { table: table.to_owned(), ..Self::default() }
    }

    pub fn add(&mut self, place: &Place<'_>, why: impl fmt::Display) {
        self.count += 1;
        if self.lines.len() < SHOWN {
            self.lines.push(format!("{}{place} {why}", Printable(&self.table)));
        }
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether one more would be told of.
    pub fn has_room(&self) -> bool {
        self.lines.len() < SHOWN
    }

    /// A line each, and at last how many more there are.
    pub fn told(&self) -> Vec<String> {
        let mut lines = self.lines.clone();
        let more = self.count - lines.len() as u64;
        if more > 0 {
            lines.push(format!("… and {more} more in {}", Printable(&self.table)));
        }
        lines
    }
}

/// Where in a table.
pub enum Place<'a> {
    Table,
    Header {
        line: u64,
    },
    /// Cells are counted from 0.
    HeaderCell {
        cell: usize,
        text: &'a str,
    },
    /// Rows are counted from 1, without the header.
    Row {
        row: u64,
        line: u64,
    },
    Cell {
        row: u64,
        line: u64,
        cell: usize,
        column: &'a Column,
    },
    /// Neither its line nor a column of it is meant.
    WholeRow {
        row: u64,
    },
    /// Its line is not known any more.
    Value {
        row: u64,
        column: &'a Column,
    },
}

impl<'a> Place<'a> {
    pub fn cell(row: u64, line: u64, cell: usize, column: &'a Column) -> Self {
        Self::Cell { row, line, cell, column }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table => Ok(()),
            Self::Header { line } => write!(f, ", header (line {line}):"),
            Self::HeaderCell { cell, text } => write!(f, ", header, column {} {}", cell + 1, quoted(text)),
            Self::Row { row, line } => write!(f, ", row {row} (line {line})"),
            Self::WholeRow { row } => write!(f, ", row {row}"),
            Self::Cell { row, line, cell, column } => {
                let (number, kind) = (cell + 1, column.kind.word());
                write!(f, ", row {row} (line {line}), column {number} (--{kind} {}):", column.name)
            }
            Self::Value { row, column } => {
                write!(f, ", row {row}, column --{} {}:", column.kind.word(), column.name)
            }
        }
    }
}

/// A stranger's text in a line: short, and with nothing that moves a cursor.
pub fn quoted(text: &str) -> String {
    let text = Printable(text).to_string();
    match text.char_indices().nth(BRIEF) {
        Some((end, _)) => format!("\"{}…\"", &text[..end]),
        None => format!("\"{text}\""),
    }
}
