//! Outputs that two rows name: whichever is stored last would be all that is left.
//!
//! In bounded memory: a Bloom filter tells the few that may be there twice, and only these are compared. A
//! table with very many outputs is gone through in rounds, each of which looks at a part of them.

use super::spool::Spool;
use super::table::{Mistakes, Place, location};
use super::wire::{Column, Kind, Row};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::io;

/// With 16 bits each, some two in a thousand are looked at for nothing.
const A_ROUND: u64 = 1 << 23;
const BITS_EACH: u64 = 16;
/// More than the filter is ever wrong about; so many that are there twice are enough to tell.
const MOST_SUSPECTS: usize = 200_000;

/// # Errors
///
/// The rows cannot be read again.
pub fn find(spool: &Spool, columns: &[Column], mistakes: &mut Mistakes) -> io::Result<()> {
    let outputs = columns.iter().filter(|column| is_output(column)).count() as u64;
    let total = spool.rows * outputs;
    let rounds = total.div_ceil(A_ROUND);
    for round in 0..rounds {
        Round { spool, columns, round, rounds, total }.find(mistakes)?;
    }
    Ok(())
}

struct Round<'a> {
    spool: &'a Spool,
    columns: &'a [Column],
    round: u64,
    rounds: u64,
    total: u64,
}

/// Of a key, or of a folder with its slash. Two that differ have the same as good as never.
type Id = u128;

impl Round<'_> {
    fn find(&self, mistakes: &mut Mistakes) -> io::Result<()> {
        let folders = self.columns.iter().any(|column| column.kind == Kind::OutputRecursive);
        let mut suspects = HashSet::new();
        let mut seen = Bloom::new(self.total / self.rounds);
        let mut recursive = Bloom::new(if folders { self.total / self.rounds } else { 0 });
        let suspect = |suspects: &mut HashSet<Id>, id| {
            if suspects.len() < MOST_SUSPECTS {
                suspects.insert(id);
            }
        };
        self.each(|_, column, path| {
            let id = id_of(path);
            if self.is_ours(id) {
                if seen.insert(id) {
                    suspect(&mut suspects, id);
                }
                if column.kind == Kind::OutputRecursive {
                    recursive.insert(id);
                }
            }
        })?;
        drop(seen);
        if folders {
            self.each(|_, _, path| {
                for id in parents(path).map(id_of).filter(|id| self.is_ours(*id)) {
                    if recursive.has(id) {
                        suspect(&mut suspects, id);
                    }
                }
            })?;
        }
        drop(recursive);
        if suspects.is_empty() { Ok(()) } else { self.compare(&suspects, folders, mistakes) }
    }

    /// Looks at the suspects one by one.
    fn compare(&self, suspects: &HashSet<Id>, folders: bool, mistakes: &mut Mistakes) -> io::Result<()> {
        let mut owners: HashMap<Id, (u64, bool)> = HashMap::new();
        self.each(|row, column, path| {
            let id = id_of(path);
            if !suspects.contains(&id) {
                return;
            }
            match owners.get(&id) {
                Some((owner, _)) => {
                    let why = format!("{} is an output of row {owner} as well", brief(path));
                    mistakes.add(&Place::Value { row: row.row, column }, why);
                }
                None => {
                    owners.insert(id, (row.row, column.kind == Kind::OutputRecursive));
                }
            }
        })?;
        if !folders {
            return Ok(());
        }
        self.each(|row, column, path| {
            let above = parents(path).find_map(|parent| match owners.get(&id_of(parent)) {
                Some((owner, true)) if *owner != row.row => Some((parent, *owner)),
                _ => None,
            });
            if let Some((parent, owner)) = above {
                let why =
                    format!("{} lies in {}, which row {owner} stores whole", brief(path), brief(parent));
                mistakes.add(&Place::Value { row: row.row, column }, why);
            }
        })
    }

    /// Every output that is named, as `bucket/key` or `bucket/folder/`.
    fn each(&self, mut look: impl FnMut(&Row, &Column, &str)) -> io::Result<()> {
        let mut path = String::new();
        for row in self.spool.rows()? {
            let row = row?;
            for (column, value) in self.columns.iter().zip(&row.values) {
                if !is_output(column) {
                    continue;
                }
                let Ok(place) = location(value) else { continue };
                path.clear();
                path.extend([place.bucket.as_str(), "/", &place.key]);
                if column.kind == Kind::OutputRecursive && !path.ends_with('/') {
                    path.push('/');
                }
                look(&row, column, &path);
            }
        }
        Ok(())
    }

    fn is_ours(&self, id: Id) -> bool {
        (id >> 64) as u64 % self.rounds == self.round
    }
}

fn is_output(column: &Column) -> bool {
    matches!(column.kind, Kind::Output | Kind::OutputRecursive)
}

/// The folders above, each with its slash.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    let inner = path.strip_suffix('/').unwrap_or(path);
    inner.match_indices('/').map(|(at, _)| &path[..=at])
}

fn id_of(path: &str) -> Id {
    let hash = Sha256::digest(path);
    u128::from_be_bytes(hash[..16].try_into().expect("a hash has 32 bytes"))
}

fn brief(path: &str) -> String {
    super::table::quoted(&format!("s3://{path}"))
}

/// Remembers what was put in; now and then it takes another for it.
struct Bloom {
    words: Vec<u64>,
}

impl Bloom {
    fn new(expected: u64) -> Self {
        let bits = (expected * BITS_EACH).clamp(1 << 10, A_ROUND * BITS_EACH).next_power_of_two();
        Self { words: vec![0; (bits / 64) as usize] }
    }

    /// Whether it may have been there before.
    fn insert(&mut self, id: Id) -> bool {
        let mut there = true;
        for (word, bit) in self.places(id) {
            there &= self.words[word] & bit != 0;
            self.words[word] |= bit;
        }
        there
    }

    fn has(&self, id: Id) -> bool {
        self.places(id).into_iter().all(|(word, bit)| self.words[word] & bit != 0)
    }

    /// Four places, out of 32 bits each of the hash.
    fn places(&self, id: Id) -> [(usize, u64); 4] {
        [0, 32, 64, 96].map(|shift| {
            let hash = (id >> shift) as u32 as usize;
            let bit = hash % (self.words.len() * 64);
            (bit / 64, 1 << (bit % 64))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::spool::Writer;
    use super::*;

    fn found(kinds: &[Kind], rows: &[&[&str]], rounds: u64) -> Vec<String> {
        let columns: Vec<Column> =
            kinds.iter().enumerate().map(|(n, kind)| Column { kind: *kind, name: format!("C{n}") }).collect();
        let mut writer = Writer::new().unwrap();
        for (n, values) in rows.iter().enumerate() {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            writer.add(&Row { row: n as u64 + 1, digest: String::new(), values }).unwrap();
        }
        let spool = writer.finish().unwrap();
        let mut mistakes = Mistakes::new("t");
        for round in 0..rounds {
            let total = rows.len() as u64 * 2;
            Round { spool: &spool, columns: &columns, round, rounds, total }.find(&mut mistakes).unwrap();
        }
        mistakes.told()
    }

    #[test]
    fn an_output_of_two_rows_is_found() {
        let rows: [&[&str]; 4] =
            [&["s3://bkt/a", "s3://bkt/x"], &["s3://bkt/b", ""], &["", ""], &["s3://bkt/c", "s3://bkt/a"]];
        for rounds in [1, 7] {
            let told = found(&[Kind::Output, Kind::Output], &rows, rounds);
            let expected = "t, row 4, column --output C1: \"s3://bkt/a\" is an output of row 1 as well";
            assert_eq!(told, [expected]);
        }
        // An input may be shared.
        let same: [&[&str]; 2] = [&["s3://bkt/a"], &["s3://bkt/a"]];
        assert_eq!(found(&[Kind::Input], &same, 1), [""; 0]);
    }

    #[test]
    fn an_output_inside_what_another_row_stores_whole_is_found() {
        let kinds = [Kind::OutputRecursive, Kind::Output];
        let rows: [&[&str]; 4] = [
            &["s3://bkt/one", "s3://bkt/one/log"],
            &["s3://bkt/two/", "s3://bkt/one/x/y"],
            &["s3://bkt/two/deep", "s3://bkt/twofold"],
            &["s3://bkt/two", ""],
        ];
        for rounds in [1, 5] {
            let told = found(&kinds, &rows, rounds).join("\n");
            assert_eq!(told.lines().count(), 3, "{told}");
            assert!(told.contains(
                "row 2, column --output C1: \"s3://bkt/one/x/y\" lies in \"s3://bkt/one/\", which row 1"
            ));
            assert!(told.contains("row 3, column --output-recursive C0: \"s3://bkt/two/deep/\" lies in \"s3://bkt/two/\", which row 2"));
            assert!(
                told.contains("row 4, column --output-recursive C0: \"s3://bkt/two/\" is an output of row 2")
            );
        }
    }

    #[test]
    fn few_are_suspected_for_nothing() {
        let mut bloom = Bloom::new(50_000);
        let wrong = (0..50_000).filter(|n| bloom.insert(id_of(&format!("bucket/out/{n:08}")))).count();
        assert!(wrong < 250, "{wrong}");
        assert!((0..50_000).all(|n| bloom.has(id_of(&format!("bucket/out/{n:08}")))));
    }
}
