//! A job of one row, put into the work bucket as `submit` does.

use crate::common::stage::Stage;
use longshore::command::layout;
use longshore::command::wire::{Column, Job, Kind, Row, VERSION, hex};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Works at the second attempt: the record of the first is deleted when the row is done.
const SCRIPT: &str = r#"test "$LONGSHORE_ATTEMPT" -gt 1"#;

pub async fn submit(stage: &Stage, bucket: &str, name: &str) {
    let job = Job {
        version: VERSION,
        name: name.into(),
        submitted_at: 0,
        columns: vec![Column { kind: Kind::Env, name: "TITLE".into() }],
        rows: 1,
        script_sha256: hex(&Sha256::digest(SCRIPT)),
        shell: vec!["/bin/bash".into()],
        env: BTreeMap::new(),
        timeout: 300,
        attempts: 3,
        permanent: Vec::new(),
        credentials: false,
        keep_failed: false,
        request_payer: false,
        memory: None,
        milli_cpus: None,
    };
    let put = |key: String, body: Vec<u8>| {
        stage.world.s3.put_object().bucket(bucket).key(key).body(body.into()).send()
    };
    put(layout::script(name), SCRIPT.into()).await.unwrap();
    put(layout::job(name), serde_json::to_vec(&job).unwrap()).await.unwrap();
    let values = vec!["Hamlet".to_owned()];
    let digest = Row::digest(&job.columns, &values);
    stage.send(job.message(1, &digest, Some(values))).await;
}
