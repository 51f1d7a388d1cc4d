//! The simplest wire format, one message per line, for tests of connections without a transport.

use tidings_bus::{EventRecord, Framing};
use tidings_connections::Wire;
use tidings_protocol::CloseCode;

/// Puts a newline *in front* of each message. The bytes of the log can then be sent as they are, as
/// with the headers of WebSocket frames.
pub const LINES: Framing = Framing {
    name: "lines",
    write_header: |_, out| out.push(b'\n'),
};

/// Encodes messages as lines.
#[derive(Debug, Clone, Copy)]
pub struct LineWire;

impl Wire for LineWire {
    fn framing(&self) -> Option<Framing> {
        Some(LINES)
    }

    fn event(&self, record: &EventRecord, out: &mut Vec<u8>) {
        self.control(record.json(), out);
    }

    fn control(&self, json: &str, out: &mut Vec<u8>) {
        out.push(b'\n');
        out.extend_from_slice(json.as_bytes());
    }

    fn ping(&self, _: &mut Vec<u8>) {}

    fn close(&self, _: CloseCode, _: &str, _: &mut Vec<u8>) {}

    fn answers_pings(&self) -> bool {
        false
    }

    fn name(&self) -> &'static str {
        "lines"
    }
}

/// Assembles lines from received bytes.
#[derive(Debug, Default, Clone)]
pub struct LineReader {
    partial: Vec<u8>,
}

impl LineReader {
    /// Adds bytes. Returns the messages that are complete now.
    ///
    /// A message is complete when its braces are closed. The newline comes before a message, so no
    /// newline follows the last one.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        self.partial.extend_from_slice(bytes);
        let mut lines = Vec::new();
        while let Some(start) = self.partial.iter().position(|byte| *byte == b'\n') {
            let rest = &self.partial[start + 1..];
            let end = rest.iter().position(|byte| *byte == b'\n');
            let line = &rest[..end.unwrap_or(rest.len())];
            let whole = end.is_some() || serde_json::from_slice::<serde_json::Value>(line).is_ok();
            if !whole {
                break;
            }
            lines.push(String::from_utf8_lossy(line).into_owned());
            self.partial.drain(..=start + line.len());
        }
        lines
    }
}
