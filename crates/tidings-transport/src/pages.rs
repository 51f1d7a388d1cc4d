//! Pages that an application serves in addition to the routes of Tidings.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header};

use crate::body::{Body, full};

/// Static pages by path, for example a dashboard.
///
/// They answer `GET` and `HEAD` at paths without a route, and at `/` if the client prefers HTML.
/// Paths are percent-encoded and have no query. The request's headers say which encodings the
/// client accepts. If the client already has a page with the same `ETag`, the answer is 304.
///
/// ```
/// use bytes::Bytes;
/// use http::Response;
/// use tidings_transport::{Pages, TransportConfig};
///
/// let pages = Pages::new(|path, _headers| {
///     (path == "/hello").then(|| Response::new(Bytes::from_static(b"hello")))
/// });
/// let config = TransportConfig::default().pages(pages);
/// ```
#[derive(Clone)]
pub struct Pages(Arc<Find>);

type Find = dyn Fn(&str, &HeaderMap) -> Option<Response<Bytes>> + Send + Sync;

impl Pages {
    /// Creates pages from a function that finds a page by path. The function is called for each
    /// request, so it should only look something up.
    pub fn new(
        find: impl Fn(&str, &HeaderMap) -> Option<Response<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(find))
    }

    /// Returns the page at a path, for a request with these headers.
    pub(crate) fn answer(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<Response<Body>> {
        if method != Method::GET && method != Method::HEAD {
            return None;
        }
        let (mut parts, body) = (self.0)(path, headers)?.into_parts();
        let etag = parts.headers.get(header::ETAG);
        let is_found = parts.status == StatusCode::OK;
        if is_found && etag.is_some_and(|etag| is_known(headers, etag.as_bytes())) {
            parts.status = StatusCode::NOT_MODIFIED;
            parts.headers.remove(header::CONTENT_TYPE);
            return Some(Response::from_parts(parts, full(Bytes::new())));
        }
        Some(Response::from_parts(parts, full(body)))
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pages(..)")
    }
}

/// Returns whether the client already has this content, by a weak comparison (RFC 9110 §13.1.2).
fn is_known(headers: &HeaderMap, etag: &[u8]) -> bool {
    let strong = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|known| known == b"*" || strong(known) == strong(etag))
}

/// Returns whether a client at `/` wants a page instead of the list of routes. Browsers ask for
/// HTML, and other programs accept anything.
pub(crate) fn wants_html(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let kind = range.split(';').next().unwrap_or_default();
            kind.trim().eq_ignore_ascii_case("text/html")
        })
}
