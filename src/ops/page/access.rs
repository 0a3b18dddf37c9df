//! Who may look, and who may change something.
//!
//! A page on loopback is reached by every other page that this browser shows. So a name that somebody
//! else's DNS answers for is refused (rebinding), and a change must come from the page itself.

use crate::config::Secret;
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName};
use sha2::{Digest, Sha256};
use std::net::IpAddr;

/// Cheap to clone.
#[derive(Clone)]
pub struct Access {
    /// Hash of the token, and of what the cookie holds instead of it.
    token: Option<([u8; 32], String)>,
    loopback: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "local"), allow(dead_code))]
pub enum Refusal {
    /// The token is missing or wrong.
    Token,
    /// The listener is reachable from elsewhere, and there is no token.
    Open,
    /// Reached by a name that anyone may point at us.
    Name,
    /// A change that does not come from the page.
    Foreign,
}

impl Refusal {
    pub fn line(self) -> &'static str {
        match self {
            Self::Token => "a token is needed: send it as `Authorization: Bearer …`, or open /?token=…",
            Self::Open => "the page is shown on loopback only, or with a token: set LONGSHORE_ADMIN_TOKEN",
            Self::Name => "open the page by its IP address or as localhost, or set LONGSHORE_ADMIN_TOKEN",
            Self::Foreign => "changes are taken from the page itself only",
        }
    }
}

const COOKIE_NAME: &str = "longshore-admin";
/// No form and no script of another origin can send it without asking first, and nobody is told yes.
#[cfg_attr(not(feature = "local"), allow(dead_code))]
const FROM_PAGE: HeaderName = HeaderName::from_static("x-longshore");

impl Access {
    /// `address`: what the admin port listens on.
    pub fn new(token: Option<&Secret>, address: IpAddr) -> Self {
        let hashed = |token: &Secret| {
            let cookie = Sha256::digest(format!("cookie of the admin port: {}", token.reveal()));
            let cookie = cookie.iter().map(|b| format!("{b:02x}")).collect();
            (Sha256::digest(token.reveal()).into(), cookie)
        };
        Self { token: token.map(hashed), loopback: address.is_loopback() }
    }

    /// Who may see the metrics: scrapers come by any name.
    ///
    /// # Errors
    ///
    /// A token is set, and this is not it.
    pub fn to_metrics(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match &self.token {
            Some(_) if !self.knows_token(headers) => Err(Refusal::Token),
            _ => Ok(()),
        }
    }

    /// Who may see the page and what it asks for.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn to_page(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.token.is_some() {
            return self.to_metrics(headers);
        }
        if !self.loopback {
            return Err(Refusal::Open);
        }
        if names_us(text(headers, &HOST)) { Ok(()) } else { Err(Refusal::Name) }
    }

    /// The cookie that stands for this token, if it is the right one.
    pub fn cookie_for(&self, token: &str) -> Option<String> {
        let (hash, cookie) = self.token.as_ref()?;
        equal(hash, &Sha256::digest(token))
            .then(|| format!("{COOKIE_NAME}={cookie}; Path=/; HttpOnly; SameSite=Strict"))
    }

    fn knows_token(&self, headers: &HeaderMap) -> bool {
        let Some((_, cookie)) = &self.token else { return true };
        let bearer = text(headers, &AUTHORIZATION).strip_prefix("Bearer ");
        if bearer.is_some_and(|token| self.cookie_for(token.trim()).is_some()) {
            return true;
        }
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs =
            cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.any(|(name, value)| {
            name == COOKIE_NAME && equal(&Sha256::digest(value), &Sha256::digest(cookie))
        })
    }
}

/// Whether a change comes from the page itself.
///
/// # Errors
///
/// It does not.
#[cfg_attr(not(feature = "local"), allow(dead_code))]
pub fn from_page(headers: &HeaderMap) -> Result<(), Refusal> {
    let host = text(headers, &HOST);
    let origin = headers.get(ORIGIN).map(|_| text(headers, &ORIGIN));
    let ours =
        |origin: &str| origin.split_once("://").is_some_and(|(_, from)| !host.is_empty() && from == host);
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    let foreign = origin.is_some_and(|origin| !ours(origin))
        || site.is_some_and(|site| site != b"same-origin")
        || !headers.contains_key(FROM_PAGE);
    if foreign { Err(Refusal::Foreign) } else { Ok(()) }
}

/// In a time that does not depend on where they differ; and of hashes nobody can choose the beginning.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// An address, or a name that always means this machine.
fn names_us(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{RenderArgs, WorkArgs};
    use crate::config::Config;
    use axum::http::HeaderValue;

    fn access(token: Option<&str>, address: &str) -> Access {
        let work = WorkArgs {
            queue_url: Some("http://localhost/q".into()),
            output_bucket: Some("out".into()),
            admin_token: token.map(str::to_owned),
            ..WorkArgs::default()
        };
        let config = Config::read(&work, &RenderArgs::default()).unwrap();
        Access::new(config.admin_token.as_ref(), address.parse().unwrap())
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    const TOKEN: &str = "correct-horse-battery";

    #[test]
    fn without_a_token_the_page_is_for_loopback_by_address_or_localhost() {
        let open = access(None, "127.0.0.1");
        for host in ["127.0.0.1:9464", "localhost:9464", "LOCALHOST", "[::1]:9464", "10.1.2.3"] {
            assert_eq!(open.to_page(&headers(&[("host", host)])), Ok(()), "{host}");
        }
        for host in ["evil.example:9464", "127.0.0.1.evil.example", "localhost.evil.example", ""] {
            assert_eq!(open.to_page(&headers(&[("host", host)])), Err(Refusal::Name), "{host}");
        }
        let wide = access(None, "0.0.0.0");
        assert_eq!(wide.to_page(&headers(&[("host", "127.0.0.1")])), Err(Refusal::Open));
        assert_eq!(wide.to_metrics(&headers(&[("host", "worker.internal")])), Ok(()));
    }

    #[test]
    fn a_token_is_taken_as_bearer_or_as_the_cookie_that_stands_for_it() {
        let access = access(Some(TOKEN), "0.0.0.0");
        let cookie = access.cookie_for(TOKEN).unwrap();
        let pair = cookie.split(';').next().unwrap();
        assert!(!cookie.contains(TOKEN) && cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"));
        let bearer = format!("Bearer {TOKEN}");
        let two = format!("a=b; {pair}");
        for good in [("authorization", bearer.as_str()), ("cookie", pair), ("cookie", two.as_str())] {
            assert_eq!(access.to_page(&headers(&[good])), Ok(()), "{good:?}");
        }
        let longer = format!("{bearer}x");
        let raw = format!("{COOKIE_NAME}={TOKEN}");
        for bad in
            [("authorization", "Bearer "), ("authorization", longer.as_str()), ("cookie", raw.as_str())]
        {
            assert_eq!(access.to_page(&headers(&[bad])), Err(Refusal::Token), "{bad:?}");
            assert_eq!(access.to_metrics(&headers(&[bad])), Err(Refusal::Token), "{bad:?}");
        }
        assert_eq!(access.cookie_for(&TOKEN[1..]), None);
    }

    #[test]
    fn changes_are_taken_from_the_page_alone() {
        let (host, ours) = (("host", "127.0.0.1:9464"), ("origin", "http://127.0.0.1:9464"));
        let (mark, same) = (("x-longshore", "page"), ("sec-fetch-site", "same-origin"));
        for good in [&[host, mark][..], &[host, ours, mark], &[host, ours, mark, same]] {
            assert_eq!(from_page(&headers(good)), Ok(()), "{good:?}");
        }
        for bad in [
            &[host, ours][..],
            &[host, mark, ("origin", "http://127.0.0.1:9465")],
            &[host, mark, ("origin", "https://evil.example")],
            &[host, mark, ("origin", "null")],
            &[host, ours, mark, ("sec-fetch-site", "cross-site")],
            &[mark, ours],
        ] {
            assert_eq!(from_page(&headers(bad)), Err(Refusal::Foreign), "{bad:?}");
        }
    }
}
