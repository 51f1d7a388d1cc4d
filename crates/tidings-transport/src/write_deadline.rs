//! The TCP stream under hyper: a write that gets nowhere fails in the end, and the
//! end of a handshake is held for the greeting that follows it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How hyper's answer to a WebSocket handshake begins.
const SWITCHING: &[u8] = b"HTTP/1.1 101 ";

/// A TCP stream whose writes fail when the client takes nothing of them in time.
///
/// hyper waits for ever for a client that takes nothing of its answer, and
/// does not look at a response's body meanwhile; so this ends the connection.
/// A service that hyper serves over it, within
/// [`TokioIo`](hyper_util::rt::TokioIo), writes the end of a WebSocket handshake
/// and the greeting in one call.
pub struct WriteDeadline {
    stream: TcpStream,
    limit: Duration,
    /// Runs while a write waits; none while writes get through.
    stalled: Option<Pin<Box<Sleep>>>,
    /// The end of a handshake, not written yet.
    held: Vec<u8>,
}

impl WriteDeadline {
    /// Wraps a stream; `limit` is how long a write may wait for the client.
    pub fn new(stream: TcpStream, limit: Duration) -> Self {
        Self {
            stream,
            limit,
            stalled: None,
            held: Vec::new(),
        }
    }

    /// The stream, and what is to be written to it before anything else.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.held)
    }

    /// Takes what the greeting follows, or a goodbye, instead of writing it: one
    /// call for both saves the server a system call and the client a wake-up. hyper
    /// lets go of the stream once it has written this.
    fn hold(&mut self, bufs: &[IoSlice<'_>]) -> Option<usize> {
        let first = bufs.iter().find(|buf| !buf.is_empty())?;
        if !first.starts_with(SWITCHING) {
            return None;
        }
        let before = self.held.len();
        for buf in bufs {
            self.held.extend_from_slice(buf);
        }
        Some(self.held.len() - before)
    }

    fn write<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let written = write(Pin::new(&mut self.stream), cx);
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.limit;
        let timer = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for WriteDeadline {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for WriteDeadline {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(held) = self.hold(&[IoSlice::new(buf)]) {
            return Poll::Ready(Ok(held));
        }
        self.write(cx, |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(held) = self.hold(bufs) {
            return Poll::Ready(Ok(held));
        }
        self.write(cx, |stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
