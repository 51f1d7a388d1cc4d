//! Which web pages may talk to the server (RFC 6454, RFC 6455 §10.2).

use http::{HeaderMap, HeaderValue, Method, Request, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::config::TransportConfigError;

/// Origins of web pages that are let in. Clients that are no browsers send no
/// origin, and are always let in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Origins {
    /// Pages served by this server itself.
    #[default]
    SameOrigin,
    /// These, such as `https://example.org`, and the server's own.
    List(Vec<String>),
    /// Any page at all.
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

    /// Whether a page may ask for this at all. CORS only keeps an answer from
    /// a page: it covers no WebSocket, and what a request does is done.
    pub(crate) fn allow(&self, headers: &HeaderMap, host: Option<&str>) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return true;
        };
        let listed = match self {
            Self::Any => true,
            Self::List(list) => list
                .iter()
                .any(|known| known.as_bytes() == origin.as_bytes()),
            Self::SameOrigin => false,
        };
        listed || is_same(origin, host)
    }

    /// The CORS answers for REST and SSE.
    pub(crate) fn cors(&self) -> Option<CorsLayer> {
        let allow = match self {
            Self::SameOrigin => return None,
            Self::Any => AllowOrigin::any(),
            Self::List(list) => AllowOrigin::list(
                list.iter()
                    .filter_map(|origin| HeaderValue::from_str(origin).ok()),
            ),
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

/// Returns the host, with its port, that a request went to. HTTP/2 has it in the URI.
pub fn host<B>(request: &Request<B>) -> Option<&str> {
    let header = request.headers().get(header::HOST);
    header.map_or_else(
        || request.uri().authority().map(http::uri::Authority::as_str),
        |host| host.to_str().ok(),
    )
}

/// Whether an origin names the host that the request went to.
fn is_same(origin: &HeaderValue, host: Option<&str>) -> bool {
    let (Ok(origin), Some(host)) = (origin.to_str(), host) else {
        return false;
    };
    origin
        .split_once("://")
        .is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
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
