//! WebSocket on a socket that hyper has released (RFC 6455).
//!
//! Writing does not use tungstenite. Frames are stored in the log, with headers from
//! `FrameHeader::format`. Reading uses a `WebSocketContext`, which exists only while a message is
//! incomplete.

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
