//! The TCP stream under hyper: a write that gets nowhere fails in the end, and the
//! end of a handshake leaves with the greeting that follows it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How hyper's answer to a WebSocket handshake begins.
const SWITCHING: &[u8] = b"HTTP/1.1 101 ";

/// Says that more follows at once. Linux then holds a packet that is not full back
/// until it does, and for 200 ms at most (tcp(7), `TCP_CORK`; send(2), `MSG_MORE`).
#[cfg(target_os = "linux")]
const MORE: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::MORE);
#[cfg(not(target_os = "linux"))]
const MORE: SendFlags = SendFlags::NOSIGNAL;

/// hyper waits for ever for a client that takes nothing of its answer, and
/// does not look at a response's body meanwhile; so this ends the connection.
pub(crate) struct WriteDeadline {
    stream: TcpStream,
    limit: Duration,
    /// Runs while a write waits; none while writes get through.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl WriteDeadline {
    pub(crate) fn new(stream: TcpStream, limit: Duration) -> Self {
        Self {
            stream,
            limit,
            stalled: None,
        }
    }

    pub(crate) fn into_inner(self) -> TcpStream {
        self.stream
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

/// Writes what the greeting follows, or a goodbye: one packet for both takes a
/// tenth off what a handshake costs the server, and saves the client a wake-up.
fn poll_send_more(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(cx))?;
        let sent = stream.try_io(Interest::WRITABLE, || {
            Ok(rustix::net::send(stream, bytes, MORE)?)
        });
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return Poll::Ready(sent),
        }
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
        self.write(cx, |stream, cx| {
            if buf.starts_with(SWITCHING) {
                poll_send_more(&stream, cx, buf)
            } else {
                stream.poll_write(cx, buf)
            }
        })
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream, cx| match bufs {
            [head, ..] if head.starts_with(SWITCHING) => poll_send_more(&stream, cx, head),
            _ => stream.poll_write_vectored(cx, bufs),
        })
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
