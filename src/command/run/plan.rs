//! What a row asks for: variables, secrets, files to fetch and to store. Strangers wrote it: paths lead nowhere but
//! into the row's folder, and values stay values.

use crate::command::wire::{Job, Kind};
use crate::error::Printable;
use crate::event::is_bucket_name;
use crate::store::{Location, split_url};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub environment: BTreeMap<String, String>,
    /// Variable, and name of the secret.
    pub secrets: Vec<(String, String)>,
    pub inputs: Vec<Transfer>,
    pub outputs: Vec<Transfer>,
}

/// Between S3 and the row's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Of the column.
    pub name: String,
    /// Of a folder, the prefix; it is empty or ends in a slash.
    pub remote: Location,
    pub local: PathBuf,
    pub is_folder: bool,
}

/// Of one variable: Linux gives a program no longer one.
const MAX_VALUE: usize = 128 << 10;

/// Whether a job can be run at all.
pub fn check(job: &Job) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for column in job.columns.iter().filter(|c| !c.name.is_empty()) {
        check_name(&column.name)?;
        if !names.insert(&column.name) {
            return Err(format!("two columns are named {}", column.name));
        }
    }
    for (name, value) in &job.env {
        check_name(name)?;
        check_value(name, value)?;
    }
    if job.shell.iter().any(|part| part.is_empty() || part.contains('\0')) {
        return Err("the shell has an empty part, or one with a NUL".into());
    }
    if job.timeout == 0 || job.attempts == 0 {
        return Err("timeout and attempts are 1 or more".into());
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), String> {
    let fits = |(at, b): (usize, u8)| b == b'_' || b.is_ascii_alphabetic() || at > 0 && b.is_ascii_digit();
    match !name.is_empty() && name.bytes().enumerate().all(fits) {
        true => Ok(()),
        false => Err(format!("{:?} is no name of a variable", Printable(name).to_string())),
    }
}

fn check_value(name: &str, value: &str) -> Result<(), String> {
    if value.contains('\0') {
        return Err(format!("the value of {name} holds a NUL, which no variable can"));
    }
    if value.len() + name.len() + 2 > MAX_VALUE {
        return Err(format!(
            "the value of {name} has {} bytes, a variable has less than {MAX_VALUE}",
            value.len()
        ));
    }
    Ok(())
}

impl Plan {
    pub fn new(job: &Job, values: &[String], folder: &Path) -> Result<Self, String> {
        if values.len() != job.columns.len() {
            return Err(format!("{} values for {} columns", values.len(), job.columns.len()));
        }
        let mut plan = Self { environment: job.env.clone(), ..Self::default() };
        for (column, value) in job.columns.iter().zip(values).filter(|(c, _)| !c.name.is_empty()) {
            let name = &column.name;
            check_value(name, value)?;
            let (side, is_folder) = match column.kind {
                Kind::Env => {
                    plan.environment.insert(name.clone(), value.clone());
                    continue;
                }
                Kind::SecretEnv if value.is_empty() => continue,
                Kind::SecretEnv => {
                    plan.secrets.push((name.clone(), value.clone()));
                    continue;
                }
                Kind::Input => ("in", false),
                Kind::InputRecursive => ("in", true),
                Kind::Output => ("out", false),
                Kind::OutputRecursive => ("out", true),
            };
            let transfer = match value.as_str() {
                "" => None,
                value => Some(transfer(name, value, &folder.join(side).join(name), is_folder)?),
            };
            let local = transfer.as_ref().map(|t| t.local.to_string_lossy().into_owned()).unwrap_or_default();
            // Both are there and empty for an empty cell: scripts may be run with `set -u`.
            plan.environment.insert(format!("S3_{name}"), value.clone());
            plan.environment.insert(name.clone(), local);
            match side {
                "in" => plan.inputs.extend(transfer),
                _ => plan.outputs.extend(transfer),
            }
        }
        Ok(plan)
    }
}

fn transfer(name: &str, value: &str, folder: &Path, is_folder: bool) -> Result<Transfer, String> {
    let wrong = |why: &str| format!("{name} is {:?}: {why}", Printable(value).to_string());
    let (bucket, key) = split_url(value).ok_or_else(|| wrong("it does not begin with s3://"))?;
    if !is_bucket_name(bucket) {
        return Err(wrong("that is no bucket"));
    }
    let mut key = key.to_owned();
    let local = if is_folder {
        if !key.is_empty() && !key.ends_with('/') {
            key.push('/');
        }
        folder.to_owned()
    } else {
        let file = key.rsplit('/').next().unwrap_or_default();
        folder.join(part(file).map_err(|why| wrong(&why))?)
    };
    let remote = Location { bucket: bucket.to_owned(), key, version: None };
    Ok(Transfer { name: name.to_owned(), remote, local, is_folder })
}

/// Where an object of a folder belongs beneath it. It never leads elsewhere.
pub fn relative(key: &str) -> Result<PathBuf, String> {
    key.split('/').map(part).collect()
}

/// One part of a path, or why it cannot be one.
fn part(text: &str) -> Result<&str, String> {
    match text {
        "" => Err("a part of it is empty, which no file's name is".into()),
        "." | ".." => Err(format!("a part of it is {text:?}, which leads elsewhere")),
        _ if text.contains('\0') => Err("it holds a NUL, which no file's name does".into()),
        _ if text.len() > 255 => Err("a part of it is longer than the 255 bytes of a file's name".into()),
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::wire::{Column, VERSION};

    pub fn job(columns: &[(Kind, &str)]) -> Job {
        let column = |(kind, name): &(Kind, &str)| Column { kind: *kind, name: (*name).into() };
        Job {
            version: VERSION,
            name: "j".into(),
            submitted_at: 0,
            columns: columns.iter().map(column).collect(),
            rows: 1,
            script_sha256: String::new(),
            shell: vec!["/bin/sh".into()],
            env: BTreeMap::from([("BASE".into(), "b".into()), ("A".into(), "beneath".into())]),
            timeout: 60,
            attempts: 5,
            permanent: Vec::new(),
            credentials: false,
            keep_failed: false,
            request_payer: false,
            memory: None,
            milli_cpus: None,
        }
    }

    fn plan(columns: &[(Kind, &str)], values: &[&str]) -> Result<Plan, String> {
        let values: Vec<String> = values.iter().map(|v| (*v).to_owned()).collect();
        Plan::new(&job(columns), &values, Path::new("/row"))
    }

    #[test]
    fn values_are_what_they_are() {
        let hostile = "'; rm -rf / #\n\"$(id)` \\";
        let found = plan(&[(Kind::Env, "A"), (Kind::Env, ""), (Kind::SecretEnv, "T")], &[hostile, "x", "/t"]);
        let found = found.unwrap();
        assert_eq!(found.environment["A"], hostile);
        assert_eq!((found.environment["BASE"].as_str(), found.environment.len()), ("b", 2));
        assert_eq!(found.secrets, [("T".to_owned(), "/t".to_owned())]);
        assert!(plan(&[(Kind::Env, "A")], &["a\0b"]).unwrap_err().contains("NUL"));
        assert!(plan(&[(Kind::Env, "A")], &[&"a".repeat(MAX_VALUE)]).is_err());
        assert!(plan(&[(Kind::Env, "A")], &[]).is_err());
    }

    #[test]
    fn files_have_a_place_beneath_the_folder_and_nowhere_else() {
        let columns = [
            (Kind::Input, "I"),
            (Kind::InputRecursive, "R"),
            (Kind::Output, "O"),
            (Kind::OutputRecursive, "F"),
            (Kind::Input, "E"),
        ];
        let values = ["s3://bucket/a/b.txt", "s3://bucket/p", "s3://bucket/out.csv", "s3://bucket/q/", ""];
        let found = plan(&columns, &values).unwrap();
        let local = |t: &Transfer| t.local.to_string_lossy().into_owned();
        assert_eq!(found.inputs.iter().map(local).collect::<Vec<_>>(), ["/row/in/I/b.txt", "/row/in/R"]);
        assert_eq!(found.outputs.iter().map(local).collect::<Vec<_>>(), ["/row/out/O/out.csv", "/row/out/F"]);
        assert_eq!((found.inputs[1].remote.key.as_str(), found.outputs[1].remote.key.as_str()), ("p/", "q/"));
        assert_eq!(found.environment["S3_I"], "s3://bucket/a/b.txt");
        assert_eq!((found.environment["E"].as_str(), found.environment["S3_E"].as_str()), ("", ""));
        for wrong in
            ["bucket/a", "s3://b/a", "s3://bucket/a/..", "s3://bucket/", "s3://bucket", "/etc/passwd"]
        {
            assert!(plan(&[(Kind::Input, "I")], &[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_key_leads_out_of_its_folder() {
        assert_eq!(relative("a/b c/ü.txt").unwrap(), Path::new("a/b c/ü.txt"));
        for key in ["../a", "a/../../b", "/etc/passwd", "a//b", "a/./b", "a\0b", "a/", &"x".repeat(256)] {
            assert!(relative(key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn a_job_that_cannot_be_run_is_told() {
        assert_eq!(check(&job(&[(Kind::Env, "A"), (Kind::Env, "")])), Ok(()));
        for columns in
            [vec![(Kind::Env, "1A")], vec![(Kind::Env, "A=B")], vec![(Kind::Env, "A"), (Kind::Input, "A")]]
        {
            assert!(check(&job(&columns)).is_err(), "{columns:?}");
        }
        assert!(check(&Job { timeout: 0, ..job(&[]) }).is_err());
    }
}
