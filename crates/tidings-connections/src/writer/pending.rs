//! Bytes that a socket has not accepted yet.

use std::io::IoSlice;
use std::sync::Arc;

use tidings_bus::{Account, Charge, Cursor, Group, Kind};

use crate::opening::Opening;

/// The rest of one record, and control messages after it. Events never queue here, because they
/// stay in the log.
///
/// It exists only while a socket is full. That may be the case for thousands of connections at a
/// time, so rare parts are boxed.
#[derive(Default)]
pub(super) struct Pending {
    record: Option<Rest>,
    control: Option<Box<Control>>,
}

/// The rest of a record.
struct Rest {
    frame: Arc<[u8]>,
    /// The number of bytes that are already written.
    written: u32,
    /// The cursor that the record belongs to, or [`NOBODY`] if the cursor is gone.
    key: u32,
}

const NOBODY: u32 = u32::MAX;

/// Answers and notices.
struct Control {
    bytes: Vec<u8>,
    /// The charge for these bytes.
    charge: Charge,
    /// The number of these bytes that are already written.
    from: usize,
    /// The cursor that has notices among these bytes.
    unsent: Option<UnsentBy>,
}

struct UnsentBy {
    key: usize,
    unsent: Unsent,
    /// The number of bytes until the cursor's part is sent.
    bytes: usize,
}

/// The last output of a cursor that its client has not fully received.
pub(super) enum Unsent {
    /// The announcement. The subscription has not opened yet.
    Opening(Box<Opening>),
    /// Everything after this position of the cursor.
    After(Cursor),
    /// The last record before the cursor.
    Record,
}

impl Rest {
    fn bytes(&self) -> &[u8] {
        &self.frame[self.written as usize..]
    }
}

impl Control {
    fn new(account: &Account) -> Box<Self> {
        Box::new(Self {
            bytes: Vec::new(),
            charge: account.take(Kind::Answer, 0),
            from: 0,
            unsent: None,
        })
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.from..]
    }

    /// Adds bytes. Written bytes are removed first. Otherwise the buffer of a client that reads a
    /// little at a time would grow without end.
    fn push(&mut self, bytes: &[u8]) {
        if self.from >= self.bytes.len() / 2 {
            self.bytes.drain(..self.from);
            self.from = 0;
        }
        self.bytes.extend_from_slice(bytes);
        self.charge.resize(self.bytes.len() as u64);
    }
}

impl Pending {
    fn record(&self) -> &[u8] {
        self.record.as_ref().map_or(&[], Rest::bytes)
    }

    fn control(&self) -> &[u8] {
        self.control.as_ref().map_or(&[], |control| control.rest())
    }

    /// Returns the number of bytes.
    pub(super) fn len(&self) -> usize {
        self.record().len() + self.owned()
    }

    /// Returns the number of bytes that are stored only here, and not in a log.
    pub(super) fn owned(&self) -> usize {
        self.control().len()
    }

    /// Adds the rest of a record that was written in part. Nothing waits before it, because a
    /// cursor writes only if nothing waits.
    pub(super) fn push_record(&mut self, key: usize, frame: Arc<[u8]>, written: usize) {
        debug_assert!(self.record.is_none() && self.control.is_none());
        self.record = Some(Rest {
            frame,
            written: u32::try_from(written).expect("the bus counts a record's bytes in 32 bits"),
            key: u32::try_from(key).unwrap_or(NOBODY),
        });
    }

    /// Adds bytes, which are charged to this account.
    pub(super) fn push_owned(&mut self, bytes: &[u8], account: impl FnOnce() -> Account) {
        if !bytes.is_empty() {
            let control = &mut self.control;
            let control = control.get_or_insert_with(|| Control::new(&account()));
            control.push(bytes);
        }
    }

    /// Returns whether the account that pays for the answers, or all accounts together, hold more
    /// than they may.
    pub(super) fn is_over(&self) -> bool {
        let control = self.control.as_ref();
        control.is_some_and(|control| control.charge.account().is_over(Group::Clients))
    }

    /// Returns the bytes of a queue that contains no record of a log.
    pub(super) fn into_owned(self) -> Vec<u8> {
        self.control().to_vec()
    }

    /// Returns the bytes to offer to the socket.
    pub(super) fn slices(&self) -> [IoSlice<'_>; 2] {
        [IoSlice::new(self.record()), IoSlice::new(self.control())]
    }

    /// Removes bytes that were written.
    pub(super) fn consume(&mut self, written: usize) {
        let of_record = written.min(self.record().len());
        match &mut self.record {
            Some(record) if of_record < record.bytes().len() => {
                record.written += u32::try_from(of_record).unwrap_or(0);
            }
            _ => self.record = None,
        }
        let Some(control) = &mut self.control else {
            return;
        };
        let of_control = written - of_record;
        if of_control == control.rest().len() {
            self.control = None;
            return;
        }
        control.from += of_control;
        if let Some(unsent) = &mut control.unsent {
            unsent.bytes = unsent.bytes.saturating_sub(of_control);
            if unsent.bytes == 0 {
                control.unsent = None;
            }
        }
    }

    /// Records which cursor owns the bytes that have just started to wait, unless that is already
    /// known.
    pub(super) fn note_unsent(&mut self, key: usize, unsent: Unsent) {
        if let (None, Some(control)) = (&self.record, &mut self.control)
            && control.unsent.is_none()
        {
            let bytes = control.rest().len();
            control.unsent = Some(UnsentBy { key, unsent, bytes });
        }
    }

    /// Returns the cursor whose bytes the client has not fully received.
    pub(super) fn take_unsent(&mut self) -> Option<(usize, Unsent)> {
        let control = self.control.as_mut();
        if let Some(unsent) = control.and_then(|control| control.unsent.take()) {
            return Some((unsent.key, unsent.unsent));
        }
        let record = self.record.as_mut().filter(|record| record.key != NOBODY)?;
        let key = std::mem::replace(&mut record.key, NOBODY);
        Some((usize::try_from(key).ok()?, Unsent::Record))
    }

    /// Forgets the cursor that owns these bytes, because it is gone.
    pub(super) fn disown(&mut self, key: usize) {
        if let Some(control) = &mut self.control
            && control
                .unsent
                .as_ref()
                .is_some_and(|unsent| unsent.key == key)
        {
            control.unsent = None;
        }
        if let Some(record) = &mut self.record
            && usize::try_from(record.key) == Ok(key)
        {
            record.key = NOBODY;
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_bus::{AccountId, Ledger, LedgerLimits};

    use super::*;

    #[test]
    fn answers_are_charged_and_what_was_written_does_not_stay() {
        let ledger = Ledger::new(LedgerLimits {
            tasks: 0,
            clients: 10_000,
            account: 1_000,
        });
        let ada = ledger.account(&AccountId::subject("ada"));
        let mut pending = Pending::default();
        // The client reads slightly less than the server writes to it.
        for _ in 0..10_000 {
            pending.push_owned(&[b'x'; 100], || ada.clone());
            pending.consume(if pending.owned() > 500 { 100 } else { 99 });
            assert!(pending.owned() <= 600);
            assert!(
                ada.held(Kind::Answer) <= 1_300,
                "it holds no more than that"
            );
        }
        assert!(!pending.is_over());
        pending.push_owned(&[b'x'; 1_000], || ada.clone());
        assert!(pending.is_over());
        pending.consume(pending.len());
        assert_eq!(ada.held(Kind::Answer), 0);
        assert!(!pending.is_over());
    }
}
