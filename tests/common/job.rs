//! A job of rows, as `submit` describes one.

use longshore::command::wire::{Column, Job, Kind, VERSION};
use std::collections::BTreeMap;

/// One that can be changed before it is put. Its script is told when that is known.
pub fn job(name: &str, columns: &[(Kind, &str)]) -> Job {
    let column = |(kind, name): &(Kind, &str)| Column { kind: *kind, name: (*name).into() };
    Job {
        version: VERSION,
        name: name.into(),
        submitted_at: 0,
        columns: columns.iter().map(column).collect(),
        rows: 1,
        script_sha256: String::new(),
        shell: vec!["/bin/bash".into()],
        env: BTreeMap::new(),
        timeout: 300,
        attempts: 1,
        permanent: Vec::new(),
        credentials: false,
        keep_failed: false,
        request_payer: false,
        memory: None,
        milli_cpus: None,
    }
}
