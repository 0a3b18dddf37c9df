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
use super::{FAILED, OK, block_on, failed, misconfigured};
use crate::config::{LogFormat, LogSettings};
use crate::ops::{Phase, Shutdown, logs};
use gather::{Asker, Status};
use std::io::{IsTerminal, Write};
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
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "What to look at")]
pub struct Scope {
    /// Admin addresses of workers, as HOST:PORT; may be repeated. [default: 127.0.0.1:9464]
    #[arg(long = "worker", env = "LONGSHORE_WORKERS", value_name = "ADDRESS", value_delimiter = ',')]
    workers: Vec<String>,
    /// Token of the workers' admin ports, if they ask for one.
    #[arg(long, env = "LONGSHORE_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
    /// ECS cluster to look into, by name or ARN: service, tasks, instances, scaling.
    #[arg(long, env = "LONGSHORE_CLUSTER", value_name = "CLUSTER")]
    cluster: Option<String>,
    /// Service in the cluster. [default: every one, up to ten]
    #[arg(long, env = "LONGSHORE_SERVICE", value_name = "SERVICE", requires = "cluster")]
    service: Option<String>,
    /// Port of the workers' admin ports on their tasks' private addresses, to ask all of them.
    #[arg(long, value_name = "PORT", requires = "cluster")]
    task_port: Option<u16>,
    /// Only container instances that this cluster-query expression matches, like
    /// `attribute:ecs.instance-type matches t2.*`.
    #[arg(long, value_name = "EXPRESSION", requires = "cluster")]
    filter: Option<String>,
    /// URL of the queue with state changes of tasks and instances (the template's StateChangeQueueUrl).
    #[arg(long, env = "LONGSHORE_STATE_CHANGE_QUEUE_URL", value_name = "URL")]
    changes_url: Option<String>,
}

pub fn run(args: &Args) -> u8 {
    let config = match args.connect.read() {
        Ok(config) => config,
        Err(mistakes) => return misconfigured(&mistakes),
    };
    logs::start(&LogSettings { format: LogFormat::Auto, filter: "error".into() }, None);
    block_on(async {
        let shutdown = match Shutdown::on_signals() {
            Ok(shutdown) => shutdown,
            Err(e) => return failed(format_args!("cannot handle signals: {e}")),
        };
        let mut asker = Asker::new(&config, &args.scope).await;
        let mut screen = Screen::new(args.watch && !args.json && std::io::stdout().is_terminal());
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

/// Where a look goes: a screen of its own that is drawn over, or line after line.
struct Screen {
    own: bool,
}

impl Screen {
    /// With a screen of its own, what stood on the terminal before is there again at the end.
    fn new(own: bool) -> Self {
        if own {
            print!("\x1b[?1049h\x1b[?25l");
        }
        Self { own }
    }

    /// False: nobody reads any more.
    fn draw(&mut self, status: &Status, json: bool) -> bool {
        let mut text = match json {
            true => serde_json::to_string(status).unwrap_or_default() + "\n",
            false => show::text(status),
        };
        if self.own {
            // Asked each time: somebody may have made it larger.
            if let Some((rows, columns)) = console::Term::stdout().size_checked() {
                text = cut(&text, rows.into(), columns.into());
            }
            // Each line is cleared behind its end, and all below the last: no flicker. No newline after the last, which
            // would scroll.
            text = format!("\x1b[H{}\x1b[K\x1b[J", text.trim_end().replace('\n', "\x1b[K\n"));
        }
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
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
        if self.own {
            print!("\x1b[?25h\x1b[?1049l");
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
