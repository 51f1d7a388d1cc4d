//! Event handlers: code that is called for every delivery, on a cursor of its own.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::FutureExt;
use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::bus::EventBus;
use crate::deliver::delivery::Delivery;
use crate::deliver::filter::Filter;
use crate::deliver::subscription::{Inner, Subscription};
use crate::shared::Shared;

/// What a handler may fail with.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// Called for each delivery, one after the other.
///
/// A handler that is slow lags, one that fails or panics is counted and called
/// again with the next delivery; neither harms publishers or other subscribers.
///
/// A closure from a [`Delivery`] to a future is a handler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no event handler",
    note = "implement `EventHandler` for it, with `#[async_trait]` above the `impl`, or give a \
            closure from an update to a future"
)]
#[async_trait]
pub trait EventHandler: Send + Sync + 'static {
    /// Handles one delivery. An error is counted, logged and kept in
    /// [`HandlerInfo::last_error`]; the delivery is not repeated.
    async fn handle(&self, delivery: Delivery) -> Result<(), HandlerError>;

    /// Returns what the handler is called in lists. Default the name of its type.
    fn name(&self) -> String {
        std::any::type_name::<Self>().to_owned()
    }
}

#[async_trait]
impl<F, W> EventHandler for F
where
    F: Fn(Delivery) -> W + Send + Sync + 'static,
    W: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    async fn handle(&self, delivery: Delivery) -> Result<(), HandlerError> {
        self(delivery).await
    }
}

/// Names a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct HandlerId(u64);

impl std::fmt::Display for HandlerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "handler-{}", self.0)
    }
}

/// How a handler is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HandlerInfo {
    /// Its id.
    pub id: HandlerId,
    /// What it calls itself.
    pub name: String,
    /// What it is subscribed to.
    pub filter: String,
    /// Events that were published and that it has yet to handle.
    pub lag: u64,
    /// Deliveries it was called for.
    pub handled: u64,
    /// Calls that returned an error.
    pub errors: u64,
    /// Calls that panicked.
    pub panics: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// All handlers of a bus.
#[derive(Default)]
pub(crate) struct Handlers {
    next: u64,
    running: BTreeMap<HandlerId, Arc<Running>>,
}

impl Handlers {
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }
}

struct Running {
    name: String,
    filter: String,
    subscription: Arc<Inner>,
    stop: CancellationToken,
    /// Cancelled when the handler has ended.
    ended: CancellationToken,
    /// Told after each delivery.
    progress: Notify,
    handled: AtomicU64,
    errors: AtomicU64,
    panics: AtomicU64,
    last_error: Mutex<Option<String>>,
}

/// Keeps a handler subscribed; dropping it unsubscribes, as does
/// [`EventBus::unsubscribe`] with its id.
#[must_use = "dropping the guard unsubscribes the handler"]
pub struct HandlerGuard {
    id: HandlerId,
    running: Arc<Running>,
    bus: Option<EventBus>,
}

impl std::fmt::Debug for HandlerGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HandlerGuard").field(&self.id).finish()
    }
}

impl HandlerGuard {
    /// The handler's id.
    pub fn id(&self) -> HandlerId {
        self.id
    }

    /// Waits until the handler has handled all that is published. Returns false if
    /// it ended before.
    ///
    /// Where others go on publishing, there may be no such moment for a long time.
    pub async fn caught_up(&self) -> bool {
        loop {
            let mut progress = pin!(self.running.progress.notified());
            progress.as_mut().enable();
            if let Some(bus) = &self.bus {
                let heard = bus.shared.fanout.all_heard();
                tokio::select! {
                    () = heard => {}
                    () = self.running.ended.cancelled() => {}
                }
            }
            if self.running.subscription.lag() == 0 {
                return true;
            }
            tokio::select! {
                () = progress => {}
                () = self.running.ended.cancelled() => {
                    return self.running.subscription.lag() == 0;
                }
            }
        }
    }

    /// Leaves the handler subscribed for as long as the bus lives.
    pub fn detach(mut self) -> HandlerId {
        self.bus = None;
        self.id
    }
}

impl Drop for HandlerGuard {
    fn drop(&mut self) {
        if let Some(bus) = &self.bus {
            bus.unsubscribe(self.id);
        }
    }
}

impl EventBus {
    /// Has `handler` called for every delivery that `filter` lets through.
    ///
    /// ```
    /// use tidings_bus::{BusConfig, Delivery, EventBus, EventHandler, Filter, HandlerError};
    ///
    /// struct Print;
    ///
    /// #[async_trait::async_trait]
    /// impl EventHandler for Print {
    ///     async fn handle(&self, delivery: Delivery) -> Result<(), HandlerError> {
    ///         if let Delivery::Event(event) = delivery {
    ///             println!("{}", event.json());
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bus = EventBus::new(BusConfig::default())?;
    /// let guard = bus.subscribe_handler(Filter::everything(), Print);
    /// assert_eq!(bus.handlers().len(), 1);
    /// drop(guard);
    /// assert_eq!(bus.handlers().len(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe_handler(
        &self,
        filter: impl Into<Filter>,
        handler: impl EventHandler,
    ) -> HandlerGuard {
        let filter = filter.into();
        let text = filter.to_string();
        let mut subscription = self.subscribe(filter);
        let running = Arc::new(Running {
            name: handler.name(),
            filter: text,
            subscription: subscription.handled_later(),
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
            progress: Notify::new(),
            handled: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            last_error: Mutex::new(None),
        });
        let id = {
            let mut handlers = self.shared.lock_handlers();
            handlers.next += 1;
            let id = HandlerId(handlers.next);
            handlers.running.insert(id, Arc::clone(&running));
            id
        };
        let shared = Arc::clone(&self.shared);
        let driven = Arc::clone(&running);
        self.shared.spawn(async move {
            drive(&shared, &driven, id, subscription, handler).await;
            shared.lock_handlers().running.remove(&id);
            driven.ended.cancel();
        });
        HandlerGuard {
            id,
            running,
            bus: Some(self.clone()),
        }
    }

    /// Unsubscribes a handler; a call that is under way is dropped at its next
    /// await. False if there is no such handler (any more).
    pub fn unsubscribe(&self, id: HandlerId) -> bool {
        let removed = self.shared.lock_handlers().running.remove(&id);
        match removed {
            Some(running) => {
                running.stop.cancel();
                true
            }
            None => false,
        }
    }

    /// The handlers, and how they are doing.
    pub fn handlers(&self) -> Vec<HandlerInfo> {
        self.shared
            .lock_handlers()
            .running
            .iter()
            .map(|(id, running)| HandlerInfo {
                id: *id,
                name: running.name.clone(),
                filter: running.filter.clone(),
                lag: running.subscription.lag(),
                handled: running.handled.load(Ordering::Relaxed),
                errors: running.errors.load(Ordering::Relaxed),
                panics: running.panics.load(Ordering::Relaxed),
                last_error: running
                    .last_error
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .clone(),
            })
            .collect()
    }
}

async fn drive(
    shared: &Shared,
    running: &Running,
    id: HandlerId,
    mut subscription: Subscription,
    handler: impl EventHandler,
) {
    let work = async {
        while let Some(delivery) = subscription.recv().await {
            let call = AssertUnwindSafe(async { handler.handle(delivery).await }).catch_unwind();
            let failure = match call.await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => {
                    running.errors.fetch_add(1, Ordering::Relaxed);
                    shared
                        .counters
                        .handler_errors
                        .fetch_add(1, Ordering::Relaxed);
                    Some(error.to_string())
                }
                Err(panic) => {
                    running.panics.fetch_add(1, Ordering::Relaxed);
                    shared
                        .counters
                        .handler_panics
                        .fetch_add(1, Ordering::Relaxed);
                    Some(panic_text(panic.as_ref()))
                }
            };
            running.handled.fetch_add(1, Ordering::Relaxed);
            running.subscription.done(1);
            running.progress.notify_waiters();
            if let Some(failure) = failure {
                tracing::warn!(handler = %id, failure, "an event handler failed");
                *running
                    .last_error
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(failure);
            }
        }
    };
    let out_of_time = async {
        shared.stop.cancelled().await;
        tokio::time::sleep(shared.config.handler_drain).await;
    };
    tokio::select! {
        () = work => {}
        () = running.stop.cancelled() => {}
        () = out_of_time => {
            let left = running.subscription.lag();
            shared.counters.handler_unhandled.fetch_add(left, Ordering::Relaxed);
            tracing::error!(handler = %id, name = running.name, left, "a handler did not finish before the bus stopped");
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.unwrap_or_default())
}
