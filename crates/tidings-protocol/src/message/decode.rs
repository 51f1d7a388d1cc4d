//! Decoding of client messages.
//!
//! The envelope is parsed once, and its fields stay raw text. The message's `type` then decides how
//! each field is read. An error can therefore name the field and contain the
//! reference. An event's data is scanned once and copied once.

use std::borrow::Cow;
use std::str::FromStr;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::wire::client::Kind;
use super::{ClientMessage, ClientRequest, Reference, Target};
use crate::payload::check_command_name;
use crate::{Data, ErrorCode, EventType, Json, Limits, NewEvent, TaskId};

/// The reason why a client's message cannot be decoded. The connection stays open. The server
/// answers with `message`, and with the reference if that was readable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct DecodeError {
    /// The kind of error.
    pub code: ErrorCode,
    /// The problem and its place, for the author of the client.
    pub message: Cow<'static, str>,
    /// The client's reference from the message.
    pub reference: Option<Reference>,
}

impl DecodeError {
    fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            reference: None,
        }
    }

    fn field(code: ErrorCode, field: &str, problem: impl std::fmt::Display) -> Self {
        Self::new(code, format!("`{field}`: {problem}"))
    }

    fn missing(code: ErrorCode, kind: Kind, field: &str) -> Self {
        Self::new(code, format!("`{}` needs `{field}`", kind.as_str()))
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, rename = "ref")]
    reference: Option<&'a RawValue>,
    #[serde(borrow)]
    task_id: Option<&'a RawValue>,
    #[serde(borrow)]
    pattern: Option<&'a RawValue>,
    #[serde(borrow)]
    tree: Option<&'a RawValue>,
    #[serde(borrow)]
    event_type: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    event_id: Option<&'a RawValue>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow)]
    producer: Option<&'a RawValue>,
    #[serde(borrow)]
    run: Option<&'a RawValue>,
    #[serde(borrow)]
    since: Option<&'a RawValue>,
    #[serde(borrow)]
    history: Option<&'a RawValue>,
    #[serde(borrow)]
    command: Option<&'a RawValue>,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
    #[serde(borrow)]
    input_id: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
}

impl ClientMessage {
    /// Decodes a client's message.
    ///
    /// # Errors
    /// Returns `too_large`, `invalid_message`, `unknown_type`, `invalid_task_id` or
    /// `invalid_event`. The error's text names the problem and its place.
    pub fn decode(text: &str, limits: &Limits) -> Result<Self, DecodeError> {
        let envelope = Envelope::read(text, limits)?;
        let reference = envelope.reference()?;
        match envelope.request() {
            Ok(kind) => Ok(Self { reference, kind }),
            Err(error) => Err(DecodeError { reference, ..error }),
        }
    }
}

impl<'a> Envelope<'a> {
    fn read(text: &'a str, limits: &Limits) -> Result<Self, DecodeError> {
        let max = limits.max_message_bytes;
        if text.len() > max {
            let problem = format!("the message has {} bytes, {max} are allowed", text.len());
            return Err(DecodeError::new(ErrorCode::TooLarge, problem));
        }
        let invalid = |error: serde_json::Error| {
            DecodeError::new(ErrorCode::InvalidMessage, format!("not a message: {error}"))
        };
        // Serde would also accept an array as a struct.
        if !text.trim_start().starts_with('{') {
            serde_json::from_str::<&RawValue>(text).map_err(invalid)?;
            return Err(DecodeError::new(
                ErrorCode::InvalidMessage,
                "not a message: expected a JSON object",
            ));
        }
        serde_json::from_str(text).map_err(invalid)
    }

    fn reference(&self) -> Result<Option<Reference>, DecodeError> {
        self.reference
            .map(Reference::from_raw)
            .transpose()
            .map_err(|error| DecodeError::field(ErrorCode::InvalidMessage, "ref", error))
    }

    fn request(&self) -> Result<ClientRequest, DecodeError> {
        match self.kind()? {
            Kind::Ping => Ok(ClientRequest::Ping),
            Kind::Publish => Ok(ClientRequest::Publish {
                task_id: self.task_id()?,
                event: self.event()?,
            }),
            Kind::Subscribe => Ok(ClientRequest::Subscribe {
                target: self.target()?,
                since: self.optional("since", self.since)?,
                history: self.optional("history", self.history)?,
            }),
            Kind::Unsubscribe => Ok(ClientRequest::Unsubscribe {
                target: self.target()?,
            }),
            Kind::Command => {
                let command: String = self.required(Kind::Command, "command", self.command)?;
                check_command_name(&command).map_err(|broken| {
                    let problem = format!("expected {}", broken.expected);
                    DecodeError::field(ErrorCode::InvalidMessage, broken.field, problem)
                })?;
                let args = self
                    .args
                    .map(|args| object("args", args, ErrorCode::InvalidMessage));
                let args = args.transpose()?;
                Ok(ClientRequest::Command {
                    task_id: self.task_id()?,
                    command,
                    args,
                    tree: self.optional("tree", self.tree)?.unwrap_or(false),
                })
            }
            Kind::Answer => Ok(ClientRequest::Answer {
                task_id: self.task_id()?,
                input_id: self.required(Kind::Answer, "input_id", self.input_id)?,
                value: self.answer()?,
            }),
            Kind::Authenticate => Ok(ClientRequest::Authenticate {
                token: self.required(Kind::Authenticate, "token", self.token)?,
            }),
        }
    }

    fn kind(&self) -> Result<Kind, DecodeError> {
        let raw = self.kind.ok_or_else(|| {
            DecodeError::new(ErrorCode::InvalidMessage, "a message needs a `type`")
        })?;
        if let Some(kind) = plain(raw).and_then(Kind::find) {
            return Ok(kind);
        }
        let name: Cow<'_, str> = read("type", raw, ErrorCode::InvalidMessage)?;
        Kind::find(&name).ok_or_else(|| {
            let shown: String = name.chars().take(64).collect();
            DecodeError::new(
                ErrorCode::UnknownType,
                format!(
                    "no message has the type {shown:?}; there are ping, publish, subscribe, \
                     unsubscribe, answer, command and authenticate"
                ),
            )
        })
    }

    fn task_id(&self) -> Result<Option<TaskId>, DecodeError> {
        self.task_id
            .map(|raw| text("task_id", raw, ErrorCode::InvalidTaskId))
            .transpose()
    }

    fn target(&self) -> Result<Option<Target>, DecodeError> {
        const CODE: ErrorCode = ErrorCode::InvalidTaskId;
        match (self.task_id()?, self.pattern, self.tree) {
            (None, None, None) => Ok(None),
            (Some(task_id), None, None) => Ok(Some(Target::Task(task_id))),
            (None, Some(raw), None) => {
                read("pattern", raw, CODE).map(|pattern| Some(Target::Pattern(pattern)))
            }
            (None, None, Some(raw)) => {
                text("tree", raw, CODE).map(|task_id| Some(Target::Tree(task_id)))
            }
            _ => Err(DecodeError::new(
                ErrorCode::InvalidMessage,
                "give only one of `task_id`, `pattern` and `tree`",
            )),
        }
    }

    fn event(&self) -> Result<NewEvent, DecodeError> {
        const CODE: ErrorCode = ErrorCode::InvalidEvent;
        let event_type = self
            .event_type
            .ok_or_else(|| DecodeError::missing(CODE, Kind::Publish, "event_type"))?;
        let event_type: EventType = text("event_type", event_type, CODE)?;
        let data = match self.data {
            Some(raw) => object("data", raw, CODE)?,
            None => Data::empty(),
        };
        let mut event = NewEvent::new(event_type, data);
        event.event_id = self
            .event_id
            .map(|raw| text("event_id", raw, CODE))
            .transpose()?;
        event.source = self
            .source
            .map(|raw| text("source", raw, CODE))
            .transpose()?;
        event.producer = self
            .producer
            .map(|raw| read("producer", raw, CODE))
            .transpose()?;
        event.run = self
            .run
            .map(|raw| read("run", raw, CODE))
            .transpose()?
            .flatten();
        Ok(event)
    }

    /// Reads the value of an answer. `null` counts as missing.
    fn answer(&self) -> Result<Json, DecodeError> {
        let value = self.optional("value", self.value)?;
        value.ok_or_else(|| {
            let message = "`answer` needs `value`: any JSON value but null";
            DecodeError::new(ErrorCode::InvalidMessage, message)
        })
    }

    fn optional<T: Deserialize<'a>>(
        &self,
        field: &str,
        raw: Option<&'a RawValue>,
    ) -> Result<Option<T>, DecodeError> {
        raw.map(|raw| read(field, raw, ErrorCode::InvalidMessage))
            .transpose()
    }

    fn required<T: Deserialize<'a>>(
        &self,
        kind: Kind,
        field: &str,
        raw: Option<&'a RawValue>,
    ) -> Result<T, DecodeError> {
        let raw =
            raw.ok_or_else(|| DecodeError::missing(ErrorCode::InvalidMessage, kind, field))?;
        read(field, raw, ErrorCode::InvalidMessage)
    }
}

/// Returns the content of a string without escapes. Nearly all strings have none, so the text
/// between the quotes needs no second parse.
fn plain(raw: &RawValue) -> Option<&str> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    (!inner.contains('\\')).then_some(inner)
}

/// Reads a type whose wire form is text.
fn text<'a, T: FromStr + Deserialize<'a>>(
    field: &str,
    raw: &'a RawValue,
    code: ErrorCode,
) -> Result<T, DecodeError> {
    match plain(raw).map(str::parse) {
        Some(Ok(value)) => Ok(value),
        // Parse the field again, because serde then words the error.
        _ => read(field, raw, code),
    }
}

fn read<'a, T: Deserialize<'a>>(
    field: &str,
    raw: &'a RawValue,
    code: ErrorCode,
) -> Result<T, DecodeError> {
    serde_json::from_str(raw.get()).map_err(|error| DecodeError::field(code, field, error))
}

fn object(field: &str, raw: &RawValue, code: ErrorCode) -> Result<Data, DecodeError> {
    Data::from_raw(raw).map_err(|error| DecodeError::field(code, field, error))
}
