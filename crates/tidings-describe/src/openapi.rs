//! `/api/openapi.json`: the HTTP routes as an OpenAPI document.
//!
//! The document is built from the protocol's types, so its schemas match them. A test checks that
//! the paths match the routes of the server.

use serde_json::{Value, json};

use crate::{components, paths};

/// Returns the OpenAPI document.
pub fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Tidings",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Carries the progress of long-running work to the people who watch it. \
                Errors are RFC 9457 problem details. If the protocol has a code for an error, \
                `code` contains it. Every route that answers GET also answers HEAD.",
            "license": { "name": "MIT", "identifier": "MIT" }
        },
        "tags": [
            { "name": "watch", "description": "WebSocket: events as they come." },
            { "name": "tasks", "description": "Publish, read, stream and ask." },
            { "name": "questions", "description": "Questions of tasks, and people's answers." },
            { "name": "connections", "description": "Who is here; kick; personal messages." },
            { "name": "server", "description": "How the server is doing." }
        ],
        "paths": paths::all(),
        "components": components::all()
    })
}

/// Returns the document for a service that is mounted under a path.
pub fn at(prefix: &str) -> Value {
    let mut document = document();
    document["servers"] = json!([{ "url": prefix }]);
    document
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tidings_bus::{BusConfig, EventBus};
    use tidings_connections::{ConnectionManager, ConnectionsConfig};
    use tidings_transport::{ExtraRoute, TidingsService, TransportConfig};

    use super::*;

    /// Returns the routes of a server, and the methods of each.
    fn served() -> Vec<(&'static str, &'static str)> {
        let mut config = TransportConfig::default();
        config.routes.extend(crate::routes());
        let config = config.route(ExtraRoute::admin("/metrics", |_| http::Response::default()));
        let bus = EventBus::new(BusConfig::default()).expect("a bus");
        let manager = ConnectionManager::new(bus, ConnectionsConfig::default());
        let service = TidingsService::new(manager.expect("a manager"), config);
        service.expect("a service").routes().collect()
    }

    fn references<'a>(value: &'a Value, into: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(target)) = fields.get("$ref") {
                    into.insert(target);
                }
                fields.values().for_each(|value| references(value, into));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, into)),
            _ => {}
        }
    }

    fn object<'a>(document: &'a Value, pointer: &str) -> &'a serde_json::Map<String, Value> {
        document
            .pointer(pointer)
            .and_then(Value::as_object)
            .unwrap()
    }

    #[tokio::test]
    async fn paths_are_the_routes() {
        let document = document();
        let described: BTreeSet<_> = object(&document, "/paths")
            .keys()
            .map(String::as_str)
            .collect();
        let routed: BTreeSet<_> = served().into_iter().map(|(path, _)| path).collect();
        assert_eq!(described, routed);
    }

    #[tokio::test]
    async fn methods_are_the_routes() {
        let document = document();
        for (path, allowed) in served() {
            let methods: BTreeSet<_> = object(&document, "/paths")[path]
                .as_object()
                .unwrap()
                .keys()
                .filter(|key| *key != "parameters")
                .map(|key| key.to_uppercase())
                .collect();
            let allowed: BTreeSet<_> = allowed
                .split(", ")
                .filter(|method| *method != "HEAD")
                .map(str::to_owned)
                .collect();
            assert_eq!(methods, allowed, "{path}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut targets = BTreeSet::new();
        references(&document, &mut targets);
        assert!(
            targets.len() > 40,
            "{} references are too few",
            targets.len()
        );
        for target in targets {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(
                document.pointer(pointer).is_some(),
                "{target} leads nowhere"
            );
        }
    }

    #[test]
    fn nothing_is_described_that_is_not_used() {
        let document = document();
        let mut targets = BTreeSet::new();
        references(&document, &mut targets);
        for (kind, entries) in object(&document, "/components") {
            for name in entries.as_object().unwrap().keys() {
                let target = format!("#/components/{kind}/{name}");
                assert!(targets.contains(target.as_str()), "{target} is not used");
            }
        }
    }

    #[test]
    fn operations_are_named_once_and_say_what_they_answer() {
        let document = document();
        let mut names = BTreeSet::new();
        for (path, item) in object(&document, "/paths") {
            for (method, operation) in item.as_object().unwrap() {
                if method == "parameters" {
                    continue;
                }
                let name = operation["operationId"].as_str().unwrap();
                assert!(names.insert(name), "{name} is there twice");
                for field in ["summary", "tags", "responses"] {
                    assert!(
                        operation.get(field).is_some(),
                        "{method} {path} has no {field}"
                    );
                }
            }
        }
    }
}
