//! A backlog: copies of output that wait for processing. The newest copies are kept, and missing
//! bytes are counted.

use std::collections::VecDeque;

use tidings_client::protocol::LogStream;

/// The largest read, in bytes.
pub(super) const READ: usize = 128 * 1024;

/// The limit for copying. A smaller read is copied and joined with others. A larger read gives its
/// buffer to the backlog; this buffer is at least half full.
const PIECE: usize = READ / 2;

/// An entry taken from a backlog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Copied {
    /// This number of bytes of a stream is missing. They came before the next entry.
    Missing(LogStream, u64),
    /// Bytes of a stream, in order.
    Output(LogStream, Vec<u8>),
}

/// A bounded queue. If it is full, the oldest bytes are dropped, because the end of an output
/// matters most to people.
#[derive(Debug)]
pub(super) struct Backlog {
    pieces: VecDeque<Piece>,
    bytes: usize,
    missing: Vec<(LogStream, u64)>,
    /// The buffer of a dropped piece, reused for the next read.
    spare: Option<Vec<u8>>,
}

/// Bytes of one stream.
#[derive(Debug)]
struct Piece {
    stream: LogStream,
    /// The bytes, followed by the unused part of the read buffer.
    buffer: Vec<u8>,
    length: usize,
}

/// Returns a buffer for a read.
pub(super) fn buffer() -> Vec<u8> {
    vec![0; READ]
}

impl Backlog {
    /// Returns an empty queue.
    pub(super) fn new() -> Self {
        Self {
            pieces: VecDeque::new(),
            bytes: 0,
            missing: Vec::new(),
            spare: None,
        }
    }

    /// Adds the first `length` bytes of a buffer, and keeps at most `most` bytes. If there are many
    /// bytes, the queue takes the buffer and leaves another one in its place.
    pub(super) fn push(
        &mut self,
        stream: LogStream,
        read: &mut Vec<u8>,
        length: usize,
        most: usize,
    ) {
        self.bytes += length;
        let joined = self.pieces.back_mut().filter(|piece| {
            piece.stream == stream && piece.length + length <= PIECE && length < PIECE
        });
        match joined {
            Some(piece) => {
                piece.buffer.truncate(piece.length);
                piece.buffer.extend_from_slice(&read[..length]);
                piece.length += length;
            }
            None => {
                let buffer = if length < PIECE {
                    read[..length].to_vec()
                } else {
                    let next = self.spare.take().unwrap_or_else(buffer);
                    std::mem::replace(read, next)
                };
                self.pieces.push_back(Piece {
                    stream,
                    buffer,
                    length,
                });
            }
        }
        while self.bytes > most && self.pieces.len() > 1 {
            if let Some(piece) = self.pieces.pop_front() {
                self.bytes -= piece.length;
                self.miss(piece.stream, piece.length as u64);
                if piece.buffer.len() == READ {
                    self.spare = Some(piece.buffer);
                }
            }
        }
    }

    fn miss(&mut self, stream: LogStream, bytes: u64) {
        match self.missing.iter_mut().find(|(known, _)| *known == stream) {
            Some((_, count)) => *count += bytes,
            None => self.missing.push((stream, bytes)),
        }
    }

    /// Takes the next entry. Returns `None` if the queue is empty.
    pub(super) fn take(&mut self) -> Option<Copied> {
        if let Some((stream, bytes)) = self.missing.pop() {
            return Some(Copied::Missing(stream, bytes));
        }
        let mut piece = self.pieces.pop_front()?;
        self.bytes -= piece.length;
        piece.buffer.truncate(piece.length);
        Some(Copied::Output(piece.stream, piece.buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LogStream::{Stderr, Stdout};

    const MOST: usize = 3 * PIECE;

    fn push(backlog: &mut Backlog, stream: LogStream, bytes: &[u8]) {
        for part in bytes.chunks(READ) {
            let mut read = buffer();
            read[..part.len()].copy_from_slice(part);
            backlog.push(stream, &mut read, part.len(), MOST);
            assert_eq!(read.len(), READ, "the next read has a whole buffer");
        }
    }

    #[test]
    fn the_end_is_kept_and_what_is_missing_is_counted() {
        let mut backlog = Backlog::new();
        push(&mut backlog, Stderr, b"lost, too");
        let mut whole: Vec<u8> = Vec::new();
        for number in 0..200 {
            // Lines of all lengths. Some are as long as a read.
            let line = format!("line {number} {}\n", "x".repeat(number * 997 % (2 * READ)));
            push(&mut backlog, Stdout, line.as_bytes());
            whole.extend_from_slice(line.as_bytes());
        }
        let (mut missing, mut kept) = (0, Vec::new());
        while let Some(copied) = backlog.take() {
            match copied {
                Copied::Missing(Stdout, bytes) => {
                    assert!(kept.is_empty(), "told before what follows");
                    missing += usize::try_from(bytes).unwrap();
                }
                Copied::Missing(Stderr, bytes) => assert_eq!(bytes, 9),
                Copied::Output(stream, bytes) => {
                    assert_eq!(stream, Stdout);
                    kept.extend_from_slice(&bytes);
                }
            }
        }
        assert!(kept.len() > PIECE && kept.len() <= MOST);
        assert_eq!(missing + kept.len(), whole.len());
        assert!(whole.ends_with(&kept));
        assert_eq!(backlog.take(), None);
    }

    #[test]
    fn small_writes_are_joined_and_streams_keep_their_order() {
        let mut backlog = Backlog::new();
        push(&mut backlog, Stdout, b"a");
        push(&mut backlog, Stdout, b"b");
        push(&mut backlog, Stderr, b"c");
        push(&mut backlog, Stdout, b"d");
        let taken: Vec<_> = std::iter::from_fn(|| backlog.take()).collect();
        assert_eq!(
            taken,
            [
                Copied::Output(Stdout, b"ab".to_vec()),
                Copied::Output(Stderr, b"c".to_vec()),
                Copied::Output(Stdout, b"d".to_vec()),
            ]
        );
    }
}
