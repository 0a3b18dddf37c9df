//! Faults that are ours and not the caller's: logged here, answered as `InternalError` without paths.

use std::io::{self, ErrorKind};

use s3s::{S3Error, S3ErrorCode};

/// `doing` completes "cannot …".
pub fn internal(doing: &str, error: &io::Error) -> S3Error {
    let reason = reason(error);
    tracing::error!("cannot {doing}: {reason}");
    S3Error::with_message(S3ErrorCode::InternalError, format!("cannot {doing}: {reason}"))
}

/// Turns an I/O error into an answer, with what was being done.
pub trait Doing<T> {
    fn doing(self, doing: &str) -> Result<T, S3Error>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &str) -> Result<T, S3Error> {
        self.map_err(|e| internal(doing, &e))
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "no space left in the data directory: delete something or choose another --data-dir".to_owned()
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "the data directory cannot be written: choose another --data-dir".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_with_the_way_out() {
        let answer = internal("store the object", &io::Error::from(ErrorKind::StorageFull));
        assert_eq!(answer.code(), &S3ErrorCode::InternalError);
        assert!(answer.message().unwrap().contains("no space left in the data directory"));
    }
}
