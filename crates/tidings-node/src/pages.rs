//! The dashboard, as the transport serves it.

use bytes::Bytes;
use http::Response;
use tidings_transport::Pages;

/// What `tidings-web` embeds.
pub(crate) fn pages() -> Pages {
    Pages::new(|path| {
        let asset = tidings_web::asset(path)?;
        let mut page = Response::builder();
        for (name, value) in asset.headers() {
            page = page.header(name, value);
        }
        page.body(Bytes::from_static(asset.body)).ok()
    })
}
