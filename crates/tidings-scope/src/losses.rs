//! Reports that are not in the log.

use tidings_protocol::EventType;

/// The number of refused reports that are kept. Further ones are only counted.
const MAX_REFUSALS: usize = 16;

/// A report that was refused for good.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Refusal<E> {
    /// The type of the event that was refused.
    pub event_type: EventType,
    /// The reason.
    pub error: E,
}

/// Reports of a task that are not in its log.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Losses<E> {
    /// The first reports that were refused for good, 16 at most.
    pub refused: Vec<Refusal<E>>,
    /// The number of all reports that were refused for good.
    pub refused_count: u64,
    /// The number of reports that were dropped for newer ones while nothing could be
    /// sent or stored.
    pub dropped: u64,
}

impl<E> Default for Losses<E> {
    fn default() -> Self {
        Self {
            refused: Vec::new(),
            refused_count: 0,
            dropped: 0,
        }
    }
}

impl<E> Losses<E> {
    /// Returns true if every report is in the log.
    pub fn is_empty(&self) -> bool {
        self.refused_count == 0 && self.dropped == 0
    }

    /// Counts a report that was refused for good.
    pub fn refuse(&mut self, event_type: EventType, error: E) {
        self.refused_count += 1;
        if self.refused.len() < MAX_REFUSALS {
            self.refused.push(Refusal { event_type, error });
        }
    }
}
