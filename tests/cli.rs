//! What a person meets: help, mistakes, `render`, `local`, `healthcheck`.
#![allow(clippy::unwrap_used)] // the lint knows test functions, not what they call

mod common;

use clap::CommandFactory;
use common::LIMIT;
use common::pictures::{jpeg, picture};
use common::process::{Process, longshore, run, run_aside, worker};
use common::stage::Stage;
use longshore::cli::Cli;
use longshore::local::s3;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// The names of every command, with those inside others.
fn commands() -> Vec<Vec<String>> {
    fn within(command: &clap::Command, path: &[String], all: &mut Vec<Vec<String>>) {
        all.push(path.to_vec());
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            within(inner, &[path, &[inner.get_name().to_owned()]].concat(), all);
        }
    }
    let mut all = Vec::new();
    within(&Cli::command(), &[], &mut all);
    assert!(all.len() > 15, "{all:?}");
    all
}

#[test]
fn help_is_there_for_every_command_and_tells_the_defaults() {
    let (code, help, _) = run(longshore().arg("--help"));
    assert_eq!(code, Some(0));
    for path in commands() {
        let (code, told, _) = run(longshore().args(&path).arg("--help"));
        assert_eq!(code, Some(0), "{path:?}");
        assert!(told.contains("Exit codes: 0 "), "{path:?}: {told}");
        assert!(path.first().is_none_or(|name| help.contains(name)), "{path:?}");
    }
    let (_, help, _) = run(longshore().args(["work", "--help"]));
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["LONGSHORE_QUEUE_URL", "[default: 90s]", "resized=1024x768,q85"] {
        assert!(words.contains(part), "{part}");
    }
    assert!(run(longshore().arg("--version")).1.starts_with("longshore 0."));
    assert!(run(longshore().args(["completions", "bash"])).1.contains("_longshore"));
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(longshore().arg("man").arg(folder.path())).0, Some(0));
    let page = std::fs::read_to_string(folder.path().join("longshore-dlq-redrive.1")).unwrap();
    assert!(page.contains("dry\\-run"), "{page}");
    for path in commands() {
        let name = [vec!["longshore".to_owned()], path].concat().join("-");
        let text = std::fs::read_to_string(folder.path().join(format!("{name}.1"))).unwrap();
        assert!(
            text.contains(".SH \"EXIT STATUS\"\nExit codes: 0 ") && !text.contains("EXTRA"),
            "{name}.1: {text}"
        );
    }
    let page = std::fs::read_to_string(folder.path().join("longshore-work.1")).unwrap();
    for part in [".SH ENVIRONMENT\n", "\\fBLONGSHORE_QUEUE_URL\\fR\nThe same as \\-\\-queue\\-url."] {
        assert!(page.contains(part), "{part:?} in {page}");
    }
    let page = std::fs::read_to_string(folder.path().join("longshore-dlq-drop.1")).unwrap();
    assert!(page.contains("the answer was no") && page.contains("no terminal to ask at"), "{page}");
}

#[test]
fn config_check_tells_every_setting_of_work_and_where_it_comes_from() {
    let (_, help, _) = run(longshore().args(["work", "--help"]));
    let flags =
        help.lines().filter_map(|line| line.trim_start().strip_prefix("--")?.split([' ', '<']).next());
    let flags: BTreeSet<&str> = flags.filter(|flag| *flag != "help" && *flag != "version").collect();
    assert!(flags.len() > 30, "{flags:?}");
    let mut command = longshore();
    command
        .args(["config", "check", "--offline", "--json"])
        .env("LONGSHORE_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/1/q")
        .env("LONGSHORE_OUTPUT_BUCKET", "renditions")
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_PROFILE", "team")
        .env("AWS_ENDPOINT_URL", "https://user:word@example.com/");
    let (code, text, errors) = run(&mut command);
    assert_eq!(code, Some(0), "{errors}");
    let told: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: BTreeSet<&str> = told.iter().map(|line| line["setting"].as_str().unwrap()).collect();
    assert_eq!(names, flags);
    let of = |name: &str| {
        let line = told.iter().find(|line| line["setting"] == name).unwrap();
        (line["value"].as_str().unwrap(), line["from"].as_str().unwrap())
    };
    assert_eq!(of("region"), ("eu-west-1", "AWS_REGION"));
    assert_eq!(of("profile"), ("team", "AWS_PROFILE"));
    assert_eq!(of("endpoint-url"), ("https://…@example.com/", "AWS_ENDPOINT_URL"));
    for line in &told {
        for part in ["value", "from"] {
            assert!(line[part].as_str().is_some_and(|text| !text.is_empty()), "{line}");
        }
    }
}

/// `config check` of a stage, with its verdicts.
async fn checked(stage: &Stage, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = longshore();
    command.args(["config", "check"]).args(arguments).env("AWS_REGION", "us-east-1");
    command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1/");
    command
        .env("AWS_ENDPOINT_URL_SQS", &stage.world.endpoint)
        .env("AWS_ENDPOINT_URL_S3", &stage.world.endpoint);
    command.env("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY_ID).env("AWS_SECRET_ACCESS_KEY", s3::SECRET_ACCESS_KEY);
    command.env("LONGSHORE_QUEUE_URL", &stage.queue).env("LONGSHORE_OUTPUT_BUCKET", &stage.output);
    let (code, text, _) = run_aside(command).await;
    (code, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn config_check_warns_as_the_worker_does_and_tells_what_is_in_force() {
    let stage = Stage::with_receives(2).await;
    let (code, text) = checked(&stage, &[]).await;
    assert_eq!(code, Some(0), "{text}");
    for line in [
        format!("SQS: {0}, S3: {0}  (AWS_ENDPOINT_URL_SQS, AWS_ENDPOINT_URL_S3)", stage.world.endpoint),
        "profile             default  (default)".into(),
        format!("work-dir            {}  (default)", std::env::temp_dir().display()),
        "task-protection     off  (default)".into(),
        "log-format          json  (default)".into(),
        "\nwarning: the queue gives a message up after 2 receives".into(),
        "\nthe worker may do all that was tried; 3 could not be tried\n".into(),
    ] {
        assert!(text.contains(&line), "{line:?} in\n{text}");
    }
    let (_, text) = checked(&stage, &["--json"]).await;
    let told: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (kind, what) in [("setting", "a setting"), ("warning", "a warning"), ("action", "a permission")] {
        let one = told.iter().find(|object| object.get(kind).is_some()).unwrap();
        let keys: BTreeSet<String> = one.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, common::documented("config check", what), "{one}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_without_a_redrive_policy_has_no_dead_letter_queue() {
    let mut stage = Stage::new().await;
    let bare = stage.world.sqs.create_queue().queue_name(common::unique("bare")).send().await.unwrap();
    stage.queue = bare.queue_url.unwrap();
    let (code, text) = checked(&stage, &[]).await;
    assert_eq!(code, Some(1), "{text}");
    let line = text.lines().find(|line| line.contains("sqs:SendMessage")).unwrap();
    assert!(line.starts_with("missing ") && line.contains("it has no redrive policy"), "{line}");
}

#[test]
fn all_configuration_mistakes_are_told_at_once_with_exit_code_2() {
    let mut command = longshore();
    command.arg("work").env("LONGSHORE_CONCURRENCY", "lots").env("LONGSHORE_RENDITIONS", "a=1x1; b=2");
    let (code, _, errors) = run(&mut command);
    assert_eq!(code, Some(2));
    for part in
        ["LONGSHORE_QUEUE_URL", "LONGSHORE_OUTPUT_BUCKET", "--concurrency", "rendition 2", "4 mistakes"]
    {
        assert!(errors.contains(part), "{part} in\n{errors}");
    }
}

#[test]
fn render_makes_files_and_says_what_it_could_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("good.jpg"), jpeg(&picture(1500, 1000))).unwrap();
    std::fs::write(at("bad.jpg"), b"nothing").unwrap();
    let mut command = longshore();
    command.arg("render").arg(at("good.jpg")).arg(at("bad.jpg")).arg("--out").arg(at("out"));
    command.args(["--renditions", "small=100x100"]);
    let (code, out, errors) = run(&mut command);
    assert_eq!(code, Some(1));
    assert!(out.contains("1500x1000") && out.contains("small 100x67"), "{out}");
    assert!(errors.contains("bad.jpg") && errors.contains("not-an-image"), "{errors}");
    assert_eq!(size(&at("out/small/good.jpg")), (100, 67));
}

#[test]
fn render_rejects_a_damaged_file_unless_told_to_accept_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let whole = jpeg(&picture(600, 400));
    std::fs::write(at("cut.jpg"), &whole[..whole.len() * 3 / 4]).unwrap();
    let scan = whole.windows(2).position(|pair| pair == [0xFF, 0xDA]).unwrap();
    std::fs::write(at("empty.jpg"), &whole[..scan + 14]).unwrap();
    let render = |flags: &[&str], environment: &[(&str, &str)]| {
        let mut command = longshore();
        command.arg("render").args([at("cut.jpg"), at("empty.jpg")]).arg("--out").arg(at("out"));
        run(command.args(flags).envs(environment.iter().copied()))
    };
    let (code, out, errors) = render(&[], &[]);
    assert!(code == Some(1) && out.is_empty() && !at("out/thumbs").exists(), "{out}");
    let told = errors.lines().find(|line| line.contains("cut.jpg")).unwrap();
    assert!(told.contains("truncated") && told.contains("ends too early at byte"), "{told}");

    let accepting: [(&[&str], &[_]); 2] =
        [(&["--damaged", "accept"], &[]), (&[], &[("LONGSHORE_DAMAGED", "accept")])];
    for (flags, environment) in accepting {
        let (code, out, errors) = render(flags, environment);
        assert_eq!(size(&at("out/thumbs/cut.jpg")), (192, 128));
        assert!(out.contains("thumbs 192x128") && !out.contains("empty.jpg"), "{out}");
        // Nothing of it is there.
        assert!(code == Some(1) && errors.contains("empty.jpg") && errors.contains("truncated"), "{errors}");
        std::fs::remove_dir_all(at("out")).unwrap();
    }
}

#[test]
fn render_refuses_to_overwrite_a_rendition_or_an_input() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["a", "b", "thumbs"] {
        std::fs::create_dir(at(name)).unwrap();
        std::fs::write(at(name).join("x.jpg"), jpeg(&picture(30, 20))).unwrap();
    }
    let render = |inputs: &[&str], out: &str| {
        let mut command = longshore();
        command.arg("render").args(inputs.iter().map(|i| at(i))).arg("--out").arg(at(out));
        run(&mut command)
    };
    let (code, _, errors) = render(&["a/x.jpg", "b/x.jpg"], "out");
    assert!(code == Some(2) && errors.contains("two inputs are named x.jpg"), "{errors}");
    let (code, _, errors) = render(&["thumbs/x.jpg"], "");
    assert!(code == Some(2) && errors.contains("overwritten by its own rendition"), "{errors}");
}

#[test]
fn an_empty_environment_setting_counts_as_absent() {
    let mut command = longshore();
    command.arg("local").env("LONGSHORE_SERVE", "").env("LONGSHORE_SAMPLE", "");
    let (code, _, errors) = run(&mut command);
    assert!(code == Some(2) && errors.contains("nothing to do"), "{errors}");
}

fn size(path: &Path) -> (u32, u32) {
    image::image_dimensions(path).unwrap()
}

#[test]
fn local_shows_a_table_and_leaves_the_renditions_as_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("photos")).unwrap();
    std::fs::write(at("photos/a b.jpg"), jpeg(&picture(1500, 1000))).unwrap();
    std::fs::write(at("photos/notes.txt"), b"not uploaded").unwrap();
    let local = || {
        let mut command = longshore();
        command.arg("local").arg(at("photos")).arg("--data-dir").arg(at("data"));
        command
    };
    let (code, out, errors) = run(&mut local());
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("a b.jpg") && out.contains("1 of 1 pictures: 1 done"), "{out}");
    assert_eq!(size(&at("data/longshore-output/thumbs/a b.jpg")), (192, 128));
    assert_eq!(size(&at("data/longshore-output/resized/a b.jpg")), (1024, 683));

    // What is there survives: the same picture again has nothing to write.
    let (code, out, _) = run(&mut local());
    assert_eq!(code, Some(0));
    assert!(out.contains("done (unchanged)"), "{out}");

    std::fs::write(at("photos/broken.jpg"), &jpeg(&picture(900, 900))[..2000]).unwrap();
    let (code, out, _) = run(&mut local());
    assert_eq!(code, Some(1), "a rejected picture");
    assert!(out.contains("truncated") && out.contains("1 done, 1 rejected"), "{out}");
}

#[test]
fn local_makes_its_own_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = longshore();
    command.args(["local", "--sample", "5", "--data-dir"]).arg(folder.path());
    let (code, out, _) = run(&mut command);
    assert_eq!(code, Some(1), "one is broken on purpose");
    assert!(out.contains("5 of 5 pictures: 4 done, 1 rejected") && out.contains("on purpose"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_that_local_prints_are_enough_for_an_operators_commands() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let mut command = longshore();
    command
        .args(["local", "--serve", "--admin-addr", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path().join("data"));
    let mut local = Process::start_printing_to(command, std::fs::File::create(&told).unwrap());
    let text = || std::fs::read_to_string(&told).unwrap();
    let printed = || async { Some(text()).filter(|text| text.contains("s3 ls")) };
    let text = common::wait_for("what to export", LIMIT, printed).await;
    let exports = text.lines().filter_map(|line| line.trim().strip_prefix("export "));
    let exports: Vec<(&str, &str)> =
        exports.flat_map(str::split_whitespace).map(|word| word.split_once('=').unwrap()).collect();
    for arguments in ["status", "dlq list", "config check", "backfill --bucket longshore-input --dry-run"] {
        let mut command = longshore();
        command.args(arguments.split(' ')).envs(exports.iter().copied());
        let (code, out, errors) = run_aside(command).await;
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{arguments}: {out}");
        assert!(arguments != "status" || out.contains("1 of 1 answer"), "{out}");
    }
    local.signal("TERM");
    assert_eq!(local.wait(LIMIT).code(), Some(0), "{}", local.log());
}

#[test]
fn local_with_nothing_to_do_says_what_to_pass() {
    let (code, _, errors) = run(longshore().arg("local"));
    assert_eq!(code, Some(2));
    assert!(errors.contains("--sample 12"), "{errors}");
    let (code, _, errors) = run(longshore().args(["local", "no/such/photo.jpg"]));
    assert_eq!(code, Some(2));
    assert!(errors.contains("no/such/photo.jpg"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn healthcheck_knows_a_living_worker_from_none() {
    let stage = Stage::new().await;
    let address = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().to_string()
    };
    let check = |address: String| run(longshore().arg("healthcheck").env("LONGSHORE_ADMIN_ADDR", address));
    let (code, _, errors) = check(address.clone());
    assert_eq!(code, Some(1));
    assert!(errors.contains("no answer"), "{errors}");
    let mut command = worker(&stage);
    command.env("LONGSHORE_ADMIN_ADDR", &address).env("LONGSHORE_WAIT_TIME", "1");
    let mut process = Process::start(command);
    process.wait_for_line("started", LIMIT);
    let (code, out, errors) = check(address);
    assert_eq!((code, out.as_str()), (Some(0), "ok\n"), "{errors}");
    process.signal("TERM");
    assert_eq!(process.wait(LIMIT).code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_queue_is_told_and_waited_for() {
    let mut stage = Stage::new().await;
    let right = stage.queue.clone();
    stage.queue = format!("{right}-missing");
    let mut process = Process::start(worker(&stage));
    let line = process.wait_for_line("cannot receive", LIMIT);
    assert!(line.contains("check --queue-url") && line.contains("\"ERROR\""), "{line}");
    // Made under its name, it is picked up without a restart.
    let name = stage.queue.rsplit('/').next().unwrap().to_owned();
    stage.world.sqs.create_queue().queue_name(name).send().await.unwrap();
    stage.send(serde_json::json!({"Event": "s3:TestEvent"}).to_string()).await;
    process.wait_for_line("ignored", LIMIT);
    process.signal("TERM");
    assert_eq!(process.wait(LIMIT).code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_gives_messages_up_early_is_told() {
    let stage = Stage::with_receives(4).await;
    let mut process = Process::start(worker(&stage));
    let line = process.wait_for_line("maxReceiveCount", LIMIT);
    assert!(line.contains("after 4 receives") && line.contains("set it to 5 or more"), "{line}");
    process.signal("TERM");
    assert_eq!(process.wait(LIMIT).code(), Some(0));
    assert!(process.seen.iter().all(|line| !line.contains("panicked")), "{:?}", process.seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_output_bucket_is_told_with_its_remedy_and_costs_no_picture() {
    let mut stage = Stage::new().await;
    stage.output = common::unique("missing");
    let etag = stage.upload("a.jpg", jpeg(&picture(200, 100))).await;
    stage.send(stage.message(&[stage.record("a.jpg", &etag, "01")])).await;
    let mut process = Process::start(worker(&stage));
    let line = process.wait_for_line("cannot store", LIMIT);
    assert!(line.contains("NoSuchBucket") && line.contains("LONGSHORE_OUTPUT_BUCKET"), "{line}");
    stage.world.s3.create_bucket().bucket(&stage.output).send().await.unwrap();
    stage.output("thumbs/a.jpg").await;
    process.signal("TERM");
    assert_eq!(process.wait(LIMIT).code(), Some(0));
}

/// A profile that says otherwise would go unnoticed: nothing overflows in a test.
#[test]
fn what_is_shipped_checks_for_overflow() {
    let manifest = include_str!("../Cargo.toml");
    let profile = |name: &str| manifest.split("\n[").find(|part| part.starts_with(&format!("{name}]")));
    for parser in ["longshore", "image", "png", "gif", "weezl", "tiff", "image-webp", "moxcms"] {
        let profile = profile(&format!("profile.release.package.{parser}"));
        assert!(profile.is_some_and(|lines| lines.contains("overflow-checks = true")), "{parser}");
    }
    assert!(profile("profile.dist").unwrap().contains("inherits = \"release\""));
    assert!(!manifest.contains("overflow-checks = false"));
}
