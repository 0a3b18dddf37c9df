//! The header: what each column is.

use super::mistakes::{Mistakes, Place};
use crate::command::wire::{Column, Kind};

/// A column, and where it stands.
pub struct Placed {
    pub column: Column,
    /// Counted from 0.
    pub cell: usize,
    /// How many cells the whole header has.
    pub width: usize,
}

const KINDS: [Kind; 6] =
    [Kind::Env, Kind::SecretEnv, Kind::Input, Kind::InputRecursive, Kind::Output, Kind::OutputRecursive];

/// The columns that have a name.
pub fn read(cells: &[String], mistakes: &mut Mistakes) -> Vec<Placed> {
    let mut placed: Vec<Placed> = Vec::new();
    for (cell, text) in cells.iter().enumerate() {
        let column = match column(text) {
            Ok(Some(column)) => column,
            Ok(None) => continue,
            Err(why) => {
                mistakes.add(&Place::HeaderCell { cell, text }, why);
                continue;
            }
        };
        if let Some((first, name)) = clash(&placed, &column) {
            let why = format!("sets {name}, as column {} does: give it another name", first + 1);
            mistakes.add(&Place::HeaderCell { cell, text }, why);
        }
        placed.push(Placed { column, cell, width: cells.len() });
    }
    if placed.is_empty() && mistakes.count() == 0 {
        mistakes.add(&Place::Table, "has a header without a column: write cells like `--env NAME`");
    }
    placed
}

fn column(text: &str) -> Result<Option<Column>, String> {
    let mut words = text.split_whitespace();
    let Some(kind) = words.next() else { return Ok(None) };
    let word = kind.trim_start_matches('-').to_ascii_lowercase();
    let Some(kind) = KINDS.into_iter().find(|kind| kind.word() == word) else {
        let known: Vec<String> = KINDS.iter().map(|kind| format!("--{}", kind.word())).collect();
        return Err(format!("is no column that there is: write {} and a name", known.join(", ")));
    };
    let name = match (words.next(), words.next()) {
        (Some(name), None) => name,
        (None, _) => return Err(format!("has no name: write --{word} NAME")),
        (Some(_), Some(_)) => return Err(format!("has more than one name: write --{word} NAME")),
    };
    super::value::check_name(name)?;
    Ok(Some(Column { kind, name: name.to_owned() }))
}

/// A column before this one that sets the same variable, and that variable.
fn clash(before: &[Placed], column: &Column) -> Option<(usize, String)> {
    let ours = variables(column);
    before.iter().find_map(|placed| {
        let same = variables(&placed.column).into_iter().find(|name| ours.contains(name));
        same.map(|name| (placed.cell, name))
    })
}

/// What a column sets: of files the place in S3, too.
fn variables(column: &Column) -> Vec<String> {
    let mut names = vec![column.name.clone()];
    if !matches!(column.kind, Kind::Env | Kind::SecretEnv) {
        names.push(format!("S3_{}", column.name));
    }
    names
}
