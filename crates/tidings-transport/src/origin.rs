//! The web pages that may use the server (RFC 6454, RFC 6455 §10.2).

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Version, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::config::TransportConfigError;

/// The origins of web pages that may connect. Clients that are not browsers send no origin, and may
/// always connect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Origins {
    /// Pages that this server itself serves.
    #[default]
    SameOrigin,
    /// Pages of these origins, such as `https://example.org`, and of the server itself.
    List(Vec<String>),
    /// All pages.
    Any,
}

impl Origins {
    pub(crate) fn validate(&self) -> Result<(), TransportConfigError> {
        let Self::List(list) = self else {
            return Ok(());
        };
        for origin in list {
            let parsed = origin.parse::<http::Uri>().ok().filter(|uri| {
                uri.scheme().is_some()
                    && uri.authority().is_some()
                    && uri.path_and_query().is_none_or(|path| path == "/")
                    && !origin.ends_with('/')
            });
            if parsed.is_none() || HeaderValue::from_str(origin).is_err() {
                return Err(TransportConfigError::Origin {
                    origin: origin.clone(),
                });
            }
        }
        Ok(())
    }

    /// Returns whether a page may make this request at all. CORS is not enough: it only hides the
    /// response from the page, after the request has taken effect. It also does not apply to
    /// WebSockets.
    pub(crate) fn allow(&self, headers: &HeaderMap, host: Option<&str>) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return true;
        };
        let listed = match self {
            Self::Any => true,
            Self::List(list) => list.iter().any(|known| are_one(known, origin.as_bytes())),
            Self::SameOrigin => false,
        };
        listed || is_same(origin, host)
    }

    /// Returns the CORS layer for REST and SSE, if one is needed.
    pub(crate) fn cors(&self) -> Option<CorsLayer> {
        let allow = match self {
            Self::SameOrigin => return None,
            Self::Any => AllowOrigin::any(),
            Self::List(list) => {
                let list = list.clone();
                AllowOrigin::predicate(move |origin, _| {
                    list.iter().any(|known| are_one(known, origin.as_bytes()))
                })
            }
        };
        let cors = CorsLayer::new()
            .allow_origin(allow)
            .allow_methods([Method::GET, Method::POST, Method::DELETE])
            .allow_headers([
                header::CONTENT_TYPE,
                header::AUTHORIZATION,
                header::HeaderName::from_static("idempotency-key"),
                header::HeaderName::from_static("last-event-id"),
            ])
            .max_age(std::time::Duration::from_secs(600));
        Some(cors)
    }
}

/// The most refused origins that the log mentions. A page can invent any number of origins.
const MAX_TOLD: usize = 32;

/// The most bytes of an origin that the log shows.
const MAX_SHOWN: usize = 200;

/// Remembers which refused origins the log has already mentioned.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<HashSet<Vec<u8>>>);

impl Refusals {
    /// Logs that a page was refused, and how to allow it. It logs each origin once, and at most
    /// [`MAX_TOLD`] origins.
    pub(crate) fn tell(&self, headers: &HeaderMap) {
        let Some(origin) = headers.get(header::ORIGIN).map(HeaderValue::as_bytes) else {
            return;
        };
        let shown = &origin[..origin.len().min(MAX_SHOWN)];
        if self.is_new(shown) {
            let origin = String::from_utf8_lossy(shown);
            tracing::warn!(
                %origin,
                "refused a page of this origin; to allow it, start the server with `--allow-origin {origin}`"
            );
        }
    }

    fn is_new(&self, origin: &[u8]) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.len() < MAX_TOLD && told.insert(origin.to_vec())
    }
}

/// The reason why the host of a request is not clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHost {
    /// There are several `Host` headers. A proxy may have used another one than the server.
    #[error("the request has several Host headers; send one")]
    Several,
    /// The `Host` header is not a host with an optional port.
    #[error("the Host header must contain a host such as localhost:8000")]
    Malformed,
    /// The `Host` header and the target of an HTTP/2 request name different hosts.
    #[error("the Host header and :authority name different hosts; send the same")]
    Different,
}

/// Returns the host of a request, with its port, or `None` if the request names no host.
///
/// If the target names a host, it takes precedence over the header (RFC 9112 §3.2.2). That is the
/// case in HTTP/2 and in the absolute form of HTTP/1.1.
///
/// # Errors
/// Returns [`InvalidHost`] if the host is not clear.
pub fn host<B>(request: &Request<B>) -> Result<Option<&str>, InvalidHost> {
    let mut headers = request.headers().get_all(header::HOST).iter();
    let header = headers.next();
    if headers.next().is_some() {
        return Err(InvalidHost::Several);
    }
    let readable = |host: &HeaderValue| is_host(host.as_bytes());
    if header.is_some_and(|header| !readable(header)) {
        return Err(InvalidHost::Malformed);
    }
    let header = header.and_then(|header| header.to_str().ok());
    let Some(target) = request.uri().authority().map(Authority::as_str) else {
        return Ok(header);
    };
    if !is_host(target.as_bytes()) {
        return Err(InvalidHost::Malformed);
    }
    match header {
        Some(header)
            if request.version() == Version::HTTP_2 && !header.eq_ignore_ascii_case(target) =>
        {
            Err(InvalidHost::Different)
        }
        _ => Ok(Some(target)),
    }
}

/// Returns whether all bytes may occur in a host with a port (RFC 3986 §3.2).
fn is_host(bytes: &[u8]) -> bool {
    let separates = |byte: &u8| {
        matches!(
            byte,
            b'@' | b'/' | b'?' | b'#' | b'\\' | b',' | b'<' | b'>' | b'"'
        )
    };
    bytes
        .iter()
        .all(|byte| byte.is_ascii_graphic() && !separates(byte))
}

/// Returns whether an origin names the host of the request.
fn is_same(origin: &HeaderValue, host: Option<&str>) -> bool {
    let (Ok(origin), Some(host)) = (origin.to_str(), host) else {
        return false;
    };
    origin.split_once("://").is_some_and(|(scheme, authority)| {
        let plain = |authority| without_default_port(scheme, authority);
        plain(authority).eq_ignore_ascii_case(plain(host))
    })
}

/// Returns whether two texts name the same origin. A browser leaves out the scheme's default port,
/// and writes names in lower case.
fn are_one(known: &str, origin: &[u8]) -> bool {
    let Some((origin, known)) = std::str::from_utf8(origin)
        .ok()
        .and_then(|origin| Some((origin.split_once("://")?, known.split_once("://")?)))
    else {
        return false;
    };
    let plain = |(scheme, authority)| without_default_port(scheme, authority);
    known.0.eq_ignore_ascii_case(origin.0) && plain(known).eq_ignore_ascii_case(plain(origin))
}

fn without_default_port<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let port = match scheme {
        scheme if scheme.eq_ignore_ascii_case("https") => ":443",
        scheme if scheme.eq_ignore_ascii_case("http") => ":80",
        _ => return authority,
    };
    authority.strip_suffix(port).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origin: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        headers
    }

    #[test]
    fn each_refused_origin_is_told_once_and_not_without_end() {
        let refusals = Refusals::default();
        assert!(refusals.is_new(b"https://a.example"));
        assert!(!refusals.is_new(b"https://a.example"));
        let made_up = (0..1_000).filter(|number: &u32| refusals.is_new(&number.to_be_bytes()));
        assert_eq!(made_up.count(), MAX_TOLD - 1);
    }

    #[test]
    fn lets_in_whom_it_should() {
        let listed = Origins::List(vec!["https://app.example".into()]);
        for (origins, origin, host, allowed) in [
            (
                &Origins::SameOrigin,
                "http://localhost:8000",
                "localhost:8000",
                true,
            ),
            (
                &Origins::SameOrigin,
                "http://localhost:8001",
                "localhost:8000",
                false,
            ),
            (&Origins::SameOrigin, "null", "localhost:8000", false),
            (
                &Origins::Any,
                "https://anything.example",
                "localhost:8000",
                true,
            ),
            (&listed, "https://app.example", "localhost:8000", true),
            (
                &listed,
                "https://app.example.evil.example",
                "localhost:8000",
                false,
            ),
            (&listed, "http://localhost:8000", "localhost:8000", true),
        ] {
            assert_eq!(
                origins.allow(&headers(origin), Some(host)),
                allowed,
                "{origin} at {host}"
            );
        }
        assert!(
            Origins::SameOrigin.allow(&HeaderMap::new(), Some("localhost")),
            "no browser, no origin"
        );
    }

    #[test]
    fn the_port_of_the_scheme_may_be_named_or_left_out() {
        let listed = Origins::List(vec!["https://App.example:443".into()]);
        for (origins, origin, host, allowed) in [
            (
                &Origins::SameOrigin,
                "https://a.example",
                "a.example:443",
                true,
            ),
            (
                &Origins::SameOrigin,
                "https://a.example:443",
                "a.example",
                true,
            ),
            (
                &Origins::SameOrigin,
                "http://a.example",
                "A.example:80",
                true,
            ),
            (
                &Origins::SameOrigin,
                "https://a.example",
                "a.example:80",
                false,
            ),
            (
                &Origins::SameOrigin,
                "http://a.example",
                "a.example:443",
                false,
            ),
            (&Origins::SameOrigin, "http://[::1]", "[::1]:80", true),
            (&listed, "https://app.example", "b.example", true),
            (&listed, "https://app.example:443", "b.example", true),
            (&listed, "http://app.example:443", "b.example", false),
            (&listed, "https://app.example:8443", "b.example", false),
        ] {
            let headers = headers(origin);
            let is_allowed = origins.allow(&headers, Some(host));
            assert_eq!(is_allowed, allowed, "{origin} at {host}");
        }
    }

    fn named(uri: &str, version: Version, hosts: &[&[u8]]) -> Result<Option<String>, InvalidHost> {
        let mut request = Request::builder().uri(uri).version(version);
        for host in hosts {
            request = request.header(header::HOST, HeaderValue::from_bytes(host).unwrap());
        }
        let request = request.body(()).unwrap();
        host(&request).map(|host| host.map(str::to_owned))
    }

    #[test]
    fn a_request_names_one_host_or_is_refused() {
        let one = |host: &str| Ok(Some(host.to_owned()));
        let (h1, h2) = (Version::HTTP_11, Version::HTTP_2);
        for (uri, version, hosts, expected) in [
            ("/", h1, &[&b"a.example:1"[..]][..], one("a.example:1")),
            ("/", h1, &[], Ok(None)),
            (
                "/",
                h1,
                &[b"a.example", b"b.example"],
                Err(InvalidHost::Several),
            ),
            (
                "/",
                h1,
                &[b"a.example", b"a.example"],
                Err(InvalidHost::Several),
            ),
            ("/", h1, &[b"evil\x80example"], Err(InvalidHost::Malformed)),
            (
                "/",
                h1,
                &[b"localhost@evil.example"],
                Err(InvalidHost::Malformed),
            ),
            (
                "/",
                h1,
                &[b"localhost, evil.example"],
                Err(InvalidHost::Malformed),
            ),
            (
                "http://evil.example/",
                h1,
                &[b"localhost"],
                one("evil.example"),
            ),
            (
                "http://a@evil.example/",
                h1,
                &[],
                Err(InvalidHost::Malformed),
            ),
            ("https://a.example/", h2, &[], one("a.example")),
            ("https://a.example/", h2, &[b"A.example"], one("a.example")),
            (
                "https://a.example/",
                h2,
                &[b"b.example"],
                Err(InvalidHost::Different),
            ),
        ] {
            assert_eq!(named(uri, version, hosts), expected, "{uri} {hosts:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_origin() {
        for wrong in [
            "example.org",
            "https://example.org/",
            "https://example.org/path",
            "*",
        ] {
            assert!(
                Origins::List(vec![wrong.into()]).validate().is_err(),
                "{wrong}"
            );
        }
        assert!(
            Origins::List(vec!["https://example.org:8443".into()])
                .validate()
                .is_ok()
        );
    }
}
