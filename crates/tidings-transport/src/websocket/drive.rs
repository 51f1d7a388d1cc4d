//! The task of one WebSocket connection.

use std::cell::RefCell;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tidings_connections::{CloseReason, Connection, ConnectionGuard};
use tokio::time::Sleep;

use super::inbound::Inbound;
use super::incoming::Incoming;

/// The number of bytes that are read from a socket at a time, into one buffer per thread.
const READ_BYTES: usize = 16 * 1024;

/// The number of reads in one poll, before the task yields to others.
const READS_A_POLL: usize = 8;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// Reads messages, has them handled, and drives the write side.
///
/// The size of this future is what an idle connection costs. It is two pointers, so that the
/// runtime's task fits into 128 bytes. With one pointer more, the task would take 256 bytes.
pub(crate) struct Driver<M> {
    guard: ConnectionGuard,
    active: Option<Box<Active>>,
    messages: PhantomData<fn() -> M>,
}

/// The state that a connection needs only while it is active.
#[derive(Default)]
struct Active {
    inbound: Inbound,
    /// The handling of messages. Nothing is read meanwhile, so TCP's flow control slows the client
    /// down.
    busy: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// The timeout for the peer to read the close, which is already written.
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Active {
    fn is_over(&self) -> bool {
        self.inbound.is_empty() && self.busy.is_none() && self.lingering.is_none()
    }
}

impl<M: Incoming> Driver<M> {
    /// Creates a driver for the guard's connection. `early` are bytes that were already read.
    pub(crate) fn new(guard: ConnectionGuard, early: &[u8]) -> Self {
        let mut driver = Self {
            guard,
            active: None,
            messages: PhantomData,
        };
        if !early.is_empty() {
            driver.take(early);
        }
        driver
    }

    fn active(&mut self) -> &mut Active {
        self.active.get_or_insert_default()
    }

    fn is_lingering(&self) -> bool {
        let active = self.active.as_ref();
        active.is_some_and(|active| active.lingering.is_some())
    }

    /// Processes bytes from the client.
    fn take(&mut self, bytes: &[u8]) {
        let connection = Arc::clone(self.guard.connection());
        if !connection.take_bytes(bytes.len()) {
            return;
        }
        connection.count_bytes_in(bytes.len());
        let active = self.active();
        let fed = active
            .inbound
            .feed::<M>(bytes, connection.max_message_bytes());
        // An incomplete frame is no sign of life. A client that sends one frame for longer than
        // heartbeats may stay unanswered is disconnected.
        if fed.frames > 0 {
            connection.saw_life();
        }
        // A message is charged when it is handled. Other frames only cause work, so charge them
        // here.
        let others = fed.frames.saturating_sub(fed.messages.len());
        if others > 0 && !connection.take_frames(others) {
            return self.rest();
        }
        if !fed.replies.is_empty() {
            connection.send_framed(&fed.replies);
        }
        if !fed.messages.is_empty() || fed.end.is_some() {
            active.busy = Some(Box::pin(handle(connection, fed.messages, fed.end)));
        }
        self.rest();
    }

    /// Frees the state that an idle connection does not need.
    fn rest(&mut self) {
        if self.active.as_ref().is_some_and(|active| active.is_over()) {
            self.active = None;
        }
    }

    /// Reads once. Returns `false` at the end of the stream.
    fn read(&mut self) -> io::Result<bool> {
        READ_BUFFER.with_borrow_mut(|buffer| {
            let count = self.guard.connection().socket().try_read(buffer)?;
            if count > 0 && !self.is_lingering() {
                self.take(&buffer[..count]);
            }
            Ok(count > 0)
        })
    }

    /// Waits for a limited time until the peer has closed too. If the socket were closed with
    /// unread bytes, the connection would be reset, and the close frame could be lost.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let active = self.active.as_mut();
        let Some(timer) = active.and_then(|active| active.lingering.as_mut()) else {
            return Poll::Ready(());
        };
        if timer.as_mut().poll(cx).is_ready() || self.guard.connection().poll_aborted(cx).is_ready()
        {
            return Poll::Ready(());
        }
        for _ in 0..READS_A_POLL {
            // A stream with a buffer may still have to write the end.
            let _ = self.guard.connection().socket().poll_flush(cx);
            if ready!(self.guard.connection().socket().poll_read_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            match self.read() {
                Ok(true) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(false) | Err(_) => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

async fn handle<M: Incoming>(
    connection: Arc<Connection>,
    messages: Vec<M>,
    end: Option<CloseReason>,
) {
    M::handle(&connection, messages).await;
    if let Some(reason) = end {
        connection.close(reason);
    }
}

impl<M: Incoming> Future for Driver<M> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.is_lingering() {
            return this.poll_linger(cx);
        }
        for _ in 0..READS_A_POLL {
            if let Poll::Ready(reason) = this.guard.connection().poll_drive(cx) {
                this.active().busy = None;
                if reason == CloseReason::ClientGone {
                    return Poll::Ready(());
                }
                let connection = this.guard.connection();
                connection.socket().shutdown();
                let timer = Box::pin(tokio::time::sleep(connection.close_timeout()));
                this.active().lingering = Some(timer);
                return this.poll_linger(cx);
            }
            if let Some(active) = &mut this.active
                && let Some(busy) = &mut active.busy
            {
                ready!(busy.as_mut().poll(cx));
                active.busy = None;
                this.rest();
                continue;
            }
            // Do not read from a client that does not read its answers. The write side wakes this
            // task when the client has read some.
            if this.guard.connection().is_backed_up() {
                return Poll::Pending;
            }
            if ready!(this.guard.connection().socket().poll_read_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            match this.read() {
                Ok(true) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(false) | Err(_) => return Poll::Ready(()),
            }
        }
        // Yield to other tasks.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
