//! Logs outside the registry, such as a client's inbox.

use std::sync::Arc;

use tidings_protocol::EventType;

use super::EventBus;
use crate::deliver::topic::Topic;
use crate::ledger::Account;
use crate::log::{Appended, Log, LogLimits};

impl EventBus {
    /// Creates a log outside the registry, such as a client's inbox.
    pub fn detached_topic(&self) -> Arc<Topic> {
        self.detached_topic_from(1)
    }

    /// Creates a log outside the registry. Its first offset is `first`.
    pub fn detached_topic_from(&self, first: u64) -> Arc<Topic> {
        let log = Log::new(None, self.shared.epoch());
        let mut log = Log::part(&log, first.max(1));
        log.charge_to(self.shared.ledger.own());
        Topic::new(log, Arc::clone(&self.shared.fanout))
    }

    /// Charges the memory of a detached log to `account` from now on. Before this call, the
    /// bus's own account pays for it.
    pub fn charge_detached(&self, topic: &Arc<Topic>, account: &Account) {
        topic.lock().charge_to(account);
    }

    /// Appends one line of JSON to a detached log. Returns its offset, or `None` if the log was
    /// [released](Self::release_detached).
    pub fn append_detached(
        &self,
        topic: &Arc<Topic>,
        limits: &LogLimits,
        event_type: EventType,
        write: impl FnOnce(u64, &mut Vec<u8>),
    ) -> Option<u64> {
        let at = self.shared.config.clock.now();
        let offset = {
            let mut log = topic.lock();
            if log.closed {
                return None;
            }
            let offset = log.append(
                self.shared.framing(),
                |offset, text| {
                    write(offset, text);
                    Appended {
                        event_type,
                        timestamp: at,
                        data: (0, text.len()),
                        output: None,
                    }
                },
                &mut Vec::new(),
            );
            log.trim(limits);
            topic.mirror(&mut log);
            offset
        };
        topic.announce();
        Some(offset)
    }

    /// Drops the records of a detached log, releases their bytes and closes the log.
    pub fn release_detached(&self, topic: &Arc<Topic>) {
        let mut log = topic.lock();
        log.trim_all();
        log.closed = true;
        topic.mirror(&mut log);
    }
}
