//! `longshore healthcheck`: what the container's health check runs; needs no shell and no curl.

use super::{FAILED, OK, http, misconfigured};
use crate::cli::out::out;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of the worker's health endpoint. [default: 127.0.0.1:9464]
    #[arg(long, env = "LONGSHORE_ADMIN_ADDR", value_name = "ADDRESS")]
    admin_addr: Option<String>,
}

/// Bytes: the answer is a line.
const MOST: u64 = 16 << 10;

pub fn run(args: &Args) -> u8 {
    let text =
        args.admin_addr.as_deref().map(str::trim).filter(|a| !a.is_empty()).unwrap_or("127.0.0.1:9464");
    if text == "off" {
        return misconfigured(&["the health endpoint is off: set LONGSHORE_ADMIN_ADDR to an address".into()]);
    }
    let address = match text.parse() {
        Ok(address) => reachable(address).to_string(),
        Err(_) if http::is_host_and_port(text) => text.to_owned(),
        Err(_) => {
            return misconfigured(&[format!(
                "--admin-addr is {text:?}: write HOST:PORT, like 127.0.0.1:9464"
            )]);
        }
    };
    match http::get(address.as_str(), "/healthz", None, MOST) {
        Ok((200, _)) => {
            out!("ok");
            OK
        }
        Ok((_, body)) => {
            eprintln!("unhealthy: {}", body.trim());
            FAILED
        }
        Err(e) => {
            eprintln!("unhealthy: no answer from {text}: {e}");
            FAILED
        }
    }
}

/// A worker that listens on all addresses is asked on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}
