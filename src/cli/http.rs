//! One question to an admin port, with no client library: the container's health check asks it too.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(4);

/// Status and body of `GET path`, of which at most so many bytes are read. Blocks for a few seconds at most.
pub fn get(address: impl ToSocketAddrs, path: &str, token: Option<&str>, most: u64) -> Result<(u16, String)> {
    let address = address.to_socket_addrs()?.next().ok_or(Error::new(ErrorKind::NotFound, "no address"))?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n{bearer}\r\n")?;
    let mut answer = String::new();
    stream.take(most).read_to_string(&mut answer).map_err(|e| match e.kind() {
        // What a socket says when its time is over.
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            Error::new(ErrorKind::TimedOut, format!("it says nothing for {} s", LIMIT.as_secs()))
        }
        _ => e,
    })?;
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.ok_or(Error::new(ErrorKind::InvalidData, "that is no HTTP"))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}
