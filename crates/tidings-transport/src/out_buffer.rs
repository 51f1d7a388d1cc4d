//! A bounded buffer between a non-blocking writer and an asynchronous stream.

use std::io::{self, IoSlice};

/// The number of bytes from which on the buffer counts as full. It is about the size of a socket
/// buffer. Bytes in it are already delayed, and the log stores the rest at no cost.
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

    /// Appends as many bytes as fit.
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

    /// Removes and returns all bytes.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let mut taken = std::mem::take(self);
        taken.bytes.drain(..taken.start);
        taken.bytes
    }
}
