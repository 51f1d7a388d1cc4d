//! Copies of output that wait to be looked at. The newest are kept, and what is
//! missing is counted.

use std::collections::VecDeque;

use tidings_client::protocol::LogStream;

/// A write of this length or more is a piece of its own; smaller ones are joined.
const PIECE: usize = 16 * 1024;

/// What is taken out of a backlog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Copied {
    /// So many bytes of a stream were not kept. They came before what follows.
    Missing(LogStream, u64),
    /// Bytes of a stream, in order.
    Output(LogStream, Vec<u8>),
}

/// A queue with a bound. If it is full, the oldest bytes give way: the end of an
/// output is what people need.
#[derive(Debug)]
pub(super) struct Backlog {
    pieces: VecDeque<(LogStream, Vec<u8>)>,
    bytes: usize,
    most: usize,
    missing: Vec<(LogStream, u64)>,
}

impl Backlog {
    /// Makes a queue for so many bytes.
    pub(super) fn new(most: usize) -> Self {
        Self {
            pieces: VecDeque::new(),
            bytes: 0,
            most,
            missing: Vec::new(),
        }
    }

    /// Adds bytes of a stream.
    pub(super) fn push(&mut self, stream: LogStream, bytes: &[u8]) {
        self.bytes += bytes.len();
        match self.pieces.back_mut() {
            Some((last, piece)) if *last == stream && piece.len() + bytes.len() <= PIECE => {
                piece.extend_from_slice(bytes);
            }
            _ => self.pieces.push_back((stream, bytes.to_vec())),
        }
        while self.bytes > self.most && self.pieces.len() > 1 {
            if let Some((stream, piece)) = self.pieces.pop_front() {
                self.bytes -= piece.len();
                self.miss(stream, piece.len() as u64);
            }
        }
    }

    fn miss(&mut self, stream: LogStream, bytes: u64) {
        match self.missing.iter_mut().find(|(known, _)| *known == stream) {
            Some((_, count)) => *count += bytes,
            None => self.missing.push((stream, bytes)),
        }
    }

    /// Takes what comes next; none if nothing waits.
    pub(super) fn take(&mut self) -> Option<Copied> {
        if let Some((stream, bytes)) = self.missing.pop() {
            return Some(Copied::Missing(stream, bytes));
        }
        let (stream, piece) = self.pieces.pop_front()?;
        self.bytes -= piece.len();
        Some(Copied::Output(stream, piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LogStream::{Stderr, Stdout};

    #[test]
    fn the_end_is_kept_and_what_is_missing_is_counted() {
        let mut backlog = Backlog::new(3 * PIECE);
        backlog.push(Stderr, b"lost, too");
        let mut whole: Vec<u8> = Vec::new();
        for number in 0..100_000 {
            let line = format!("line {number}\n");
            backlog.push(Stdout, line.as_bytes());
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
        assert!(kept.len() > PIECE && kept.len() <= 3 * PIECE);
        assert_eq!(missing + kept.len(), whole.len());
        assert!(whole.ends_with(&kept));
        assert_eq!(backlog.take(), None);
    }

    #[test]
    fn small_writes_are_joined_and_streams_keep_their_order() {
        let mut backlog = Backlog::new(PIECE);
        backlog.push(Stdout, b"a");
        backlog.push(Stdout, b"b");
        backlog.push(Stderr, b"c");
        backlog.push(Stdout, b"d");
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
