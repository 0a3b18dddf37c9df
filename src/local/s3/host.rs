//! Which `Host` a request may name: loopback only.
//!
//! A page in the user's browser can make its own domain resolve to 127.0.0.1 and then talk to this
//! server as if it were its own site; the name in `Host` gives it away.

/// The host a request names, in HTTP/1.1 or HTTP/2.
pub fn named<B>(request: &hyper::Request<B>) -> Option<&str> {
    let header = request.headers().get(hyper::header::HOST).and_then(|host| host.to_str().ok());
    header.or_else(|| request.uri().authority().map(|authority| authority.as_str()))
}

pub fn is_loopback(host: &str) -> bool {
    let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
    matches!(name.as_str(), "localhost" | "[::1]" | "host.docker.internal")
        || name.ends_with(".localhost")
        || name.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn loopback_names_pass_with_and_without_a_port() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:4566",
            "LOCALHOST:1",
            "[::1]",
            "[::1]:80",
            "s3.localhost:9",
            "host.docker.internal:4566",
        ] {
            assert!(is_loopback(host), "{host}");
        }
    }

    #[test]
    fn names_that_a_stranger_can_own_are_refused() {
        for host in [
            "example.com",
            "127.0.0.1.example.com",
            "localhost.example.com:80",
            "",
            "10.0.0.1",
            "notlocalhost",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
