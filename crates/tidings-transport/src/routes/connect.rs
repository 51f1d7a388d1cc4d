//! `GET /ws` and `GET /ws/tasks/{task_id}`, and the event streams of `GET …/events`.

use std::fmt::Display;
use std::str::FromStr;

use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::BodyExt;
use tidings_connections::{Access, AuthError, ConnectRequest, Keep, Peer};
use tidings_protocol::{ErrorCode, Secret, TaskId};
use tungstenite::Utf8Bytes;

use crate::body::Body;
use crate::cloudevents::CloudEventMessage;
use crate::problem::Problem;
use crate::query::Query;
use crate::service::{Core, PeerAddr};
use crate::sse::{SseBody, SseSocket, SseWire};
use crate::upgrade;
use crate::websocket::Incoming;

impl Core {
    /// Opens a WebSocket.
    pub(crate) fn watch<B>(
        &self,
        request: Request<B>,
        task_id: Option<TaskId>,
        access: Result<Access, AuthError>,
    ) -> Result<Response<Body>, Problem> {
        let (access, refused) = match access {
            Ok(access) => (access, Ok(())),
            Err(error) => (Access::nothing(), Err(error)),
        };
        let connect = connect_request(&request, task_id, access)?;
        let known = [Utf8Bytes::SUBPROTOCOL, CloudEventMessage::SUBPROTOCOL];
        let wanted = upgrade::offered(request.headers()).find(|name| known.contains(name));
        if wanted == Some(CloudEventMessage::SUBPROTOCOL) {
            upgrade::websocket::<CloudEventMessage, _>(self, request, connect, refused)
        } else {
            upgrade::websocket::<Utf8Bytes, _>(self, request, connect, refused)
        }
    }

    /// Opens a stream of the events of one task.
    pub(crate) async fn stream_events(
        &self,
        mut connect: ConnectRequest,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Problem> {
        // When an `EventSource` reconnects, its header is newer than the position in its URL.
        if let Some(since) = last_event_id(headers)? {
            connect.since = Some(since);
        }
        self.open_stream(connect, &SseWire::OneTask).await
    }

    /// Opens a stream of server-sent events.
    pub(crate) async fn open_stream(
        &self,
        mut connect: ConnectRequest,
        wire: &'static SseWire,
    ) -> Result<Response<Body>, Problem> {
        connect.keep_when_gone = Keep::Nothing;
        let admission = self.manager.admit(connect).await?;
        let socket = SseSocket::new();
        let guard = admission.connect(Box::new(socket.clone()), wire)?;
        let limit = self.manager.config().write_timeout;
        let mut response = Response::new(SseBody::new(guard, socket, limit).boxed_unsync());
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        );
        // `no-transform`: a proxy that compressed the stream would delay events until its block is
        // full (RFC 9111 §5.2.2.6).
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-cache, no-transform"),
        );
        // Asks nginx not to delay events until its buffer is full.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        Ok(response)
    }
}

/// Returns the connection that a request asks for, from its query and its headers.
pub(crate) fn connect_request<B>(
    request: &Request<B>,
    task_id: Option<TaskId>,
    access: Access,
) -> Result<ConnectRequest, Problem> {
    let query = Query::of(request.uri());
    let mut connect = ConnectRequest::new(access);
    connect.task_id = task_id;
    connect.client_id = query.get("client_id", ErrorCode::InvalidMessage)?;
    connect.resume_token = query.text("resume_token").map(Secret::from);
    connect.since = query.get("since", ErrorCode::InvalidMessage)?;
    connect.history = query.get("history", ErrorCode::InvalidMessage)?;
    connect.peer = peer_of(request);
    Ok(connect)
}

/// Returns the other side of a request.
pub(crate) fn peer_of<B>(request: &Request<B>) -> Peer {
    let addr = request.extensions().get::<PeerAddr>().map(|addr| addr.0);
    Peer::new(addr).user_agent(header_text(request.headers(), header::USER_AGENT.as_str()))
}

/// Returns the position at which an `EventSource` continues.
pub(crate) fn last_event_id<T: FromStr<Err: Display>>(
    headers: &HeaderMap,
) -> Result<Option<T>, Problem> {
    let last = header_text(headers, "last-event-id").map(str::parse);
    last.transpose()
        .map_err(|error| Problem::bad_request(format!("header Last-Event-ID: {error}")))
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get(name)?
        .to_str()
        .ok()
        .filter(|text| !text.is_empty())
}
