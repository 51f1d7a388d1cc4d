//! Messages as CloudEvents in JSON format, one per text frame.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidings_bus::{EventRecord, Framing};
use tidings_connections::Wire;
use tidings_protocol::CloseCode;

use crate::websocket::WebSocketWire;

/// The attributes of a CloudEvent, in the order of the specification.
#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: &'a str,
    datacontenttype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tidingsid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tidingssource: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tidingsoffset: Option<String>,
    data: &'a RawValue,
}

/// A message of `tidings.v1`: an event or a control message.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    event_type: std::borrow::Cow<'a, str>,
    task_id: Option<std::borrow::Cow<'a, str>>,
    offset: Option<u64>,
    timestamp: std::borrow::Cow<'a, str>,
    event_id: Option<std::borrow::Cow<'a, str>>,
    source: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Writes WebSocket frames that contain CloudEvents.
pub(crate) struct CloudEventsWire;

impl CloudEventsWire {
    /// Writes one CloudEvent. The id of an event is its position. Other messages get a number as
    /// their id, because an id must not be used twice.
    fn write(json: &str, position: Option<String>, out: &mut Vec<u8>) {
        let Ok(message) = serde_json::from_str::<Message<'_>>(json) else {
            // This server has encoded the message, so this cannot happen. If it does, a message in
            // the other format is better than a missing message.
            return WebSocketWire.control(json, out);
        };
        let task = message.task_id.as_deref();
        let source = match (&position, task) {
            (Some(_), Some(task)) => format!("/api/tasks/{task}"),
            _ => "/ws".to_owned(),
        };
        let event = CloudEvent {
            specversion: "1.0",
            id: position.unwrap_or_else(control_id),
            source,
            kind: &message.event_type,
            subject: task,
            time: &message.timestamp,
            datacontenttype: "application/json",
            tidingsid: message.event_id.as_deref(),
            tidingssource: message.source.as_deref(),
            tidingsoffset: message.offset.map(|offset| offset.to_string()),
            data: message.data,
        };
        match serde_json::to_string(&event) {
            Ok(text) => WebSocketWire.control(&text, out),
            Err(_) => WebSocketWire.control(json, out),
        }
    }
}

fn control_id() -> String {
    static LIFE: OnceLock<u128> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let life = LIFE.get_or_init(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_nanos())
    });
    format!("{life:x}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Wire for CloudEventsWire {
    /// Returns `None`, because the bytes in the log cannot be sent unchanged.
    fn framing(&self) -> Option<Framing> {
        None
    }

    fn event(&self, record: &EventRecord, out: &mut Vec<u8>) {
        let position = record.task_id().map(|_| record.position().to_string());
        Self::write(record.json(), position, out);
    }

    fn control(&self, json: &str, out: &mut Vec<u8>) {
        Self::write(json, None, out);
    }

    fn ping(&self, out: &mut Vec<u8>) {
        WebSocketWire.ping(out);
    }

    fn close(&self, code: CloseCode, reason: &str, out: &mut Vec<u8>) {
        WebSocketWire.close(code, reason, out);
    }

    fn answers_pings(&self) -> bool {
        true
    }

    fn name(&self) -> &'static str {
        "websocket"
    }
}
