//! The shared parts of the OpenAPI document: schemas, parameters and responses.

use serde_json::{Map, Value, json};

/// The protocol's schemas that the HTTP routes use.
const SCHEMAS: &[&str] = &[
    "server-message.json",
    "client-message.json",
    "new-event.json",
    "event-data.json",
];

pub(crate) fn all() -> Value {
    json!({
        "schemas": schemas(),
        "parameters": parameters(),
        "responses": {
            "Problem": {
                "description": "The request was refused. `detail` says why.",
                "content": { "application/problem+json": { "schema": reference("Problem") } }
            }
        }
    })
}

/// Returns a reference to a schema.
pub(crate) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

pub(crate) fn schemas() -> Map<String, Value> {
    let mut schemas = Map::new();
    let files = crate::SCHEMAS.iter();
    for (_, text) in files.filter(|(name, _)| SCHEMAS.contains(name)) {
        let mut root: Value = serde_json::from_str(text).expect("a generated schema is JSON");
        relocate(&mut root);
        let fields = root
            .as_object_mut()
            .expect("a generated schema is an object");
        fields.remove("$schema");
        if let Some(Value::Object(definitions)) = fields.remove("$defs") {
            schemas.extend(definitions);
        }
        let title = fields["title"]
            .as_str()
            .expect("a generated schema has a title")
            .to_owned();
        schemas.insert(title, root);
    }
    if let Value::Object(own) = own() {
        schemas.extend(own);
    }
    schemas
}

/// Rewrites the references of a schema, because a schema file keeps its definitions elsewhere.
fn relocate(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(target)) = fields.get_mut("$ref") {
                *target = target.replace("#/$defs/", "#/components/schemas/");
            }
            fields.values_mut().for_each(relocate);
        }
        Value::Array(items) => items.iter_mut().for_each(relocate),
        _ => {}
    }
}

/// Returns the schemas that only HTTP uses.
fn own() -> Value {
    let count = json!({ "type": "integer", "minimum": 0 });
    let text = json!({ "type": "string" });
    let text_or_null = json!({ "type": ["string", "null"] });
    let position = json!({
        "type": "string",
        "description": "A position: `epoch:offset`.",
        "examples": ["3f9c1d20:42"]
    });
    let object = |properties: Value| -> Value {
        let required: Vec<_> = properties
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key)
            .collect();
        json!({ "type": "object", "required": required, "properties": properties })
    };
    json!({
        "Problem": {
            "type": "object",
            "description": "RFC 9457 problem details.",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": { "type": "string", "format": "uri-reference" },
                "title": text,
                "status": { "type": "integer", "minimum": 400, "maximum": 599 },
                "code": reference("ErrorCode"),
                "detail": text,
                "by": {
                    "type": "string",
                    "description": "With `already_answered`: who was first."
                }
            }
        },
        "Published": of_several(object(json!({
            "epoch": reference("Epoch"),
            "offset": reference("Offset"),
            "duplicate": { "type": "boolean", "description": "Whether the event was accepted before. If so, it was not published again. `offset` is the original one, or 0 if it is no longer known." }
        })), json!({ "run": { "type": "integer", "minimum": 0, "description": "The run that a `task_started` has opened." } })),
        "CloudEvent": {
            "type": "object",
            "description": "A CloudEvent 1.0 in JSON format. `type` becomes the `event_type`.",
            "required": ["specversion", "id", "source", "type"],
            "properties": {
                "specversion": { "const": "1.0" },
                "id": { "type": "string", "minLength": 1 },
                "source": { "type": "string", "minLength": 1 },
                "type": reference("EventType"),
                "subject": text,
                "data": reference("Data")
            }
        },
        "HistoryPage": {
            "type": "object",
            "required": ["events", "next"],
            "properties": {
                "events": { "type": "array", "items": reference("Event") },
                "gap": reference("MissingRange"),
                "next": position
            }
        },
        "MissingRange": object(json!({
            "from": reference("Offset"),
            "to": reference("Offset"),
            "reason": reference("GapReason")
        })),
        "TaskPage": object(json!({
            "tasks": { "type": "array", "items": reference("TaskSnapshot") },
            "next": { "type": ["string", "null"], "description": "The value of `after` for the next page." }
        })),
        "NewCommand": {
            "type": "object",
            "required": ["command"],
            "properties": {
                "command": {
                    "type": "string",
                    "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]{1,64}$",
                    "examples": ["cancel", "pause", "resume"]
                },
                "args": { "type": ["object", "null"] },
                "tree": {
                    "type": "boolean",
                    "default": false,
                    "description": "Whether all tasks below the task are asked as well, the deepest first."
                }
            }
        },
        "CommandTaken": object(json!({
            "command_id": text,
            "epoch": reference("Epoch"),
            "offset": reference("Offset")
        })),
        "TreeCommanded": object(json!({
            "tasks": {
                "type": "array",
                "items": reference("TaskCommanded"),
                "description": "The answer for each task that was asked or refused, the deepest first."
            }
        })),
        "CommandAnswer": {
            "oneOf": [reference("CommandTaken"), reference("TreeCommanded")],
            "description": "With `tree`, the answers of all tasks."
        },
        "NewAnswer": {
            "type": "object",
            "required": ["value"],
            "properties": {
                "value": {
                    "description": "The answer, by the question's schema or choices.",
                    "examples": ["yes", true, 3]
                }
            }
        },
        "InputPage": object(json!({
            "inputs": { "type": "array", "items": reference("OpenInput") },
            "next": { "type": ["string", "null"], "description": "The `after` of the next page." }
        })),
        "OpenInput": {
            "description": "An open question, and its task.",
            "allOf": [
                reference("PendingInput"),
                {
                    "type": "object",
                    "required": ["task_id"],
                    "properties": {
                        "task_id": reference("TaskId"),
                        "name": { "type": "string", "description": "What the task is called." }
                    }
                }
            ]
        },
        "NewAnswerLink": {
            "type": "object",
            "required": ["for"],
            "properties": {
                "for": {
                    "type": "string",
                    "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]{1,100}$",
                    "description": "The person who is to answer.",
                    "examples": ["ada@example.org"]
                },
                "expires_in_ms": {
                    "type": ["integer", "null"],
                    "minimum": 1,
                    "maximum": 31_536_000_000_u64,
                    "description": "How long the link holds; 7 days if left out, and never longer than the question."
                }
            }
        },
        "AnswerLink": object(json!({
            "path": { "type": "string", "description": "What follows the server's public address." },
            "expires_at": reference("Timestamp")
        })),
        "ConnectionList": of_several(object(json!({
            "connections": { "type": "array", "items": reference("ConnectionInfo") }
        })), json!({
            "unanswered": { "type": "array", "items": text, "description": "In a cluster: the nodes that did not answer in time. Their entries are missing." },
            "truncated": { "type": "array", "items": text, "description": "In a cluster: the nodes that have more entries than they could list." }
        })),
        "ConnectionInfo": of_several(object(json!({
            "client_id": reference("ClientId"),
            "connected_at": reference("Timestamp"),
            "remote_addr": text_or_null,
            "user_agent": text_or_null,
            "subject": text_or_null,
            "transport": { "type": "string", "examples": ["websocket", "sse"] },
            "subscriptions": { "type": "array", "items": reference("SubscriptionInfo") },
            "patterns": { "type": "array", "items": reference("Pattern") },
            "trees": { "type": "array", "items": reference("TaskId") },
            "delivered": count,
            "received": count,
            "lag": count,
            "blocked": { "type": "boolean" }
        })), json!({ "node": { "type": "string", "description": "In a cluster: the node that the client is connected to." } })),
        "SubscriptionInfo": object(json!({
            "task_id": reference("TaskId"),
            "offset": count,
            "lag": count
        })),
        "NewPersonalMessage": {
            "type": "object",
            "required": ["event_type"],
            "properties": {
                "event_type": reference("EventType"),
                "data": reference("Data")
            }
        },
        "PersonalMessageTaken": object(json!({ "offset": reference("Offset") })),
        "BackupMade": object(json!({
            "directory": { "type": "string", "description": "The directory of the backup on the server." },
            "tasks": count,
            "events": count,
            "bytes": { "type": "integer", "minimum": 0, "description": "The size of the events in bytes." }
        })),
        "Stats": of_several(object(json!({
            "version": text,
            "uptime_ms": count,
            "bus": { "type": "object", "description": "Counters of the bus." },
            "connections": { "type": "object", "description": "Counters of connections." }
        })), json!({
            "nodes": {
                "type": "array",
                "description": "In a cluster: the counters of each node. The counters above are the sum. A task that several nodes have is counted by each of them.",
                "items": object(json!({
                    "node": text,
                    "stats": { "type": ["object", "null"], "description": "`null` if the node did not answer in time." }
                }))
            },
            "unanswered": { "type": "array", "items": text, "description": "The nodes that are missing from the sum." }
        })),
        "Index": object(json!({
            "name": { "const": "tidings" },
            "version": text,
            "protocol": { "const": "tidings.v1" },
            "routes": { "type": "array", "items": text }
        })),
        "Status": object(json!({ "status": text }))
    })
}

fn parameters() -> Value {
    let query = |name: &str, schema: Value, description: &str| json!({ "name": name, "in": "query", "schema": schema, "description": description });
    let path = |name: &str, schema: &str| json!({ "name": name, "in": "path", "required": true, "schema": reference(schema) });
    json!({
        "TaskId": path("task_id", "TaskId"),
        "ClientId": path("client_id", "ClientId"),
        "Since": query(
            "since",
            reference("Since"),
            "The position after which to continue. `0` returns all retained events."
        ),
        "History": query(
            "history",
            json!({ "type": "integer", "minimum": 0, "maximum": 4_294_967_295_u64 }),
            "Start with up to this many of the newest events. `since` takes precedence."
        ),
        "Tasks": query(
            "task",
            json!({ "type": "array", "items": reference("TaskId") }),
            "The tasks to watch. Repeat the parameter for each."
        ),
        "Patterns": query(
            "pattern",
            json!({ "type": "array", "items": reference("Pattern") }),
            "Watch all tasks that match, including tasks that do not exist yet. Repeat the parameter for each."
        ),
        "Trees": query(
            "tree",
            json!({ "type": "array", "items": reference("TaskId") }),
            "Watch a task and all tasks below it. Repeat the parameter for each topmost task."
        ),
        "StreamPosition": query(
            "since",
            json!({ "type": "string" }),
            "The position after which to continue: the `id:` of the last event of an earlier stream, \
             or `task@position` for each task, separated by commas. Tasks that are not named in it \
             start as usual."
        ),
        "Client": query(
            "client_id",
            reference("ClientId"),
            "The id that the client gives itself. If left out, the server generates one."
        ),
        "ResumeToken": query(
            "resume_token",
            json!({ "type": "string" }),
            "The token from `connection_established`. It is required for a `client_id` that is in use."
        ),
        "Type": query(
            "type",
            json!({ "type": "string" }),
            "Return only events of these types, separated by commas. `next` continues after the events left out."
        ),
        "Text": query(
            "text",
            json!({ "type": "string" }),
            "Only events with this text in their type or anywhere in their data, in any case. \
             One request reads 20,000 events at most; `next` says where to go on."
        ),
        "Limit": query(
            "limit",
            json!({ "type": "integer", "minimum": 0, "default": 100 }),
            "The most entries to return, 1 to 1,000. A value outside this range is moved to its nearer end."
        )
    })
}

/// Adds the properties that are present only in a cluster.
fn of_several(mut schema: Value, more: Value) -> Value {
    if let (Some(properties), Value::Object(more)) = (schema["properties"].as_object_mut(), more) {
        properties.extend(more);
    }
    schema
}
