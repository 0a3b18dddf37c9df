//! Conditional requests: `If-Match` and its kin, for writes and for reads.

use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::header::{ETAG, LAST_MODIFIED};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use super::record::Time;

/// What must be true of the present object for a write to happen.
#[derive(Debug, Clone, Default)]
pub struct WriteConditions {
    pub if_match: Option<ETagCondition>,
    pub if_none_match: Option<ETagCondition>,
}

impl WriteConditions {
    /// `present`: the ETag of the object there is, without quotes. Call it under the bucket's lock,
    /// and write before letting go of that: only then exactly one of many writers wins.
    pub fn check(&self, present: Option<&str>) -> S3Result<()> {
        match &self.if_none_match {
            Some(ETagCondition::Any) if present.is_some() => return Err(failed("If-None-Match")),
            Some(ETagCondition::ETag(_)) => {
                return Err(s3_error!(NotImplemented, "If-None-Match of a write can only be *"));
            }
            _ => {}
        }
        match (&self.if_match, present) {
            (None, _) | (Some(ETagCondition::Any), Some(_)) => Ok(()),
            (Some(_), None) => Err(s3_error!(NoSuchKey, "the specified key does not exist")),
            (Some(ETagCondition::ETag(wanted)), Some(present)) if wanted.value() == present => Ok(()),
            (Some(ETagCondition::ETag(_)), Some(_)) => Err(failed("If-Match")),
        }
    }
}

/// What must be true of an object for it to be read.
#[derive(Debug, Clone, Default)]
pub struct ReadConditions {
    pub if_match: Option<ETagCondition>,
    pub if_none_match: Option<ETagCondition>,
    pub if_modified_since: Option<Timestamp>,
    pub if_unmodified_since: Option<Timestamp>,
}

impl ReadConditions {
    /// 412 when the reader wants another object than this, 304 when it has this one already. An ETag
    /// outranks a date, as RFC 9110 has it.
    pub fn check(&self, etag: &str, modified: Time) -> S3Result<()> {
        let later_than = |date: &Timestamp| modified.seconds() > seconds(date);
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) if !matches(condition, etag) => return Err(failed("If-Match")),
            (None, Some(date)) if later_than(date) => return Err(failed("If-Unmodified-Since")),
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) if matches(condition, etag) => Err(not_modified(etag, modified)),
            (None, Some(date)) if !later_than(date) => Err(not_modified(etag, modified)),
            _ => Ok(()),
        }
    }

    /// For the source of a copy, where "you have it already" is a failure too.
    pub fn check_source(&self, etag: &str, modified: Time) -> S3Result<()> {
        self.check(etag, modified).map_err(|e| match e.code() {
            S3ErrorCode::NotModified => failed("x-amz-copy-source-If-None-Match"),
            _ => e,
        })
    }
}

fn matches(condition: &ETagCondition, etag: &str) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(wanted) => wanted.value() == etag,
    }
}

fn seconds(date: &Timestamp) -> u64 {
    let mut text = Vec::new();
    date.format(s3s::dto::TimestampFormat::EpochSeconds, &mut text).expect("writing to a Vec cannot fail");
    let text = String::from_utf8_lossy(&text);
    text.split('.').next().and_then(|whole| whole.parse().ok()).unwrap_or_default()
}

fn failed(condition: &str) -> S3Error {
    let message = format!("at least one of the preconditions you specified did not hold: {condition}");
    S3Error::with_message(S3ErrorCode::PreconditionFailed, message)
}

fn not_modified(etag: &str, modified: Time) -> S3Error {
    let mut headers = hyper::HeaderMap::new();
    if let Ok(etag) = ETag::Strong(etag.to_owned()).to_http_header() {
        headers.insert(ETAG, etag);
    }
    let mut date = Vec::new();
    let written = Timestamp::from(modified).format(s3s::dto::TimestampFormat::HttpDate, &mut date);
    if let (Ok(()), Ok(date)) = (written, hyper::header::HeaderValue::from_bytes(&date)) {
        headers.insert(LAST_MODIFIED, date);
    }
    let mut answer = S3Error::new(S3ErrorCode::NotModified);
    answer.set_headers(headers);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn etag(value: &str) -> Option<ETagCondition> {
        Some(ETagCondition::ETag(ETag::Strong(value.to_owned())))
    }

    fn code(result: S3Result<()>) -> String {
        result.map_or_else(|e| e.code().as_str().to_owned(), |()| "ok".to_owned())
    }

    #[test]
    fn writes_follow_the_table_of_the_documentation() {
        let any = || Some(ETagCondition::Any);
        let rows = [
            (None, None, None, "ok"),
            (None, any(), None, "ok"),
            (None, any(), Some("a"), "PreconditionFailed"),
            (None, etag("a"), Some("a"), "NotImplemented"),
            (etag("a"), None, Some("a"), "ok"),
            (etag("a"), None, Some("b"), "PreconditionFailed"),
            (etag("a"), None, None, "NoSuchKey"),
            (any(), None, None, "NoSuchKey"),
            (any(), None, Some("b"), "ok"),
        ];
        for (if_match, if_none_match, present, expected) in rows {
            let conditions = WriteConditions { if_match, if_none_match };
            assert_eq!(code(conditions.check(present)), expected, "{conditions:?} {present:?}");
        }
    }

    #[test]
    fn an_etag_outranks_a_date_on_reads() {
        let modified = Time::now();
        let at = |seconds: u64| Some(Timestamp::from(UNIX_EPOCH + Duration::from_secs(seconds)));
        let (past, now) = (at(modified.seconds() - 10), at(modified.seconds()));
        let all = |if_match, if_none_match, if_modified_since, if_unmodified_since| ReadConditions {
            if_match,
            if_none_match,
            if_modified_since,
            if_unmodified_since,
        };
        let rows = [
            (all(None, None, None, None), "ok"),
            (all(etag("a"), None, None, past.clone()), "ok"),
            (all(etag("b"), None, None, now.clone()), "PreconditionFailed"),
            (all(None, None, None, past.clone()), "PreconditionFailed"),
            (all(None, etag("a"), past.clone(), None), "NotModified"),
            (all(None, etag("b"), now.clone(), None), "ok"),
            (all(None, None, now.clone(), None), "NotModified"),
            (all(None, None, past, None), "ok"),
        ];
        for (conditions, expected) in rows {
            assert_eq!(code(conditions.check("a", modified)), expected, "{conditions:?}");
        }
    }
}
