//! A connection that echoes messages, for protocol test suites.
//!
//! It shares everything with a session except the meaning of messages: the handshake, the socket,
//! the parser, the frames, the waiting bytes, and the close.

use std::sync::Arc;

use bytes::Bytes;
use tidings_bus::{EventRecord, Framing};
use tidings_connections::{Connection, Wire};
use tidings_protocol::CloseCode;
use tungstenite::Utf8Bytes;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use super::WebSocketWire;
use super::incoming::Incoming;

/// A message that is sent back unchanged.
pub(crate) enum Echoed {
    Text(Utf8Bytes),
    Binary(Bytes),
}

impl Incoming for Echoed {
    const SUBPROTOCOL: &'static str = "echo";

    const WIRE: &'static dyn Wire = &EchoWire;

    fn text(text: Utf8Bytes) -> Self {
        Self::Text(text)
    }

    fn binary(bytes: Bytes) -> Option<Self> {
        Some(Self::Binary(bytes))
    }

    async fn handle(connection: &Arc<Connection>, messages: Vec<Self>) {
        let mut bytes = Vec::new();
        for message in &messages {
            let (data, payload) = match message {
                Self::Text(text) => (Data::Text, text.as_bytes()),
                Self::Binary(payload) => (Data::Binary, &payload[..]),
            };
            let header = FrameHeader {
                opcode: OpCode::Data(data),
                ..FrameHeader::default()
            };
            header
                .format(payload.len() as u64, &mut bytes)
                .expect("writing to a Vec does not fail");
            bytes.extend_from_slice(payload);
        }
        if !bytes.is_empty() {
            connection.send_framed(&bytes);
        }
    }
}

/// Writes a session's frames without its own messages, which a test suite does not expect.
struct EchoWire;

impl Wire for EchoWire {
    fn framing(&self) -> Option<Framing> {
        WebSocketWire.framing()
    }

    fn event(&self, _: &EventRecord, _: &mut Vec<u8>) {}

    fn control(&self, _: &str, _: &mut Vec<u8>) {}

    fn ping(&self, out: &mut Vec<u8>) {
        WebSocketWire.ping(out);
    }

    fn close(&self, code: CloseCode, reason: &str, out: &mut Vec<u8>) {
        WebSocketWire.close(code, reason, out);
    }

    fn answers_pings(&self) -> bool {
        true
    }

    fn name(&self) -> &'static str {
        "echo"
    }
}
