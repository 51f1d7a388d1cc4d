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
//! The documents describe the routes of a whole server: the routes of the transport, `/metrics`
//! of `tidings-metrics`, and these two.

mod components;
mod paths;

pub mod asyncapi;
pub mod openapi;

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde_json::Value;
use tidings_transport::ExtraRoute;

/// The JSON Schemas of the protocol: the name of each file, and its text.
///
/// They are generated from the protocol's types, and a test keeps them fresh. So a program that
/// serves them does not contain a schema generator.
pub const SCHEMAS: [(&str, &str); 5] = [
    (
        "client-message.json",
        include_str!("../schema/client-message.json"),
    ),
    (
        "server-message.json",
        include_str!("../schema/server-message.json"),
    ),
    ("new-event.json", include_str!("../schema/new-event.json")),
    ("event-data.json", include_str!("../schema/event-data.json")),
    (
        "task-snapshot.json",
        include_str!("../schema/task-snapshot.json"),
    ),
];

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

#[cfg(test)]
mod tests {
    use super::*;

    /// `TIDINGS_BLESS=1` writes the files anew.
    #[test]
    fn the_schemas_are_those_of_the_protocol() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
        let fresh = tidings_protocol::schema::all();
        assert_eq!(fresh.len(), SCHEMAS.len());
        for ((name, fresh), (known, text)) in fresh.into_iter().zip(SCHEMAS) {
            assert_eq!(name, known);
            if std::env::var_os("TIDINGS_BLESS").is_some() {
                std::fs::write(folder.join(name), fresh).expect("the folder can be written");
                continue;
            }
            let [fresh, text] = [fresh.as_str(), text].map(serde_json::from_str::<Value>);
            assert_eq!(
                text.ok(),
                fresh.ok(),
                "schema/{name} is not fresh: TIDINGS_BLESS=1 cargo test -p tidings-describe"
            );
        }
    }
}
