//! Who may talk to the embedded SQS: programs on this machine, never a web page in its browser.
//!
//! A page can reach loopback, but cannot send an `Authorization` header without being asked for a
//! preflight that nobody answers, nor a loopback `Host` once its name was rebound to us. The
//! signature itself is not verified: any credentials will do.

use hyper::{HeaderMap, Uri, header};

use super::fault::{Fault, Kind};

/// Refuses what a program using an AWS SDK would not send.
pub fn check(headers: &HeaderMap, uri: &Uri) -> Result<(), Fault> {
    let host = host(headers, uri).unwrap_or_default();
    if !is_local(host) {
        return Err(Kind::AccessDenied.with(format!(
            "host {host:?} is not a name of this machine: use 127.0.0.1 or localhost in the endpoint URL"
        )));
    }
    let signed = headers
        .get(header::AUTHORIZATION)
        .is_some_and(|value| value.as_bytes().starts_with(b"AWS4-HMAC-SHA256 "));
    if !signed {
        return Err(Kind::MissingAuthenticationToken.with(
            "the request is not signed: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to any value",
        ));
    }
    Ok(())
}

fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    // HTTP/2 has no Host header: the authority stands in the URI.
    let authority = uri.authority().map(hyper::http::uri::Authority::as_str);
    headers.get(header::HOST).map_or(authority, |value| value.to_str().ok())
}

fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.to_ascii_lowercase();
    matches!(name.as_str(), "localhost" | "127.0.0.1" | "[::1]" | "host.docker.internal")
        || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(host: &'static str, authorization: &'static str) -> Result<(), Kind> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
        check(&headers, &Uri::from_static("/")).map_err(|fault| fault.kind)
    }

    #[test]
    fn names_of_this_machine_are_let_in() {
        for host in
            ["127.0.0.1:4566", "localhost", "LocalHost:1", "[::1]:80", "[::1]", "host.docker.internal:4566"]
        {
            assert_eq!(checked(host, "AWS4-HMAC-SHA256 Credential=x"), Ok(()), "{host}");
        }
        assert_eq!(checked("sqs.localhost:4566", "AWS4-HMAC-SHA256 x"), Ok(()));
    }

    #[test]
    fn a_rebound_name_is_refused() {
        for host in
            ["evil.example", "evil.example:4566", "localhost.evil.example", "127.0.0.1.evil.example", ""]
        {
            assert_eq!(checked(host, "AWS4-HMAC-SHA256 x"), Err(Kind::AccessDenied), "{host}");
        }
    }

    #[test]
    fn an_unsigned_request_is_refused() {
        assert_eq!(checked("localhost", "Bearer x"), Err(Kind::MissingAuthenticationToken));
    }

    #[test]
    fn a_request_without_any_host_is_refused() {
        let refused = check(&HeaderMap::new(), &Uri::from_static("/")).unwrap_err();
        assert_eq!(refused.kind, Kind::AccessDenied);
    }
}
