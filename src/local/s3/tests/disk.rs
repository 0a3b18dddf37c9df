//! The folder, as a person, a restart and a crash see it.

use std::fs;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};

use super::super::record::{Line, Moves};
use super::Server;

async fn enable_versions(server: &Server) {
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let put = server.client.put_bucket_versioning().bucket("box").versioning_configuration(enabled);
    put.send().await.unwrap();
}

#[tokio::test]
async fn objects_are_plain_files() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    server.put("in/a b.jpg", "bytes").await;
    assert_eq!(fs::read_to_string(folder.path().join("box/in/a b.jpg")).unwrap(), "bytes");
    server.client.delete_object().bucket("box").key("in/a b.jpg").send().await.unwrap();
    assert_eq!(folder.path().join("box").read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn the_latest_version_is_the_plain_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    enable_versions(&server).await;
    server.put("k", "one").await;
    let latest = server.put("k", "two").await.unwrap();
    let file = folder.path().join("box/k");
    assert_eq!(fs::read_to_string(&file).unwrap(), "two");
    server.client.delete_object().bucket("box").key("k").version_id(latest).send().await.unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "one");
    server.client.delete_object().bucket("box").key("k").send().await.unwrap();
    assert!(!file.exists(), "a delete marker hides the file");
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let body = ByteStream::from_static(b"bytes");
    let put = server.client.put_object().bucket("box").key("a//ü").body(body).content_type("image/png");
    let etag = put.metadata("from", "camera").send().await.unwrap().e_tag;
    enable_versions(&server).await;
    let old = server.put("k", "old").await.unwrap();
    server.put("k", "new").await;
    let create = server.client.create_multipart_upload().bucket("box").key("parts");
    let id = create.send().await.unwrap().upload_id.unwrap();
    let part = server.client.upload_part().bucket("box").key("parts").upload_id(&id).part_number(1);
    part.body(ByteStream::from_static(b"part")).send().await.unwrap();

    let server = Server::start(folder.path()).await;
    let object = server.client.get_object().bucket("box").key("a//ü").send().await.unwrap();
    assert_eq!((object.e_tag(), object.content_type()), (etag.as_deref(), Some("image/png")));
    assert_eq!(object.metadata().unwrap()["from"], "camera");
    assert_eq!(server.get("k").await.as_deref(), Some("new"));
    let old = server.client.get_object().bucket("box").key("k").version_id(old).send().await.unwrap();
    assert_eq!(old.body.collect().await.unwrap().to_vec(), b"old");
    let parts = server.client.list_parts().bucket("box").key("parts").upload_id(&id).send().await.unwrap();
    assert_eq!(parts.parts()[0].size(), Some(4));
    assert!(server.put("k", "again").await.is_some(), "the bucket still has versions");
}

/// The journal says what is to be; a crash can come before the files follow.
#[tokio::test]
async fn a_crash_before_the_rename_leaves_the_new_object_whole() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    server.put("k", "old").await;
    server.put("k", "newer").await;
    drop(server);
    let journal = folder.path().join(".longshore/s3/buckets/box.journal");
    let text = fs::read_to_string(&journal).unwrap();
    let Ok(Line::Entry { moves: Moves { publish: Some((temporary, public)), .. }, .. }) =
        serde_json::from_str(text.lines().last().unwrap())
    else {
        panic!("the last line is not the last write: {text}");
    };
    fs::rename(folder.path().join(&public), folder.path().join(&temporary)).unwrap();
    fs::write(folder.path().join(&public), "old").unwrap();
    let server = Server::start(folder.path()).await;
    assert_eq!(server.get("k").await.as_deref(), Some("newer"));
}

#[tokio::test]
async fn a_crash_before_the_journal_line_leaves_the_old_object_whole() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    server.put("k", "old").await;
    drop(server);
    let journal = folder.path().join(".longshore/s3/buckets/box.journal");
    let mut text = fs::read_to_string(&journal).unwrap();
    text.push_str("{\"Entry\":{\"key\":\"k\",\"vers");
    fs::write(&journal, text).unwrap();
    let incoming = folder.path().join(".longshore/s3/incoming/unfinished");
    fs::write(&incoming, "new").unwrap();
    let server = Server::start(folder.path()).await;
    assert_eq!(server.get("k").await.as_deref(), Some("old"));
    assert!(!incoming.exists());
}

#[tokio::test]
async fn a_file_deleted_by_hand_is_a_missing_object() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    server.put("in/k", "bytes").await;
    fs::remove_dir_all(folder.path().join("box/in")).unwrap();
    assert_eq!(server.get("in/k").await, None);
    assert!(
        server
            .client
            .head_object()
            .bucket("box")
            .key("in/k")
            .send()
            .await
            .unwrap_err()
            .into_service_error()
            .is_not_found()
    );
    assert!(server.keys().await.is_empty());
    let put = server.client.put_object().bucket("box").key("in/k").if_none_match("*");
    put.body(ByteStream::from_static(b"again")).send().await.unwrap();
    assert_eq!(server.get("in/k").await.as_deref(), Some("again"));
}

#[tokio::test]
async fn files_of_the_user_are_neither_served_nor_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let mine = folder.path().join("box/mine.jpg");
    fs::write(&mine, "mine").unwrap();
    assert_eq!(server.get("mine.jpg").await, None);
    server.put("mine.jpg", "theirs").await;
    assert_eq!(server.get("mine.jpg").await.as_deref(), Some("theirs"));
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_in_the_folder_leads_no_write_astray() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(folder.path()).await;
    std::os::unix::fs::symlink(outside.path(), folder.path().join("box/link")).unwrap();
    server.put("link/x.jpg", "bytes").await;
    assert_eq!(server.get("link/x.jpg").await.as_deref(), Some("bytes"));
    assert_eq!(outside.path().read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn a_disk_that_fails_is_a_500_without_paths_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    server.put("k", "old").await;
    let incoming = folder.path().join(".longshore/s3/incoming");
    fs::remove_dir(&incoming).unwrap();
    fs::write(&incoming, "in the way").unwrap();
    let config =
        server.client.config().to_builder().retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled());
    let client = aws_sdk_s3::Client::from_conf(config.build());
    let put = client.put_object().bucket("box").key("k").body(ByteStream::from_static(b"new"));
    let refused = put.send().await.unwrap_err();
    assert_eq!(refused.code(), Some("InternalError"));
    let message = refused.message().unwrap();
    assert!(message.starts_with("cannot store the object") && !message.contains('/'), "{message}");
    assert_eq!(server.get("k").await.as_deref(), Some("old"));
}

#[tokio::test]
async fn many_changes_do_not_make_the_journal_grow_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    for n in 0..1100 {
        server.put("k", &n.to_string()).await;
    }
    let journal = fs::read_to_string(folder.path().join(".longshore/s3/buckets/box.journal")).unwrap();
    assert!(journal.lines().count() < 200, "{}", journal.lines().count());
    let server = Server::start(folder.path()).await;
    assert_eq!(server.get("k").await.as_deref(), Some("1099"));
}
