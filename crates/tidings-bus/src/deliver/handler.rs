//! Event handlers: code that the bus calls for every delivery. Each handler has its own cursor.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::bus::EventBus;
use crate::deliver::delivery::Delivery;
use crate::deliver::filter::Filter;
use crate::deliver::handlers::{HandlerId, HandlerInfo, Running};
use crate::deliver::subscription::{Inner, Subscription};
use crate::lock::Lock;
use crate::shared::Shared;

/// The error of a handler.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// A handler of deliveries. The bus calls it for each delivery, one after the other.
///
/// A slow handler lags. A handler that fails or panics is counted, and called again with the
/// next delivery. Neither harms publishers or other subscribers.
///
/// A closure from a [`Delivery`] to a future is a handler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no event handler",
    note = "implement `EventHandler` for it, with `#[async_trait]` above the `impl`, or give a \
            closure from an update to a future"
)]
#[async_trait]
pub trait EventHandler: Send + Sync + 'static {
    /// Handles one delivery. The bus counts and logs an error, and keeps it in
    /// [`HandlerInfo::last_error`]. The bus does not repeat the delivery.
    async fn handle(&self, delivery: Delivery) -> Result<(), HandlerError>;

    /// Returns the handler's name for lists. The default is the name of its type.
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

/// Keeps a handler subscribed. Dropping the guard unsubscribes the handler.
/// [`EventBus::unsubscribe`] with its id unsubscribes it too.
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
    /// Returns the handler's id.
    pub fn id(&self) -> HandlerId {
        self.id
    }

    /// Waits until the handler has handled every published event. Returns false if the handler
    /// ended before.
    ///
    /// If publishers continue, such a moment may not come for a long time.
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
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
            if (self.running.lag)() == 0 {
                return true;
            }
            tokio::select! {
                () = progress => {}
                () = self.running.ended.cancelled() => {
                    return (self.running.lag)() == 0;
                }
            }
        }
    }

    /// Keeps the handler subscribed until the bus stops. Returns its id.
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
    /// Subscribes `handler` to every delivery that passes `filter`.
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
        let events = subscription.handled_later();
        let lagging = Arc::clone(&events);
        let running = Arc::new(Running {
            name: handler.name(),
            filter: text,
            lag: Box::new(move || lagging.lag()),
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
            progress: Notify::new(),
            handled: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            last_error: Lock::new(None),
        });
        let id = self.shared.handlers.add(&running);
        let shared = Arc::clone(&self.shared);
        let driven = Arc::clone(&running);
        self.shared.spawn(async move {
            drive(&shared, &driven, id, (subscription, &events), handler).await;
            shared.handlers.remove(id);
            driven.ended.cancel();
        });
        HandlerGuard {
            id,
            running,
            bus: Some(self.clone()),
        }
    }

    /// Unsubscribes a handler. A running call is dropped at its next await. Returns false if
    /// there is no such handler.
    pub fn unsubscribe(&self, id: HandlerId) -> bool {
        let removed = self.shared.handlers.remove(id);
        match removed {
            Some(running) => {
                running.stop.cancel();
                true
            }
            None => false,
        }
    }

    /// Returns the state of each handler.
    pub fn handlers(&self) -> Vec<HandlerInfo> {
        self.shared.handlers.infos()
    }
}

async fn drive(
    shared: &Shared,
    running: &Running,
    id: HandlerId,
    (mut subscription, events): (Subscription, &Inner),
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
            events.done(1);
            running.progress.notify_waiters();
            if let Some(failure) = failure {
                tracing::warn!(handler = %id, failure, "an event handler failed");
                *running.last_error.lock() = Some(failure);
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
            let left = (running.lag)();
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
