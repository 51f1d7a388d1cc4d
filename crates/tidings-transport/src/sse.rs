//! Server-sent events: the same messages in one direction over plain HTTP.
//!
//! An SSE response is a connection like any other, with two differences. Its bytes go through a
//! small buffer that hyper empties. Its client reconnects with a position (`Last-Event-ID`) and not
//! with a token.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame};
use tidings_bus::{EventRecord, Framing};
use tidings_connections::{ConnectionGuard, Socket, Wire};
use tidings_protocol::CloseCode;

use crate::out_buffer::OutBuffer;

/// How long a browser's `EventSource` waits before it reconnects, in milliseconds.
const RETRY_MS: u32 = 2_000;

/// Encodes messages as `data:` lines (WHATWG HTML, server-sent events).
pub(crate) struct SseWire;

impl Wire for SseWire {
    fn framing(&self) -> Option<Framing> {
        None
    }

    fn event(&self, record: &EventRecord, out: &mut Vec<u8>) {
        if record.task_id().is_some() {
            out.extend_from_slice(format!("id: {}\n", record.position()).as_bytes());
        }
        self.control(record.json(), out);
    }

    fn control(&self, json: &str, out: &mut Vec<u8>) {
        // Every message is one line, because `Data` removes line breaks.
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(json.as_bytes());
        out.extend_from_slice(b"\n\n");
    }

    fn ping(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b": ping\n\n");
    }

    fn close(&self, _: CloseCode, _: &str, _: &mut Vec<u8>) {}

    fn answers_pings(&self) -> bool {
        false
    }

    fn name(&self) -> &'static str {
        "sse"
    }
}

#[derive(Default)]
struct Pipe {
    out: OutBuffer,
    /// Wakes hyper's task, which waits for bytes.
    reader: Option<Waker>,
}

/// The write end of a response body.
#[derive(Clone, Default)]
pub(crate) struct SseSocket(Arc<Mutex<Pipe>>);

impl SseSocket {
    pub(crate) fn new() -> Self {
        let socket = Self::default();
        let retry = format!("retry: {RETRY_MS}\n\n");
        // The buffer is empty, so this fits.
        let _ = socket.lock().out.push(&[IoSlice::new(retry.as_bytes())]);
        socket
    }

    fn lock(&self) -> MutexGuard<'_, Pipe> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Socket for SseSocket {
    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut pipe = self.lock();
        let taken = pipe.out.push(bufs)?;
        let reader = pipe.reader.take();
        drop(pipe);
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(taken)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = self.lock();
        if pipe.out.is_full() {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn try_read(&self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn poll_read_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// The response body. It drives its connection whenever hyper asks for more bytes.
///
/// hyper drops the body when the client disconnects, and the guard is dropped with it.
pub(crate) struct SseBody {
    guard: ConnectionGuard,
    socket: SseSocket,
}

impl SseBody {
    pub(crate) fn new(guard: ConnectionGuard, socket: SseSocket) -> Self {
        Self { guard, socket }
    }
}

impl Body for SseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let ended = self.guard.connection().poll_drive(cx).is_ready();
        let mut pipe = self.socket.lock();
        let bytes = pipe.out.take();
        if !bytes.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(bytes.into()))));
        }
        if ended {
            return Poll::Ready(None);
        }
        pipe.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}
