//! What messages are for: the one thing in which an echo differs from a session.

use std::sync::Arc;

use bytes::Bytes;
use tidings_connections::{Connection, Wire};
use tungstenite::Utf8Bytes;

use super::WebSocketWire;

/// A message as one kind of connection takes it.
pub(crate) trait Incoming: Sized + Send + 'static {
    /// What it is negotiated by.
    const SUBPROTOCOL: &'static str;

    /// How such a connection is written to.
    const WIRE: &'static dyn Wire;

    fn text(text: Utf8Bytes) -> Self;

    /// None where binary messages end the connection.
    fn binary(bytes: Bytes) -> Option<Self>;

    /// Does what messages ask for, in order.
    fn handle(connection: &Arc<Connection>, messages: Vec<Self>)
    -> impl Future<Output = ()> + Send;
}

/// The messages of `tidings.v1`, which are text.
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
