//! Descriptions of the Tidings server for programs: OpenAPI, AsyncAPI and JSON Schemas.
//!
//! The documents are built from the protocol's types. [`routes`] serves them as routes of a
//! `tidings-transport` service. They need no token:
//!
//! ```
//! use tidings_transport::TransportConfig;
//!
//! let mut config = TransportConfig::default();
//! config.routes.extend(tidings_describe::routes());
//! ```
//!
//! The documents describe the routes of a whole server: those of the transport, `/metrics` of
//! `tidings-metrics`, and these two.
//! the transport, `/metrics` of `tidings-metrics`, and these two.

mod components;
mod paths;

pub mod asyncapi;
pub mod openapi;

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde_json::Value;
use tidings_transport::ExtraRoute;

pub use tidings_protocol::schema::all as schemas;

/// Returns the routes `/api/openapi.json` and `/api/asyncapi.json`.
pub fn routes() -> [ExtraRoute; 2] {
    // The first request builds the text, so the start of the server does not wait for it.
    static OPENAPI: LazyLock<Bytes> = LazyLock::new(|| text(&openapi::document()));
    static ASYNCAPI: LazyLock<Bytes> = LazyLock::new(|| text(&asyncapi::document()));
    [
        route("/api/openapi.json", &OPENAPI, openapi::at),
        route("/api/asyncapi.json", &ASYNCAPI, asyncapi::at),
    ]
}

fn text(document: &Value) -> Bytes {
    Bytes::from(document.to_string())
}

fn route(
    path: &'static str,
    document: &'static LazyLock<Bytes>,
    at: fn(&str) -> Value,
) -> ExtraRoute {
    ExtraRoute::open(path, move |asked| {
        let body = match asked.prefix() {
            "" => Bytes::clone(document),
            prefix => text(&at(prefix)),
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    })
}
