//! The image, run by a real engine against the embedded servers on the host. `docker/test` says which image.
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

mod common;
#[path = "faults/harness/tls.rs"]
#[allow(dead_code)] // scenarios with faults need more of it
mod tls;

use common::pictures::{assert_shows, jpeg, picture};
use common::stage::Stage;
use common::{LIMIT, unique, wait_for};
use longshore::local::s3;
use std::net::TcpListener;
use std::process::{Command, Output};
use tls::Tls;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

fn image() -> String {
    std::env::var("LONGSHORE_TEST_IMAGE").expect("LONGSHORE_TEST_IMAGE names the image; see docker/test")
}

fn docker(arguments: &[&str]) -> Output {
    Command::new("docker").args(arguments).output().expect("docker is in the path")
}

/// Standard output of a call that must work.
fn said(arguments: &[&str]) -> String {
    let output = docker(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "docker {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A container of the worker, locked down as in the task definition; removed when dropped.
struct Container {
    name: String,
}

impl Container {
    fn start(stage: &Stage, settings: &[(&str, &str)]) -> Self {
        Self::start_with(stage, settings, &[])
    }

    /// With options for `docker run`.
    fn start_with(stage: &Stage, settings: &[(&str, &str)], options: &[&str]) -> Self {
        let name = unique("longshore-test");
        // The container shares the host's network, and its port with other tests.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut environment = vec![
            ("AWS_ENDPOINT_URL", stage.world.endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", s3::SECRET_ACCESS_KEY),
            ("LONGSHORE_REGION", "us-east-1"),
            ("LONGSHORE_QUEUE_URL", &stage.queue),
            ("LONGSHORE_DLQ_URL", &stage.dlq),
            ("LONGSHORE_OUTPUT_BUCKET", &stage.output),
            ("LONGSHORE_ADMIN_ADDR", &free),
            ("LONGSHORE_WAIT_TIME", "2"),
        ];
        environment.extend(settings);
        let environment: Vec<String> = environment.iter().map(|(n, v)| format!("--env={n}={v}")).collect();
        let mut run = vec!["run", "--detach", "--name", &name, "--network", "host", "--memory", "512m"];
        run.extend(["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]);
        run.extend(environment.iter().map(String::as_str));
        run.extend(options);
        let image = image();
        run.push(&image);
        said(&run);
        Self { name }
    }

    /// Exit code after `docker stop`, and the log.
    fn stop(&self) -> (String, String) {
        said(&["stop", "--time", "30", &self.name]);
        (said(&["inspect", "--format", "{{.State.ExitCode}}", &self.name]), self.log())
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&docker(&["logs", &self.name]).stderr).into_owned()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        docker(&["rm", "--force", &self.name]);
    }
}

async fn send(stage: &Stage, key: &str, bytes: Vec<u8>) {
    let etag = stage.upload(key, bytes).await;
    stage.send(stage.message(&[stage.record(key, &etag, "01")])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_goes_through_a_container_that_may_do_next_to_nothing() {
    let stage = Stage::new().await;
    let upright = picture(1200, 900);
    send(&stage, "photos/ü 1.jpg", jpeg(&upright)).await;
    send(&stage, "broken.jpg", b"no picture".to_vec()).await;
    let container = Container::start(&stage, &[]);
    let resized = stage.output("resized/photos/ü 1.jpg").await;
    assert_shows(&resized.bytes, &upright, (1024, 768), 2.5);
    assert_eq!(stage.dead_letter().await.reason(), "not-an-image");
    stage.wait_until_empty().await;

    // What the task definition's health check runs; there is no shell that could run anything else.
    assert_eq!(said(&["exec", &container.name, "longshore", "healthcheck"]), "ok");
    assert!(!docker(&["exec", &container.name, "sh", "-c", "true"]).status.success());
    let pid = said(&["inspect", "--format", "{{.State.Pid}}", &container.name]);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(line("Uid:").split_whitespace().next(), Some("10001"));
    assert_eq!(line("CapEff:").trim_start_matches('0'), "", "no capability is left");
    assert_eq!(line("NoNewPrivs:"), "1");
    // The worker is PID 1 itself: nothing between it and the signal.
    assert_eq!(line("NSpid:").split_whitespace().last(), Some("1"));

    let (code, log) = container.stop();
    assert_eq!(code, "0", "{log}");
    assert_eq!(stage.depth(&stage.queue).await, (0, 0), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_stop_in_mid_job_ends_well_and_hides_nothing() {
    let stage = Stage::new().await;
    let large = jpeg(&picture(4000, 3000));
    for n in 0..40 {
        send(&stage, &format!("p{n}.jpg"), large.clone()).await;
    }
    let settings = [("LONGSHORE_CONCURRENCY", "2"), ("LONGSHORE_RENDER_THREADS", "1")];
    let container = Container::start(&stage, &settings);
    wait_for("a message in work", LIMIT, || async { (stage.depth(&stage.queue).await.1 > 0).then_some(()) })
        .await;
    let (code, log) = container.stop();
    assert_eq!(code, "0", "{log}");
    let (visible, hidden) = stage.depth(&stage.queue).await;
    assert_eq!(hidden, 0, "nothing may stay hidden\n{log}");
    let outputs = stage.output_keys().await.len() as u64;
    assert_eq!((outputs % 2, outputs / 2 + visible), (0, 40), "whole or not begun\n{log}");
    assert!(visible > 0, "it was stopped too late to tell\n{log}");
}

/// A file out of the image, in a folder that is removed when dropped.
fn taken_out(path: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let container = Container { name: unique("longshore-test") };
    said(&["create", "--name", &container.name, &image()]);
    let file = folder.path().join("file").display().to_string();
    said(&["cp", &format!("{}:{path}", container.name), &file]);
    (folder, file)
}

#[test]
fn the_binary_needs_nothing_of_an_image_and_has_no_symbols() {
    let (_folder, file) = taken_out("/usr/local/bin/longshore");
    let ask = ["--wide", "--file-header", "--program-headers", "--section-headers", "--dynamic"];
    let output = Command::new("readelf").args(ask).arg(&file).output().expect("binutils, beside the linker");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8_lossy(&output.stdout);
    let kind = told.lines().find(|l| l.trim_start().starts_with("Type:")).unwrap_or_default();
    assert!(kind.contains("DYN"), "can be put at any address: {kind}");
    assert!(told.lines().any(|l| l.contains("FLAGS_1") && l.contains("PIE")), "a program: {told}");
    for absent in ["INTERP", "(NEEDED)", ".symtab", ".debug_info"] {
        assert!(!told.contains(absent), "it has {absent}:\n{told}");
    }
}

#[test]
fn the_image_says_what_runs_and_nothing_of_its_health() {
    for image in [image(), std::env::var("LONGSHORE_TEST_SHELL_IMAGE").unwrap_or_default()] {
        if image.is_empty() {
            continue;
        }
        let config = said(&["image", "inspect", "--format", "{{json .Config}}", &image]);
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        // Not through a shell, which would keep SIGTERM for itself.
        assert_eq!(config["Entrypoint"], serde_json::json!(["longshore", "work"]), "{image}");
        assert!(config["Cmd"].is_null(), "{image}: {config}");
        assert_eq!(config["User"], "10001:10001", "{image}");
        // ECS looks at the task definition's.
        assert!(config["Healthcheck"].is_null(), "{image}: {config}");
    }
}

const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

#[test]
fn the_certificates_in_the_image_are_ones_that_a_client_takes() {
    let (_folder, file) = taken_out(BUNDLE);
    let bundle = std::fs::read(file).unwrap();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bundle) {
        roots.add(certificate.unwrap()).unwrap();
    }
    assert!(roots.len() > 50, "{} authorities", roots.len());
}

/// AWS is reached by TLS only, and names are looked up: both must work in an image with nothing in it.
#[tokio::test(flavor = "multi_thread")]
async fn the_container_trusts_whom_its_bundle_names_and_nobody_else() {
    let stage = Stage::new().await;
    let behind = stage.world.endpoint.trim_start_matches("http://").parse().unwrap();
    let tls = Tls::expired_in_front_of(behind).await;
    tls.renew();
    let settings = [("AWS_ENDPOINT_URL", tls.endpoint.as_str())];
    send(&stage, "p.jpg", jpeg(&picture(600, 400))).await;
    let stranger = Container::start(&stage, &settings);
    wait_for("a refusal", LIMIT, || async { stranger.log().contains("certificate").then_some(()) }).await;
    assert!(stage.output_keys().await.is_empty(), "{}", stranger.log());
    drop(stranger);
    let bundle = format!("--volume={}:{BUNDLE}:ro", tls.authorities().display());
    let container = Container::start_with(&stage, &settings, &[&bundle]);
    stage.output("resized/p.jpg").await;
    let (code, log) = container.stop();
    assert_eq!(code, "0", "{log}");
}

/// `WORKER_BASE` may be any image: the worker brings all that it needs.
#[test]
fn the_worker_runs_on_another_base() {
    let image = std::env::var("LONGSHORE_TEST_BASED_IMAGE").unwrap_or_default();
    if image.is_empty() {
        println!("NOT RUN here: no image on another base was named");
        return;
    }
    let script = "cat /etc/os-release; longshore --version; id -u";
    let lines = said(&["run", "--rm", "--entrypoint", "/bin/bash", &image, "-euc", script]);
    assert!(lines.contains("Debian"), "{lines}");
    assert!(lines.contains("\nlongshore "), "{lines}");
    assert!(lines.ends_with("\n10001"), "{lines}");
}

#[test]
fn the_image_for_ones_own_commands_has_a_shell_and_is_not_root() {
    let image = std::env::var("LONGSHORE_TEST_SHELL_IMAGE").unwrap_or_default();
    if image.is_empty() {
        println!("NOT RUN here: no image with a shell was named");
        return;
    }
    let script = "id -u; longshore --version; seq 3 | sort -r | head -n 1";
    let run = ["run", "--rm", "--entrypoint", "/bin/bash", &image, "-euo", "pipefail", "-c", script];
    let lines = said(&run);
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines[0], "10001");
    assert!(lines[1].starts_with("longshore "), "{lines:?}");
    assert_eq!(lines[2], "3");
    // The worker is what runs if nothing else is said.
    let output = docker(&["run", "--rm", &image]);
    assert_eq!(output.status.code(), Some(2), "no setting is given");
}

/// An image that a test has made; removed when dropped.
struct Image(&'static str);

impl Drop for Image {
    fn drop(&mut self) {
        docker(&["rmi", "--force", self.0]);
    }
}

const README: &str = include_str!("../README.md");

/// The README's own lines, on the image under test.
#[test]
fn an_image_with_a_tool_is_made_and_tried_as_the_readme_says() {
    let base = std::env::var("LONGSHORE_TEST_SHELL_IMAGE").unwrap_or_default();
    if base.is_empty() {
        println!("NOT RUN here: no image with a shell was named");
        return;
    }
    let (_, rest) = README.split_once("```Dockerfile\n").unwrap();
    let (dockerfile, rest) = rest.split_once("```").unwrap();
    let commands = rest.split_once("```sh\n").unwrap().1.split_once("```").unwrap().0;
    assert!(dockerfile.contains("FROM longshore:shell\n"), "{dockerfile}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Dockerfile"), dockerfile.replace("longshore:shell", &base)).unwrap();
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    std::os::unix::fs::symlink(examples, folder.path().join("examples")).unwrap();

    let image = Image("longshore-wordcount");
    let mut shell = Command::new("bash");
    shell.args(["-euc", commands]).current_dir(folder.path());
    // The builder that every engine has, with no plugin.
    let output = shell.env("DOCKER_BUILDKIT", "0").output().unwrap();
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}{errors}");
    assert!(
        told.contains("counting the words of Lamp") && told.contains(" different words"),
        "{told}{errors}"
    );
    assert_eq!(said(&["run", "--rm", "--entrypoint", "id", image.0, "-u"]), "10001");
    let entrypoint = said(&["image", "inspect", "--format", "{{json .Config.Entrypoint}}", image.0]);
    assert_eq!(entrypoint, r#"["longshore","work"]"#);
}
