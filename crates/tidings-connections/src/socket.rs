//! The traits between a connection and its transport: a socket, and its framing.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use tidings_bus::{EventRecord, Framing};
use tidings_protocol::{CloseCode, Position, TaskId};

/// A byte stream with non-blocking writes.
///
/// The fan-out pass writes with [`try_write`](Self::try_write) and moves on if the socket is full.
/// The connection's own task then waits with [`poll_write_ready`](Self::poll_write_ready). The
/// transport implements this for a TCP socket, for any `AsyncRead + AsyncWrite` and for an SSE
/// body. The test kit implements it for a pipe in memory.
pub trait Socket: Send + Sync + 'static {
    /// Writes as much as fits at once. Returns `WouldBlock` if nothing fits.
    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Waits until a write may make progress. It may return too early.
    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Flushes bytes that the socket buffers itself. A socket without a buffer is always ready.
    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// Ends the write side. Reading continues.
    fn shutdown(&self) {}

    /// Reads what is available at once. Returns `WouldBlock` for nothing, and 0 for the end.
    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize>;

    /// Waits until a read may make progress. It may return too early.
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// The framing of messages on one kind of transport.
pub trait Wire: Send + Sync + 'static {
    /// Returns the framing in which the bus may store events, so that their bytes can be sent
    /// unchanged. If the bus uses another framing, [`event`](Self::event) frames each event.
    fn framing(&self) -> Option<Framing>;

    /// Appends one event of a log.
    fn event(&self, record: &EventRecord, out: &mut Vec<u8>);

    /// Appends one event for a client that resumes with all of its positions. `positions` returns
    /// the client's position in each task that it subscribed to by name, with this event received.
    /// The default is [`event`](Self::event).
    fn event_among(
        &self,
        record: &EventRecord,
        positions: &dyn Fn() -> Vec<(TaskId, Position)>,
        out: &mut Vec<u8>,
    ) {
        let _ = positions;
        self.event(record, out);
    }

    /// Appends one control message.
    fn control(&self, json: &str, out: &mut Vec<u8>);

    /// Appends a probe. Most peers answer it without involving the application. If the peer does
    /// not answer it, the probe still shows the peer that the server is alive.
    fn ping(&self, out: &mut Vec<u8>);

    /// Appends the end of the stream.
    fn close(&self, code: CloseCode, reason: &str, out: &mut Vec<u8>);

    /// Returns whether the peer answers pings, so that silence means that it is gone.
    fn answers_pings(&self) -> bool;

    /// Returns the transport's name in connection info: `websocket` or `sse`.
    fn name(&self) -> &'static str;
}
