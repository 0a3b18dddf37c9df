//! `longshore work`: puts the parts together and runs until told to stop.

use super::{FAILED, OK, RenderArgs, WorkArgs, misconfigured, told};
use crate::aws::{Clients, Connection};
use crate::command::run::Commands;
use crate::config::{self, Config};
use crate::job::Context;
use crate::ops::admin::Admin;
use crate::ops::emf::Emf;
use crate::ops::page::{Access, Page, Told};
use crate::ops::{Metrics, Phase, Shutdown, Traces, admin, logs};
use crate::queue::{self, DeadLetters, Keeper, Queue};
use crate::render::Pool;
use crate::store::Store;
use crate::worker::{Report, Worker};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    render: RenderArgs,
}

pub fn run(args: &Args) -> u8 {
    let config = match Config::read(&args.work, &args.render) {
        Ok(config) => config,
        Err(mistakes) => return misconfigured(&mistakes),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(e) => return super::failed(format_args!("cannot start the runtime: {e}")),
    };
    let traces = match config.traces {
        config::Traces::Off => None,
        config::Traces::Otlp => match runtime.block_on(async { Traces::start() }) {
            Ok(traces) => Some(traces),
            Err(mistake) => return misconfigured(&[mistake]),
        },
    };
    logs::start(&config.log, traces.as_ref());
    let code = runtime.block_on(async {
        // First of all: until a handler is set, PID 1 ignores SIGTERM.
        let shutdown = match Shutdown::on_signals() {
            Ok(shutdown) => shutdown,
            Err(e) => return failed(&format!("cannot handle signals: {e}")),
        };
        serve(&config, told::settings(&["work"], &config), shutdown).await
    });
    if let Some(traces) = traces {
        traces.finish();
    }
    // A picture that was given back may still be in the pool; nobody waits for it.
    runtime.shutdown_background();
    code
}

fn failed(line: &str) -> u8 {
    error!("{line}");
    FAILED
}

async fn serve(config: &Config, settings: Vec<Told>, shutdown: Shutdown) -> u8 {
    let listener = match config.admin_addr {
        None => None,
        Some(address) => match TcpListener::bind(address).await {
            Ok(listener) => Some(listener),
            Err(e) => {
                return failed(&format!(
                    "cannot listen on {address}: {e} (set LONGSHORE_ADMIN_ADDR to a free address, or to off)"
                ));
            }
        },
    };
    let worker = match build(config, &connection(config), shutdown.clone(), None).await {
        Ok(worker) => worker,
        Err(e) => return failed(&format!("cannot start: {e}")),
    };
    let admin = worker.admin();
    tokio::spawn(publish(admin.clone(), shutdown.clone()));
    let mut page_at = None;
    if let Some(listener) = listener {
        let address = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        page_at = Some(format!("http://{address}/"));
        let page = page(config, admin.queue.clients(), settings, address.ip());
        tokio::spawn(admin::serve(listener, admin.clone(), page, shutdown));
    }
    let (of_warning, clients) = (config.clone(), admin.queue.clients().clone());
    tokio::spawn(async move {
        if let Some(warning) = few_receives(&of_warning, &clients).await {
            warn!("{warning}");
        }
    });
    let renditions: Vec<String> = config.render.settings.specs.iter().map(ToString::to_string).collect();
    info!(
        version = env!("CARGO_PKG_VERSION"),
        queue = config.queue_url,
        output_bucket = config.output_bucket,
        work_bucket = config.work_bucket,
        concurrency = config.concurrency,
        render_threads = config.render.threads,
        renditions = renditions.join("; "),
        admin = page_at,
        "started"
    );
    let ended = worker.run().await;
    admin.publish();
    match ended {
        Ok(farewell) => {
            let c = farewell.counts;
            info!(
                received = c.received,
                deleted = c.deleted,
                dead_lettered = c.dead_lettered,
                retried = c.retried,
                released = c.released(),
                ownership_lost = c.ownership_lost,
                redelivered = c.redelivered,
                still_held = farewell.still_held,
                "stopped"
            );
            OK
        }
        Err(broken) => failed(&broken.to_string()),
    }
}

/// A release counts as a receive, and from its third a message runs alone: SQS must not have given it up by then.
const LEAST_RECEIVES: u32 = 5;

/// What to warn of, if SQS gives messages up too early. Only where the redrive policy is read anyway: else the role may
/// have no leave to.
pub async fn few_receives(config: &Config, clients: &Clients) -> Option<String> {
    if config.dlq_url.is_some() {
        return None;
    }
    let most =
        queue::most_receives(clients, &config.queue_url).await.filter(|most| *most < LEAST_RECEIVES)?;
    Some(format!(
        "the queue gives a message up after {most} receives (maxReceiveCount of its redrive policy), and one that \
         is handed back counts: pictures that nothing is wrong with may end in the dead-letter queue (set it to \
         {LEAST_RECEIVES} or more)"
    ))
}

/// Metrics go to CloudWatch this often, which keeps them by the minute.
const PUBLISHED_EVERY: Duration = Duration::from_secs(60);

async fn publish(admin: Admin, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.reached(Phase::Leaving) => return,
            () = tokio::time::sleep(PUBLISHED_EVERY) => admin.publish(),
        }
    }
}

/// The page of a worker, on the address that is listened on.
pub fn page(config: &Config, clients: &Clients, settings: Vec<Told>, address: IpAddr) -> Page {
    let dead_letters = DeadLetters::new(clients.clone(), config.queue_url.clone(), config.dlq_url.clone());
    Page {
        access: Access::new(config.admin_token.as_ref(), address),
        settings: Arc::new(settings),
        dead_letters: Arc::new(dead_letters),
        #[cfg(feature = "local")]
        studio: None,
    }
}

fn connection(config: &Config) -> Connection {
    Connection {
        region: config.region.clone(),
        endpoint_url: config.endpoint_url.clone(),
        profile: config.profile.clone(),
        credentials: None,
    }
}

/// The clients of the service, for commands that do as it does.
pub async fn clients(config: &Config) -> Clients {
    Clients::connect(&connection(config), config.wait, config.visibility).await
}

/// The very worker of the service; `local` runs it too.
pub async fn build(
    config: &Config,
    connection: &Connection,
    shutdown: Shutdown,
    reports: Option<mpsc::UnboundedSender<Report>>,
) -> std::io::Result<Worker> {
    let clients = Clients::connect(connection, config.wait, config.visibility).await;
    let queue = Queue::new(clients.clone(), config.queue_url.clone());
    let unsettled = config.concurrency.max(10);
    let metrics = match &config.emf_namespace {
        Some(namespace) => Metrics::default().with_emf(Emf::new(
            namespace.clone(),
            config.queue_name().to_owned(),
            std::io::stdout(),
        )),
        None => Metrics::default(),
    };
    let keeper = Keeper::start(queue.clone(), config.visibility, unsettled, metrics.clone())?;
    let dead_letters = DeadLetters::new(clients.clone(), config.queue_url.clone(), config.dlq_url.clone());
    let pool = Pool::new(config.render.threads, config.memory_budget)?;
    let commands = config.jobs.commands.then(|| {
        let commands = Commands::new(config, clients.clone(), shutdown.clone(), metrics.clone());
        let folder = config.work_dir.display();
        commands
            .map_err(|e| std::io::Error::other(format!("no folder for rows in {folder}: {e} (--work-dir)")))
    });
    let commands = commands.transpose()?;
    let context = Context::new(config, Store::new(clients), pool, shutdown.clone());
    let keeper = Arc::new(keeper);
    let worker = Worker::new(config, queue, keeper, dead_letters, context, commands, shutdown, metrics);
    Ok(match reports {
        Some(reports) => worker.reporting_to(reports),
        None => worker,
    })
}
