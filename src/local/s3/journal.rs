//! The journal of a bucket: one JSON line for each change, appended before files are moved.
//!
//! Not synced to disk: what was answered outlives the process, not a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::record::Line;

#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    lines: usize,
}

/// Where the journal ended, to go back there.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    length: u64,
    lines: usize,
}

impl Journal {
    /// Opens or makes a journal, and gives back its lines.
    pub fn open(path: PathBuf) -> io::Result<(Journal, Vec<Line>)> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let bytes = fs::read(&path)?;
        let mut lines = Vec::new();
        let mut length = 0;
        for bytes in bytes.split_inclusive(|b| *b == b'\n') {
            // Only the last line can be torn: its change never happened.
            if bytes.last() != Some(&b'\n') {
                break;
            }
            let number = lines.len() + 1;
            let line = serde_json::from_slice(bytes).map_err(|e| corrupt(&path, number, &e))?;
            lines.push(line);
            length += bytes.len() as u64;
        }
        if length < bytes.len() as u64 {
            file.set_len(length)?;
        }
        file.seek(SeekFrom::End(0))?;
        Ok((Journal { path, file, length, lines: lines.len() }, lines))
    }

    /// Appends all of the lines, or nothing.
    pub fn append(&mut self, lines: &[Line]) -> io::Result<Mark> {
        let mark = Mark { length: self.length, lines: self.lines };
        let mut bytes = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut bytes, line)?;
            bytes.push(b'\n');
        }
        if let Err(e) = self.file.write_all(&bytes) {
            self.undo(mark)?;
            return Err(e);
        }
        self.length += bytes.len() as u64;
        self.lines += lines.len();
        Ok(mark)
    }

    /// Cuts off what was appended since. Works on a full disk.
    pub fn undo(&mut self, mark: Mark) -> io::Result<()> {
        self.file.set_len(mark.length)?;
        self.file.seek(SeekFrom::Start(mark.length))?;
        (self.length, self.lines) = (mark.length, mark.lines);
        Ok(())
    }

    /// Whether most lines are about things that have changed since.
    pub fn is_wasteful(&self, live: usize) -> bool {
        self.lines > 1000 + 4 * live
    }

    /// Starts over with these lines.
    pub fn replace(&mut self, lines: impl Iterator<Item = Line>) -> io::Result<()> {
        let path = self.path.with_extension("rewrite");
        let mut writer = BufWriter::new(File::create(&path)?);
        let mut count = 0;
        for line in lines {
            serde_json::to_writer(&mut writer, &line)?;
            writer.write_all(b"\n")?;
            count += 1;
        }
        let mut file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        fs::rename(&path, &self.path)?;
        self.length = file.stream_position()?;
        self.lines = count;
        self.file = file;
        Ok(())
    }

    pub fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

fn corrupt(path: &Path, number: usize, error: &serde_json::Error) -> io::Error {
    let path = path.display();
    let line = format!(
        "line {number} of {path} is damaged: {error}; move that file away to start without its bucket"
    );
    io::Error::new(io::ErrorKind::InvalidData, line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(lines: &[Line]) -> Vec<u64> {
        lines.iter().map(|line| if let Line::Sequence(number) = line { *number } else { 0 }).collect()
    }

    #[test]
    fn a_torn_last_line_never_happened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.journal");
        let (mut journal, _) = Journal::open(path.clone()).unwrap();
        journal.append(&[Line::Sequence(1), Line::Sequence(2)]).unwrap();
        let mut text = fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"Sequence\":3");
        fs::write(&path, text).unwrap();
        let (mut journal, lines) = Journal::open(path.clone()).unwrap();
        assert_eq!(numbers(&lines), [1, 2]);
        journal.append(&[Line::Sequence(4)]).unwrap();
        assert_eq!(numbers(&Journal::open(path).unwrap().1), [1, 2, 4]);
    }

    #[test]
    fn appended_lines_can_be_taken_back_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.journal");
        let (mut journal, _) = Journal::open(path.clone()).unwrap();
        journal.append(&[Line::Sequence(1)]).unwrap();
        let mark = journal.append(&[Line::Sequence(2)]).unwrap();
        journal.undo(mark).unwrap();
        journal.append(&[Line::Sequence(3)]).unwrap();
        assert_eq!(numbers(&Journal::open(path.clone()).unwrap().1), [1, 3]);
        journal.replace([Line::Sequence(9)].into_iter()).unwrap();
        journal.append(&[Line::Sequence(10)]).unwrap();
        assert_eq!(numbers(&Journal::open(path).unwrap().1), [9, 10]);
    }

    #[test]
    fn a_damaged_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.journal");
        fs::write(&path, "{\"Sequence\":1}\nnonsense\n").unwrap();
        assert!(Journal::open(path).unwrap_err().to_string().contains("line 2"));
    }
}
