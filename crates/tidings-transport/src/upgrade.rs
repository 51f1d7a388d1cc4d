//! From an HTTP request to a WebSocket connection.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tidings_connections::{
    AdmissionError, AuthError, CloseReason, ConnectRequest, ConnectionGuard, ConnectionManager,
    Socket, Wire,
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

/// How long a client may take to be told that it is refused.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a connection ends as it begins.
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

/// Answers with 101 and, once hyper has let go of the socket, starts the
/// connection on a task of its own; the HTTP connection's memory is gone by then.
pub(crate) fn websocket<M: Incoming, B>(
    core: &Core,
    mut request: Request<B>,
    mut connect: ConnectRequest,
    access: Result<(), AuthError>,
) -> Result<Response<Body>, Problem> {
    let mut response =
        create_response_with_body(&request, || full(Vec::new())).map_err(|error| {
            Problem::upgrade_required(format!(
                "only WebSocket handshakes are answered here ({error})"
            ))
        })?;
    let offered = subprotocol(request.headers(), M::SUBPROTOCOL);
    // Answered to who is refused as well, or a page would never hear why.
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
    // Under the request's id in logs, as long as this short task lives.
    let span = tracing::Span::current();
    let upgrade = async move {
        match upgrade.await {
            Ok(upgraded) => {
                let refusal = match verdict {
                    Ok(_) => manager.prepare(&mut connect).await.err().map(Refused::from),
                    Err(refused) => Some(refused),
                };
                start::<M>(&manager, upgraded, connect, refusal);
            }
            Err(error) => tracing::debug!(%error, "an upgrade did not take place"),
        }
    };
    core.tracker.spawn(upgrade.instrument(span));
    Ok(response)
}

/// The subprotocols that a client asks for, the one it likes best first.
pub(crate) fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// The subprotocol to answer with, if the client asks for one.
///
/// A browser fails a connection whose subprotocol is not answered, without a
/// word; a close code says more.
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

/// The stream under an upgraded connection.
enum Stream {
    /// A bare TCP socket, where that is what hyper was given, by whichever of its
    /// servers.
    Tcp {
        stream: TcpStream,
        /// The end of the handshake, where it has still to be written.
        held: Vec<u8>,
        /// What hyper has read beyond the handshake.
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
        // A listener of somebody else's: events are small and must not wait for more.
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
    mut connect: ConnectRequest,
    refusal: Option<Refused>,
) {
    let refusal = refusal.or_else(|| manager.check(&connect).err().map(Refused::from));
    match unwrap(upgraded) {
        Stream::Tcp {
            stream,
            held,
            early,
        } => match refusal {
            Some(refused) => spawn_refusal(stream, held, &refused),
            None => {
                connect.preface = held;
                register::<M>(manager, connect, Box::new(TcpSocket(stream)), &early);
            }
        },
        Stream::Other(upgraded) => {
            let stream = TokioIo::new(upgraded);
            match refusal {
                Some(refused) => spawn_refusal(stream, Vec::new(), &refused),
                None => register::<M>(manager, connect, Box::new(StreamSocket::new(stream)), &[]),
            }
        }
    }
}

fn register<M: Incoming>(
    manager: &ConnectionManager,
    connect: ConnectRequest,
    socket: Box<dyn Socket>,
    early: &[u8],
) {
    match manager.connect(connect, socket, M::WIRE) {
        Ok(guard) => {
            tracing::debug!(client_id = %guard.connection().client_id(), "a client is connected");
            spawn::<M>(guard, early);
        }
        // Decided anew since the check a moment ago; the client sees a reset.
        Err(error) => tracing::debug!(%error, "a connection was refused"),
    }
}

fn spawn<M: Incoming>(guard: ConnectionGuard, early: &[u8]) {
    let driver = Driver::<M>::new(guard, early);
    // Not tracked with the HTTP tasks: its guard is its registration, and the
    // manager's drain waits for that.
    tokio::spawn(driver);
}

/// Writes what is held, says why, closes, and waits a moment for the client to
/// hear it.
fn spawn_refusal<T>(mut stream: T, held: Vec<u8>, refused: &Refused)
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
    tokio::spawn(async move {
        let tell = async {
            stream.write_all(&bytes).await?;
            stream.shutdown().await?;
            let mut rest = [0; 512];
            while stream.read(&mut rest).await? > 0 {}
            std::io::Result::Ok(())
        };
        // Whether it heard us changes nothing here.
        let _ = tokio::time::timeout(REFUSAL_TIMEOUT, tell).await;
    });
}
