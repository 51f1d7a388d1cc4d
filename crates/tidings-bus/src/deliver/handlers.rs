//! The list of the event handlers of a bus.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::lock::{Lock, place};

/// The id of a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct HandlerId(u64);

impl std::fmt::Display for HandlerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "handler-{}", self.0)
    }
}

/// The state of a handler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HandlerInfo {
    /// The handler's id.
    pub id: HandlerId,
    /// The handler's name.
    pub name: String,
    /// The handler's subscription.
    pub filter: String,
    /// The number of published events that the handler has not handled yet.
    pub lag: u64,
    /// The number of deliveries for which the bus called the handler.
    pub handled: u64,
    /// The number of calls that returned an error.
    pub errors: u64,
    /// The number of calls that panicked.
    pub panics: u64,
    /// The last error or panic.
    pub last_error: Option<String>,
}

#[derive(Default)]
struct List {
    next: u64,
    running: BTreeMap<HandlerId, Arc<Running>>,
}

/// All handlers of a bus.
#[derive(Default)]
pub(crate) struct Handlers(Lock<List, place::Handlers>);

impl Handlers {
    /// Adds a handler.
    pub(crate) fn add(&self, handler: &Arc<Running>) -> HandlerId {
        let mut list = self.0.lock();
        list.next += 1;
        let id = HandlerId(list.next);
        list.running.insert(id, Arc::clone(handler));
        id
    }

    /// Removes and returns a handler.
    pub(crate) fn remove(&self, id: HandlerId) -> Option<Arc<Running>> {
        self.0.lock().running.remove(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().running.len()
    }

    /// Returns the state of each handler.
    pub(crate) fn infos(&self) -> Vec<HandlerInfo> {
        let list = self.0.lock();
        list.running
            .iter()
            .map(|(id, running)| running.info(*id))
            .collect()
    }
}

/// A handler that runs.
pub(crate) struct Running {
    pub(crate) name: String,
    pub(crate) filter: String,
    /// Returns the number of published events that the handler has not handled yet.
    pub(crate) lag: Box<dyn Fn() -> u64 + Send + Sync>,
    pub(crate) stop: CancellationToken,
    /// Cancelled when the handler has ended.
    pub(crate) ended: CancellationToken,
    /// Notified after each delivery.
    pub(crate) progress: Notify,
    pub(crate) handled: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) last_error: Lock<Option<String>, place::Leaf>,
}

impl Running {
    fn info(&self, id: HandlerId) -> HandlerInfo {
        HandlerInfo {
            id,
            name: self.name.clone(),
            filter: self.filter.clone(),
            lag: (self.lag)(),
            handled: self.handled.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            panics: self.panics.load(Ordering::Relaxed),
            last_error: self.last_error.lock().clone(),
        }
    }
}
