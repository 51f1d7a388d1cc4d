//! Bytes that a socket did not take yet.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use tidings_bus::Chunk;

/// Slices handed to the socket in one call.
const MAX_SLICES: usize = 16;

enum Part {
    /// The rest of a record, still lying in the log's chunk.
    Shared(Arc<Chunk>, Range<usize>),
    /// Answers and notices.
    Owned(Vec<u8>, usize),
}

impl Part {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(chunk, range) => &chunk.bytes()[range.clone()],
            Self::Owned(bytes, from) => &bytes[*from..],
        }
    }

    fn skip(&mut self, count: usize) {
        match self {
            Self::Shared(_, range) => range.start += count,
            Self::Owned(_, from) => *from += count,
        }
    }
}

/// A queue of the rest of one record and of control messages; events never
/// queue here, they stay in the log. Exists only while a socket is blocked.
#[derive(Default)]
pub(crate) struct Pending {
    parts: VecDeque<Part>,
    owned: usize,
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// All bytes.
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.bytes().len()).sum()
    }

    /// Bytes held here and nowhere else.
    pub(crate) fn owned(&self) -> usize {
        self.owned
    }

    pub(crate) fn push_shared(&mut self, chunk: Arc<Chunk>, range: Range<usize>) {
        self.parts.push_back(Part::Shared(chunk, range));
    }

    pub(crate) fn push_owned(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.owned += bytes.len();
        if let Some(Part::Owned(last, _)) = self.parts.back_mut() {
            last.extend_from_slice(bytes);
        } else {
            self.parts.push_back(Part::Owned(bytes.to_vec(), 0));
        }
    }

    /// The bytes, for a queue that holds nothing of a log.
    pub(crate) fn into_owned(self) -> Vec<u8> {
        self.parts
            .iter()
            .flat_map(|part| part.bytes().iter().copied())
            .collect()
    }

    pub(crate) fn slices<'a>(&'a self, into: &mut Vec<IoSlice<'a>>) {
        into.extend(
            self.parts
                .iter()
                .take(MAX_SLICES)
                .map(|part| IoSlice::new(part.bytes())),
        );
    }

    /// Forgets what was written.
    pub(crate) fn consume(&mut self, mut written: usize) {
        while let Some(front) = self.parts.front_mut() {
            let len = front.bytes().len();
            let taken = len.min(written);
            if matches!(front, Part::Owned(..)) {
                self.owned -= taken;
            }
            written -= taken;
            if taken < len {
                front.skip(taken);
                return;
            }
            self.parts.pop_front();
        }
    }
}
