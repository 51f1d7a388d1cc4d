//! The upgrade of an HTTP request to a WebSocket connection.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tidings_connections::{
    AdmissionError, Admitted, AuthError, CloseReason, ConnectRequest, ConnectionGuard,
    ConnectionManager, Socket, Wire,
};
use tidings_protocol::{ControlMessage, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing::Instrument as _;
use tungstenite::handshake::server::create_response_with_body;

use crate::body::{Body, full};
use crate::problem::Problem;
use crate::service::Core;
use crate::websocket::{Driver, Incoming, StreamSocket, TcpSocket, WebSocketWire};
use crate::write_deadline::{HandshakeHold, WriteDeadline};

/// How long sending a refusal to a client may take.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);

/// The reason why a connection is closed immediately after the handshake.
struct Refused {
    reason: CloseReason,
    text: String,
}

impl From<CloseReason> for Refused {
    fn from(reason: CloseReason) -> Self {
        Self {
            reason,
            text: reason.text().to_owned(),
        }
    }
}

impl From<AuthError> for Refused {
    fn from(error: AuthError) -> Self {
        Self {
            reason: error.close_reason(),
            text: error.to_string(),
        }
    }
}

impl From<AdmissionError> for Refused {
    fn from(error: AdmissionError) -> Self {
        Self {
            reason: error.close_reason(),
            text: error.to_string(),
        }
    }
}

/// Answers with 101. When hyper has released the socket, starts the connection on a task of its
/// own. At that time the memory of the HTTP connection has been freed.
pub(crate) fn websocket<M: Incoming, B>(
    core: &Core,
    mut request: Request<B>,
    connect: ConnectRequest,
    access: Result<(), AuthError>,
) -> Result<Response<Body>, Problem> {
    let mut response =
        create_response_with_body(&request, || full(Vec::new())).map_err(|error| {
            Problem::upgrade_required(format!(
                "this route only accepts WebSocket handshakes ({error})"
            ))
        })?;
    let offered = subprotocol(request.headers(), M::SUBPROTOCOL);
    // Answer the subprotocol even if the client is refused. Otherwise a page would not see the
    // reason.
    if let Ok(Some(accepted)) = &offered {
        let name = HeaderName::from_static("sec-websocket-protocol");
        response.headers_mut().insert(name, accepted.clone());
    }
    let verdict = if core.lets_in(&request) {
        offered.map_err(Refused::from).map(drop)
    } else {
        Err(CloseReason::Policy.into())
    };
    let verdict = verdict.and_then(|()| Ok(access?));
    let manager = core.manager.clone();
    if let Some(hold) = request.extensions().get::<HandshakeHold>() {
        hold.arm();
    }
    let upgrade = hyper::upgrade::on(&mut request);
    // Log lines of this short task show the request's id.
    let span = tracing::Span::current();
    let upgrade = async move {
        match upgrade.await {
            Ok(upgraded) => {
                let admission = match verdict {
                    Ok(()) => manager.admit(connect).await.map_err(Refused::from),
                    Err(refused) => Err(refused),
                };
                start::<M>(&manager, upgraded, admission);
            }
            Err(error) => tracing::debug!(%error, "an upgrade did not take place"),
        }
    };
    core.manager.spawn(upgrade.instrument(span));
    Ok(response)
}

/// Returns the subprotocols that a client offers, in its order of preference.
pub(crate) fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Returns the subprotocol to answer with, if the client offers a known one.
///
/// A browser drops a connection whose offered subprotocol is not answered, and shows no reason. A
/// close code is more useful.
fn subprotocol(
    headers: &HeaderMap,
    spoken: &'static str,
) -> Result<Option<HeaderValue>, CloseReason> {
    let mut offered = offered(headers).peekable();
    if offered.peek().is_none() {
        return Ok(None);
    }
    if offered.any(|name| name == spoken) {
        Ok(Some(HeaderValue::from_static(spoken)))
    } else {
        Err(CloseReason::Policy)
    }
}

/// The stream of an upgraded connection.
enum Stream {
    /// A bare TCP socket, if hyper was given one, by any of its servers.
    Tcp {
        stream: TcpStream,
        /// The end of the handshake, if it is not written yet.
        held: Vec<u8>,
        /// Bytes that hyper has read after the handshake.
        early: bytes::Bytes,
    },
    Other(Upgraded),
}

fn unwrap(upgraded: Upgraded) -> Stream {
    let upgraded = match upgraded.downcast::<TokioIo<WriteDeadline>>() {
        Ok(parts) => {
            let (stream, held) = parts.io.into_inner().into_parts();
            return Stream::Tcp {
                stream,
                held,
                early: parts.read_buf,
            };
        }
        Err(upgraded) => upgraded,
    };
    let tcp = |stream: TokioIo<TcpStream>, early| {
        let stream = stream.into_inner();
        // The application's own listener may not have set this. Events are small, and must not
        // wait.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        Stream::Tcp {
            stream,
            held: Vec::new(),
            early,
        }
    };
    let upgraded = match upgraded.downcast() {
        Ok(parts) => return tcp(parts.io, parts.read_buf),
        Err(upgraded) => upgraded,
    };
    #[cfg(feature = "auto")]
    let upgraded = {
        use hyper_util::server::conn::auto::upgrade::downcast;

        let upgraded = match downcast::<TokioIo<WriteDeadline>>(upgraded) {
            Ok(parts) => {
                let (stream, held) = parts.io.into_inner().into_parts();
                let early = parts.read_buf;
                return Stream::Tcp {
                    stream,
                    held,
                    early,
                };
            }
            Err(upgraded) => upgraded,
        };
        match downcast(upgraded) {
            Ok(parts) => return tcp(parts.io, parts.read_buf),
            Err(upgraded) => upgraded,
        }
    };
    Stream::Other(upgraded)
}

fn start<M: Incoming>(
    manager: &ConnectionManager,
    upgraded: Upgraded,
    admission: Result<Admitted, Refused>,
) {
    match unwrap(upgraded) {
        Stream::Tcp {
            stream,
            held,
            early,
        } => match admission {
            Err(refused) => spawn_refusal(manager, stream, held, &refused),
            Ok(admission) => {
                let socket = Box::new(TcpSocket(stream));
                register::<M>(admission.preface(held), socket, &early);
            }
        },
        Stream::Other(upgraded) => {
            let stream = TokioIo::new(upgraded);
            match admission {
                Err(refused) => spawn_refusal(manager, stream, Vec::new(), &refused),
                Ok(admission) => {
                    register::<M>(admission, Box::new(StreamSocket::new(stream)), &[]);
                }
            }
        }
    }
}

fn register<M: Incoming>(admission: Admitted, socket: Box<dyn Socket>, early: &[u8]) {
    match admission.connect(socket, M::WIRE) {
        Ok(guard) => {
            tracing::debug!(client_id = %guard.connection().client_id(), "a client is connected");
            spawn::<M>(guard, early);
        }
        // The client was admitted just now. If it is refused by now, it sees a reset.
        Err(error) => tracing::debug!(%error, "a connection was refused"),
    }
}

fn spawn<M: Incoming>(guard: ConnectionGuard, early: &[u8]) {
    let driver = Driver::<M>::new(guard, early);
    // A tracked task would take one pointer more, which is 128 bytes for the allocator. The guard
    // has registered this task with the manager, which waits for it and can end it.
    tokio::spawn(driver);
}

/// Writes the held bytes, the error and the close. Then waits a short time for the client to read
/// them.
fn spawn_refusal<T>(manager: &ConnectionManager, mut stream: T, held: Vec<u8>, refused: &Refused)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let Refused { reason, text } = refused;
    let at = Timestamp::from(std::time::SystemTime::now());
    let mut bytes = held;
    if let Some(code) = reason.error() {
        let message = ControlMessage::error(None, code, text.as_str());
        WebSocketWire.control(&message.encode(at), &mut bytes);
    }
    let goodbye =
        ControlMessage::going_away(reason.text(), reason.reconnect(), reason.reconnect_after());
    WebSocketWire.control(&goodbye.encode(at), &mut bytes);
    WebSocketWire.close(reason.code(), reason.text(), &mut bytes);
    manager.spawn(async move {
        let tell = async {
            stream.write_all(&bytes).await?;
            stream.shutdown().await?;
            let mut rest = [0; 512];
            while stream.read(&mut rest).await? > 0 {}
            std::io::Result::Ok(())
        };
        // The result does not matter, because the connection ends either way.
        let _ = tokio::time::timeout(REFUSAL_TIMEOUT, tell).await;
    });
}
