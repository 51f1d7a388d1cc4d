//! The TCP stream under hyper. It has a deadline for writes, and it can delay the end of a
//! handshake until the greeting is ready.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// A TCP stream whose writes fail if the client accepts no data within a time limit.
///
/// hyper waits forever for a client that does not read its response, and does not poll the
/// response's body meanwhile. This deadline ends the connection.
///
/// A server can add [`handshake_hold`](Self::handshake_hold) to its requests as an extension. This
/// saves a system call for each WebSocket. The service then delays the end of the handshake and
/// writes it together with the greeting.
pub struct WriteDeadline {
    stream: TcpStream,
    limit: Duration,
    /// The deadline, which exists only while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Set while written bytes are held back.
    hold: HandshakeHold,
    /// The end of a handshake, not written yet.
    held: Vec<u8>,
}

/// Tells a [`WriteDeadline`] to hold back bytes. It is a request extension, and the service uses it
/// when it has decided to accept a handshake.
///
/// Use it only for HTTP/1.1 directly over the stream. Under TLS, the service would get the stream
/// without its keys.
#[derive(Debug, Clone, Default)]
pub struct HandshakeHold(Arc<AtomicBool>);

impl HandshakeHold {
    /// Holds back all bytes that are written from now on. Bytes of earlier responses that hyper
    /// still has are also held back, in their order before the handshake.
    pub(crate) fn arm(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_armed(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl WriteDeadline {
    /// Wraps a stream. `limit` is how long a write may wait for the client.
    pub fn new(stream: TcpStream, limit: Duration) -> Self {
        Self {
            stream,
            limit,
            stalled: None,
            hold: HandshakeHold::default(),
            held: Vec::new(),
        }
    }

    /// Returns the switch that holds back the end of a handshake on this stream.
    pub fn handshake_hold(&self) -> HandshakeHold {
        self.hold.clone()
    }

    /// Returns the stream, and the bytes to write to it before anything else.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.held)
    }

    /// Stores the bytes instead of writing them. They are later written in one call with the
    /// greeting or the refusal. This saves the server a system call and the client a wake-up. hyper
    /// releases the stream after this write.
    fn hold(&mut self, bufs: &[IoSlice<'_>]) -> Option<usize> {
        if !self.hold.is_armed() {
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
        // hyper closes the stream if the upgrade did not take place.
        while !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            let written = self.write(cx, |stream, cx| stream.poll_write(cx, &held));
            self.held = held;
            let count = ready!(written)?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.drain(..count);
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const TEXT: &[u8] = b"HTTP/1.1 101 is the answer to a handshake";

    async fn pair() -> (WriteDeadline, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap());
        let (far, near) = tokio::join!(far, listener.accept());
        let limit = Duration::from_secs(600);
        (WriteDeadline::new(near.unwrap().0, limit), far.unwrap())
    }

    async fn read_all(mut far: TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        far.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    #[tokio::test]
    async fn a_body_that_looks_like_a_handshake_gets_through() {
        let (mut near, far) = pair().await;
        near.write_all(b"a body about ").await.unwrap();
        // The rest of a body, after a write that accepted only a part of it.
        near.write_all(TEXT).await.unwrap();
        let (stream, held) = near.into_parts();
        assert!(held.is_empty(), "{:?}", String::from_utf8_lossy(&held));
        drop(stream);
        assert_eq!(read_all(far).await, [b"a body about ", TEXT].concat());
    }

    #[tokio::test]
    async fn what_is_left_of_an_answer_keeps_its_place_before_the_handshake() {
        let (mut near, far) = pair().await;
        near.write_all(b"a bo").await.unwrap();
        near.handshake_hold().arm();
        near.write_all(b"dy").await.unwrap();
        near.write_all(TEXT).await.unwrap();
        let (stream, held) = near.into_parts();
        assert_eq!(held, [b"dy", TEXT].concat());
        drop(stream);
        assert_eq!(read_all(far).await, b"a bo");
    }

    #[tokio::test]
    async fn a_handshake_without_an_upgrade_is_written_in_the_end() {
        let (mut near, far) = pair().await;
        near.handshake_hold().arm();
        near.write_all(TEXT).await.unwrap();
        near.shutdown().await.unwrap();
        assert_eq!(read_all(far).await, TEXT);
    }
}
