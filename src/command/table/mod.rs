//! A table of rows to run, as ecsub's users write it: `tasks.tsv`, or CSV by its ending.
//!
//! Lines that begin with `#` before the header are comments, blank lines are skipped, and a header cell is
//! `--TYPE NAME`, with or without dashes. A column with an empty header is left out. Rows are read one at a
//! time: a table may be larger than memory.

mod header;
mod lines;
mod mistakes;
mod value;

pub use lines::Format;
pub use mistakes::{Mistakes, Place, quoted};
pub use value::{check_env, location};

use super::wire::{Column, Row};
use lines::{Lines, Unreadable};
use std::io::{self, Read};

/// The most rows of a table: what their keys have digits for.
pub const MAX_ROWS: u64 = 99_999_999;

/// Reads a table whole, and gives its columns; `each` gets the rows that are sound, in order.
///
/// # Errors
///
/// The file cannot be read, or `each` failed. What is wrong in the table goes to `mistakes`.
pub fn read(
    source: impl Read,
    format: Format,
    mistakes: &mut Mistakes,
    mut each: impl FnMut(Row) -> io::Result<()>,
) -> io::Result<Vec<Column>> {
    let mut lines = Lines::new(source, format);
    let mut cells = Vec::new();
    let header = match lines.next(&mut cells) {
        Ok(Some(_)) => header::read(&cells, mistakes),
        Ok(None) => {
            mistakes.add(&Place::Table, "is empty: the first line is the header, like `--env NAME`");
            return Ok(Vec::new());
        }
        Err(Unreadable::Io(e)) => return Err(e),
        Err(Unreadable::Text(line, why) | Unreadable::End(line, why)) => {
            mistakes.add(&Place::Header { line }, why);
            return Ok(Vec::new());
        }
    };
    let columns: Vec<Column> = header.iter().map(|place| place.column.clone()).collect();
    let mut row = 0;
    loop {
        let line = match lines.next(&mut cells) {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(Unreadable::Io(e)) => return Err(e),
            Err(Unreadable::Text(line, why)) => {
                row += 1;
                mistakes.add(&Place::Row { row, line }, why);
                continue;
            }
            Err(Unreadable::End(line, why)) => {
                mistakes.add(&Place::Row { row: row + 1, line }, why);
                return Ok(columns);
            }
        };
        row += 1;
        if row > MAX_ROWS {
            mistakes.add(&Place::Table, format!("has more than {MAX_ROWS} rows: submit it in parts"));
            return Ok(columns);
        }
        if let Some(values) = values(&header, &cells, row, line, mistakes) {
            each(Row { row, digest: Row::digest(&columns, &values), values })?;
        }
    }
    if row == 0 {
        mistakes.add(&Place::Table, "has a header and no row");
    }
    Ok(columns)
}

/// A row's cells by column; None: not all of them are sound.
fn values(
    header: &[header::Placed],
    cells: &[String],
    row: u64,
    line: u64,
    mistakes: &mut Mistakes,
) -> Option<Vec<String>> {
    let before = mistakes.count();
    let width = header.last().map_or(0, |last| last.width);
    // Empty cells at the end may be left out, and cells without a header may be there.
    if let Some(extra) = cells.iter().skip(width).position(|cell| !cell.is_empty()) {
        let why = format!("has a value in cell {}, and the header has {width} cells", width + extra + 1);
        mistakes.add(&Place::Row { row, line }, why);
    }
    let mut values = Vec::with_capacity(header.len());
    let mut bytes = 0;
    for placed in header {
        let value = cells.get(placed.cell).map_or("", String::as_str);
        if let Err(why) = value::check(&placed.column, value) {
            mistakes.add(&Place::cell(row, line, placed.cell, &placed.column), why);
        }
        bytes += placed.column.name.len() + value.len();
        values.push(value.to_owned());
    }
    if bytes > value::MAX_ENVIRONMENT {
        let most = value::MAX_ENVIRONMENT;
        mistakes.add(
            &Place::Row { row, line },
            format!("has {bytes} bytes, and a program's environment takes {most}: put what is large into an --input"),
        );
    }
    (mistakes.count() == before).then_some(values)
}

#[cfg(test)]
mod tests;
