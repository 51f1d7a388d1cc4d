//! Walks WebSocket frames in what was read, without copying payloads.

/// Bytes of a payload that are looked at: an event's offset lies within, and
/// what matters of a control message.
pub(crate) const HEAD: usize = 384;

/// Where a stream of unmasked frames stands.
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
    /// Calls `message` with the opcode and the head of each frame that is complete.
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
                // Whole in the read buffer, as nearly always.
                message(self.opcode, &bytes[..count.min(HEAD)]);
            } else {
                let wanted = (HEAD - self.head.len()).min(count);
                self.head.extend_from_slice(&bytes[..wanted]);
                if count == self.payload_left {
                    message(self.opcode, &self.head);
                    // At rest a watcher has no buffer.
                    self.head = Vec::new();
                }
            }
            self.payload_left -= count;
            bytes = &bytes[count..];
        }
    }
}

/// A number in a message's head, as in `"offset":12`.
pub(crate) fn number(head: &[u8], key: &str) -> Option<u64> {
    let start = position(head, key.as_bytes())? + key.len();
    let digits = head[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
}

/// A text in a message's head, as in `"epoch":"ab12"`.
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

/// Whether it is an event of the kind that the benches publish.
pub(crate) fn is_event(head: &[u8]) -> bool {
    head.starts_with(b"{\"event_type\":\"progress_")
}

pub(crate) fn is_gap(head: &[u8]) -> bool {
    head.starts_with(b"{\"event_type\":\"gap\"")
}

pub(crate) const PING: u8 = 9;
/// Masked with zeros, which leaves a payload as it is.
pub(crate) const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

/// A masked text frame.
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
