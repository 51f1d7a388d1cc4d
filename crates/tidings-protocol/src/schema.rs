//! JSON Schemas of all messages, generated from the Rust types.
//!
//! The files in `docs/schema/` contain the output of [`all`]. A test checks that they do.
//!
//! ```
//! let names: Vec<_> = tidings_protocol::schema::all().into_iter().map(|(name, _)| name).collect();
//! assert!(names.contains(&"client-message.json"));
//! ```

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::message::wire::client::ClientMessage;
use crate::message::wire::control;
use crate::{CloseCode, Event, EventType, NewEvent, TaskSnapshot, payload};

/// Implements `JsonSchema` by hand, for types whose serde is written by hand as well.
macro_rules! custom {
    ($type:ident, { $($json:tt)* }) => {
        impl ::schemars::JsonSchema for $type {
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                ::schemars::json_schema!({ $($json)* })
            }
        }
    };
}

/// Implements `JsonSchema` for text that matches a regular expression.
macro_rules! text {
    ($type:ident, $title:literal, $pattern:expr) => {
        $crate::schema::custom!($type, {
            "title": $title, "type": "string", "pattern": $pattern
        });
    };
}

/// Implements `JsonSchema` for an enum of names.
macro_rules! names {
    ($type:ident, $title:literal, [$($name:literal),+]) => {
        $crate::schema::custom!($type, {
            "title": $title, "type": "string", "enum": [$($name),+]
        });
    };
}

pub(crate) use {custom, names, text};

/// Returns every schema: the name of its file, and its text.
pub fn all() -> Vec<(&'static str, String)> {
    // Serialized values have all the keys of a type. Deserialized values may lack some.
    let settings = || SchemaSettings::draft2020_12().with_transform(RecursiveTransform(summarize));
    let written = || settings().for_serialize().into_generator();
    let read = || settings().for_deserialize().into_generator();
    [
        (
            "client-message.json",
            written().into_root_schema_for::<ClientMessage<'_>>(),
        ),
        ("server-message.json", server_message(written())),
        ("new-event.json", read().into_root_schema_for::<NewEvent>()),
        ("event-data.json", event_data(read())),
        (
            "task-snapshot.json",
            written().into_root_schema_for::<TaskSnapshot>(),
        ),
    ]
    .into_iter()
    .map(|(name, schema)| (name, format!("{:#}\n", schema.to_value())))
    .collect()
}

/// Returns the table of close codes, with the client's next step after each. The clients are
/// generated from it.
pub fn close_codes() -> String {
    let codes = CloseCode::ALL.iter().map(|code| {
        json!({
            "code": code.code(),
            "reconnect": code.reconnect(),
            "token": code.is_about_token(),
        })
    });
    let table = json!({
        "description": "What a client does after a close, unless `going_away` has told it \
            otherwise. After any other code it tries again with backoff. `token`: another token \
            may help, so a client that can get one tries once more.",
        "codes": codes.collect::<Vec<_>>(),
    });
    format!("{table:#}\n")
}

/// Keeps the first paragraph of a Rust doc comment, which is for readers of the schema.
fn summarize(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        let summary = text
            .split("\n\n")
            .next()
            .unwrap_or_default()
            .replace('\n', " ");
        *text = without_links(&summary);
    }
}

/// Replaces the links ``[`a`](b)`` and ``[`a`]`` by `` `a` ``, because a schema has no links.
fn without_links(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("[`") {
        let Some((name, after)) = after.split_once("`]") else {
            break;
        };
        plain.push_str(before);
        plain.extend(["`", name, "`"]);
        let target = after
            .strip_prefix('(')
            .and_then(|after| after.split_once(')'));
        rest = target.map_or(after, |(_, after)| after);
    }
    plain.push_str(rest);
    plain
}

/// Whether a control message has a `task_id` at its top level.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    Always,
    Sometimes,
    Never,
}

fn server_message(mut generator: SchemaGenerator) -> Schema {
    let g = &mut generator;
    let alternatives = vec![
        g.subschema_for::<Event>().to_value(),
        control::<control::ConnectionEstablished<'_>>(g, "connection_established", Task::Sometimes),
        control::<control::Subscribed<'_>>(g, "subscribed", Task::Sometimes),
        control::<control::Unsubscribed<'_>>(g, "unsubscribed", Task::Sometimes),
        control::<control::Reset<'_>>(g, "reset", Task::Always),
        control::<control::Gap<'_>>(g, "gap", Task::Sometimes),
        control::<control::Heartbeat<'_>>(g, "heartbeat", Task::Never),
        control::<control::Ack<'_>>(g, "ack", Task::Always),
        control::<control::Commanded<'_>>(g, "commanded", Task::Always),
        control::<control::Error<'_>>(g, "error", Task::Never),
        control::<control::PersonalMessage<'_>>(g, "personal_message", Task::Never),
        control::<control::Pong<'_>>(g, "pong", Task::Never),
        control::<control::GoingAway<'_>>(g, "going_away", Task::Never),
    ];
    root(
        generator,
        "ServerMessage",
        "A message from the server to a client: an event (it has an offset) or a control message.",
        "anyOf",
        &alternatives,
    )
}

fn control<T: JsonSchema>(generator: &mut SchemaGenerator, name: &str, task: Task) -> Value {
    let mut properties = Map::new();
    let mut required = vec!["event_type", "timestamp", "data"];
    properties.insert("event_type".into(), json!({ "const": name }));
    if task != Task::Never {
        let schema = generator.subschema_for::<crate::TaskId>().to_value();
        properties.insert("task_id".into(), schema);
    }
    if task == Task::Always {
        required.push("task_id");
    }
    let timestamp = generator.subschema_for::<crate::Timestamp>().to_value();
    properties.insert("timestamp".into(), timestamp);
    properties.insert("data".into(), generator.subschema_for::<T>().to_value());
    json!({ "type": "object", "properties": properties, "required": required })
}

fn event_data(mut generator: SchemaGenerator) -> Schema {
    let alternatives: Vec<Value> = EventType::STANDARD
        .iter()
        .map(|event_type| {
            let data = data_of(&mut generator, event_type);
            json!({
                "type": "object",
                "properties": { "event_type": { "const": event_type.as_str() }, "data": data },
                "required": ["event_type", "data"]
            })
        })
        .collect();
    root(
        generator,
        "EventData",
        "The data of each standard event type. Additional fields are allowed and kept.",
        "oneOf",
        &alternatives,
    )
}

fn data_of(generator: &mut SchemaGenerator, event_type: &EventType) -> Value {
    let schema = match event_type {
        EventType::TaskStarted => generator.subschema_for::<payload::TaskStarted>(),
        EventType::ProgressUpdate => generator.subschema_for::<payload::ProgressUpdate>(),
        EventType::StepStarted => generator.subschema_for::<payload::StepStarted>(),
        EventType::StepCompleted => generator.subschema_for::<payload::StepCompleted>(),
        EventType::StepFailed => generator.subschema_for::<payload::StepFailed>(),
        EventType::TaskCompleted => generator.subschema_for::<payload::TaskCompleted>(),
        EventType::TaskFailed => generator.subschema_for::<payload::TaskFailed>(),
        EventType::TaskCancelled => generator.subschema_for::<payload::TaskCancelled>(),
        EventType::AgentStatusChange => generator.subschema_for::<payload::AgentStatusChange>(),
        EventType::ToolCallStarted => generator.subschema_for::<payload::ToolCallStarted>(),
        EventType::ToolCallCompleted => generator.subschema_for::<payload::ToolCallCompleted>(),
        EventType::ToolCallFailed => generator.subschema_for::<payload::ToolCallFailed>(),
        EventType::OutputDelta => generator.subschema_for::<payload::OutputDelta>(),
        EventType::OutputCompleted => generator.subschema_for::<payload::OutputCompleted>(),
        EventType::Artifact => generator.subschema_for::<payload::Artifact>(),
        EventType::InputRequired => generator.subschema_for::<payload::InputRequired>(),
        EventType::InputProvided => generator.subschema_for::<payload::InputProvided>(),
        EventType::InputExpired => generator.subschema_for::<payload::InputExpired>(),
        EventType::ChildrenUpdate => generator.subschema_for::<payload::ChildrenUpdate>(),
        EventType::Log => generator.subschema_for::<payload::Log>(),
        EventType::CommandRequested => generator.subschema_for::<payload::CommandRequested>(),
        EventType::CommandAccepted => generator.subschema_for::<payload::CommandAccepted>(),
        EventType::CommandRejected => generator.subschema_for::<payload::CommandRejected>(),
        EventType::CommandCompleted => generator.subschema_for::<payload::CommandCompleted>(),
        EventType::TaskStalled | EventType::Custom(_) => generator.subschema_for::<crate::Data>(),
    };
    schema.to_value()
}

fn root(
    mut generator: SchemaGenerator,
    title: &str,
    description: &str,
    keyword: &str,
    alternatives: &[Value],
) -> Schema {
    let definitions = generator.take_definitions(true);
    schemars::json_schema!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "description": description,
        keyword: alternatives,
        "$defs": definitions
    })
}
