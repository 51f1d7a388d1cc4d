//! The meaning of messages, which is the only difference between an echo and a session.

use std::sync::Arc;

use bytes::Bytes;
use tidings_connections::{Connection, Wire};
use tungstenite::Utf8Bytes;

use super::WebSocketWire;

/// A message in the form that one kind of connection receives.
pub(crate) trait Incoming: Sized + Send + 'static {
    /// The subprotocol that selects this kind of connection.
    const SUBPROTOCOL: &'static str;

    /// The wire format for messages to the client.
    const WIRE: &'static dyn Wire;

    fn text(text: Utf8Bytes) -> Self;

    /// Returns `None` if binary messages end the connection.
    fn binary(bytes: Bytes) -> Option<Self>;

    /// Handles messages in order.
    fn handle(connection: &Arc<Connection>, messages: Vec<Self>)
    -> impl Future<Output = ()> + Send;
}

/// The messages of `tidings.v1` are text.
impl Incoming for Utf8Bytes {
    const SUBPROTOCOL: &'static str = "tidings.v1";

    const WIRE: &'static dyn Wire = &WebSocketWire;

    fn text(text: Utf8Bytes) -> Self {
        text
    }

    fn binary(_: Bytes) -> Option<Self> {
        None
    }

    async fn handle(connection: &Arc<Connection>, messages: Vec<Self>) {
        connection.receive_all(messages).await;
    }
}
