//! Bytes that a socket did not take yet.

use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use tidings_bus::{Chunk, Cursor};

use crate::subscriptions::Opening;

/// The rest of one record, and control messages behind it. Events never queue
/// here: they stay in the log.
///
/// Exists only while a socket is full, which may be for thousands of
/// connections at a time, so that what is rare is boxed.
#[derive(Default)]
pub(crate) struct Pending {
    record: Option<Rest>,
    owned: Option<Box<Owned>>,
    unsent: Option<Box<UnsentBy>>,
}

/// The rest of a record, still lying in the log's chunk.
struct Rest {
    chunk: Arc<Chunk>,
    start: u32,
    end: u32,
    /// The cursor that it is of; none if that is no more.
    key: Option<u32>,
}

/// Answers and notices.
struct Owned {
    bytes: Vec<u8>,
    from: usize,
}

/// A cursor whose notices are among the owned bytes.
struct UnsentBy {
    key: usize,
    unsent: Unsent,
    /// So many bytes until it is sent.
    bytes: usize,
}

/// What a client has not got of what its cursor has handed over.
pub(crate) enum Unsent {
    /// The announcement: the subscription has yet to open.
    Opening(Box<Opening>),
    /// What came after the cursor stood here.
    After(Cursor),
    /// The last record before the cursor.
    Record,
}

impl Rest {
    fn bytes(&self) -> &[u8] {
        &self.chunk.bytes()[self.start as usize..self.end as usize]
    }
}

impl Owned {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.from..]
    }
}

impl Pending {
    fn record(&self) -> &[u8] {
        self.record.as_ref().map_or(&[], Rest::bytes)
    }

    fn control(&self) -> &[u8] {
        self.owned.as_ref().map_or(&[], |owned| owned.rest())
    }

    /// All bytes.
    pub(crate) fn len(&self) -> usize {
        self.record().len() + self.owned()
    }

    /// Bytes held here and nowhere else.
    pub(crate) fn owned(&self) -> usize {
        self.control().len()
    }

    /// Takes the rest of a record, of which only part went out. It is the first
    /// to wait: a cursor writes only when nothing else does.
    pub(crate) fn push_record(&mut self, key: usize, chunk: Arc<Chunk>, range: Range<usize>) {
        debug_assert!(self.record.is_none() && self.owned.is_none());
        // The bus keeps positions in a chunk in 32 bits.
        let narrow = |at| u32::try_from(at).expect("a chunk's bytes are counted in 32 bits");
        self.record = Some(Rest {
            chunk,
            start: narrow(range.start),
            end: narrow(range.end),
            key: u32::try_from(key).ok(),
        });
    }

    pub(crate) fn push_owned(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match &mut self.owned {
            Some(owned) => owned.bytes.extend_from_slice(bytes),
            None => {
                self.owned = Some(Box::new(Owned {
                    bytes: bytes.to_vec(),
                    from: 0,
                }));
            }
        }
    }

    /// The bytes, for a queue that holds nothing of a log.
    pub(crate) fn into_owned(self) -> Vec<u8> {
        self.owned
            .map_or_else(Vec::new, |owned| owned.rest().to_vec())
    }

    /// What to offer the socket.
    pub(crate) fn slices(&self) -> [IoSlice<'_>; 2] {
        [IoSlice::new(self.record()), IoSlice::new(self.control())]
    }

    /// Forgets what was written.
    pub(crate) fn consume(&mut self, written: usize) {
        if let Some(unsent) = &mut self.unsent {
            unsent.bytes = unsent.bytes.saturating_sub(written);
            if unsent.bytes == 0 {
                self.unsent = None;
            }
        }
        let of_record = written.min(self.record().len());
        match &mut self.record {
            Some(record) if of_record < record.bytes().len() => {
                record.start += u32::try_from(of_record).unwrap_or(0);
            }
            _ => self.record = None,
        }
        let of_control = written - of_record;
        match &mut self.owned {
            Some(owned) if of_control < owned.rest().len() => owned.from += of_control,
            _ => self.owned = None,
        }
    }

    /// Notes whose bytes have just come to wait, unless that is known already.
    pub(crate) fn note_unsent(&mut self, key: usize, unsent: Unsent) {
        if self.unsent.is_none() && self.record.is_none() {
            let bytes = self.len();
            self.unsent = Some(Box::new(UnsentBy { key, unsent, bytes }));
        }
    }

    /// The cursor that has handed over what its client has not got.
    pub(crate) fn take_unsent(&mut self) -> Option<(usize, Unsent)> {
        if let Some(unsent) = self.unsent.take() {
            return Some((unsent.key, unsent.unsent));
        }
        let key = self.record.as_mut()?.key.take()?;
        Some((usize::try_from(key).ok()?, Unsent::Record))
    }

    /// Forgets whose bytes these are: the cursor is no more.
    pub(crate) fn disown(&mut self, key: usize) {
        if self.unsent.as_ref().is_some_and(|unsent| unsent.key == key) {
            self.unsent = None;
        }
        if let Some(record) = &mut self.record
            && record.key.map(|known| known as usize) == Some(key)
        {
            record.key = None;
        }
    }
}
