//! The task of one WebSocket connection.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tidings_connections::{CloseReason, Connection, ConnectionGuard};
use tokio::time::Sleep;
use tungstenite::Utf8Bytes;

use super::inbound::Inbound;

/// Bytes taken from a socket at a time, into one buffer a thread.
const READ_BYTES: usize = 16 * 1024;

/// Reads in one poll, before other tasks have their turn.
const READS_A_POLL: usize = 8;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// Reads, has messages handled, and drives the write side.
///
/// This future is what a parked connection costs, so it is small: handling a
/// message and the last seconds of a connection are boxed when they happen.
pub(crate) struct Driver {
    guard: ConnectionGuard,
    inbound: Inbound,
    /// Messages being handled. Nothing is read meanwhile: TCP's own flow
    /// control is what slows a client down.
    busy: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// The goodbye is written; waiting for the peer to see it.
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Driver {
    /// Drives `guard`'s connection, of which `early` had been read already.
    pub(crate) fn new(guard: ConnectionGuard, early: &[u8]) -> Self {
        let mut driver = Self {
            guard,
            inbound: Inbound::default(),
            busy: None,
            lingering: None,
        };
        if !early.is_empty() {
            driver.take(early);
        }
        driver
    }

    /// Takes bytes from the client.
    fn take(&mut self, bytes: &[u8]) {
        let connection = self.guard.connection();
        connection.saw_life();
        let max = connection.max_message_bytes();
        let fed = self.inbound.feed(bytes, max);
        if !fed.replies.is_empty() {
            connection.send_framed(&fed.replies);
        }
        if !fed.messages.is_empty() || fed.end.is_some() {
            let connection = Arc::clone(connection);
            self.busy = Some(Box::pin(handle(connection, fed.messages, fed.end)));
        }
    }

    /// Reads once; false at the end of the stream.
    fn read(&mut self) -> io::Result<bool> {
        READ_BUFFER.with_borrow_mut(|buffer| {
            let count = self.guard.connection().socket().try_read(buffer)?;
            if count > 0 && self.lingering.is_none() {
                self.take(&buffer[..count]);
            }
            Ok(count > 0)
        })
    }

    /// Waits, for a bounded time, until the peer has closed too: closing a
    /// socket with unread bytes in it would reset the connection and may take
    /// the goodbye with it.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(timer) = &mut self.lingering else {
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

async fn handle(connection: Arc<Connection>, messages: Vec<Utf8Bytes>, end: Option<CloseReason>) {
    connection.receive_all(messages).await;
    if let Some(reason) = end {
        connection.close(reason);
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.lingering.is_some() {
            return this.poll_linger(cx);
        }
        for _ in 0..READS_A_POLL {
            if let Poll::Ready(reason) = this.guard.connection().poll_drive(cx) {
                this.busy = None;
                if reason == CloseReason::ClientGone {
                    return Poll::Ready(());
                }
                let connection = this.guard.connection();
                connection.socket().shutdown();
                this.lingering = Some(Box::pin(tokio::time::sleep(connection.close_timeout())));
                return this.poll_linger(cx);
            }
            if let Some(busy) = &mut this.busy {
                ready!(busy.as_mut().poll(cx));
                this.busy = None;
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
