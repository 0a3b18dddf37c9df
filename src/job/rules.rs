//! Which keys are ours to work on, before anything is fetched.

use crate::config::{Config, SuffixCase};
use crate::error::{Reason, Rejection};
use crate::event::{Created, Noise};

#[derive(Debug, Clone)]
pub struct Rules {
    input_buckets: Vec<String>,
    input_prefix: String,
    suffixes: Vec<String>,
    suffix_case: SuffixCase,
    output_bucket: String,
    /// `thumbs/` and so on.
    output_prefixes: Vec<String>,
}

/// S3's limit for a key, in bytes of UTF-8.
const MAX_KEY_BYTES: usize = 1024;

impl Rules {
    pub fn new(config: &Config) -> Self {
        let lower = |s: &String| match config.suffix_case {
            SuffixCase::Ignore => s.to_lowercase(),
            SuffixCase::Match => s.clone(),
        };
        Self {
            input_buckets: config.input_buckets.clone(),
            input_prefix: config.input_prefix.clone(),
            suffixes: config.suffixes.iter().map(lower).collect(),
            suffix_case: config.suffix_case,
            output_bucket: config.output_bucket.clone(),
            output_prefixes: config.render.settings.specs.iter().map(|s| format!("{}/", s.name)).collect(),
        }
    }

    /// Why an object is none of our business, if so.
    pub fn noise(&self, created: &Created) -> Option<Noise> {
        let key = &created.key;
        let own = |prefix: &String| key.starts_with(prefix.as_str());
        if created.bucket == self.output_bucket && self.output_prefixes.iter().any(own) {
            return Some(Noise::OwnOutput);
        }
        if !key.starts_with(&self.input_prefix) {
            return Some(Noise::OutsidePrefix);
        }
        if !self.suffixes.is_empty() && !self.has_suffix(key) {
            return Some(Noise::Suffix);
        }
        None
    }

    fn has_suffix(&self, key: &str) -> bool {
        match self.suffix_case {
            SuffixCase::Match => self.suffixes.iter().any(|s| key.ends_with(s.as_str())),
            SuffixCase::Ignore => {
                let key = key.to_lowercase();
                self.suffixes.iter().any(|s| key.ends_with(s.as_str()))
            }
        }
    }

    /// Refuses what can be seen to fail without fetching it.
    pub fn check(&self, created: &Created) -> Result<(), Rejection> {
        if !self.input_buckets.is_empty() && !self.input_buckets.contains(&created.bucket) {
            let detail =
                format!("the event names bucket {:?}, which --input-buckets does not", created.bucket);
            return Err(Rejection::new(Reason::BucketNotAllowed, detail));
        }
        let longest = self.output_prefixes.iter().map(String::len).max().unwrap_or(0);
        let length = longest + created.key.len();
        if length > MAX_KEY_BYTES {
            let detail = format!(
                "the key has {} bytes; with its output prefix {length}, more than the {MAX_KEY_BYTES} that S3 allows",
                created.key.len()
            );
            return Err(Rejection::new(Reason::KeyTooLong, detail));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            input_buckets: vec!["photos".into()],
            input_prefix: "in/".into(),
            suffixes: vec![".jpg".into(), ".png".into()],
            suffix_case: SuffixCase::Ignore,
            output_bucket: "photos".into(),
            output_prefixes: vec!["thumbs/".into(), "in/resized/".into()],
        }
    }

    fn created(bucket: &str, key: &str) -> Created {
        Created {
            bucket: bucket.into(),
            key: key.into(),
            version: None,
            sequencer: None,
            size: None,
            etag: None,
        }
    }

    #[test]
    fn noise_is_told_by_its_rule() {
        for (key, expected) in [
            ("in/a.JPG", None),
            ("in/a.jpeg", Some(Noise::Suffix)),
            ("out/a.jpg", Some(Noise::OutsidePrefix)),
            ("thumbs/in/a.jpg", Some(Noise::OwnOutput)),
            ("in/resized/a.jpg", Some(Noise::OwnOutput)),
        ] {
            assert_eq!(rules().noise(&created("photos", key)), expected, "{key}");
        }
        assert_eq!(rules().noise(&created("other", "in/resized/a.jpg")), None);
        let exact = Rules { suffix_case: SuffixCase::Match, ..rules() };
        assert_eq!(exact.noise(&created("photos", "in/a.JPG")), Some(Noise::Suffix));
    }

    #[test]
    fn a_bucket_that_is_not_named_is_refused() {
        let rejection = rules().check(&created("other", "in/a.jpg")).unwrap_err();
        assert_eq!(rejection.reason, Reason::BucketNotAllowed);
    }

    #[test]
    fn a_key_whose_outputs_cannot_exist_is_refused_with_both_lengths() {
        let key = "k".repeat(1024 - "in/resized/".len());
        assert!(rules().check(&created("photos", &key)).is_ok());
        let rejection = rules().check(&created("photos", &(key + "k"))).unwrap_err();
        assert_eq!(rejection.reason, Reason::KeyTooLong);
        assert!(rejection.detail.contains("1025") && rejection.detail.contains("1024"), "{rejection}");
    }
}
