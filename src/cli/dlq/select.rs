//! Which letters a command is about.

use crate::config::parse_time;
use crate::queue::letters::Letter;
use clap::Args;
use std::time::Duration;

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Selection")]
pub struct SelectArgs {
    /// Only those with this reason, as `dlq list` tells it.
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Only those about an object like this: `s3://bucket/key`, or the key alone, with * for any text
    /// and ? for one character.
    #[arg(long, value_name = "PATTERN")]
    key: Option<String>,
    /// Only those first received longer ago than this, like 30m or 24h.
    #[arg(long, value_name = "TIME")]
    older_than: Option<String>,
    /// Only those first received not longer ago than this.
    #[arg(long, value_name = "TIME")]
    newer_than: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    reason: Option<String>,
    key: Option<String>,
    older_than: Option<Duration>,
    newer_than: Option<Duration>,
}

impl Selection {
    /// # Errors
    ///
    /// All mistakes, a line each.
    pub fn read(args: &SelectArgs) -> Result<Self, Vec<String>> {
        let mut mistakes = Vec::new();
        let mut time = |flag: &str, text: &Option<String>| {
            let text = text.as_deref()?;
            let time = parse_time(text);
            if time.is_none() {
                mistakes.push(format!("{flag} is {text:?}: write a time like 90s, 30m or 24h"));
            }
            time
        };
        let older_than = time("--older-than", &args.older_than);
        let newer_than = time("--newer-than", &args.newer_than);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Self { reason: args.reason.clone(), key: args.key.clone(), older_than, newer_than })
    }

    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    pub fn takes(&self, letter: &Letter) -> bool {
        self.reason.as_ref().is_none_or(|reason| *reason == letter.reason)
            && self
                .key
                .as_ref()
                .is_none_or(|pattern| letter.objects.iter().any(|o| matches_object(pattern, o)))
            && self.older_than.is_none_or(|age| letter.age > age)
            && self.newer_than.is_none_or(|age| letter.age <= age)
    }
}

/// `object` is `s3://bucket/key`.
fn matches_object(pattern: &str, object: &str) -> bool {
    let key = object.strip_prefix("s3://").and_then(|o| o.split_once('/')).map_or(object, |(_, key)| key);
    if pattern.starts_with("s3://") { matches(pattern, object) } else { matches(pattern, key) }
}

/// `*` stands for any text, `?` for one character. Goes back to the last star only, which is enough.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_keys_and_whole_objects() {
        for (pattern, object, expected) in [
            ("holiday/*.jpg", "s3://in/holiday/a/b.jpg", true),
            ("holiday/*.jpg", "s3://in/holiday/a.png", false),
            ("?.jpg", "s3://in/ü.jpg", true),
            ("a.jpg", "s3://in/aa.jpg", false),
            ("s3://in/*", "s3://in/x", true),
            ("s3://out/*", "s3://in/x", false),
            ("wordcount/*", "wordcount/12", true),
            ("*a*b*", "s3://in/xxaxxbxx", true),
            ("*a*b", "s3://in/abab-", false),
        ] {
            assert_eq!(matches_object(pattern, object), expected, "{pattern} {object}");
        }
    }
}
