//! The host names for which this server answers requests.
//!
//! The owner of any web site can let the site's name resolve to 127.0.0.1 (DNS rebinding). A
//! browser then treats the server on this machine as part of that site. The `Host` header contains
//! the site's name, and a page cannot change that header.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Request, StatusCode, Version};

use crate::origin::host;
use crate::problem::Problem;

/// The host names that the server accepts.
#[derive(Debug)]
pub(crate) struct Hosts {
    /// `true` if the server listens on this machine's loopback address only.
    near: AtomicBool,
    /// The further names that the options allow.
    names: Vec<String>,
}

impl Hosts {
    pub(crate) fn new(names: &[String]) -> Self {
        Self {
            near: AtomicBool::new(false),
            names: names.iter().map(|name| name.to_ascii_lowercase()).collect(),
        }
    }

    /// Records an address on which the server listens. If one of several is a loopback address,
    /// names are checked.
    pub(crate) fn listening_on(&self, addr: SocketAddr) {
        self.near
            .fetch_or(addr.ip().is_loopback(), Ordering::Relaxed);
    }

    /// Returns whether the `Host` header is checked.
    fn are_checked(&self) -> bool {
        self.near.load(Ordering::Relaxed) || !self.names.is_empty()
    }

    /// Returns the reason for refusing a request because of its host, or `None` to accept it. The
    /// listener handles requests that name no host.
    pub(crate) fn refusal_of_name<B>(&self, request: &Request<B>) -> Option<Problem> {
        match host(request) {
            Ok(None) => None,
            _ if !self.are_checked() => None,
            _ => self.refusal(request),
        }
    }

    /// Returns the reason for refusing a request because of its host, or `None` to accept it.
    pub(crate) fn refusal<B>(&self, request: &Request<B>) -> Option<Problem> {
        let bad_request = |why: String| Some(Problem::plain(StatusCode::BAD_REQUEST, why));
        match host(request) {
            Err(error) => bad_request(error.to_string()),
            Ok(Some(host)) if self.allow(host) => None,
            // RFC 9112 §3.2 requires the header. A health probe with HTTP/1.0 often sends none.
            Ok(None) if request.version() == Version::HTTP_11 => {
                bad_request("an HTTP/1.1 request needs a Host header; send one".to_owned())
            }
            Ok(None) if !self.are_checked() => None,
            Ok(_) => Some(Problem::plain(
                StatusCode::MISDIRECTED_REQUEST,
                "this server does not answer to the name in the Host header; see --allow-host \
                 (`TransportConfig::allowed_hosts`)",
            )),
        }
    }

    /// Returns whether requests for this host, with or without a port, are accepted.
    pub(crate) fn allow(&self, host: &str) -> bool {
        if !self.are_checked() {
            return true;
        }
        let name = without_port(host).to_ascii_lowercase();
        let ip: Option<IpAddr> = name.trim_matches(['[', ']']).parse().ok();
        self.names.contains(&name)
            || name == "localhost"
            || name.ends_with(".localhost")
            || ip.is_some_and(|ip| ip.to_canonical().is_loopback())
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => {
            // Cut off the port, but do not cut at a colon within an IPv6 address.
            if name.contains(':') && !name.ends_with(']') {
                host
            } else {
                name
            }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_its_own_names() {
        let of = |addr: [u8; 4], names: &[String]| {
            let hosts = Hosts::new(names);
            hosts.listening_on((addr, 8000).into());
            hosts
        };
        let near = of([127, 0, 0, 1], &["Tidings.example".into()]);
        for (host, allowed) in [
            ("localhost", true),
            ("localhost:8000", true),
            ("LOCALHOST:8000", true),
            ("app.localhost:8000", true),
            ("127.0.0.1", true),
            ("127.0.0.1:8000", true),
            ("127.9.9.9:1", true),
            ("[::1]:8000", true),
            ("::1", true),
            ("tidings.example", true),
            ("tidings.example:443", true),
            ("evil.example", false),
            ("evil.example:8000", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("192.168.1.1:8000", false),
            ("0.0.0.0:8000", false),
            ("", false),
        ] {
            assert_eq!(near.allow(host), allowed, "{host}");
        }
        let far = of([0, 0, 0, 0], &[]);
        assert!(far.allow("anything.example"), "many names lead to it");
        let named = of([0, 0, 0, 0], &["a.example".into()]);
        assert!(named.allow("a.example:8000") && !named.allow("b.example"));
    }
}
