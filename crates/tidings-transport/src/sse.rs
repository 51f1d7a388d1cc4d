//! Server-sent events: the same messages in one direction over plain HTTP.
//!
//! An SSE response is a connection like any other, with two differences. Its bytes go through a
//! small buffer that hyper empties. Its client reconnects with a position (`Last-Event-ID`) and not
//! with a token.
//!
//! The body has a write deadline of its own, because the application's listener may have none. hyper
//! does not say when it has written a frame, but it drops the frame then. So the body hands over
//! one small frame at a time, and fails if hyper still has that frame after the time limit. hyper
//! closes the connection of a body that fails.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tidings_bus::lock::{Guard, Lock, place};
use tidings_bus::{EventRecord, Framing};
use tidings_connections::{ConnectionGuard, Socket, Wire};
use tidings_protocol::{CloseCode, Position, TaskId};
use tokio::time::{Instant, Sleep};

use crate::out_buffer::OutBuffer;
use crate::stream_position;

/// How long a browser's `EventSource` waits before it reconnects, in milliseconds.
const RETRY_MS: u32 = 2_000;

/// The most bytes of a frame. A client must take so many bytes within the time limit. hyper still
/// asks the body for more while it has one frame of this size.
const FRAME: usize = 16 * 1024;

/// Encodes messages as `data:` lines (WHATWG HTML, server-sent events).
pub(crate) enum SseWire {
    /// An event's `id:` is its position.
    OneTask,
    /// An event's `id:` has the client's positions in all tasks that it named.
    ManyTasks,
}

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

    fn event_among(
        &self,
        record: &EventRecord,
        positions: &dyn Fn() -> Vec<(TaskId, Position)>,
        out: &mut Vec<u8>,
    ) {
        if matches!(self, Self::OneTask) {
            return self.event(record, out);
        }
        let mut id = String::new();
        stream_position::write(&positions(), &mut id);
        if !id.is_empty() {
            out.extend_from_slice(format!("id: {id}\n").as_bytes());
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
    /// Wakes hyper's task, which waits for bytes, or for the end of the last frame.
    reader: Option<Waker>,
    /// Whether hyper has a frame that it has not written yet.
    in_flight: bool,
    /// Whether something follows that frame: another frame, or the end of the body.
    has_more: bool,
}

/// The bytes of a frame. Dropped when hyper has written them.
struct InFlight {
    bytes: Bytes,
    socket: SseSocket,
}

impl AsRef<[u8]> for InFlight {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut pipe = self.socket.lock();
        pipe.in_flight = false;
        // In most cases, nothing waits for the end of this frame. A wake-up would cost a poll.
        let reader = if pipe.has_more {
            pipe.reader.take()
        } else {
            None
        };
        drop(pipe);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// The write end of a response body.
#[derive(Clone, Default)]
pub(crate) struct SseSocket(Arc<Lock<Pipe, place::Leaf>>);

impl SseSocket {
    pub(crate) fn new() -> Self {
        let socket = Self::default();
        let retry = format!("retry: {RETRY_MS}\n\n");
        // The buffer is empty, so this fits.
        let _ = socket.lock().out.push(&[IoSlice::new(retry.as_bytes())]);
        socket
    }

    fn lock(&self) -> Guard<'_, Pipe, place::Leaf> {
        self.0.lock()
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
    /// Bytes for the next frames.
    next: Bytes,
    deadline: Deadline,
}

impl SseBody {
    /// Creates the body of a connection. `limit` is how long hyper may keep a frame.
    pub(crate) fn new(guard: ConnectionGuard, socket: SseSocket, limit: Duration) -> Self {
        Self {
            guard,
            socket,
            next: Bytes::new(),
            deadline: Deadline::new(limit),
        }
    }
}

impl Body for SseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        let ended = this.guard.connection().poll_drive(cx).is_ready();
        let mut pipe = this.socket.lock();
        if !pipe.in_flight {
            if this.next.is_empty() {
                this.next = pipe.out.take().into();
            }
            if this.next.is_empty() && ended {
                return Poll::Ready(None);
            }
            if !this.next.is_empty() {
                pipe.in_flight = true;
                drop(pipe);
                this.deadline.restart();
                let bytes = this.next.split_to(this.next.len().min(FRAME));
                let socket = this.socket.clone();
                let frame = Bytes::from_owner(InFlight { bytes, socket });
                return Poll::Ready(Some(Ok(Frame::data(frame))));
            }
        }
        pipe.reader = Some(cx.waker().clone());
        pipe.has_more = ended || !this.next.is_empty() || !pipe.out.is_empty();
        let in_flight = pipe.in_flight;
        drop(pipe);
        if !in_flight {
            this.deadline.rest();
            return Poll::Pending;
        }
        ready!(this.deadline.poll(cx));
        tracing::debug!("the client of an event stream does not read");
        Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())))
    }
}

/// The time limit for a frame.
///
/// A timer that is set anew for every frame would cost more than the frame. So the timer keeps
/// running, and is set to the right time when it fires too early.
struct Deadline {
    limit: Duration,
    /// When the current frame was handed over.
    since: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the limit has passed for the current frame, and hyper may try once more.
    is_last_try: bool,
}

impl Deadline {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            since: Instant::now(),
            timer: None,
            is_last_try: false,
        }
    }

    fn restart(&mut self) {
        self.since = Instant::now();
        self.is_last_try = false;
    }

    /// Frees the timer of a stream that has been quiet for the whole limit.
    fn rest(&mut self) {
        if self.timer.as_ref().is_some_and(|timer| timer.is_elapsed()) {
            self.timer = None;
        }
    }

    /// Waits until the current frame has been with hyper for the whole limit. Then lets hyper try to
    /// write once more, because the whole process may have been stopped meanwhile.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = self.since + self.limit;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= end {
                break;
            }
            timer.as_mut().reset(end);
        }
        if self.is_last_try {
            return Poll::Ready(());
        }
        self.is_last_try = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
