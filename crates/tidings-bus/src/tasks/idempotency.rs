//! A bounded memory of producers' event ids.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tidings_protocol::{EventId, Offset};
use tokio::time::Instant;

/// The ids of a task's recent events, with their offsets.
///
/// A retry within the window gets the first offset. Outside the window (by count or by age), a
/// retry counts as a new event, as the protocol promises.
#[derive(Debug, Default)]
pub(crate) struct IdempotencyWindow {
    offsets: HashMap<EventId, Offset>,
    order: VecDeque<(Instant, EventId)>,
    bytes: u64,
}

/// Bytes that an id is charged with: its text twice, and its two entries.
fn bytes_of(id: &EventId) -> u64 {
    2 * id.as_str().len() as u64 + 160
}

impl IdempotencyWindow {
    /// Returns the offset of this id, if the window still has the id.
    pub(crate) fn find(&mut self, id: &EventId, now: Instant, ttl: Duration) -> Option<Offset> {
        self.expire(now, ttl);
        self.offsets.get(id).copied()
    }

    /// Returns the approximate size of the window in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn remember(&mut self, id: EventId, offset: Offset, now: Instant, max: usize) {
        while self.order.len() >= max {
            self.forget_oldest();
        }
        self.bytes += bytes_of(&id);
        self.order.push_back((now, id.clone()));
        self.offsets.insert(id, offset);
    }

    /// Forgets ids that are older than `ttl`.
    pub(crate) fn expire(&mut self, now: Instant, ttl: Duration) {
        while self
            .order
            .front()
            .is_some_and(|(at, _)| now.duration_since(*at) >= ttl)
        {
            self.forget_oldest();
        }
        if self.order.is_empty() && self.order.capacity() > 0 {
            *self = Self::default();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.order.pop_front() {
            self.bytes -= bytes_of(&id);
            self.offsets.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> EventId {
        EventId::new(text).unwrap()
    }

    #[test]
    fn forgets_by_count_and_by_age() {
        let mut window = IdempotencyWindow::default();
        let start = Instant::now();
        let ttl = Duration::from_secs(300);
        for n in 1..=5u64 {
            window.remember(id(&n.to_string()), Offset::new(n).unwrap(), start, 3);
        }
        assert_eq!(window.bytes(), 3 * bytes_of(&id("3")));
        assert_eq!(window.find(&id("2"), start, ttl), None);
        assert_eq!(window.find(&id("3"), start, ttl), Offset::new(3).ok());
        assert_eq!(window.find(&id("5"), start + ttl, ttl), None);
        assert_eq!(
            (window.order.capacity(), window.bytes()),
            (0, 0),
            "an empty window holds no memory"
        );
    }
}
