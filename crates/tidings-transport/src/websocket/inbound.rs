//! The read side: turns bytes into messages, and uses no memory between messages.

use std::io::{self, Cursor, Read, Write};
use std::ops::RangeInclusive;

use tidings_connections::CloseReason;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use super::incoming::Incoming;

/// The size of tungstenite's read buffer. tungstenite fills the buffer with zeros at each read,
/// which takes several µs for its default of 128 KiB (measured). The bytes are already in memory
/// here. So the buffer is as large as the received bytes, within this range.
const READ_BUFFER: RangeInclusive<usize> = 256..=4 * 1024;

/// The largest frame header: two bytes, eight of length, four of mask (RFC 6455 §5.2).
const MAX_HEADER: usize = 14;

/// Parses what a client sends. Between messages it uses no memory.
#[derive(Default)]
pub(crate) struct Inbound {
    partial: Option<Box<Partial>>,
}

struct Partial {
    context: WebSocketContext,
    boundary: Boundary,
}

/// The result of parsing some bytes.
pub(crate) struct Fed<M> {
    /// The complete messages, in order.
    pub(crate) messages: Vec<M>,
    /// Frames to answer with: pongs, and the close.
    pub(crate) replies: Vec<u8>,
    /// The number of frames that are complete.
    pub(crate) frames: usize,
    /// The reason why the connection must end after these messages.
    pub(crate) end: Option<CloseReason>,
}

impl Inbound {
    /// Returns whether the parser is between messages.
    pub(crate) fn is_empty(&self) -> bool {
        self.partial.is_none()
    }

    /// Parses bytes as they came from the socket.
    pub(crate) fn feed<M: Incoming>(&mut self, bytes: &[u8], max_message_bytes: usize) -> Fed<M> {
        let mut partial = self
            .partial
            .take()
            .unwrap_or_else(|| Box::new(Partial::new(bytes.len(), max_message_bytes)));
        let frames = partial.boundary.scan(bytes);
        let mut fed = Fed {
            messages: Vec::new(),
            replies: Vec::new(),
            frames,
            end: None,
        };
        let mut stream = Feed {
            input: bytes,
            replies: &mut fed.replies,
        };
        let end = loop {
            match partial.context.read(&mut stream) {
                Ok(Message::Text(text)) => fed.messages.push(M::text(text)),
                Ok(Message::Binary(bytes)) => match M::binary(bytes) {
                    Some(message) => fed.messages.push(message),
                    None => break Some(CloseReason::Binary),
                },
                // tungstenite has answered these frames, or will at the next read.
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_)) => {}
                Ok(Message::Frame(_)) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break None,
                Err(error) => break Some(reason(&error)),
            }
        };
        fed.end = end;
        if fed.end.is_none() && !partial.boundary.is_between_messages() {
            self.partial = Some(partial);
        }
        fed
    }
}

fn reason(error: &Error) -> CloseReason {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_) => CloseReason::ClientGone,
        Error::Capacity(_) => CloseReason::TooLarge,
        Error::Utf8(_) => CloseReason::InvalidPayload,
        _ => CloseReason::Protocol,
    }
}

impl Partial {
    fn new(bytes: usize, max_message_bytes: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(bytes.clamp(*READ_BUFFER.start(), *READ_BUFFER.end()))
            .write_buffer_size(0)
            .max_message_size(Some(max_message_bytes))
            .max_frame_size(Some(max_message_bytes));
        Self {
            context: WebSocketContext::new(Role::Server, Some(config)),
            boundary: Boundary::default(),
        }
    }
}

/// A stream for tungstenite: it reads from bytes in memory, and collects the frames that
/// tungstenite answers with.
struct Feed<'a> {
    input: &'a [u8],
    replies: &'a mut Vec<u8>,
}

impl Read for Feed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buf)
    }
}

impl Write for Feed<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.replies.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Follows frame headers through the stream. It finds out when all received bytes are used, so that
/// the parser's context can be dropped.
#[derive(Default)]
struct Boundary {
    /// A header that has arrived only in part, and how much of it has arrived.
    header: [u8; MAX_HEADER],
    held: usize,
    /// The payload bytes of the current frame that are still missing.
    payload: u64,
    /// `true` if the position is within a fragmented message.
    fragmented: bool,
}

impl Boundary {
    fn is_between_messages(&self) -> bool {
        self.held == 0 && self.payload == 0 && !self.fragmented
    }

    /// Follows these bytes and returns how many frames are complete. An invalid header ends the
    /// connection elsewhere. Here it only must not cause a panic.
    fn scan(&mut self, mut bytes: &[u8]) -> usize {
        let mut whole = 0;
        while !bytes.is_empty() {
            let skip = usize::try_from(self.payload)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            self.payload -= skip as u64;
            whole += usize::from(skip > 0 && self.payload == 0);
            bytes = &bytes[skip..];
            if bytes.is_empty() {
                break;
            }
            let held = self.held;
            let taken = bytes.len().min(MAX_HEADER - held);
            self.header[held..held + taken].copy_from_slice(&bytes[..taken]);
            self.held += taken;
            let mut cursor = Cursor::new(&self.header[..self.held]);
            match FrameHeader::parse(&mut cursor) {
                Ok(Some((header, payload))) => {
                    let used = usize::try_from(cursor.position()).unwrap_or(held) - held;
                    bytes = &bytes[used..];
                    self.held = 0;
                    self.payload = payload;
                    whole += usize::from(payload == 0);
                    match header.opcode {
                        OpCode::Data(Data::Continue) => self.fragmented = !header.is_final,
                        OpCode::Data(_) => self.fragmented = !header.is_final,
                        OpCode::Control(_) => {}
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    self.held = 0;
                    break;
                }
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use tungstenite::Utf8Bytes;

    use super::*;

    fn masked(opcode: OpCode, is_final: bool, payload: &[u8]) -> Vec<u8> {
        let header = FrameHeader {
            is_final,
            opcode,
            mask: Some([1, 2, 3, 4]),
            ..FrameHeader::default()
        };
        let mut bytes = Vec::new();
        header.format(payload.len() as u64, &mut bytes).unwrap();
        bytes.extend(
            payload
                .iter()
                .enumerate()
                .map(|(at, byte)| byte ^ [1, 2, 3, 4][at % 4]),
        );
        bytes
    }

    fn text(payload: &str) -> Vec<u8> {
        masked(OpCode::Data(Data::Text), true, payload.as_bytes())
    }

    fn texts(fed: &Fed<Utf8Bytes>) -> Vec<&str> {
        fed.messages.iter().map(Utf8Bytes::as_str).collect()
    }

    #[test]
    fn counts_frames_of_every_kind() {
        let ping = OpCode::Control(tungstenite::protocol::frame::coding::Control::Ping);
        let stream = [
            masked(ping, true, b""),
            masked(ping, true, b"p"),
            masked(OpCode::Data(Data::Text), false, b"a"),
            masked(OpCode::Data(Data::Continue), false, b""),
            masked(OpCode::Data(Data::Continue), true, b"b"),
            text("one"),
        ]
        .concat();
        for size in [1, 2, 7, stream.len()] {
            let mut inbound = Inbound::default();
            let parts = stream.chunks(size);
            let frames = parts.map(|part| inbound.feed::<Utf8Bytes>(part, 1024).frames);
            assert_eq!(frames.sum::<usize>(), 6, "{size} bytes at a time");
        }
    }

    #[test]
    fn holds_nothing_between_messages() {
        let mut inbound = Inbound::default();
        let two = [text("one"), text("two")].concat();
        let fed = inbound.feed(&two, 1024);
        assert_eq!(texts(&fed), ["one", "two"]);
        assert!(inbound.partial.is_none());
    }

    #[test]
    fn survives_every_split() {
        let long = "x".repeat(300);
        let stream = [
            text("one"),
            masked(OpCode::Data(Data::Text), false, b"frag"),
            masked(
                OpCode::Control(tungstenite::protocol::frame::coding::Control::Ping),
                true,
                b"p",
            ),
            masked(OpCode::Data(Data::Continue), true, b"ment"),
            text(&long),
        ]
        .concat();
        for split in 0..=stream.len() {
            let mut inbound = Inbound::default();
            let mut messages = Vec::new();
            for part in [&stream[..split], &stream[split..]] {
                let fed = inbound.feed::<Utf8Bytes>(part, 1024);
                assert_eq!(fed.end, None, "split at {split}");
                messages.extend(fed.messages.iter().map(ToString::to_string));
            }
            assert_eq!(
                messages,
                ["one", "fragment", long.as_str()],
                "split at {split}"
            );
            assert!(inbound.partial.is_none(), "split at {split}");
        }
    }

    #[test]
    fn survives_bytes_one_by_one() {
        let stream = [text("one"), text(&"y".repeat(70_000))].concat();
        let mut inbound = Inbound::default();
        let mut lengths = Vec::new();
        for byte in &stream {
            let fed = inbound.feed::<Utf8Bytes>(std::slice::from_ref(byte), 100_000);
            lengths.extend(fed.messages.iter().map(|message| message.len()));
        }
        assert_eq!(lengths, [3, 70_000]);
        assert!(inbound.partial.is_none());
    }

    #[test]
    fn names_the_reason_of_the_end() {
        let reserved = masked(OpCode::Data(Data::Reserved(5)), true, b"");
        let unmasked = {
            let mut bytes = Vec::new();
            FrameHeader::default().format(0, &mut bytes).unwrap();
            bytes
        };
        for (bytes, expected) in [
            (
                masked(OpCode::Data(Data::Binary), true, b"b"),
                CloseReason::Binary,
            ),
            (
                masked(OpCode::Data(Data::Text), true, &[0xff, 0xfe]),
                CloseReason::InvalidPayload,
            ),
            (text(&"z".repeat(2_000)), CloseReason::TooLarge),
            (reserved, CloseReason::Protocol),
            (unmasked, CloseReason::Protocol),
        ] {
            let fed = Inbound::default().feed::<Utf8Bytes>(&bytes, 1024);
            assert_eq!(fed.end, Some(expected));
        }
    }

    #[test]
    fn answers_a_close() {
        let close = masked(
            OpCode::Control(tungstenite::protocol::frame::coding::Control::Close),
            true,
            &1000u16.to_be_bytes(),
        );
        let fed = Inbound::default().feed::<Utf8Bytes>(&close, 1024);
        assert_eq!(fed.end, Some(CloseReason::ClientGone));
        assert_eq!(fed.replies, [0x88, 2, 0x03, 0xe8]);
    }
}
