//! News of a task from other nodes.

use tidings_protocol::Epoch;

use crate::store::StoredEvent;

/// The most events of one task that wait to be taken in. If there are more, the bus reads the
/// store.
const PENDING_EVENTS: usize = 256;

/// The most tasks that are taken in at the same time.
pub(crate) const AT_A_TIME: usize = 64;

/// News of one task that is not taken in yet.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    events: Vec<(Epoch, StoredEvent)>,
    /// True if the store must be read, even if the events seem complete.
    look: bool,
    working: bool,
}

impl Incoming {
    /// Adds news. Returns true if the caller must start a worker for it.
    pub(crate) fn note(&mut self, event: Option<(Epoch, StoredEvent)>) -> bool {
        match event {
            Some(event) if self.events.len() < PENDING_EVENTS => self.events.push(event),
            _ => self.look = true,
        }
        !std::mem::replace(&mut self.working, true)
    }

    pub(crate) fn take(&mut self) -> Option<(Vec<(Epoch, StoredEvent)>, bool)> {
        if self.events.is_empty() && !self.look {
            *self = Self::default();
            return None;
        }
        Some((
            std::mem::take(&mut self.events),
            std::mem::take(&mut self.look),
        ))
    }
}
