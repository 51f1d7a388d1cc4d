//! The paths of the OpenAPI document, with methods, parameters, bodies and responses.

use serde_json::{Value, json};

use crate::components::reference;

pub(crate) fn all() -> Value {
    json!({
        "/": { "get": get("index", "server", "The routes of the server", "Index") },
        "/ws": watch("watch", "Open a WebSocket and subscribe by message", false),
        "/ws/tasks/{task_id}": watch("watchTask", "Open a WebSocket to one task", true),
        "/api/tasks": tasks(),
        "/api/tasks/{task_id}": task(),
        "/api/tasks/{task_id}/events": events(),
        "/api/events": streams(),
        "/api/tasks/{task_id}/outputs/{output_id}": output(),
        "/api/tasks/{task_id}/commands": commands(),
        "/api/tasks/{task_id}/inputs/{input_id}": input(),
        "/api/tasks/{task_id}/inputs/{input_id}/links": links(),
        "/api/inputs": inputs(),
        "/answer/{token}": link(),
        "/api/connections": connections(),
        "/api/connections/{client_id}": connection(),
        "/api/connections/{client_id}/messages": messages(),
        "/api/backups": backups(),
        "/api/stats": { "get": get("stats", "server", "The server's counters", "Stats") },
        "/healthz": { "get": get("healthz", "server", "Liveness: whether the process answers", "Status") },
        "/readyz": readyz(),
        "/metrics": metrics(),
        "/api/openapi.json": description("openapi", "This document"),
        "/api/asyncapi.json": description("asyncapi", "The AsyncAPI 3 description of the WebSocket messages")
    })
}

/// Returns a reference to a parameter.
fn parameter(name: &str) -> Value {
    json!({ "$ref": format!("#/components/parameters/{name}") })
}

fn problem() -> Value {
    json!({ "$ref": "#/components/responses/Problem" })
}

fn json_content(schema: &str) -> Value {
    json!({ "application/json": { "schema": reference(schema) } })
}

fn answer(description: &str, schema: &str) -> Value {
    json!({ "description": description, "content": json_content(schema) })
}

/// Returns the responses: the given successful ones, and problems with these status codes.
fn responses(good: Value, problems: &[&str]) -> Value {
    let mut responses = good;
    for status in problems {
        responses[*status] = problem();
    }
    responses["default"] = problem();
    responses
}

fn get(id: &str, tag: &str, summary: &str, schema: &str) -> Value {
    json!({
        "operationId": id,
        "tags": [tag],
        "summary": summary,
        "responses": responses(json!({ "200": answer(summary, schema) }), &[])
    })
}

fn watch(id: &str, summary: &str, of_task: bool) -> Value {
    let mut parameters = vec![parameter("Client"), parameter("ResumeToken")];
    if of_task {
        parameters.extend([parameter("Since"), parameter("History")]);
    }
    let mut item = json!({
        "get": {
            "operationId": id,
            "tags": ["watch"],
            "summary": summary,
            "description": "Upgrades to a WebSocket (RFC 6455). The subprotocol `tidings.v1` is optional. \
                The server sends `x-server-message` and the client sends `x-client-message`. Each \
                text message is one JSON object. After the upgrade, the server refuses a client \
                with a close code.",
            "x-server-message": reference("ServerMessage"),
            "x-client-message": reference("ClientMessage"),
            "parameters": parameters,
            "responses": responses(
                json!({ "101": { "description": "The connection is now a WebSocket." } }),
                &["400", "410", "426"]
            )
        }
    });
    if of_task {
        item["parameters"] = json!([parameter("TaskId")]);
    }
    item
}

fn tasks() -> Value {
    json!({
        "get": {
            "operationId": "listTasks",
            "tags": ["tasks"],
            "summary": "List the states of tasks, ordered by id",
            "parameters": [
                { "name": "status", "in": "query", "schema": reference("TaskStatus") },
                {
                    "name": "prefix", "in": "query", "schema": { "type": "string" },
                    "description": "Return only tasks whose id begins with this text."
                },
                {
                    "name": "parent", "in": "query", "schema": reference("TaskId"),
                    "description": "Return only tasks that name this task as their \
                        `parent_task_id`. The parent itself need not exist."
                },
                {
                    "name": "after", "in": "query", "schema": reference("TaskId"),
                    "description": "The `next` value of the previous page."
                },
                parameter("Limit")
            ],
            "responses": responses(json!({ "200": answer("A page", "TaskPage") }), &["400"])
        }
    })
}

fn task() -> Value {
    json!({
        "parameters": [parameter("TaskId")],
        "get": {
            "operationId": "getTask",
            "tags": ["tasks"],
            "summary": "Return the state of a task",
            "responses": responses(
                json!({ "200": answer("The task's snapshot", "TaskSnapshot") }),
                &["400", "404"]
            )
        },
        "delete": {
            "operationId": "deleteTask",
            "tags": ["tasks"],
            "summary": "Remove a task and its events",
            "description": "The task's subscribers receive a `reset` with the reason `removed`.",
            "responses": responses(
                json!({ "204": { "description": "The task was removed." } }),
                &["400", "404", "503"]
            )
        }
    })
}

fn events() -> Value {
    json!({
        "parameters": [parameter("TaskId")],
        "get": {
            "operationId": "getEvents",
            "tags": ["tasks"],
            "summary": "Read a page of history, or a live stream",
            "description": "With `Accept: text/event-stream` the answer is a stream of server-sent \
                events. Each `data:` is one message, the same as over WebSocket, and `id:` is the \
                position. A stream accepts `since`, `history`, `client_id` and `resume_token`. A \
                page accepts `since`, `limit`, `type` and `text`.",
            "parameters": [
                parameter("Since"),
                parameter("Limit"),
                parameter("Type"),
                parameter("Text"),
                parameter("History"),
                parameter("Client"),
                parameter("ResumeToken"),
                {
                    "name": "Last-Event-ID", "in": "header", "schema": reference("Since"),
                    "description": "The position after which a stream continues. It takes precedence over `since`."
                }
            ],
            "responses": responses(
                json!({
                    "200": {
                        "description": "A page, or a stream",
                        "content": {
                            "application/json": { "schema": reference("HistoryPage") },
                            "text/event-stream": {
                                "schema": { "type": "string" },
                                "x-server-message": reference("ServerMessage")
                            }
                        }
                    }
                }),
                &["400", "403", "404", "410", "503"]
            )
        },
        "post": publish()
    })
}

fn streams() -> Value {
    json!({
        "get": {
            "operationId": "streamEvents",
            "tags": ["tasks"],
            "summary": "Stream the events of several tasks",
            "description": "A stream of server-sent events. Each `data:` is one message, the same as \
                over WebSocket. The `id:` of an event has the positions of all tasks in `task`. \
                Tasks of a pattern or a tree start with their state on each stream. A target that \
                may not be watched is answered with `unsubscribed`; 403 if none may be watched. At \
                most 64 tasks, patterns and trees; at least one.",
            "parameters": [
                parameter("Tasks"),
                parameter("Patterns"),
                parameter("Trees"),
                parameter("StreamPosition"),
                parameter("History"),
                {
                    "name": "Last-Event-ID", "in": "header", "schema": { "type": "string" },
                    "description": "The last `id:` of an earlier stream. It takes precedence over `since`."
                }
            ],
            "responses": responses(
                json!({
                    "200": {
                        "description": "A stream",
                        "content": {
                            "text/event-stream": {
                                "schema": { "type": "string" },
                                "x-server-message": reference("ServerMessage")
                            }
                        }
                    }
                }),
                &["400", "403", "429", "503"]
            )
        }
    })
}

fn publish() -> Value {
    let answer = json!({ "anyOf": [reference("Published"), reference("Problem")] });
    json!({
        "operationId": "publish",
        "tags": ["tasks"],
        "summary": "Publish one or more events",
        "description": "The body may be a CloudEvent in structured, batched or binary mode. The answer to \
            an array or NDJSON is an array with one answer for each event, in the same order. If an \
            event is refused, the others are still published. `x-event-data` describes the `data` \
            of the standard types.",
        "x-event-data": reference("EventData"),
        "parameters": [{
            "name": "Idempotency-Key", "in": "header", "schema": reference("EventId"),
            "description": "The event's `event_id`. In a batch, the ids are `key:0`, `key:1`, …"
        }],
        "requestBody": {
            "required": true,
            "content": {
                "application/json": {
                    "schema": {
                        "anyOf": [
                            reference("NewEvent"),
                            { "type": "array", "items": reference("NewEvent") }
                        ]
                    },
                    "example": { "event_type": "progress_update", "data": { "progress": 40 } }
                },
                "application/cloudevents+json": { "schema": reference("CloudEvent") },
                "application/cloudevents-batch+json": {
                    "schema": { "type": "array", "items": reference("CloudEvent") }
                },
                "application/x-ndjson": {
                    "schema": { "type": "string" },
                    "x-line": reference("NewEvent")
                }
            }
        },
        "responses": responses(
            json!({
                "201": {
                    "description": "Published",
                    "content": {
                        "application/json": {
                            "schema": {
                                "anyOf": [
                                    reference("Published"),
                                    { "type": "array", "items": answer }
                                ]
                            }
                        }
                    }
                },
                "207": {
                    "description": "Some events were refused. The array has an answer for each event.",
                    "content": {
                        "application/json": {
                            "schema": { "type": "array", "items": answer }
                        }
                    }
                }
            }),
            &["400", "408", "409", "413", "415", "503"]
        )
    })
}

fn output() -> Value {
    let text = |description: &str| {
        json!({
            "description": description,
            "headers": {
                "Content-Range": {
                    "schema": { "type": "string" },
                    "description": "The range that the answer contains, in bytes of the whole output."
                }
            },
            "content": { "text/plain": { "schema": { "type": "string" } } }
        })
    };
    json!({
        "parameters": [
            parameter("TaskId"),
            {
                "name": "output_id", "in": "path", "required": true,
                "schema": reference("ItemId"), "description": "The id of the output."
            }
        ],
        "get": {
            "operationId": "readOutput",
            "tags": ["tasks"],
            "summary": "Read the current text of an output",
            "description": "`Range` counts bytes of the whole output. If the start of the output is \
                no longer kept, the answer is 206 and `Content-Range` says where the returned text \
                begins.",
            "parameters": [
                { "name": "Range", "in": "header", "schema": { "type": "string" } }
            ],
            "responses": responses(
                json!({
                    "200": text("The whole output."),
                    "206": text("The requested range, or the part of it that is kept."),
                    "416": { "description": "The output has no such range, or the range is no longer kept." }
                }),
                &["404"]
            )
        }
    })
}

fn commands() -> Value {
    json!({
        "parameters": [parameter("TaskId")],
        "post": {
            "operationId": "command",
            "tags": ["tasks"],
            "summary": "Send a command to a task",
            "description": "The server publishes a `command_requested` event. The task answers with another event. With `tree`, all tasks below the task are asked as well, the deepest first. A task below that has ended is not asked, and a task that the client may neither command nor watch is left out.",
            "requestBody": { "required": true, "content": json_content("NewCommand") },
            "responses": responses(
                json!({
                    "202": answer("The command was published", "CommandAnswer"),
                    "207": answer("With `tree`: at least one task was refused", "TreeCommanded")
                }),
                &["400", "404", "408", "413", "503"]
            )
        }
    })
}

fn input_id() -> Value {
    json!({
        "name": "input_id", "in": "path", "required": true,
        "schema": reference("ItemId"), "description": "The question."
    })
}

fn input() -> Value {
    json!({
        "parameters": [parameter("TaskId"), input_id()],
        "post": {
            "operationId": "answer",
            "tags": ["questions"],
            "summary": "Answer an open question of a task",
            "description": "It becomes an `input_provided` event. The first answer wins: later \
                ones are refused with 409 `already_answered`, and `by` says who was first. If the \
                question has expired, ended with its task or was not asked, the answer is refused \
                with 409 `input_not_open`. A value that does not fit the question's `schema` or \
                `choices`, or that is null, is refused with 400.",
            "requestBody": { "required": true, "content": json_content("NewAnswer") },
            "responses": responses(
                json!({ "201": answer("Answered", "Published") }),
                &["400", "404", "408", "409", "413", "503"]
            )
        }
    })
}

fn inputs() -> Value {
    json!({
        "get": {
            "operationId": "listInputs",
            "tags": ["questions"],
            "summary": "Open questions that one may answer, in order of their tasks' ids and of \
                their own",
            "description": "A page has at most `limit` questions. One with `next` may have fewer, \
                and none.",
            "parameters": [
                {
                    "name": "status", "in": "query",
                    "schema": { "type": "string", "enum": ["open"] }
                },
                {
                    "name": "prefix", "in": "query", "schema": { "type": "string" },
                    "description": "Only questions of tasks whose id begins so."
                },
                {
                    "name": "after", "in": "query", "schema": { "type": "string" },
                    "description": "`next` of the page before."
                },
                parameter("Limit")
            ],
            "responses": responses(json!({ "200": answer("A page", "InputPage") }), &["400", "503"])
        }
    })
}

fn links() -> Value {
    json!({
        "parameters": [parameter("TaskId"), input_id()],
        "post": {
            "operationId": "makeAnswerLink",
            "tags": ["questions"],
            "summary": "Make a link with which a person answers this question, once",
            "description": "For mails and chats. Whoever has the link may answer until it expires, \
                without a token; the answer is recorded in the name that it was made for. 404 \
                where the server has no `--answer-link-key`.",
            "requestBody": { "required": true, "content": json_content("NewAnswerLink") },
            "responses": responses(
                json!({ "201": answer("The link", "AnswerLink") }),
                &["400", "404", "408", "409", "413", "503"]
            )
        }
    })
}

fn link() -> Value {
    let page = |description: &str| {
        json!({
            "description": description,
            "content": { "text/html": { "schema": { "type": "string" } } }
        })
    };
    let none = page("It is no link of this server.");
    let over = page("The link has expired, or the question has an answer.");
    json!({
        "parameters": [{
            "name": "token", "in": "path", "required": true, "schema": { "type": "string" }
        }],
        "get": {
            "operationId": "showAnswerLink",
            "tags": ["questions"],
            "summary": "A page with the question and a form; it answers nothing",
            "responses": responses(
                json!({ "200": page("The page"), "404": none, "409": over, "503": page("Not now.") }),
                &[]
            )
        },
        "post": {
            "operationId": "answerByLink",
            "tags": ["questions"],
            "summary": "What the form of the page sends",
            "requestBody": {
                "required": true,
                "content": {
                    "application/x-www-form-urlencoded": {
                        "schema": {
                            "type": "object",
                            "properties": {
                                "value": { "type": "string", "description": "The answer as JSON." },
                                "text": { "type": "string", "description": "Or as text." }
                            }
                        }
                    }
                }
            },
            "responses": responses(
                json!({
                    "200": page("Answered."),
                    "404": none,
                    "409": over,
                    "422": page("The value does not fit; the page has the form again."),
                    "503": page("Not now.")
                }),
                &["408", "413"]
            )
        }
    })
}

fn connections() -> Value {
    json!({
        "get": {
            "operationId": "listConnections",
            "tags": ["connections"],
            "summary": "List the connected clients",
            "parameters": [{
                "name": "task", "in": "query", "schema": reference("TaskId"),
                "description": "Return only connections that watch this task."
            }],
            "responses": responses(
                json!({ "200": answer("The connections", "ConnectionList") }),
                &["400"]
            )
        }
    })
}

fn connection() -> Value {
    json!({
        "parameters": [parameter("ClientId")],
        "get": {
            "operationId": "getConnection",
            "tags": ["connections"],
            "summary": "Return the connection of a client",
            "responses": responses(
                json!({ "200": answer("The connection", "ConnectionInfo") }),
                &["400", "404", "503"]
            )
        },
        "delete": {
            "operationId": "kick",
            "tags": ["connections"],
            "summary": "Close a client's connection and delete the client's stored state",
            "responses": responses(
                json!({ "204": { "description": "The connection was closed." } }),
                &["400", "404", "503"]
            )
        }
    })
}

fn messages() -> Value {
    json!({
        "parameters": [parameter("ClientId")],
        "post": {
            "operationId": "sendMessage",
            "tags": ["connections"],
            "summary": "Send a client a personal message",
            "description": "The client receives the message at once, or when it reconnects within the offline time.",
            "requestBody": { "required": true, "content": json_content("NewPersonalMessage") },
            "responses": responses(
                json!({ "202": answer("The message is in the client's inbox", "PersonalMessageTaken") }),
                &["400", "404", "408", "413", "503"]
            )
        }
    })
}

fn backups() -> Value {
    json!({
        "post": {
            "operationId": "backUp",
            "tags": ["server"],
            "summary": "Make a backup of all stored data",
            "description": "Writes the data of one moment to a new data directory next to earlier \
                backups. Publishing continues meanwhile. The answer is sent when the backup is on \
                disk. It is 404 if no directory for backups is configured, and 409 while another \
                backup is being made.",
            "responses": responses(
                json!({ "201": answer("The backup was made", "BackupMade") }),
                &["404", "409", "503"]
            )
        }
    })
}

fn readyz() -> Value {
    let mut operation = get(
        "readyz",
        "server",
        "Readiness: whether the server accepts new connections",
        "Status",
    );
    operation["responses"]["503"] = answer("The server is shutting down", "Status");
    json!({ "get": operation })
}

fn metrics() -> Value {
    let mut operation = get("metrics", "server", "Metrics for Prometheus", "Status");
    operation["responses"]["200"]["content"] = json!({
        "text/plain": { "schema": { "type": "string" } },
        "application/openmetrics-text": { "schema": { "type": "string" } }
    });
    json!({ "get": operation })
}

fn description(id: &str, summary: &str) -> Value {
    let mut operation = get(id, "server", summary, "Status");
    operation["responses"]["200"]["content"] = json!({
        "application/json": { "schema": { "type": "object" } }
    });
    json!({ "get": operation })
}
