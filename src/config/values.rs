//! Values out of text, with mistakes collected instead of thrown.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A setting that is absent or empty counts as not given.
pub fn present(value: &Option<String>) -> Option<&str> {
    value.as_deref().map(str::trim).filter(|v| !v.is_empty())
}

/// A value that no log line, page or debug output may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Reads settings and remembers what was wrong with them.
#[derive(Default)]
pub struct Reader {
    pub mistakes: Vec<String>,
}

impl Reader {
    pub fn finish<T>(self, config: T) -> Result<T, Vec<String>> {
        if self.mistakes.is_empty() { Ok(config) } else { Err(self.mistakes) }
    }

    pub fn mistake(&mut self, line: impl Into<String>) {
        self.mistakes.push(line.into());
    }

    /// The value of a setting that must be there.
    pub fn required(&mut self, flag: &str, env: &str, value: &Option<String>, what: &str) -> String {
        let Some(value) = present(value) else {
            self.mistake(format!("{flag} is missing: pass it or set {env} to {what}"));
            return String::new();
        };
        value.to_owned()
    }

    pub fn whole<T>(&mut self, flag: &str, value: &Option<String>, default: T, range: RangeInclusive<T>) -> T
    where
        T: Copy + PartialOrd + std::str::FromStr + fmt::Display,
    {
        let Some(text) = present(value) else { return default };
        match text.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (low, high) = (range.start(), range.end());
                self.mistake(format!("{flag} is {text:?}: write a whole number from {low} to {high}"));
                default
            }
        }
    }

    /// A time like `90`, `90s`, `1500ms`, `2m`, `1h`, within a range of seconds.
    pub fn time(
        &mut self,
        flag: &str,
        value: &Option<String>,
        default: Duration,
        seconds: RangeInclusive<u64>,
    ) -> Duration {
        let Some(text) = present(value) else { return default };
        let limits = Duration::from_secs(*seconds.start())..=Duration::from_secs(*seconds.end());
        match parse_time(text) {
            Some(time) if limits.contains(&time) => time,
            _ => {
                let (low, high) = (seconds.start(), seconds.end());
                self.mistake(format!(
                    "{flag} is {text:?}: write a time from {low}s to {high}s, like 90s, 1500ms or 2m"
                ));
                default
            }
        }
    }

    /// A size like `1048576`, `100MB`, `128MiB`, in bytes.
    pub fn size(
        &mut self,
        flag: &str,
        value: &Option<String>,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> u64 {
        let Some(text) = present(value) else { return default };
        match parse_size(text) {
            Some(size) if range.contains(&size) => size,
            _ => {
                let (low, high) = (range.start(), range.end());
                self.mistake(format!(
                    "{flag} is {text:?}: write a size from {low} to {high} bytes, like 500000, 100MB or 128MiB"
                ));
                default
            }
        }
    }

    /// A token that strangers may not guess: long, and of characters that any header can carry.
    pub fn secret(&mut self, flag: &str, value: &Option<String>) -> Option<Secret> {
        let text = present(value)?;
        if text.len() < LEAST_SECRET || !text.bytes().all(|b| b.is_ascii_graphic()) {
            self.mistake(format!(
                "{flag} is too easy to guess: write {LEAST_SECRET} printable characters or more, without spaces"
            ));
        }
        Some(Secret(text.to_owned()))
    }

    /// One of a few words; the first is the default.
    pub fn choice<T: Copy>(&mut self, flag: &str, value: &Option<String>, words: &[(&str, T)]) -> T {
        let default = words[0].1;
        let Some(text) = present(value) else { return default };
        if let Some((_, chosen)) = words.iter().find(|(word, _)| *word == text) {
            return *chosen;
        }
        let allowed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.mistake(format!("{flag} is {text:?}: write {}", allowed.join(" or ")));
        default
    }
}

const LEAST_SECRET: usize = 16;

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

/// A time like `90`, `90s`, `1500ms`, `2m`, `1h`.
pub fn parse_time(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text);
    let number: u64 = number.parse().ok()?;
    let factor = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_take_the_usual_units() {
        assert_eq!(parse_time("90"), Some(Duration::from_secs(90)));
        assert_eq!(parse_time("1500ms"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_time("2m"), Some(Duration::from_secs(120)));
        assert_eq!(parse_time("2 days"), None);
        assert_eq!(parse_size("128MiB"), Some(128 << 20));
        assert_eq!(parse_size("100MB"), Some(100_000_000));
        assert_eq!(parse_size("99999999999999999999GiB"), None);
    }

    #[test]
    fn a_secret_is_long_and_never_shown() {
        let mut reader = Reader::default();
        let secret = reader.secret("--t", &Some("0123456789abcdef".into())).unwrap();
        assert_eq!((secret.reveal(), format!("{secret:?}").as_str()), ("0123456789abcdef", "(secret)"));
        assert!(reader.mistakes.is_empty() && reader.secret("--t", &None).is_none());
        for poor in ["short", "with a space in it", "with-an-ü-in-it-now"] {
            reader.secret("--t", &Some(poor.into()));
        }
        assert_eq!(reader.mistakes.len(), 3);
        assert!(!reader.mistakes.join("").contains("short"), "not even a poor one");
    }

    #[test]
    fn an_empty_value_counts_as_absent() {
        let mut reader = Reader::default();
        assert_eq!(reader.whole("--n", &Some(" ".into()), 7_u32, 1..=9), 7);
        assert!(reader.mistakes.is_empty());
    }
}
