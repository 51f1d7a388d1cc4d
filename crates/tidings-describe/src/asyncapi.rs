//! `/api/asyncapi.json`: the WebSocket messages as an AsyncAPI 3 document.
//!
//! The document has one message for each variant in the schemas of the protocol's types. A new
//! message type appears in it without further work.

use serde_json::{Map, Value, json};

use crate::components;

/// Returns the AsyncAPI document.
pub fn document() -> Value {
    at("")
}

/// Returns the document for a service that is mounted under a path.
pub fn at(prefix: &str) -> Value {
    let schemas = components::schemas();
    let sent = messages(&schemas, "ServerMessage", "anyOf", "event_type");
    let received = messages(&schemas, "ClientMessage", "oneOf", "type");
    let all: Map<_, _> = sent.clone().into_iter().chain(received.clone()).collect();
    let references = |to: &str, of: &Map<String, Value>| -> Vec<Value> {
        of.keys()
            .map(|name| json!({ "$ref": format!("{to}{name}") }))
            .collect()
    };
    let in_channel = || -> Map<String, Value> {
        all.keys()
            .map(|name| {
                let target = format!("#/components/messages/{name}");
                (name.clone(), json!({ "$ref": target }))
            })
            .collect()
    };
    let query = |of_task: bool| {
        let mut properties = json!({
            "client_id": { "type": "string", "description": "The id that the client gives itself." },
            "resume_token": { "type": "string", "description": "The token that the server sent with the id." }
        });
        if of_task {
            properties["since"] = json!({
                "type": "string",
                "description": "The position after which to continue. `0` sends all retained events."
            });
            properties["history"] = json!({ "type": "integer", "minimum": 0 });
        }
        json!({ "ws": { "method": "GET", "query": { "type": "object", "properties": properties } } })
    };
    let operation = |action: &str, channel: &str, of: &Map<String, Value>, summary: &str| {
        json!({
            "action": action,
            "channel": { "$ref": format!("#/channels/{channel}") },
            "summary": summary,
            "messages": references(&format!("#/channels/{channel}/messages/"), of)
        })
    };
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tidings",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The protocol `tidings.v1`: the progress of long-running work, live and \
                in order. Each text message is one JSON object. Server-sent events carry the same \
                messages from the server.",
            "license": { "name": "MIT" }
        },
        "defaultContentType": "application/json",
        "channels": {
            "task": {
                "address": format!("{prefix}/ws/tasks/{{task_id}}"),
                "title": "One task",
                "description": "Messages without a `task_id` concern the task in the path.",
                "parameters": { "task_id": { "description": "The id of the task to watch." } },
                "messages": in_channel(),
                "bindings": query(true)
            },
            "any": {
                "address": format!("{prefix}/ws"),
                "title": "Many tasks",
                "description": "The client subscribes to tasks, patterns and trees by message.",
                "messages": in_channel(),
                "bindings": query(false)
            }
        },
        "operations": {
            "sendOfTask": operation("send", "task", &sent, "Messages to a subscriber of one task"),
            "receiveOfTask": operation("receive", "task", &received, "Messages from the client"),
            "sendOfAny": operation("send", "any", &sent, "Messages to a subscriber of many tasks"),
            "receiveOfAny": operation("receive", "any", &received, "Messages from the client")
        },
        "components": { "messages": all, "schemas": used(&schemas, &sent, &received) }
    })
}

/// Returns a message for each variant of a schema, named after the variant's tag.
fn messages(
    schemas: &Map<String, Value>,
    of: &str,
    keyword: &str,
    tag: &str,
) -> Map<String, Value> {
    let variants = schemas[of][keyword].as_array().into_iter().flatten();
    variants
        .map(|variant| {
            let name = variant
                .pointer(&format!("/properties/{tag}/const"))
                .and_then(Value::as_str);
            let (name, title) = match name {
                Some(name) => (name.to_owned(), name.to_owned()),
                None => ("event".to_owned(), "An event of a task".to_owned()),
            };
            let message = json!({ "name": name, "title": title, "payload": variant });
            (name, message)
        })
        .collect()
}

/// Returns the schemas that the messages refer to, directly or indirectly.
fn used(
    schemas: &Map<String, Value>,
    sent: &Map<String, Value>,
    received: &Map<String, Value>,
) -> Map<String, Value> {
    let mut found = Map::new();
    let mut open: Vec<&Value> = sent.values().chain(received.values()).collect();
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                let name = fields
                    .get("$ref")
                    .and_then(Value::as_str)
                    .and_then(|target| target.strip_prefix("#/components/schemas/"));
                if let Some((name, schema)) = name.and_then(|name| schemas.get_key_value(name))
                    && !found.contains_key(name)
                {
                    found.insert(name.clone(), schema.clone());
                    open.push(schema);
                }
                open.extend(fields.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_of_the_protocol_is_there() {
        let document = document();
        let messages = document["components"]["messages"].as_object().unwrap();
        for name in [
            "event",
            "connection_established",
            "subscribed",
            "unsubscribed",
            "gap",
            "reset",
            "heartbeat",
            "ack",
            "commanded",
            "error",
            "personal_message",
            "pong",
            "going_away",
            "ping",
            "publish",
            "subscribe",
            "unsubscribe",
            "answer",
            "command",
            "authenticate",
        ] {
            assert!(messages.contains_key(name), "{name}");
        }
        assert_eq!(messages.len(), 20);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut open = vec![&document];
        let mut count = 0;
        while let Some(value) = open.pop() {
            if let Some(Value::String(target)) = value.get("$ref") {
                let pointer = target.strip_prefix('#').expect("a local reference");
                assert!(
                    document.pointer(pointer).is_some(),
                    "{target} leads nowhere"
                );
                count += 1;
            }
            match value {
                Value::Object(fields) => open.extend(fields.values()),
                Value::Array(items) => open.extend(items),
                _ => {}
            }
        }
        assert!(count > 100, "{count} references are too few");
    }
}
