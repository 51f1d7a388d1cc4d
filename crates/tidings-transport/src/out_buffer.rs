//! A bounded buffer between a writer that tries and a stream that is awaited.

use std::io::{self, IoSlice};

/// Bytes it takes before it counts as full. About one socket buffer's worth:
/// what lies here is late already, and the log keeps the rest for free.
const CAPACITY: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(crate) struct OutBuffer {
    bytes: Vec<u8>,
    start: usize,
}

impl OutBuffer {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes().len() >= CAPACITY
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Takes what fits.
    pub(crate) fn push(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.is_full() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut taken = 0;
        for buf in bufs {
            let room = CAPACITY.saturating_sub(self.bytes().len()).min(buf.len());
            self.bytes.extend_from_slice(&buf[..room]);
            taken += room;
            if room < buf.len() {
                break;
            }
        }
        Ok(taken)
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start == self.bytes.len() {
            *self = Self::default();
        }
    }

    /// Everything that is there.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let mut taken = std::mem::take(self);
        taken.bytes.drain(..taken.start);
        taken.bytes
    }
}
