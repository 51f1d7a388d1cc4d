//! A plain TCP socket.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::task::{Context, Poll};

use rustix::net::{RecvFlags, SendFlags};
use tidings_connections::Socket;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Reads and writes the socket directly, without a buffer.
pub(crate) struct TcpSocket(pub(crate) TcpStream);

impl Socket for TcpSocket {
    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if let [one] = bufs {
            // Skip the runtime's state of the socket. It is elsewhere in memory, and a socket is
            // rarely full.
            match rustix::net::send(&self.0, one, SendFlags::NOSIGNAL) {
                // Try again through the runtime, so that it learns that the socket is full.
                Err(rustix::io::Errno::WOULDBLOCK) => self.0.try_write(one),
                other => Ok(other?),
            }
        } else {
            self.0.try_write_vectored(bufs)
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_write_ready(cx)
    }

    fn shutdown(&self) {
        // This fails only if the connection is already broken.
        let _ = socket2::SockRef::from(&self.0).shutdown(Shutdown::Write);
    }

    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let room = buf.len();
        let mut partial = None;
        let result = self.0.try_io(Interest::READABLE, || {
            let (count, _) = rustix::net::recv(&self.0, &mut *buf, RecvFlags::empty())?;
            if count == 0 || count == room {
                return Ok(count);
            }
            // The socket had no more bytes. New bytes will make it readable again. Returning
            // `WouldBlock` now saves a read that would find nothing.
            partial = Some(count);
            Err(io::ErrorKind::WouldBlock.into())
        });
        partial.map_or(result, Ok)
    }

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(cx)
    }
}
