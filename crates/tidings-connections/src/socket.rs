//! What a connection is written to, and how its bytes are framed.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use tidings_bus::{EventRecord, Framing};
use tidings_protocol::CloseCode;

/// A byte stream that is tried, not awaited.
///
/// The fan-out pass writes with [`try_write`](Self::try_write) and moves on
/// when it would block; the connection's own task then waits with
/// [`poll_write_ready`](Self::poll_write_ready). Implemented by the transport
/// for a TCP socket, for any `AsyncRead + AsyncWrite`, for an SSE body, and by
/// the test kit for a pipe in memory.
pub trait Socket: Send + Sync + 'static {
    /// Writes what it takes at once; `WouldBlock` when that is nothing.
    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Ready when a write may get somewhere. Spurious readiness is allowed.
    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Moves bytes that the socket itself holds. Sockets that hold none are always ready.
    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// Says that nothing more will be written. Reading goes on.
    fn shutdown(&self) {}

    /// Reads what is there at once: `WouldBlock` for nothing, 0 for the end.
    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize>;

    /// Ready when a read may get somewhere. Spurious readiness is allowed.
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// How messages become bytes on one kind of transport.
pub trait Wire: Send + Sync + 'static {
    /// The framing under which bytes can go out as the bus laid them down.
    /// With another framing on the bus, [`event`](Self::event) is called instead.
    fn framing(&self) -> Option<Framing>;

    /// One event of a log.
    fn event(&self, record: &EventRecord, out: &mut Vec<u8>);

    /// One control message.
    fn control(&self, json: &str, out: &mut Vec<u8>);

    /// A probe that the peer answers by itself, or at least a sign of life.
    fn ping(&self, out: &mut Vec<u8>);

    /// The end of the stream.
    fn close(&self, code: CloseCode, reason: &str, out: &mut Vec<u8>);

    /// Whether the peer answers pings, so that silence means it is gone.
    fn answers_pings(&self) -> bool;

    /// What to call it in connection info: `websocket`, `sse`.
    fn name(&self) -> &'static str;
}
