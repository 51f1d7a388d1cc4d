//! Sockets for streams other than TCP: TLS, a pipe in memory, and any other that hyper supports.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tidings_bus::lock::{Guard, Lock, place};
use tidings_connections::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::out_buffer::OutBuffer;

/// The number of bytes that are read ahead of the parser.
const READ_BYTES: usize = 4 * 1024;

/// An `AsyncRead + AsyncWrite` as a [`Socket`].
///
/// Such a stream has no non-blocking writes, so there is a bounded buffer in between. The fan-out
/// pass writes into it, and the connection's task empties it.
pub(crate) struct StreamSocket<T> {
    state: Lock<State<T>, place::Leaf>,
}

struct State<T> {
    io: T,
    out: OutBuffer,
    read: Vec<u8>,
    /// `true` if the stream has ended.
    ended: bool,
    shutdown: bool,
    /// Wakes the connection's task, which empties the buffer.
    task: Option<Waker>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> StreamSocket<T> {
    pub(crate) fn new(io: T) -> Self {
        let state = State {
            io,
            out: OutBuffer::default(),
            read: Vec::new(),
            ended: false,
            shutdown: false,
            task: None,
        };
        Self {
            state: Lock::new(state),
        }
    }

    fn lock(&self) -> Guard<'_, State<T>, place::Leaf> {
        self.state.lock()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> State<T> {
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.task = Some(cx.waker().clone());
        while !self.out.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, self.out.bytes()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.consume(written);
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        if self.shutdown {
            return Pin::new(&mut self.io).poll_shutdown(cx);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Socket for StreamSocket<T> {
    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.lock();
        let taken = state.out.push(bufs)?;
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
        Ok(taken)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        match state.poll_flush(cx) {
            Poll::Pending if !state.out.is_full() => Poll::Ready(Ok(())),
            other => other,
        }
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_flush(cx)
    }

    fn shutdown(&self) {
        self.lock().shutdown = true;
    }

    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let mut state = self.lock();
        if state.read.is_empty() {
            return if state.ended {
                Ok(0)
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            };
        }
        let count = state.read.len().min(buf.len());
        buf[..count].copy_from_slice(&state.read[..count]);
        if count == state.read.len() {
            state.read = Vec::new();
        } else {
            state.read.drain(..count);
        }
        Ok(count)
    }

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        let state = &mut *state;
        if !state.read.is_empty() || state.ended {
            return Poll::Ready(Ok(()));
        }
        let mut space = [0; READ_BYTES];
        let mut buf = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut state.io).poll_read(cx, &mut buf))?;
        state.ended = buf.filled().is_empty();
        state.read.extend_from_slice(buf.filled());
        Poll::Ready(Ok(()))
    }
}
