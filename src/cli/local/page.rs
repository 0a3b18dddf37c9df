//! The page of `longshore local`: that of the worker, and what one may do with one's own pictures.

use super::Args;
use crate::cli::{told, work};
use crate::config::Config;
use crate::error::Error;
use crate::local::setup::{INPUT_BUCKET, Made, OUTPUT_BUCKET};
use crate::ops::page::Told;
use crate::ops::page::studio::{Places, Studio};
use crate::ops::{Shutdown, admin};
use crate::worker::Worker;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;

/// Serves it, unless it is off; gives where it is.
pub async fn serve(
    args: &Args,
    config: &Config,
    made: &Made,
    worker: &Worker,
    shutdown: Shutdown,
) -> Result<Option<SocketAddr>, Error> {
    let Some(address) = config.admin_addr else { return Ok(None) };
    let listener = listen(args, address).await?;
    let address = listener.local_addr().map_err(|e| Error::new(format!("cannot read the address: {e}")))?;
    let admin = worker.admin();
    let places = Places {
        clients: made.clients.clone(),
        queue_url: made.queue_url.clone(),
        dlq_url: made.dlq_url.clone(),
        input: INPUT_BUCKET.into(),
        output: OUTPUT_BUCKET.into(),
        suffixes: config.suffixes.clone(),
    };
    let (history, recipes) = (admin.history.clone(), worker.recipes());
    let studio = Studio::open(places, history, recipes, args.render.clone(), config.render.max_bytes).await?;
    let mut page = work::page(config, &made.clients, settings(config), address.ip());
    let studio = Arc::new(studio);
    page.studio = Some(Arc::clone(&studio));
    let follower = Arc::clone(&studio);
    tokio::spawn(async move { follower.follow().await });
    tokio::spawn(async move { studio.recall().await });
    tokio::spawn(admin::serve(listener, admin, page, shutdown));
    Ok(Some(address))
}

/// The usual port, or any: a second `local` beside the first needs no thought.
async fn listen(args: &Args, address: SocketAddr) -> Result<TcpListener, Error> {
    let said = args.admin_addr.as_deref().is_some_and(|said| !said.trim().is_empty());
    match TcpListener::bind(address).await {
        Err(_) if !said => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await,
        bound => bound,
    }
    .map_err(|e| Error::new(format!("cannot listen on {address}: {e} (choose another --admin-addr, or off)")))
}

/// Those of the command line, and what the embedded servers make of the others.
fn settings(config: &Config) -> Vec<Told> {
    let made = [
        ("queue-url", config.queue_url.clone()),
        ("dlq-url", config.dlq_url.clone().unwrap_or_default()),
        ("input-buckets", INPUT_BUCKET.into()),
        ("output-bucket", OUTPUT_BUCKET.into()),
    ];
    let made = made.map(|(flag, value)| Told { flag: flag.into(), value, from: "embedded servers".into() });
    told::settings(&["local"], config).into_iter().chain(made).collect()
}
