//! Rows in a temporary file, as the work bucket keeps them: a [`Row`] a line. A table that is larger than
//! memory can so be gone through as often as need be, and nobody changes it meanwhile.

use super::wire::Row;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use tempfile::{NamedTempFile, TempPath};

#[derive(Debug)]
pub struct Spool {
    path: TempPath,
    pub rows: u64,
    pub bytes: u64,
    /// Of all its bytes.
    pub sha256: [u8; 32],
}

pub struct Writer {
    file: BufWriter<NamedTempFile>,
    rows: u64,
    bytes: u64,
    hash: Sha256,
    line: Vec<u8>,
}

impl Writer {
    /// # Errors
    ///
    /// There is no place for temporary files.
    pub fn new() -> io::Result<Self> {
        let file = BufWriter::with_capacity(256 << 10, NamedTempFile::with_prefix("longshore-")?);
        Ok(Self { file, rows: 0, bytes: 0, hash: Sha256::new(), line: Vec::new() })
    }

    /// # Errors
    ///
    /// The disk is full.
    pub fn add(&mut self, row: &Row) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, row)?;
        self.line.push(b'\n');
        self.hash.update(&self.line);
        self.rows += 1;
        self.bytes += self.line.len() as u64;
        self.file.write_all(&self.line)
    }

    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn finish(self) -> io::Result<Spool> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        let sha256 = self.hash.finalize().into();
        Ok(Spool { path: file.into_temp_path(), rows: self.rows, bytes: self.bytes, sha256 })
    }
}

impl Spool {
    /// Without a row.
    ///
    /// # Errors
    ///
    /// As [`Writer::new`].
    pub fn empty() -> io::Result<Self> {
        Writer::new()?.finish()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The rows, from the first.
    ///
    /// # Errors
    ///
    /// The file is gone.
    pub fn rows(&self) -> io::Result<Rows> {
        rows(File::open(&self.path)?)
    }
}

/// Of a file that [`Writer`] wrote, here or elsewhere.
///
/// # Errors
///
/// None now.
pub fn rows(file: File) -> io::Result<Rows> {
    Ok(Rows { source: BufReader::with_capacity(256 << 10, file), line: Vec::new(), last: 0 })
}

pub struct Rows {
    source: BufReader<File>,
    line: Vec<u8>,
    last: u64,
}

impl Iterator for Rows {
    type Item = io::Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        self.line.clear();
        match self.source.read_until(b'\n', &mut self.line) {
            Ok(0) => None,
            Ok(_) => Some(self.row()),
            Err(e) => Some(Err(e)),
        }
    }
}

impl Rows {
    fn row(&mut self) -> io::Result<Row> {
        let row: Row = serde_json::from_slice(&self.line)?;
        if row.row <= self.last {
            let why = format!("row {} stands behind row {}", row.row, self.last);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        self.last = row.row;
        Ok(row)
    }
}

/// Two tables side by side: for every row number that one of them has, what each has of it.
pub fn beside<A, B>(left: A, right: B) -> Beside<A, B>
where
    A: Iterator<Item = io::Result<Row>>,
    B: Iterator<Item = io::Result<Row>>,
{
    Beside { left, right, heads: None }
}

pub struct Beside<A, B> {
    left: A,
    right: B,
    /// Read and not given yet. None: nothing was read.
    heads: Option<(Option<Row>, Option<Row>)>,
}

impl<A, B> Iterator for Beside<A, B>
where
    A: Iterator<Item = io::Result<Row>>,
    B: Iterator<Item = io::Result<Row>>,
{
    type Item = io::Result<(Option<Row>, Option<Row>)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

impl<A, B> Beside<A, B>
where
    A: Iterator<Item = io::Result<Row>>,
    B: Iterator<Item = io::Result<Row>>,
{
    #[allow(clippy::type_complexity)] // it is the item
    fn step(&mut self) -> io::Result<Option<(Option<Row>, Option<Row>)>> {
        let (mut left, mut right) = match self.heads.take() {
            Some(heads) => heads,
            None => (self.left.next().transpose()?, self.right.next().transpose()?),
        };
        let first = match (&left, &right) {
            (None, None) => {
                self.heads = Some((None, None));
                return Ok(None);
            }
            (Some(row), None) | (None, Some(row)) => row.row,
            (Some(left), Some(right)) => left.row.min(right.row),
        };
        let given = (left.take_if(|row| row.row == first), right.take_if(|row| row.row == first));
        if given.0.is_some() {
            left = self.left.next().transpose()?;
        }
        if given.1.is_some() {
            right = self.right.next().transpose()?;
        }
        self.heads = Some((left, right));
        Ok(Some(given))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(row: u64, value: &str) -> Row {
        Row { row, digest: value.to_owned(), values: vec![value.to_owned()] }
    }

    #[test]
    fn rows_come_back_in_order_and_no_other_order_is_taken() {
        let mut writer = Writer::new().unwrap();
        let written = [row(1, "a\nb"), row(3, "ü"), row(4, "")];
        written.iter().for_each(|row| writer.add(row).unwrap());
        let spool = writer.finish().unwrap();
        let read: Vec<Row> = spool.rows().unwrap().map(Result::unwrap).collect();
        assert_eq!((read.as_slice(), spool.rows), (written.as_slice(), 3));
        assert_eq!(std::fs::metadata(spool.path()).unwrap().len(), spool.bytes);
        let path = spool.path().to_owned();
        drop(spool);
        assert!(!path.exists());

        let mut writer = Writer::new().unwrap();
        [row(2, ""), row(1, "")].iter().for_each(|row| writer.add(row).unwrap());
        let spool = writer.finish().unwrap();
        assert!(spool.rows().unwrap().any(|row| row.is_err()));
    }

    #[test]
    fn tables_are_gone_through_side_by_side() {
        let left = [1, 2, 5, 6].map(|n| Ok(row(n, "l")));
        let right = [2, 3, 6, 9].map(|n| Ok(row(n, "r")));
        let pairs: Vec<(Option<u64>, Option<u64>)> = beside(left.into_iter(), right.into_iter())
            .map(|pair| pair.unwrap())
            .map(|(left, right)| (left.map(|r| r.row), right.map(|r| r.row)))
            .collect();
        let expected = [
            (Some(1), None),
            (Some(2), Some(2)),
            (None, Some(3)),
            (Some(5), None),
            (Some(6), Some(6)),
            (None, Some(9)),
        ];
        assert_eq!(pairs, expected);
    }
}
