//! `/api/openapi.json`: what there is over HTTP, for programs that ask.
//!
//! Built from code, so that the schemas are those of the protocol's types; a
//! test holds the paths and the routes together.

pub(crate) mod asyncapi;
mod components;
mod paths;

use std::sync::OnceLock;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::body::{Body, raw_json};

pub(crate) fn response() -> Response<Body> {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| document().to_string().into());
    raw_json(StatusCode::OK, text.clone())
}

fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Tidings",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Carries the progress of long-running work to the people who watch it. \
                Errors are RFC 9457 problem details; where the protocol has a code for one, it is \
                in `code`. HEAD is answered wherever GET is.",
            "license": { "name": "MIT", "identifier": "MIT" }
        },
        "tags": [
            { "name": "watch", "description": "WebSocket: events as they come." },
            { "name": "tasks", "description": "Publish, read, stream and ask." },
            { "name": "connections", "description": "Who is here; kick; personal messages." },
            { "name": "server", "description": "How the server is doing." }
        ],
        "paths": paths::all(),
        "components": components::all()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::routes::PATHS;

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

    #[test]
    fn paths_are_the_routes() {
        let document = document();
        let described: BTreeSet<_> = object(&document, "/paths")
            .keys()
            .map(String::as_str)
            .collect();
        let routed: BTreeSet<_> = PATHS.iter().map(|(path, _)| *path).collect();
        assert_eq!(described, routed);
    }

    #[test]
    fn methods_are_the_routes() {
        let document = document();
        for (path, route) in PATHS {
            let methods: BTreeSet<_> = object(&document, "/paths")[*path]
                .as_object()
                .unwrap()
                .keys()
                .filter(|key| *key != "parameters")
                .map(|key| key.to_uppercase())
                .collect();
            let allowed: BTreeSet<_> = crate::routes::allowed(*route)
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
