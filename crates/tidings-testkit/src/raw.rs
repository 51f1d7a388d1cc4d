//! A WebSocket client that follows no rules. It sends any bytes that a test likes, and never
//! answers on its own.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::server::DEADLINE;

/// Returns a frame as a client sends it: masked.
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

/// Returns a complete, masked frame with this opcode.
pub fn frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        opcode,
        ..FrameHeader::default()
    };
    masked_frame(&header, payload)
}

/// Returns the request that opens a WebSocket, with additional headers.
pub fn handshake(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// A frame that the server sent.
#[derive(Debug, Clone, PartialEq)]
pub enum RawFrame {
    /// A text message, parsed.
    Text(Value),
    /// A ping. The test must answer it if it wants to.
    Ping,
    /// A close frame with its code.
    Close(u16),
    /// Any other frame, by its opcode.
    Other(u8),
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl RawClient {
    /// Connects and performs the handshake.
    ///
    /// # Panics
    /// Panics if that fails.
    pub async fn connect(addr: SocketAddr, path: &str) -> Self {
        Self::connect_with(addr, path, "").await
    }

    /// Connects like [`connect`](Self::connect), with additional headers. Each header includes its
    /// line break.
    ///
    /// # Panics
    /// Panics if that fails.
    pub async fn connect_with(addr: SocketAddr, path: &str, headers: &str) -> Self {
        let stream = TcpStream::connect(addr).await.expect("a connection");
        Self::shake(stream, path, headers).await
    }

    /// Connects like [`connect`](Self::connect), with the smallest possible receive buffer. A
    /// client that does not read then soon blocks the server.
    ///
    /// # Panics
    /// Panics if that fails.
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

    /// Sends bytes. Ignores errors, because the server may have closed the connection.
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

    /// Returns the socket.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Reads once. Returns `false` at the end of the stream.
    async fn fill(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.buffer);
        let read = tokio::time::timeout(DEADLINE, read).await;
        // A reset also ends the stream.
        read.expect("bytes in time").unwrap_or(0) > 0
    }

    /// Returns the next frame, or `None` at the end of the stream.
    ///
    /// # Panics
    /// Panics if nothing arrives in time.
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

    /// Returns the next text message.
    ///
    /// # Panics
    /// Panics like [`next`](Self::next), or if the stream ends first.
    pub async fn next_text(&mut self) -> Value {
        loop {
            if let RawFrame::Text(message) = self.next().await.expect("a message before the end") {
                return message;
            }
        }
    }

    /// Reads to the end. Returns all text messages and the close code.
    ///
    /// # Panics
    /// Panics like [`next`](Self::next).
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
