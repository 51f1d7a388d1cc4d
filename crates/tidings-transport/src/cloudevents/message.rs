//! Messages from clients with the subprotocol `cloudevents.json`.

use std::sync::Arc;

use bytes::Bytes;
use tidings_connections::{Connection, Wire};
use tidings_protocol::{ClientMessage, ClientRequest, ErrorCode, Reference};
use tungstenite::Utf8Bytes;

use super::inbound;
use super::wire::CloudEventsWire;
use crate::websocket::Incoming;

/// A CloudEvent to publish, or a message of `tidings.v1`. CloudEvents have no way to subscribe, so
/// clients use `tidings.v1` for that.
pub(crate) struct CloudEventMessage(Utf8Bytes);

/// Translates a CloudEvent to the equivalent message of `tidings.v1`. Returns `None` if the text
/// already is one.
fn translate(text: &str) -> Result<Option<String>, (ErrorCode, String)> {
    let fields = serde_json::from_str::<Marks>(text).unwrap_or_default();
    if fields.specversion.is_none() {
        return Ok(None);
    }
    let read = inbound::one(text.as_bytes()).map_err(|problem| {
        let code = problem.code().unwrap_or(ErrorCode::InvalidMessage);
        (code, problem.detail().to_owned())
    })?;
    let task_id = match read.subject {
        Some(subject) => Some(subject.parse().map_err(|error| {
            let detail = format!("CloudEvent: `subject`: {error}");
            (ErrorCode::InvalidTaskId, detail)
        })?),
        None => None,
    };
    let event = read.event;
    let message = ClientMessage::new(ClientRequest::Publish { task_id, event });
    // The answer contains the CloudEvent's id as its reference.
    let message = match fields.id.as_ref().and_then(reference) {
        Some(reference) => message.with_reference(reference),
        None => message,
    };
    Ok(Some(message.encode()))
}

/// The fields that distinguish the two kinds of messages.
#[derive(Default, serde::Deserialize)]
struct Marks {
    specversion: Option<serde_json::Value>,
    id: Option<serde_json::Value>,
}

/// Returns `None` for an id that is longer than a reference may be.
fn reference(id: &serde_json::Value) -> Option<Reference> {
    Reference::parse(&id.to_string()).ok()
}

impl Incoming for CloudEventMessage {
    const SUBPROTOCOL: &'static str = "cloudevents.json";

    const WIRE: &'static dyn Wire = &CloudEventsWire;

    fn text(text: Utf8Bytes) -> Self {
        Self(text)
    }

    fn binary(_: Bytes) -> Option<Self> {
        None
    }

    async fn handle(connection: &Arc<Connection>, messages: Vec<Self>) {
        let messages = messages.into_iter().map(|message| message.0);
        connection.receive_translated(messages, translate).await;
    }
}
