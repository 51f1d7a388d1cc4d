//! A WebSocket client with no manners: it sends whatever bytes a test likes,
//! and answers nothing by itself.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::server::DEADLINE;

/// A frame as it is sent by a client: masked.
pub fn masked_frame(header: &FrameHeader, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [7, 77, 177, 217];
    let header = FrameHeader {
        mask: Some(MASK),
        ..header.clone()
    };
    let mut bytes = Vec::new();
    header
        .format(payload.len() as u64, &mut bytes)
        .expect("writing to a Vec does not fail");
    let masked = payload.iter().enumerate();
    bytes.extend(masked.map(|(at, byte)| byte ^ MASK[at % MASK.len()]));
    bytes
}

/// A whole frame of one kind, masked.
pub fn frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        opcode,
        ..FrameHeader::default()
    };
    masked_frame(&header, payload)
}

/// The request that begins a WebSocket connection, with headers of one's own.
pub fn handshake(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// What a server has sent.
#[derive(Debug, Clone, PartialEq)]
pub enum RawFrame {
    /// A text message, parsed.
    Text(Value),
    /// A ping, which nobody answers unless the test does.
    Ping,
    /// A close, with its code.
    Close(u16),
    /// Anything else, by its opcode.
    Other(u8),
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl RawClient {
    /// Connects and shakes hands.
    ///
    /// # Panics
    /// When that fails.
    pub async fn connect(addr: SocketAddr, path: &str) -> Self {
        Self::connect_with(addr, path, "").await
    }

    /// As [`connect`](Self::connect), with headers of its own, each with its line end.
    ///
    /// # Panics
    /// When that fails.
    pub async fn connect_with(addr: SocketAddr, path: &str, headers: &str) -> Self {
        let stream = TcpStream::connect(addr).await.expect("a connection");
        Self::shake(stream, path, headers).await
    }

    /// As [`connect`](Self::connect), with a receive buffer as small as it gets,
    /// so that a client that does not read is soon full.
    ///
    /// # Panics
    /// When that fails.
    pub async fn connect_narrow(addr: SocketAddr, path: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let stream = socket.connect(addr).await.expect("a connection");
        Self::shake(stream, path, "").await
    }

    async fn shake(mut stream: TcpStream, path: &str, headers: &str) -> Self {
        let request = handshake(path, headers);
        stream.write_all(request.as_bytes()).await.expect("a write");
        let mut client = Self {
            stream,
            buffer: Vec::new(),
        };
        let end = loop {
            let end = client.buffer.windows(4).position(|at| at == b"\r\n\r\n");
            match end {
                Some(end) => break end + 4,
                None => assert!(client.fill().await, "a head before the end"),
            }
        };
        let head: Vec<u8> = client.buffer.drain(..end).collect();
        assert!(
            head.starts_with(b"HTTP/1.1 101 "),
            "{}",
            String::from_utf8_lossy(&head)
        );
        client
    }

    /// Sends bytes. An error is no surprise: the server may have closed.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Sends a text message.
    pub async fn send(&mut self, message: &Value) {
        let bytes = frame(OpCode::Data(Data::Text), message.to_string().as_bytes());
        self.write(&bytes).await;
    }

    /// Sends a pong.
    pub async fn pong(&mut self) {
        self.write(&frame(OpCode::Control(Control::Pong), b""))
            .await;
    }

    /// The socket.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Reads once; false at the end.
    async fn fill(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.buffer);
        let read = tokio::time::timeout(DEADLINE, read).await;
        // A reset is an end, too.
        read.expect("bytes in time").unwrap_or(0) > 0
    }

    /// The next frame; none at the end of the stream.
    ///
    /// # Panics
    /// When nothing comes in time.
    pub async fn next(&mut self) -> Option<RawFrame> {
        loop {
            let mut cursor = std::io::Cursor::new(&self.buffer[..]);
            if let Some((header, len)) = FrameHeader::parse(&mut cursor).expect("a frame header") {
                let start = usize::try_from(cursor.position()).expect("a small number");
                let end = start + usize::try_from(len).expect("a small number");
                if self.buffer.len() >= end {
                    assert!(header.is_final && header.mask.is_none(), "{header:?}");
                    let payload: Vec<u8> = self.buffer.drain(..end).skip(start).collect();
                    return Some(match header.opcode {
                        OpCode::Data(Data::Text) => {
                            RawFrame::Text(serde_json::from_slice(&payload).expect("JSON"))
                        }
                        OpCode::Control(Control::Ping) => RawFrame::Ping,
                        OpCode::Control(Control::Close) => {
                            RawFrame::Close(u16::from_be_bytes([payload[0], payload[1]]))
                        }
                        other => RawFrame::Other(other.into()),
                    });
                }
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// The next text message.
    ///
    /// # Panics
    /// As [`next`](Self::next), or when the stream ends first.
    pub async fn next_text(&mut self) -> Value {
        loop {
            if let RawFrame::Text(message) = self.next().await.expect("a message before the end") {
                return message;
            }
        }
    }

    /// Reads to the end: everything that was said, and the close code.
    ///
    /// # Panics
    /// As [`next`](Self::next).
    pub async fn to_end(mut self) -> (Vec<Value>, Option<u16>) {
        let mut messages = Vec::new();
        let mut code = None;
        while let Some(frame) = self.next().await {
            match frame {
                RawFrame::Text(message) => messages.push(message),
                RawFrame::Close(with) => code = Some(with),
                RawFrame::Ping | RawFrame::Other(_) => {}
            }
        }
        (messages, code)
    }
}
