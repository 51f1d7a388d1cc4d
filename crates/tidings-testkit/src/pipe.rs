//! A socket in memory, with a buffer as small as a test needs.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use tidings_connections::Socket;

#[derive(Debug, Default)]
struct State {
    sent: Vec<u8>,
    capacity: usize,
    writer: Option<Waker>,
    reader: Option<Waker>,
    broken: bool,
}

/// The server's end of a pipe. The test takes out what the server writes, and so plays a fast or
/// slow client, or one that has disconnected.
#[derive(Debug, Clone)]
pub struct PipeSocket(Arc<Mutex<State>>);

impl PipeSocket {
    /// Creates a pipe that holds `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            capacity,
            ..State::default()
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes up to `count` of the bytes that the server wrote.
    pub fn take(&self, count: usize) -> Vec<u8> {
        let mut state = self.lock();
        let count = count.min(state.sent.len());
        let taken = state.sent.drain(..count).collect();
        if let (true, Some(writer)) = (count > 0, state.writer.take()) {
            writer.wake();
        }
        taken
    }

    /// Breaks the connection. Bytes that were not taken are lost.
    pub fn break_off(&self) {
        let mut state = self.lock();
        state.broken = true;
        state.sent.clear();
        for waker in [state.writer.take(), state.reader.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }
}

impl Socket for PipeSocket {
    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.lock();
        if state.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut taken = 0;
        for buf in bufs {
            let room = (state.capacity - state.sent.len()).min(buf.len());
            state.sent.extend_from_slice(&buf[..room]);
            taken += room;
        }
        let offered: usize = bufs.iter().map(|buf| buf.len()).sum();
        if taken == 0 && offered > 0 {
            Err(io::ErrorKind::WouldBlock.into())
        } else {
            Ok(taken)
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        if state.broken || state.sent.len() < state.capacity {
            return Poll::Ready(Ok(()));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn try_read(&self, _: &mut [u8]) -> io::Result<usize> {
        if self.lock().broken {
            Ok(0)
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        if state.broken {
            return Poll::Ready(Ok(()));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}
