//! A job of one row, put into the work bucket as `submit` does.

use crate::common::job::job;
use crate::common::stage::Stage;
use longshore::command::layout;
use longshore::command::wire::{Job, Kind, Row, hex};
use sha2::{Digest, Sha256};

/// Works at the second attempt: the record of the first is deleted when the row is done.
const SCRIPT: &str = r#"test "$LONGSHORE_ATTEMPT" -gt 1"#;

pub async fn submit(stage: &Stage, bucket: &str, name: &str) {
    let script_sha256 = hex(&Sha256::digest(SCRIPT));
    let job = Job { script_sha256, attempts: 3, ..job(name, &[(Kind::Env, "TITLE")]) };
    let put = |key: String, body: Vec<u8>| {
        stage.world.s3.put_object().bucket(bucket).key(key).body(body.into()).send()
    };
    put(layout::script(name), SCRIPT.into()).await.unwrap();
    put(layout::job(name), serde_json::to_vec(&job).unwrap()).await.unwrap();
    let values = vec!["Hamlet".to_owned()];
    let digest = Row::digest(&job.columns, &values);
    stage.send(job.message(1, &digest, Some(values))).await;
}
