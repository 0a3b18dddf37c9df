//! What a cell may hold.

use super::mistakes::quoted;
use crate::command::secret;
use crate::command::wire::{Column, Kind};
use crate::event::is_bucket_name;
use crate::store::{Location, split_url};

/// Linux starts no program with a longer string in its environment (MAX_ARG_STRLEN), with the `=` and the
/// byte at its end.
const MAX_VARIABLE: usize = 131_072 - 2;
/// All of them together; Linux allows a quarter of the stack, 2 MiB as a rule.
pub const MAX_ENVIRONMENT: usize = 1 << 20;
const MAX_KEY: usize = 1024;

/// Whether this can name a variable in the environment.
pub fn check_name(name: &str) -> Result<(), String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if !name.bytes().all(fits) || name.is_empty() || name.as_bytes()[0].is_ascii_digit() {
        return Err("is no name of a variable: write letters, digits and _, with no digit first".into());
    }
    if name.starts_with("LONGSHORE_") {
        return Err("has a name of ours: LONGSHORE_… is set by the worker".into());
    }
    Ok(())
}

/// A name and a value of `--env`.
///
/// # Errors
///
/// Why no program can be started with them.
pub fn check_env(name: &str, value: &str) -> Result<(), String> {
    check_name(name)?;
    variable(name, value)
}

pub fn check(column: &Column, value: &str) -> Result<(), String> {
    match column.kind {
        Kind::Env => variable(&column.name, value),
        _ if value.is_empty() => Ok(()),
        Kind::SecretEnv => secret::place(value).map(|_| ()),
        Kind::Input | Kind::Output => {
            let place = location(value)?;
            let recursive = format!("--{}-recursive", column.kind.word());
            if place.key.is_empty() || place.key.ends_with('/') {
                return Err(format!("{} names a folder: write a key, or use {recursive}", quoted(value)));
            }
            file_name(place.key.rsplit('/').next().unwrap_or_default(), value)
        }
        Kind::InputRecursive | Kind::OutputRecursive => location(value).map(|_| ()),
    }
}

/// The last part of a key: the script finds or leaves the file under that name.
fn file_name(name: &str, value: &str) -> Result<(), String> {
    if name == "." || name == ".." || name.len() > 255 {
        return Err(format!("{} ends in what no file can be called", quoted(value)));
    }
    Ok(())
}

fn variable(name: &str, value: &str) -> Result<(), String> {
    if value.contains('\0') {
        return Err("holds a NUL, which no environment can carry".into());
    }
    let most = MAX_VARIABLE - name.len();
    if value.len() > most {
        let has = value.len();
        return Err(format!(
            "has {has} bytes, and the environment takes {most} here: put it into an --input"
        ));
    }
    Ok(())
}

/// `s3://bucket/key`; the key may be empty.
///
/// # Errors
///
/// Why it is none.
pub fn location(value: &str) -> Result<Location, String> {
    let Some((bucket, key)) = split_url(value) else {
        return Err(format!("{} does not begin with s3://", quoted(value)));
    };
    if !is_bucket_name(bucket) {
        return Err(format!("{} names no bucket: write s3://bucket/key", quoted(value)));
    }
    if key.len() > MAX_KEY {
        return Err(format!("{} has a key of {} bytes: S3 takes {MAX_KEY}", quoted(value), key.len()));
    }
    if key.contains('\0') {
        return Err(format!("{} holds a NUL", quoted(value)));
    }
    Ok(Location { bucket: bucket.to_owned(), key: key.to_owned(), version: None })
}
