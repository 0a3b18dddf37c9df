//! From a file to a response's body.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;

use bytes::Bytes;
use futures_util::stream;
use s3s::Body;
use s3s::dto::StreamingBlob;

/// Small enough for memory, large enough for the change of threads not to matter.
const CHUNK: u64 = 256 * 1024;

/// The body of a range of a file. The first chunk is read at once: most renditions are no longer.
/// The file stays what it is for this reader while a write puts another in its place.
pub fn send(mut file: File, range: Range<u64>) -> io::Result<StreamingBlob> {
    file.seek(SeekFrom::Start(range.start))?;
    let length = range.end - range.start;
    let first = read(&mut file, length)?;
    let rest = length - first.len() as u64;
    if rest == 0 {
        return Ok(Body::from(first).into());
    }
    let chunks = stream::try_unfold((Some(first), file, rest), async |(first, mut file, rest)| {
        if let Some(first) = first {
            return Ok(Some((first, (None, file, rest))));
        }
        if rest == 0 {
            return Ok(None);
        }
        let reading = tokio::task::spawn_blocking(move || read(&mut file, rest).map(|bytes| (bytes, file)));
        let (bytes, file) = reading.await.map_err(io::Error::other)??;
        let rest = rest - bytes.len() as u64;
        Ok::<_, io::Error>(Some((bytes, (None, file, rest))))
    });
    Ok(StreamingBlob::wrap(chunks))
}

/// The next chunk. A file that is shorter than it was is an error: the reader must not take the
/// beginning for the whole.
fn read(file: &mut File, rest: u64) -> io::Result<Bytes> {
    let size = usize::try_from(rest.min(CHUNK)).expect("a chunk fits into memory");
    let mut chunk = vec![0; size];
    file.read_exact(&mut chunk)?;
    Ok(chunk.into())
}
