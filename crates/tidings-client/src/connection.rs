//! One WebSocket that sends and receives text messages.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink, Stream as _};
use tidings_protocol::{PROTOCOL, Secret, ServerMessage};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::defaults::MAX_INCOMING_BYTES;
use crate::endpoint::Endpoint;
use crate::error::Loss;
use crate::stream::ServerStream;

/// The number of bytes read at a time. The default of tungstenite, 128 KiB, suits bulk
/// data.
const READ_BUFFER: usize = 16 * 1024;

/// The time limit for closing the connection in order.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection whose handshake is complete.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: WebSocketStream<ServerStream>,
    /// Messages that wait to be written. The state machine bounds the number that it
    /// sends without an answer.
    outgoing: VecDeque<Message>,
}

impl Connection {
    /// Connects and performs the handshake.
    pub(crate) async fn open(endpoint: Endpoint, token: Option<Secret>) -> Result<Self, Loss> {
        let unreachable = |error: tungstenite::Error| Loss::Unreachable(Arc::new(error));
        let mut request = endpoint
            .websocket()
            .into_client_request()
            .map_err(unreachable)?;
        let headers = request.headers_mut();
        headers.insert(
            header::SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(PROTOCOL),
        );
        let agent = concat!("tidings-client/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        if let Some(token) = token {
            let bearer = HeaderValue::from_str(&format!("Bearer {}", token.reveal()));
            let mut bearer = bearer.map_err(|error| unreachable(error.into()))?;
            bearer.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, bearer);
        }
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(MAX_INCOMING_BYTES))
            .max_frame_size(Some(MAX_INCOMING_BYTES));
        let stream = endpoint
            .connect()
            .await
            .map_err(|error| unreachable(error.into()))?;
        match client_async_with_config(request, stream, Some(config)).await {
            Ok((stream, _)) => Ok(Self {
                stream,
                outgoing: VecDeque::new(),
            }),
            Err(tungstenite::Error::Http(response)) => Err(Loss::Refused {
                status: response.status().as_u16(),
            }),
            Err(error) => Err(unreachable(error)),
        }
    }

    /// Queues a text. The socket sends the text as soon as it can.
    pub(crate) fn send(&mut self, text: String) {
        self.outgoing.push_back(Message::text(text));
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), tungstenite::Error> {
        while !self.outgoing.is_empty() {
            match Pin::new(&mut self.stream).poll_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return Ok(()),
            }
            if let Some(message) = self.outgoing.pop_front() {
                Pin::new(&mut self.stream).start_send(message)?;
            }
        }
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Ok(()),
        }
    }

    /// Returns the next message from the server. Meanwhile, the connection writes
    /// queued messages.
    ///
    /// # Cancel safety
    /// Dropping the future loses no message.
    pub(crate) async fn next(&mut self) -> Result<ServerMessage, Loss> {
        let broken = |error: tungstenite::Error| Loss::Broken(Arc::new(error));
        std::future::poll_fn(|cx| {
            loop {
                if let Err(error) = self.poll_write(cx) {
                    // The server may have sent messages before it closed. Read them
                    // first.
                    tracing::debug!(%error, "a write failed");
                    self.outgoing.clear();
                }
                match Pin::new(&mut self.stream).poll_next(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(Ok(Message::Text(text)))) => {
                        match ServerMessage::decode(&text) {
                            Ok(message) => return Poll::Ready(Ok(message)),
                            // A newer protocol may have sent this message. One unknown
                            // message does not justify closing the connection. If the
                            // message was an event, the client notices the missing
                            // offset.
                            Err(error) => tracing::warn!(%error, "not a message: {text:.200}"),
                        }
                    }
                    Poll::Ready(Some(Ok(Message::Close(frame)))) => {
                        return Poll::Ready(Err(closed(frame)));
                    }
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(error))),
                    Poll::Ready(None) => return Poll::Ready(Err(closed(None))),
                }
            }
        })
        .await
    }

    /// Closes the connection in order, within a time limit.
    pub(crate) async fn close(mut self) {
        let close = async {
            while !self.outgoing.is_empty() {
                std::future::poll_fn(|cx| match self.poll_write(cx) {
                    Ok(()) if !self.outgoing.is_empty() => Poll::Pending,
                    _ => Poll::Ready(()),
                })
                .await;
            }
            let _ = self.stream.close(None).await;
            while let Some(Ok(_)) = futures_util::StreamExt::next(&mut self.stream).await {}
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, close).await;
    }
}

fn closed(frame: Option<CloseFrame>) -> Loss {
    Loss::Closed {
        code: frame.as_ref().map(|frame| frame.code.into()),
        reason: frame.map_or_else(String::new, |frame| frame.reason.to_string()),
    }
}
