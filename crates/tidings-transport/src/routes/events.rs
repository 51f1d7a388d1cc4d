//! `/api/tasks/{task_id}/events`: publishes events, reads history, and streams.

use std::net::SocketAddr;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use tidings_bus::{HistoryPage, Published};
use tidings_connections::{Access, Permission};
use tidings_protocol::{ErrorCode, EventId, NewEvent, Since, TaskId};

use super::batch;
use super::commands::BY;
use super::connect::connect_request;
use super::filter::{EventFilter, Scanned};
use super::page::{BYTES_A_UNIT, MAX_PAGE_BYTES};
use crate::body::{self, Body, held_json, json};
use crate::cloudevents;
use crate::problem::{Problem, unavailable};
use crate::query::{self, Query};
use crate::service::{BoxError, Core, PeerAddr};
use crate::trace;

/// The default number of events on a page of history.
const DEFAULT_LIMIT: usize = 100;

/// The most events on a page of history.
const MAX_LIMIT: usize = 1_000;

/// The units of work that are charged before a page of history is read. The real cost is known only
/// afterwards.
const RESERVED_UNITS: usize = 64;

/// One answer of a batch.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Published(Published),
    Problem(Problem),
}

/// The content of a request's body.
enum Publish {
    One(Box<NewEvent>),
    Many(Vec<Result<NewEvent, Problem>>),
}

impl Publish {
    /// Adds the publisher's trace to the events.
    fn in_trace(self, parent: Option<&str>) -> Self {
        let Some(parent) = parent else {
            return self;
        };
        let carry = |mut event: NewEvent| {
            event.data = trace::carry(event.data, parent);
            event
        };
        match self {
            Self::One(event) => Self::One(Box::new(carry(*event))),
            Self::Many(events) => {
                Self::Many(events.into_iter().map(|event| event.map(carry)).collect())
            }
        }
    }
}

impl Core {
    /// Returns history as JSON, or a live stream as SSE, depending on what the client accepts.
    pub(crate) async fn get_events<B>(
        &self,
        request: Request<B>,
        id: &str,
        access: Access,
    ) -> Result<Response<Body>, Problem> {
        let task_id = query::task_id(id)?;
        access.check(Permission::Watch, &task_id)?;
        let connect = wants_stream(request.headers())
            .then(|| connect_request(&request, Some(task_id.clone()), access.clone()))
            .transpose()?;
        // Drop the body before the first await, because it need not be `Sync`.
        let (parts, _) = request.into_parts();
        if let Some(connect) = connect {
            return self.stream_events(connect, &parts.headers).await;
        }
        let query = Query::of(&parts.uri);
        let since: Option<Since> = query.get("since", ErrorCode::InvalidMessage)?;
        let limit = query
            .get::<usize>("limit", ErrorCode::InvalidMessage)?
            .unwrap_or(DEFAULT_LIMIT)
            .clamp(1, MAX_LIMIT);
        let bus = self.manager.bus();
        bus.fetch(&task_id, since.as_ref())
            .await
            .map_err(unavailable)?;
        let addr = parts.extensions.get().map(|PeerAddr(addr)| *addr);
        self.manager
            .reserve_work(&access, addr, RESERVED_UNITS)
            .await?;
        let read = match EventFilter::of(&query)? {
            Some(filter) => filter.page(bus, &task_id, since, limit).await,
            None => bus
                .history_within(
                    &task_id,
                    since,
                    (limit, MAX_PAGE_BYTES),
                    self.manager.config().skip,
                )
                .await
                .map(Scanned::of),
        };
        let Scanned { page, events } = read.ok_or_else(|| Problem::task_not_found(&task_id))?;
        let text = encode_page(&page);
        let units = events + text.len() / BYTES_A_UNIT;
        self.manager
            .note_work(&access, addr, units.saturating_sub(RESERVED_UNITS));
        self.manager
            .spare_work(&access, addr, RESERVED_UNITS.saturating_sub(units.max(1)));
        held_json(StatusCode::OK, text, &self.manager.account(&access, addr))
    }

    /// Publishes one event, an array, or NDJSON.
    pub(crate) async fn publish<B>(
        &self,
        request: Request<B>,
        id: &str,
        access: &Access,
    ) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let task_id = query::task_id(id)?;
        // Check the permission before reading the body.
        access.check(Permission::Publish, &task_id)?;
        let (
            Parts {
                headers,
                extensions,
                ..
            },
            body,
        ) = request.into_parts();
        let key = idempotency_key(&headers)?;
        let cloud = cloudevents::kind(&headers);
        let lines = cloud.is_none() && is_ndjson(&headers)?;
        let addr = extensions.get().map(|PeerAddr(addr)| *addr);
        let bytes = self.read_body_of(&headers, addr, body, access).await?;
        self.manager.note_task(access, addr, &task_id)?;
        let publish = match cloud {
            None => parse(&bytes, lines)?,
            Some(kind) => parse_cloudevents(kind, &headers, &bytes)?,
        };
        match publish.in_trace(trace::parent(&headers)) {
            Publish::One(mut event) => {
                if event.event_id.is_none() {
                    event.event_id = key;
                }
                access.check_publish(&task_id, &mut event, BY)?;
                let account = self.manager.account(access, addr);
                let bus = self.manager.bus();
                let published = bus.publish_for(&account, &task_id, *event).await?;
                Ok(json(StatusCode::CREATED, &published))
            }
            Publish::Many(events) => self.publish_many(&task_id, events, key, access, addr).await,
        }
    }

    async fn publish_many(
        &self,
        task_id: &TaskId,
        events: Vec<Result<NewEvent, Problem>>,
        key: Option<EventId>,
        access: &Access,
        addr: Option<SocketAddr>,
    ) -> Result<Response<Body>, Problem> {
        let ids = key.map(|key| batch_ids(&key, events.len())).transpose()?;
        let mut allowed = Vec::with_capacity(events.len());
        // The refused events, by their place. The published ones are filled in below.
        let mut refused = Vec::with_capacity(events.len());
        for (number, event) in events.into_iter().enumerate() {
            let event = event.and_then(|mut event| {
                if event.event_id.is_none() {
                    event.event_id = ids.as_ref().map(|ids| ids[number].clone());
                }
                self.manager.note_request(access, addr)?;
                access.check_publish(task_id, &mut event, BY)?;
                Ok(event)
            });
            refused.push(match event {
                Ok(event) => {
                    allowed.push((task_id.clone(), event));
                    None
                }
                Err(problem) => Some(problem),
            });
        }
        let account = self.manager.account(access, addr);
        let bus = self.manager.bus();
        let mut published = bus.publish_batch_for(&account, allowed).await.into_iter();
        let answers = refused.into_iter().filter_map(|refused| match refused {
            Some(problem) => Some(Answer::Problem(batch::answer(problem))),
            None => Some(match published.next()? {
                Ok(published) => Answer::Published(published),
                Err(error) => Answer::Problem(batch::answer(error.into())),
            }),
        });
        let answers: Vec<Answer> = answers.collect();
        let refused = |answer: &Answer| matches!(answer, Answer::Problem(_));
        let status = if answers.iter().any(refused) {
            StatusCode::MULTI_STATUS
        } else {
            StatusCode::CREATED
        };
        let json = serde_json::to_vec(&answers)
            .map_err(|error| Problem::new(ErrorCode::Unavailable, error.to_string()))?;
        held_json(status, json, &account)
    }

    /// Reads a request's body within the limits of this service, and charges it to the client. If
    /// the length is known, the charge comes before the reading.
    pub(crate) async fn read_body<B>(
        &self,
        request: Request<B>,
        access: &Access,
    ) -> Result<Bytes, Problem>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (
            Parts {
                headers,
                extensions,
                ..
            },
            body,
        ) = request.into_parts();
        let addr = extensions.get().map(|PeerAddr(addr)| *addr);
        self.read_body_of(&headers, addr, body, access).await
    }

    /// Reads the body of a request with these headers, as [`read_body`](Self::read_body) does.
    async fn read_body_of<B>(
        &self,
        headers: &HeaderMap,
        addr: Option<SocketAddr>,
        body: B,
        access: &Access,
    ) -> Result<Bytes, Problem>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let config = &self.config;
        let codings = headers.get_all(header::CONTENT_ENCODING);
        let is_plain = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"identity");
        if !codings.iter().all(is_plain) {
            return Err(Problem::unsupported_media(
                "a Content-Encoding is not supported; send the body without one",
            ));
        }
        let announced = body.size_hint().exact();
        let announced = announced.and_then(|bytes| usize::try_from(bytes).ok());
        let announced = announced.filter(|bytes| *bytes <= config.max_body_bytes);
        if let Some(count) = announced {
            self.manager.note_bytes(access, addr, count)?;
        }
        let bytes = body::read(body, config.max_body_bytes, config.body_read_timeout).await?;
        if announced.is_none() {
            self.manager.note_bytes(access, addr, bytes.len())?;
        }
        Ok(bytes)
    }
}

/// Parses a body that is a JSON object. An error says where it went wrong.
pub(crate) fn parse_json<'a, T: Deserialize<'a>>(
    bytes: &'a [u8],
    code: ErrorCode,
) -> Result<T, Problem> {
    // serde would read the fields of a struct from an array, too.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        let detail = "the body: expected a JSON object, found an array";
        return Err(Problem::new(code, detail.to_owned()));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let code = if error.is_data() {
            code
        } else {
            ErrorCode::InvalidMessage
        };
        Problem::new(code, format!("the body: {error}"))
    })
}

fn parse(bytes: &[u8], lines: bool) -> Result<Publish, Problem> {
    let event = |bytes: &[u8]| parse_json::<NewEvent>(bytes, ErrorCode::InvalidEvent);
    if lines {
        let lines = batch::lines(bytes)?;
        return Ok(Publish::Many(lines.into_iter().map(event).collect()));
    }
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        let items = batch::array(bytes)?.into_iter();
        let events = items.map(|item| event(item.get().as_bytes()));
        return Ok(Publish::Many(events.collect()));
    }
    event(bytes).map(|event| Publish::One(Box::new(event)))
}

fn parse_cloudevents(
    kind: cloudevents::Kind,
    headers: &HeaderMap,
    bytes: &[u8],
) -> Result<Publish, Problem> {
    let one = |read: Result<cloudevents::Read, Problem>| read.map(|read| read.event);
    match kind {
        cloudevents::Kind::Structured => {
            one(cloudevents::one(bytes)).map(|event| Publish::One(Box::new(event)))
        }
        cloudevents::Kind::Binary => {
            one(cloudevents::binary(headers, bytes)).map(|event| Publish::One(Box::new(event)))
        }
        cloudevents::Kind::Batch => {
            let items = batch::array(bytes)?.into_iter();
            let events = items.map(|item| one(cloudevents::one(item.get().as_bytes())));
            Ok(Publish::Many(events.collect()))
        }
    }
}

fn is_ndjson(headers: &HeaderMap) -> Result<bool, Problem> {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return Ok(false);
    };
    let kind = kind
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    // curl sends the form type by default, so look at the body instead.
    match kind.to_ascii_lowercase().as_str() {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(true),
        "application/json" | "application/x-www-form-urlencoded" | "text/plain" | "" => Ok(false),
        other => Err(Problem::unsupported_media(format!(
            "{other} is not supported; send application/json or application/x-ndjson"
        ))),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<EventId>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let text = value
        .to_str()
        .map_err(|_| Problem::bad_request("header Idempotency-Key: not readable as text"))?;
    // The draft standard quotes the key as a structured-field string. Most clients do not.
    let text = text.trim().trim_matches('"');
    EventId::new(text)
        .map(Some)
        .map_err(|error| Problem::bad_request(format!("header Idempotency-Key: {error}")))
}

/// Returns the ids of a batch's events: `key:0`, `key:1`, …
fn batch_ids(key: &EventId, count: usize) -> Result<Vec<EventId>, Problem> {
    let ids = (0..count).map(|number| EventId::new(format!("{key}:{number}")));
    ids.collect::<Result<_, _>>().map_err(|error| {
        Problem::bad_request(format!(
            "header Idempotency-Key: each event of a batch gets `key:number` as its id, and \
             {error}; use a shorter key"
        ))
    })
}

fn wants_stream(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.to_ascii_lowercase().contains("text/event-stream"))
}

/// Encodes a page as JSON. The bytes of events are copied from the log.
fn encode_page(page: &HistoryPage) -> String {
    let events: Vec<_> = page
        .events
        .iter()
        .map(tidings_bus::EventRecord::json)
        .collect();
    let mut text = format!("{{\"events\":[{}]", events.join(","));
    if let Some(gap) = &page.gap {
        text.push_str(",\"gap\":");
        text.push_str(&serde_json::to_string(gap).unwrap_or_else(|_| "null".to_owned()));
    }
    text.push_str(&format!(",\"next\":\"{}\"}}", page.next));
    text
}
