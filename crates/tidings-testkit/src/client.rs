//! A WebSocket client for tests. It uses an independent WebSocket implementation, and checks every
//! message that it receives.

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tidings_protocol::TaskSnapshot;
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tungstenite::Message;
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::CloseFrame;

use crate::checker::WireChecker;
use crate::server::DEADLINE;

/// A connected test client.
#[derive(Debug)]
pub struct TestClient {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    checker: WireChecker,
    closed: Option<CloseFrame>,
}

impl TestClient {
    /// Connects to a URL, or with a request that has its own headers.
    ///
    /// # Panics
    /// Panics if the handshake fails.
    pub async fn connect(request: impl IntoClientRequest + Unpin) -> Self {
        Self::connect_as(request, WireChecker::default()).await
    }

    /// Connects with a checker that knows what the URL asks for.
    ///
    /// # Panics
    /// Panics if the handshake fails.
    pub async fn connect_as(request: impl IntoClientRequest + Unpin, checker: WireChecker) -> Self {
        let (stream, _) = connect_async(request).await.expect("a WebSocket handshake");
        Self {
            stream,
            checker,
            closed: None,
        }
    }

    /// Returns the checker with everything seen so far.
    pub fn checker(&self) -> &WireChecker {
        &self.checker
    }

    /// Returns the checker, to record the client's next requests.
    pub fn checker_mut(&mut self) -> &mut WireChecker {
        &mut self.checker
    }

    /// Compares the folded state of a task with the server's state.
    ///
    /// # Panics
    /// Panics if they differ.
    pub fn assert_state(&self, server: &TaskSnapshot) {
        if let Err(violation) = self.checker.compare(server) {
            panic!("{violation}");
        }
    }

    /// Returns the close frame, if one arrived.
    pub fn closed(&self) -> Option<&CloseFrame> {
        self.closed.as_ref()
    }

    /// Sends JSON.
    ///
    /// # Panics
    /// Panics if the connection is gone.
    pub async fn send(&mut self, message: &Value) {
        self.send_raw(Message::text(message.to_string())).await;
    }

    /// Sends any WebSocket message.
    ///
    /// # Panics
    /// Panics if the connection is gone.
    pub async fn send_raw(&mut self, message: Message) {
        self.stream
            .send(message)
            .await
            .expect("the connection takes a message");
    }

    /// Returns the next message, after checking it, or `None` if the connection has ended.
    ///
    /// # Panics
    /// Panics if no message arrives in time, or if a message violates the invariant.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            let received = tokio::time::timeout(DEADLINE, self.stream.next());
            match received.await.expect("a message in time")? {
                Ok(Message::Text(text)) => match self.checker.message(&text) {
                    Ok(message) => return Some(message),
                    Err(violation) => panic!("{violation}"),
                },
                Ok(Message::Close(frame)) => self.closed = frame,
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// Returns the next message of this type. Other messages are checked and skipped.
    ///
    /// # Panics
    /// Panics like [`next`](Self::next), or if the connection ends first.
    pub async fn until(&mut self, event_type: &str) -> Value {
        loop {
            let message = self.next().await;
            let message = message.unwrap_or_else(|| panic!("{event_type} before the end"));
            if message["event_type"] == event_type {
                return message;
            }
        }
    }

    /// Reads until an event of a task with this offset has arrived, or a gap beyond it.
    ///
    /// # Panics
    /// Panics like [`next`](Self::next), or if the connection ends first.
    pub async fn until_offset(&mut self, task_id: &str, offset: u64) {
        while self
            .checker
            .task(task_id)
            .and_then(|task| task.checker.expected())
            .is_none_or(|expected| expected <= offset)
        {
            assert!(
                self.next().await.is_some(),
                "offset {offset} before the end"
            );
        }
    }

    /// Reads to the end. Returns the close code.
    ///
    /// # Panics
    /// Panics like [`next`](Self::next).
    pub async fn close_code(&mut self) -> Option<u16> {
        while self.next().await.is_some() {}
        self.closed.as_ref().map(|frame| frame.code.into())
    }

    /// Closes the connection with a close frame.
    pub async fn close(mut self) -> WireChecker {
        let _ = self.stream.close(None).await;
        while let Some(Ok(_)) = self.stream.next().await {}
        self.checker
    }

    /// Drops the connection without a close frame.
    pub fn cut(self) -> WireChecker {
        self.checker
    }
}
