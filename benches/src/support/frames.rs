//! Parses WebSocket frames in received bytes, without copying payloads.

/// The number of bytes of a payload to look at. They contain an event's offset, and the relevant
/// part of a control message.
pub(crate) const HEAD: usize = 384;

/// The position in a stream of unmasked frames.
#[derive(Default)]
pub(crate) struct Frames {
    header: [u8; 10],
    header_len: usize,
    payload_left: usize,
    /// The beginning of the payload.
    head: Vec<u8>,
    opcode: u8,
}

impl Frames {
    /// Calls `message` with the opcode and the first bytes of each complete frame.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut message: impl FnMut(u8, &[u8])) {
        while !bytes.is_empty() {
            if self.payload_left == 0 {
                self.header[self.header_len] = bytes[0];
                self.header_len += 1;
                bytes = &bytes[1..];
                let header = &self.header[..self.header_len];
                let payload = match (header.get(1).copied(), header.len()) {
                    (Some(126), 4) => usize::from(u16::from_be_bytes([header[2], header[3]])),
                    (Some(127), 10) => {
                        u64::from_be_bytes(header[2..10].try_into().unwrap()) as usize
                    }
                    (Some(short), 2) if short < 126 => usize::from(short),
                    _ => continue,
                };
                self.opcode = self.header[0] & 0x0f;
                self.header_len = 0;
                self.payload_left = payload;
                self.head.clear();
                if payload == 0 {
                    message(self.opcode, &[]);
                }
                continue;
            }
            let count = self.payload_left.min(bytes.len());
            if self.head.is_empty() && count == self.payload_left {
                // The frame is complete in the read buffer, as nearly always.
                message(self.opcode, &bytes[..count.min(HEAD)]);
            } else {
                let wanted = (HEAD - self.head.len()).min(count);
                self.head.extend_from_slice(&bytes[..wanted]);
                if count == self.payload_left {
                    message(self.opcode, &self.head);
                    // A watcher at rest has no buffer.
                    self.head = Vec::new();
                }
            }
            self.payload_left -= count;
            bytes = &bytes[count..];
        }
    }
}

/// Returns a number in the first bytes of a message, as in `"offset":12`.
pub(crate) fn number(head: &[u8], key: &str) -> Option<u64> {
    let start = position(head, key.as_bytes())? + key.len();
    let digits = head[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
}

/// Returns a text in the first bytes of a message, as in `"epoch":"ab12"`.
pub(crate) fn text(head: &[u8], key: &str) -> Option<String> {
    let start = position(head, key.as_bytes())? + key.len() + 1;
    let end = head[start..].iter().position(|byte| *byte == b'"')?;
    Some(String::from_utf8_lossy(&head[start..start + end]).into_owned())
}

fn position(head: &[u8], key: &[u8]) -> Option<usize> {
    head.windows(key.len()).position(|window| window == key)
}

pub(crate) const OFFSET: &str = "\"offset\":";
pub(crate) const EPOCH: &str = "\"epoch\":";

/// Returns whether the message is an event of the type that the benches publish.
pub(crate) fn is_event(head: &[u8]) -> bool {
    head.starts_with(b"{\"event_type\":\"progress_")
}

pub(crate) fn is_gap(head: &[u8]) -> bool {
    head.starts_with(b"{\"event_type\":\"gap\"")
}

pub(crate) const PING: u8 = 9;
/// A pong, masked with zeros, which do not change a payload.
pub(crate) const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

/// Returns a masked text frame.
pub(crate) fn masked(text: &str) -> Vec<u8> {
    use tungstenite::protocol::frame::FrameHeader;
    use tungstenite::protocol::frame::coding::{Data, OpCode};
    let mut frame = Vec::new();
    FrameHeader {
        opcode: OpCode::Data(Data::Text),
        mask: Some([0; 4]),
        ..FrameHeader::default()
    }
    .format(text.len() as u64, &mut frame)
    .unwrap();
    frame.extend_from_slice(text.as_bytes());
    frame
}
