//! What can go wrong, sorted by what happens to the message.

use std::fmt;

/// One line for a person: what, which thing, why, and the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

impl Error {
    pub fn new(line: impl Into<String>) -> Self {
        Self(line.into())
    }
}

/// Why a record, or a whole message, will never work. The slug groups messages in the
/// dead-letter queue, so it stays the same from release to release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The message body, or one record of it, is not an event that we know.
    Malformed,
    /// The bucket is not among those that events may name.
    BucketNotAllowed,
    /// An output key would be longer than the 1,024 bytes that S3 allows.
    KeyTooLong,
    /// The object is in an archive class and must be restored first.
    Archived,
    /// The object has more bytes than the limit.
    TooLarge,
    /// Zero bytes.
    Empty,
    /// Bytes of no image format that we read.
    NotAnImage,
    /// An image, but of a kind that is refused by name (12 bit, lossless JPEG …).
    Unsupported,
    /// The file ends before the picture does.
    Truncated,
    /// The file contradicts itself.
    Corrupt,
    /// More pixels than the limit.
    PixelLimit,
    /// More progressive scans than the limit.
    ScanLimit,
    /// More CPU time than the budget of a picture.
    TimeLimit,
    /// More memory than the budget of the worker allows one picture.
    MemoryBudget,
    /// The picture made the engine panic: our bug, kept away from its neighbours.
    EngineFault,
    /// A row's script ended with an exit code other than 0, too often or for good; or its outputs are not there.
    CommandFailed,
    /// A row's script did not end in time.
    CommandTimeout,
    /// A row's script was killed by a signal.
    CommandKilled,
    /// A row's script took more memory than it may.
    CommandMemory,
    /// What a row's script reads is not there, or cannot be read.
    CommandInput,
    /// A secret of a row is not there, or cannot be read.
    CommandSecret,
    /// A row or its job cannot be run as it is.
    CommandInvalid,
}

impl Reason {
    /// The bytes were read and found wanting; the others are told without them.
    pub fn is_of_the_bytes(self) -> bool {
        match self {
            Self::Malformed | Self::BucketNotAllowed | Self::KeyTooLong => false,
            // S3 has answered as it does to those who may read.
            Self::Archived | Self::TooLarge | Self::Empty | Self::NotAnImage | Self::Unsupported => true,
            Self::Truncated | Self::Corrupt | Self::PixelLimit | Self::ScanLimit | Self::TimeLimit => true,
            // Also told from the event alone.
            Self::MemoryBudget => false,
            Self::EngineFault => true,
            Self::CommandFailed | Self::CommandTimeout | Self::CommandKilled | Self::CommandMemory => false,
            Self::CommandInput | Self::CommandSecret | Self::CommandInvalid => false,
        }
    }

    pub fn slug(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::BucketNotAllowed => "bucket-not-allowed",
            Self::KeyTooLong => "key-too-long",
            Self::Archived => "archived",
            Self::TooLarge => "too-large",
            Self::Empty => "empty",
            Self::NotAnImage => "not-an-image",
            Self::Unsupported => "unsupported",
            Self::Truncated => "truncated",
            Self::Corrupt => "corrupt",
            Self::PixelLimit => "pixel-limit",
            Self::ScanLimit => "scan-limit",
            Self::TimeLimit => "time-limit",
            Self::MemoryBudget => "memory-budget",
            Self::EngineFault => "engine-fault",
            Self::CommandFailed => "command-failed",
            Self::CommandTimeout => "command-timeout",
            Self::CommandKilled => "command-killed",
            Self::CommandMemory => "command-memory",
            Self::CommandInput => "command-input",
            Self::CommandSecret => "command-secret",
            Self::CommandInvalid => "command-invalid",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}

/// A permanent failure: its class and the line that explains it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Rejection {
    pub reason: Reason,
    pub detail: String,
}

impl Rejection {
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// Every error that leaves a job answers one question: what happens to the message?
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// Could work next time: a timeout, throttling, a lost connection.
    #[error("{0}")]
    Retry(Error),
    /// Works when somebody has mended the configuration, and then most likely for every picture.
    #[error("{1}")]
    Blocked(Barrier, Error),
    /// Not begun, as the worker leaves: others shall have it at once.
    #[error("the worker leaves")]
    Left,
    /// The source object is not there any more: nothing to do, and nothing lost.
    #[error("{0}")]
    Gone(Error),
    /// Will never work: not an image, or larger than we accept.
    #[error("{0}")]
    Reject(#[from] Rejection),
}

/// Where the configuration stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Barrier {
    /// Sources cannot be read. One alone may be missing: without `s3:ListBucket`, S3 says "denied" then.
    Source,
    /// The bucket of a source does not exist, so no source in it can be read.
    SourceBucket,
    /// Renditions cannot be stored.
    Output,
    /// Jobs cannot be read, or what becomes of them cannot be stored.
    Work,
    /// AWS does not accept the credentials or the clock.
    Credentials,
}

impl Barrier {
    pub const ALL: [Self; 5] =
        [Self::Source, Self::SourceBucket, Self::Output, Self::Work, Self::Credentials];

    pub fn slug(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::SourceBucket => "source-bucket",
            Self::Output => "output",
            Self::Work => "work",
            Self::Credentials => "credentials",
        }
    }
}

impl Failure {
    /// What kind it is, in a word.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Retry(_) => "retry",
            Self::Blocked(barrier, _) => barrier.slug(),
            Self::Left => "left",
            Self::Gone(_) => "gone",
            Self::Reject(rejection) => rejection.reason.slug(),
        }
    }

    pub fn retry(line: impl Into<String>) -> Self {
        Self::Retry(Error::new(line))
    }

    pub fn reject(reason: Reason, detail: impl Into<String>) -> Self {
        Self::Reject(Rejection::new(reason, detail))
    }
}

/// Text from strangers on its way to a terminal or a log: control characters come out escaped,
/// so that a key with a newline cannot forge a line.
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
                // SQS takes no text with these (the characters of XML 1.0).
                || matches!(c, '\u{fffe}' | '\u{ffff}')
            {
                write!(f, "{}", c.escape_unicode())?;
            } else {
                fmt::Write::write_char(f, c)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_a_newline_cannot_forge_a_log_line() {
        assert_eq!(Printable("a\nERROR b\u{1b}[0m ü").to_string(), "a\\u{a}ERROR b\\u{1b}[0m ü");
        assert_eq!(Printable("\u{ffff}").to_string(), "\\u{ffff}");
    }
}
