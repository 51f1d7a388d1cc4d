//! Conversion of CloudEvents to events.

use std::collections::BTreeMap;

use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidings_protocol::{Data, ErrorCode, EventId, NewEvent, Source};

use crate::problem::Problem;

/// How an HTTP request carries CloudEvents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The body is one CloudEvent.
    Structured,
    /// The body is an array of CloudEvents.
    Batch,
    /// The attributes are in headers, and the body is the data.
    Binary,
}

/// Returns how a request carries CloudEvents, or `None` if it does not.
pub(crate) fn kind(headers: &HeaderMap) -> Option<Kind> {
    let media = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase();
    match media.split(';').next().unwrap_or_default().trim() {
        "application/cloudevents+json" => Some(Kind::Structured),
        "application/cloudevents-batch+json" => Some(Kind::Batch),
        _ if headers.contains_key("ce-specversion") => Some(Kind::Binary),
        _ => None,
    }
}

/// A CloudEvent in JSON format. Attributes of unknown extensions are ignored; only its data becomes
/// the event's data.
#[derive(Deserialize)]
struct Json<'a> {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    subject: Option<String>,
    datacontenttype: Option<String>,
    traceparent: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<&'a RawValue>,
}

/// The content of a CloudEvent.
pub(crate) struct Read {
    pub(crate) event: NewEvent,
    pub(crate) subject: Option<String>,
}

fn wrong(what: impl std::fmt::Display) -> Problem {
    Problem::new(ErrorCode::InvalidEvent, format!("CloudEvent: {what}"))
}

/// Reads a CloudEvent in JSON format.
pub(crate) fn one(bytes: &[u8]) -> Result<Read, Problem> {
    let json: Json<'_> = serde_json::from_slice(bytes).map_err(wrong)?;
    if json.data_base64.is_some() {
        return Err(wrong(
            "`data_base64` is not supported; send an object in `data`",
        ));
    }
    if let Some(media) = &json.datacontenttype
        && !is_json(media)
    {
        return Err(wrong(format!(
            "`datacontenttype` {media:?} is not supported; send application/json"
        )));
    }
    assemble(Attributes {
        specversion: json.specversion,
        id: json.id,
        source: json.source,
        kind: json.kind,
        subject: json.subject,
        traceparent: json.traceparent,
        data: json.data.map(RawValue::get),
    })
}

/// Reads a CloudEvent whose attributes are headers.
pub(crate) fn binary(headers: &HeaderMap, body: &[u8]) -> Result<Read, Problem> {
    let mut attributes = BTreeMap::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else {
            continue;
        };
        let value = value
            .to_str()
            .map_err(|_| wrong(format!("header ce-{name} is not readable as text")))?;
        let value = percent_decode_str(value)
            .decode_utf8()
            .map_err(|_| wrong(format!("header ce-{name} is not UTF-8")))?;
        attributes.insert(name.to_owned(), value.into_owned());
    }
    let media = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if let Some(media) = media
        && !body.is_empty()
        && !is_json(media)
    {
        return Err(wrong(format!(
            "data of {media} is not supported; send application/json"
        )));
    }
    let mut take = |name: &str| {
        attributes
            .remove(name)
            .ok_or_else(|| wrong(format!("header ce-{name} is missing")))
    };
    let (specversion, id, source, kind) = (
        take("specversion")?,
        take("id")?,
        take("source")?,
        take("type")?,
    );
    let text = std::str::from_utf8(body).map_err(wrong)?;
    assemble(Attributes {
        specversion,
        id,
        source,
        kind,
        subject: attributes.remove("subject"),
        traceparent: attributes.remove("traceparent"),
        data: (!text.trim().is_empty()).then_some(text),
    })
}

fn is_json(media: &str) -> bool {
    let media = media.split(';').next().unwrap_or_default().trim();
    media.eq_ignore_ascii_case("application/json") || media.ends_with("+json")
}

/// Returns one id for a source and an id within it. Different pairs always give different texts.
///
/// A source is a URI and contains no space, so the first space ends it. If a source contains spaces
/// anyway, the text starts with a space and the source's length.
fn event_id(source: &str, id: &str) -> String {
    if source.contains(' ') {
        format!(" {} {source} {id}", source.len())
    } else {
        format!("{source} {id}")
    }
}

struct Attributes<'a> {
    specversion: String,
    id: String,
    source: String,
    kind: String,
    subject: Option<String>,
    traceparent: Option<String>,
    data: Option<&'a str>,
}

fn assemble(of: Attributes<'_>) -> Result<Read, Problem> {
    if of.specversion != "1.0" {
        return Err(wrong(format!(
            "`specversion` {:?} is not supported; it is 1.0",
            of.specversion
        )));
    }
    let kind = of
        .kind
        .parse()
        .map_err(|error| wrong(format!("`type`: {error}")))?;
    let data = match of.data {
        None | Some("null") => Data::empty(),
        Some(text) => Data::parse(text).map_err(|error| wrong(format!("`data`: {error}")))?,
    };
    let id = EventId::new(event_id(&of.source, &of.id))
        .map_err(|error| wrong(format!("`source` and `id` together: {error}")))?;
    let source = Source::new(&of.source).map_err(|error| wrong(format!("`source`: {error}")))?;
    let data = match of.traceparent {
        Some(trace) => crate::trace::carry(data, &trace),
        None => data,
    };
    Ok(Read {
        event: NewEvent::new(kind, data)
            .with_event_id(id)
            .with_source(source),
        subject: of.subject,
    })
}
