//! WebSocket over a socket that has left HTTP behind (RFC 6455).
//!
//! Writing goes past tungstenite: frames lie ready in the log, their headers
//! written by `FrameHeader::format`. Reading goes through a
//! `WebSocketContext` that exists only while part of a message is in.

mod drive;
mod echo;
mod inbound;
mod incoming;
mod stream;
mod tcp;
mod wire;

pub(crate) use drive::Driver;
pub(crate) use echo::Echoed;
pub(crate) use incoming::Incoming;
pub(crate) use stream::StreamSocket;
pub(crate) use tcp::TcpSocket;
pub use wire::WEBSOCKET;
pub(crate) use wire::WebSocketWire;
