//! The cells of one line after another, in a bounded piece of memory.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::rc::Rc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Cells end at tabs, and quotes mean nothing.
    Tsv,
    /// With quotes, in which cells may hold commas and line ends.
    Csv,
}

impl Format {
    /// By the ending; what is not `.csv` is TSV.
    pub fn of(path: &Path) -> Self {
        let csv = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        if csv { Self::Csv } else { Self::Tsv }
    }
}

/// Why there is no next line. Lines are counted from 1.
#[derive(Debug)]
pub enum Unreadable {
    Io(io::Error),
    /// The next ones can be read.
    Text(u64, String),
    /// Nothing behind can be read.
    End(u64, String),
}

/// The longest row; a quote that nobody closes would else take the rest of the file into memory.
const MAX_ROW: usize = 4 << 20;

pub struct Lines<R: Read> {
    form: Form<R>,
}

enum Form<R: Read> {
    Tsv(Tsv<R>),
    /// Its comments are still to be skipped.
    Unopened(Tsv<R>),
    Csv(Box<Csv<R>>),
    Over,
}

impl<R: Read> Lines<R> {
    pub fn new(source: R, format: Format) -> Self {
        let tsv = Tsv { source: BufReader::with_capacity(64 << 10, source), line: 0, begun: false };
        let form = match format {
            Format::Tsv => Form::Tsv(tsv),
            Format::Csv => Form::Unopened(tsv),
        };
        Self { form }
    }

    /// Fills in the cells of the next line that has some, and tells its number.
    pub fn next(&mut self, cells: &mut Vec<String>) -> Result<Option<u64>, Unreadable> {
        if let Form::Unopened(_) = &self.form {
            let Form::Unopened(tsv) = std::mem::replace(&mut self.form, Form::Over) else { unreachable!() };
            match Csv::open(tsv)? {
                Some(csv) => self.form = Form::Csv(Box::new(csv)),
                None => return Ok(None),
            }
        }
        match &mut self.form {
            Form::Tsv(tsv) => tsv.next(cells),
            Form::Csv(csv) => csv.next(cells),
            Form::Unopened(_) | Form::Over => Ok(None),
        }
    }
}

struct Tsv<R: Read> {
    source: BufReader<R>,
    line: u64,
    /// The header was read: from now on `#` begins no comment.
    begun: bool,
}

impl<R: Read> Tsv<R> {
    fn next(&mut self, cells: &mut Vec<String>) -> Result<Option<u64>, Unreadable> {
        let Some(text) = self.text()? else { return Ok(None) };
        let text =
            String::from_utf8(text).map_err(|e| Unreadable::Text(self.line, not_utf8(&e.utf8_error())))?;
        cells.clear();
        cells.extend(text.split('\t').map(str::to_owned));
        Ok(Some(self.line))
    }

    /// The next line that is neither blank nor a comment, without its end.
    fn text(&mut self) -> Result<Option<Vec<u8>>, Unreadable> {
        loop {
            let mut text = Vec::new();
            let most = MAX_ROW as u64 + 1;
            let read =
                self.source.by_ref().take(most).read_until(b'\n', &mut text).map_err(Unreadable::Io)?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            if text.len() > MAX_ROW {
                return Err(Unreadable::End(self.line, format!("is longer than {MAX_ROW} bytes")));
            }
            if self.line == 1 && text.starts_with(b"\xef\xbb\xbf") {
                text.drain(..3);
            }
            while text.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
                text.pop();
            }
            let blank = text.iter().all(|b| *b == b' ');
            let comment = !self.begun && text.first() == Some(&b'#');
            if !blank && !comment {
                self.begun = true;
                return Ok(Some(text));
            }
        }
    }
}

/// What a CSV reader sees: the header's first line again, then the rest.
type Rest<R> = Metered<io::Chain<Cursor<Vec<u8>>, BufReader<R>>>;

struct Csv<R: Read> {
    reader: csv::Reader<Rest<R>>,
    left: Rc<Cell<usize>>,
    /// Lines before the header.
    skipped: u64,
    record: csv::ByteRecord,
}

/// What the `csv` crate reads at once, beyond the row that it is asked for.
const READ_AHEAD: usize = 64 << 10;

impl<R: Read> Csv<R> {
    fn open(mut tsv: Tsv<R>) -> Result<Option<Self>, Unreadable> {
        let Some(mut first) = tsv.text()? else { return Ok(None) };
        first.push(b'\n');
        let left = Rc::new(Cell::new(0));
        let rest = Metered { source: Cursor::new(first).chain(tsv.source), left: Rc::clone(&left) };
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(READ_AHEAD)
            .from_reader(rest);
        Ok(Some(Self { reader, left, skipped: tsv.line - 1, record: csv::ByteRecord::new() }))
    }

    fn next(&mut self, cells: &mut Vec<String>) -> Result<Option<u64>, Unreadable> {
        self.left.set(MAX_ROW + READ_AHEAD);
        let before = self.skipped + self.reader.position().line();
        match self.reader.read_byte_record(&mut self.record) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(_) if self.left.get() == 0 => {
                let why = format!("is longer than {MAX_ROW} bytes: is there a quote that is not closed?");
                return Err(Unreadable::End(before, why));
            }
            Err(e) => return Err(Unreadable::Io(e.into())),
        }
        // The record's own position is before the blank lines that it stands behind.
        let ends = self.record.as_slice().iter().filter(|b| **b == b'\n').count() as u64;
        let begun = self.record.position().map_or(1, csv::Position::line);
        let line = self.skipped + begun.max((self.reader.position().line() - 1).saturating_sub(ends));
        cells.clear();
        for cell in &self.record {
            let text = std::str::from_utf8(cell).map_err(|e| Unreadable::Text(line, not_utf8(&e)))?;
            cells.push(text.to_owned());
        }
        Ok(Some(line))
    }
}

/// Reads so much and no more, until told otherwise.
struct Metered<R> {
    source: R,
    left: Rc<Cell<usize>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.left.get());
        if most == 0 && !buffer.is_empty() {
            return Err(io::Error::other("too long"));
        }
        let read = self.source.read(&mut buffer[..most])?;
        self.left.set(self.left.get() - read);
        Ok(read)
    }
}

fn not_utf8(error: &std::str::Utf8Error) -> String {
    format!("is not UTF-8 (byte {})", error.valid_up_to() + 1)
}
