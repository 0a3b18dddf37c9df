//! One question to an admin port, with no client library: the container's health check asks it too.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// For all of it: one that sends a byte now and then holds nobody up.
const LIMIT: Duration = Duration::from_secs(4);

/// Whether it can be asked: an IPv6 address stands in brackets.
pub fn is_host_and_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let is_host = !host.is_empty() && !host.contains(['/', '@']) && !host.contains(char::is_whitespace);
    is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Status and body of `GET path`, of which at most so many bytes are read. Blocks for a few seconds at most.
pub fn get(address: impl ToSocketAddrs, path: &str, token: Option<&str>, most: u64) -> Result<(u16, String)> {
    let end = Instant::now() + LIMIT;
    let stream = connect(address, end)?;
    stream.set_write_timeout(Some(left(end)?))?;
    let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(&stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n{bearer}\r\n")?;
    let mut answer = Vec::new();
    Until { stream, end }.take(most).read_to_end(&mut answer).map_err(|e| match e.kind() {
        // What a socket says when its time is over.
        ErrorKind::WouldBlock | ErrorKind::TimedOut if answer.is_empty() => {
            Error::new(ErrorKind::TimedOut, format!("it says nothing for {} s", LIMIT.as_secs()))
        }
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            Error::new(ErrorKind::TimedOut, format!("its answer has no end within {} s", LIMIT.as_secs()))
        }
        _ => e,
    })?;
    let answer = String::from_utf8(answer).map_err(|e| Error::new(ErrorKind::InvalidData, e))?;
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.ok_or(Error::new(ErrorKind::InvalidData, "that is no HTTP"))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}

/// A name may stand for several addresses, like `localhost` for that of IPv6 too, where nobody listens.
fn connect(address: impl ToSocketAddrs, end: Instant) -> Result<TcpStream> {
    let mut failure = Error::new(ErrorKind::NotFound, "no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(end)?) {
            Ok(stream) => return Ok(stream),
            Err(e) => failure = e,
        }
    }
    Err(failure)
}

fn left(end: Instant) -> Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A stream whose reads all end at the same time.
struct Until {
    stream: TcpStream,
    end: Instant,
}

impl Read for Until {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.stream.set_read_timeout(Some(left(self.end)?))?;
        self.stream.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_its_port_are_told_from_half_of_that() {
        for right in ["localhost:9464", "127.0.0.1:1", "[::1]:9464", "worker.internal:65535"] {
            assert!(is_host_and_port(right), "{right}");
        }
        for wrong in ["localhost", ":9464", "host:", "host:0", "host:http", "a b:1", "a/b:1", ""] {
            assert!(!is_host_and_port(wrong), "{wrong}");
        }
    }

    #[test]
    fn one_that_never_ends_its_answer_is_left_in_time() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            while stream.write_all(b"H").is_ok() {
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        let begun = Instant::now();
        let failure = get(address, "/", None, 1 << 20).unwrap_err();
        assert!(failure.to_string().contains("no end within 4 s"), "{failure}");
        assert!(begun.elapsed() < LIMIT + Duration::from_secs(2), "{:?}", begun.elapsed());
    }
}
