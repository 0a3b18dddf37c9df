//! `longshore status`: what goes on in queue, workers, service and scaling, at one look.
//!
//! Everything is asked for at once; what may not be read says why, and the rest is shown.

mod changes;
mod cluster;
mod gather;
mod scaling;
mod show;
mod workers;

use super::connect::ConnectArgs;
use super::{FAILED, OK, block_on_and_leave, failed, http, misconfigured, out};
use crate::config::{LogFormat, LogSettings, present};
use crate::ops::{Phase, Shutdown, logs};
use gather::{Asker, Status};
use std::io::IsTerminal;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    scope: Scope,
    /// Goes on until interrupted, and redraws in place on a terminal.
    #[arg(long)]
    watch: bool,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// Output for programs: a JSON object a look.
    #[arg(long)]
    json: bool,
}

/// What to look at beside the queues.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "What to look at")]
pub struct Scope {
    /// Admin addresses of workers, as HOST:PORT; may be repeated. [default: 127.0.0.1:9464, or none with --cluster]
    #[arg(long = "worker", env = "LONGSHORE_WORKERS", value_name = "ADDRESS", value_delimiter = ',')]
    workers: Vec<String>,
    /// Token of the workers' admin ports, if they ask for one.
    #[arg(long, env = "LONGSHORE_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
    /// ECS cluster to look into, by name or ARN: service, tasks, instances, scaling.
    #[arg(long, env = "LONGSHORE_CLUSTER", value_name = "CLUSTER")]
    cluster: Option<String>,
    /// Service in the cluster. [default: every one, up to ten]
    #[arg(long, env = "LONGSHORE_SERVICE", value_name = "SERVICE")]
    service: Option<String>,
    /// Port of the workers' admin ports on their tasks' private addresses, to ask all of them.
    #[arg(long, value_name = "PORT")]
    task_port: Option<u16>,
    /// Only container instances that this cluster-query expression matches, like
    /// `attribute:ecs.instance-type matches t2.*`.
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// URL of the queue with state changes of tasks and instances (the template's StateChangeQueueUrl).
    #[arg(long, env = "LONGSHORE_STATE_CHANGE_QUEUE_URL", value_name = "URL")]
    changes_url: Option<String>,
}

impl Scope {
    /// Without what is empty, which counts as absent.
    ///
    /// # Errors
    ///
    /// All mistakes, a line each.
    fn read(&self) -> Result<Self, Vec<String>> {
        let text = |value| present(value).map(str::to_owned);
        let workers = self.workers.iter().map(|w| w.trim().to_owned()).filter(|w| !w.is_empty());
        let scope = Self {
            workers: workers.collect(),
            admin_token: text(&self.admin_token),
            cluster: text(&self.cluster),
            service: text(&self.service),
            task_port: self.task_port,
            filter: text(&self.filter),
            changes_url: text(&self.changes_url),
        };
        let mut mistakes = Vec::new();
        for worker in scope.workers.iter().filter(|w| !http::is_host_and_port(workers::host_and_port(w))) {
            mistakes.push(format!("--worker is {worker:?}: write HOST:PORT, like 127.0.0.1:9464"));
        }
        // A service that only the environment names is for the times when a cluster is named too.
        let in_environment = self.service == std::env::var("LONGSHORE_SERVICE").ok();
        for (flag, given) in [
            ("--service", scope.service.is_some() && !in_environment),
            ("--task-port", scope.task_port.is_some()),
            ("--filter", scope.filter.is_some()),
        ] {
            if given && scope.cluster.is_none() {
                mistakes.push(format!("{flag} is of a cluster: pass --cluster or set LONGSHORE_CLUSTER too"));
            }
        }
        if mistakes.is_empty() { Ok(scope) } else { Err(mistakes) }
    }
}

pub fn run(args: &Args) -> u8 {
    let (config, scope) = match (args.connect.read(), args.scope.read()) {
        (Ok(config), Ok(scope)) => (config, scope),
        (config, scope) => {
            let mistakes = [config.err(), scope.err()].into_iter().flatten().flatten();
            return misconfigured(&mistakes.collect::<Vec<_>>());
        }
    };
    logs::start(&LogSettings { format: LogFormat::Auto, filter: "error".into() }, None);
    block_on_and_leave(async {
        let shutdown = match Shutdown::on_signals() {
            Ok(shutdown) => shutdown,
            Err(e) => return failed(format_args!("cannot handle signals: {e}")),
        };
        let mut asker = Asker::new(&config, &scope).await;
        let mut screen = Screen::new(match std::io::stdout().is_terminal() {
            _ if !args.watch || args.json => Where::Lines,
            true => Where::Own,
            false => Where::Looks,
        });
        loop {
            let status = tokio::select! {
                () = shutdown.reached(Phase::Draining) => return OK,
                status = asker.look() => status,
            };
            if !screen.draw(&status, args.json) {
                return OK;
            }
            if !args.watch {
                return if status.is_whole() { OK } else { FAILED };
            }
            tokio::select! {
                () = shutdown.reached(Phase::Draining) => return OK,
                () = tokio::time::sleep(Duration::from_secs(args.every)) => {}
            }
        }
    })
}

/// Where a look goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    /// A screen of its own that is drawn over.
    Own,
    /// A file or a pipe, one look below the other: each says when it was.
    Looks,
    Lines,
}

struct Screen(Where);

impl Screen {
    /// With a screen of its own, what stood on the terminal before is there again at the end.
    fn new(place: Where) -> Self {
        if place == Where::Own {
            out::write(b"\x1b[?1049h\x1b[?25l");
        }
        Self(place)
    }

    /// False: nobody reads any more.
    fn draw(&mut self, status: &Status, json: bool) -> bool {
        let mut text = match json {
            true => serde_json::to_string(status).unwrap_or_default() + "\n",
            false => show::text(status),
        };
        if self.0 == Where::Looks {
            text = format!("at         {}\n{text}\n", show::moment(status.at));
        }
        if self.0 == Where::Own {
            // Asked each time: somebody may have made it larger.
            if let Some((rows, columns)) = console::Term::stdout().size_checked() {
                text = cut(&text, rows.into(), columns.into());
            }
            // Each line is cleared behind its end, and all below the last: no flicker. No newline after the last, which
            // would scroll.
            text = format!("\x1b[H{}\x1b[K\x1b[J", text.trim_end().replace('\n', "\x1b[K\n"));
        }
        out::write(text.as_bytes());
        !out::is_closed()
    }
}

/// As much as there is room for: what wraps or scrolls would push the first lines out of sight.
fn cut(text: &str, rows: usize, columns: usize) -> String {
    let all = text.lines().count();
    let shown = if all > rows { rows.saturating_sub(1) } else { all };
    // The last column stays free: many terminals wrap when it is written to.
    let line = |line| console::truncate_str(line, columns.saturating_sub(1), "…");
    let mut lines: Vec<_> = text.lines().take(shown).map(line).collect();
    let more = format!("… {} lines more, on a larger terminal", all - shown);
    if shown < all {
        lines.push(line(&more));
    }
    lines.join("\n")
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.0 == Where::Own {
            out::write(b"\x1b[?25h\x1b[?1049l");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_look_is_cut_to_the_terminal() {
        assert_eq!(cut("ab\ncd\n", 2, 3), "ab\ncd");
        assert_eq!(cut("abcdef\ncd\n", 24, 5), "abc…\ncd");
        assert_eq!(cut("1\n2\n3\n4\n", 3, 80), "1\n2\n… 2 lines more, on a larger terminal");
        // Wide characters take two columns.
        assert_eq!(cut("写真写真", 24, 6), "写真…");
    }
}
