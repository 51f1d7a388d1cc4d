//! The end of a bus.

use std::sync::atomic::Ordering;

use super::EventBus;
use crate::defaults::SCOPES_WINDOW;
use crate::publish::save;

impl EventBus {
    /// Returns whether the bus can accept a publish. Returns false while the store refuses
    /// events.
    pub fn is_available(&self) -> bool {
        let store = self.shared.store.as_ref();
        store.is_none_or(|store| store.is_available())
    }

    /// Stops the bus as [`finish`](Self::finish) does. Returns true if nothing is left: the
    /// store has every event, and the handlers have handled every event.
    ///
    /// # Cancel safety
    /// As [`finish`](Self::finish).
    pub async fn shutdown(&self) -> bool {
        self.finish().await.is_complete()
    }

    /// Cancels the tasks that this process [runs](Self::run), and lets them report it for up to
    /// [`SCOPES_WINDOW`](crate::defaults::SCOPES_WINDOW). Then stops the bus's own tasks and
    /// waits for them. The bus refuses publishes. Streams end after the events that were
    /// published before. Handlers continue until they have handled those events, for at most
    /// [`handler_drain`](crate::BusConfig::handler_drain). The bus writes the remaining events to the
    /// store and closes the store.
    ///
    /// # Cancel safety
    /// A dropped future may leave the bus partly stopped, with unsaved events and an open store.
    /// The next call completes the stop.
    pub async fn finish(&self) -> Finished {
        self.shared.closing.cancel();
        self.shared.scopes.close();
        let _ = tokio::time::timeout(SCOPES_WINDOW, self.shared.scopes.wait()).await;
        self.shared.stop();
        self.shared.tracker.close();
        self.shared.tracker.wait().await;
        let saved = match &self.shared.store {
            None => true,
            Some(store) => {
                let closed = save::finish(&self.shared, store).await;
                if let Err(error) = &closed {
                    tracing::error!(%error, "the store was not closed in order");
                }
                closed.is_ok()
            }
        };
        let unhandled = &self.shared.counters.handler_unhandled;
        Finished {
            saved,
            unhandled: unhandled.load(Ordering::Relaxed),
        }
    }

    /// Completes when the bus has been shut down.
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn closed(&self) {
        self.shared.stop.cancelled().await;
    }
}
/// The remainder of a bus that has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "what is left is lost if nobody looks"]
pub struct Finished {
    /// True if the store took everything and was closed. If false, the next start recovers as
    /// after a crash.
    pub saved: bool,
    /// The number of events that handlers had not handled when their time was over.
    pub unhandled: u64,
}

impl Finished {
    /// Returns whether nothing is left.
    pub fn is_complete(&self) -> bool {
        self.saved && self.unhandled == 0
    }
}
