//! The dashboard, in the form that the transport serves.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response, StatusCode, header};
use tidings_transport::Pages;

/// Returns the dashboard and `tidings.js`, for [`TransportConfig::pages`] of a service of your own.
/// Each file is served in the smallest encoding that the client accepts.
///
/// The pages also work below a path, such as `/tidings` with axum's `nest_service`.
///
/// A browser that requests a page that does not exist gets the dashboard, which says so. Other
/// clients, and all requests below `/api/`, get a problem in JSON.
///
/// [`TransportConfig::pages`]: tidings_transport::TransportConfig::pages
pub fn dashboard() -> Pages {
    Pages::new(|path, headers| {
        let (asset, status) = match tidings_web::asset(path) {
            Some(asset) => (asset, StatusCode::OK),
            None if !path.starts_with("/api/") && has(headers, header::ACCEPT, "text/html") => {
                (tidings_web::missing(path)?, StatusCode::NOT_FOUND)
            }
            None => return None,
        };
        let accepted: Vec<&str> = texts(headers, header::ACCEPT_ENCODING).collect();
        let best = asset.representation(&accepted.join(","));
        let mut page = Response::builder().status(status);
        for (name, value) in asset.headers(best) {
            page = page.header(name, value);
        }
        page.body(Bytes::from_static(best.body)).ok()
    })
}

fn texts(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
}

fn has(headers: &HeaderMap, name: HeaderName, wanted: &str) -> bool {
    texts(headers, name).any(|value| value.to_ascii_lowercase().contains(wanted))
}
