//! Messages as WebSocket frames.

use tidings_bus::{EventRecord, Framing};
use tidings_connections::Wire;
use tidings_protocol::CloseCode;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};

/// The framing for a bus whose events go to WebSockets. Connections can then send the bytes of the
/// log unchanged: `BusConfig::default().framing(WEBSOCKET)`.
pub const WEBSOCKET: Framing = Framing {
    name: "websocket",
    write_header: text_header,
};

/// Appends the header of an unfragmented, unmasked text frame. A server does not mask frames (RFC
/// 6455 §5.1), so the bytes are the same for every client.
fn text_header(payload_len: usize, out: &mut Vec<u8>) {
    let header = FrameHeader {
        opcode: OpCode::Data(Data::Text),
        ..FrameHeader::default()
    };
    header
        .format(payload_len as u64, out)
        .expect("writing to a Vec does not fail");
}

fn append(frame: Frame, out: &mut Vec<u8>) {
    frame.format(out).expect("writing to a Vec does not fail");
}

/// Writes frames for the server's side of a WebSocket.
pub(crate) struct WebSocketWire;

impl Wire for WebSocketWire {
    fn framing(&self) -> Option<Framing> {
        Some(WEBSOCKET)
    }

    fn event(&self, record: &EventRecord, out: &mut Vec<u8>) {
        self.control(record.json(), out);
    }

    fn control(&self, json: &str, out: &mut Vec<u8>) {
        text_header(json.len(), out);
        out.extend_from_slice(json.as_bytes());
    }

    fn ping(&self, out: &mut Vec<u8>) {
        append(Frame::ping(Vec::new()), out);
    }

    fn close(&self, code: CloseCode, reason: &str, out: &mut Vec<u8>) {
        let frame = CloseFrame {
            code: code.code().into(),
            reason: reason.into(),
        };
        append(Frame::close(Some(frame)), out);
    }

    fn answers_pings(&self) -> bool {
        true
    }

    fn name(&self) -> &'static str {
        "websocket"
    }
}
