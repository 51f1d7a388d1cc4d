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

/// Bytes taken from a socket at a time, into one buffer a thread.
const READ_BYTES: usize = 16 * 1024;

/// Reads in one poll, before other tasks have their turn.
const READS_A_POLL: usize = 8;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// Reads, has messages handled, and drives the write side.
///
/// This future is what a parked connection costs, so it is two pointers: with
/// them the runtime's task fits into 128 bytes, with one more it takes 256.
pub(crate) struct Driver<M> {
    guard: ConnectionGuard,
    active: Option<Box<Active>>,
    messages: PhantomData<fn() -> M>,
}

/// What a connection has only while something is going on.
#[derive(Default)]
struct Active {
    inbound: Inbound,
    /// Messages being handled. Nothing is read meanwhile: TCP's own flow
    /// control is what slows a client down.
    busy: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// The goodbye is written; waiting for the peer to see it.
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Active {
    fn is_over(&self) -> bool {
        self.inbound.is_empty() && self.busy.is_none() && self.lingering.is_none()
    }
}

impl<M: Incoming> Driver<M> {
    /// Drives `guard`'s connection, of which `early` had been read already.
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

    /// Takes bytes from the client.
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
        // A frame that comes byte by byte is no sign of life: whoever sends one
        // for longer than heartbeats may go unanswered is let go.
        if fed.frames > 0 {
            connection.saw_life();
        }
        // A message is charged when it is handled; other frames are nothing but cost.
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

    /// Lets go of what is not needed at rest.
    fn rest(&mut self) {
        if self.active.as_ref().is_some_and(|active| active.is_over()) {
            self.active = None;
        }
    }

    /// Reads once; false at the end of the stream.
    fn read(&mut self) -> io::Result<bool> {
        READ_BUFFER.with_borrow_mut(|buffer| {
            let count = self.guard.connection().socket().try_read(buffer)?;
            if count > 0 && !self.is_lingering() {
                self.take(&buffer[..count]);
            }
            Ok(count > 0)
        })
    }

    /// Waits, for a bounded time, until the peer has closed too: closing a
    /// socket with unread bytes in it would reset the connection and may take
    /// the goodbye with it.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let active = self.active.as_mut();
        let Some(timer) = active.and_then(|active| active.lingering.as_mut()) else {
            return Poll::Ready(());
        };
        if timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        for _ in 0..READS_A_POLL {
            // A stream that buffers may have the end still to write.
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
            // A client that does not take its answers is not read from; the
            // write side wakes us when it has taken some.
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
        // Others' turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
