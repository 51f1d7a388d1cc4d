//! Pages that an application serves beside the routes of Tidings.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header};

use crate::body::{Body, full};

/// Static pages by path: a dashboard, for example.
///
/// Asked for `GET` and `HEAD` at paths that are no routes of Tidings, and at
/// `/` when the client prefers HTML. Paths come percent-encoded and without a
/// query; the request's headers say which encodings the client accepts. A page
/// with an `ETag` is answered with 304 where the client has it.
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
    /// Pages that `find` knows. It is called for each request, so it should
    /// only look something up.
    pub fn new(
        find: impl Fn(&str, &HeaderMap) -> Option<Response<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(find))
    }

    /// The page at a path, for a request with these headers.
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

/// Whether the client has this content already (RFC 9110, section 13.1.2: a
/// weak comparison).
fn is_known(headers: &HeaderMap, etag: &[u8]) -> bool {
    let strong = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|known| known == b"*" || strong(known) == strong(etag))
}

/// Whether a client at `/` is to see a page and not the list of routes: a
/// browser names HTML, other programs take anything.
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
