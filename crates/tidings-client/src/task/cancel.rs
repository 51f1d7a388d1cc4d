//! Whether a task is to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tidings_protocol::Cancelled;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::Reporter;
use crate::commands::{Command, Commands};

/// What a task has heard of its cancellation.
#[derive(Debug, Default)]
pub(super) struct Ears {
    heard: watch::Sender<Option<Cancelled>>,
    /// The command that is answered when the task has stopped.
    command: Mutex<Option<Command>>,
    /// The work stops by itself when it is cancelled.
    minds: AtomicBool,
    listener: Mutex<Option<AbortHandle>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ears {
    /// The work takes commands itself, `cancel` among them.
    pub(super) fn mind(&self) {
        self.minds.store(true, Ordering::Relaxed);
    }

    pub(super) fn close(&self) {
        if let Some(listener) = lock(&self.listener).take() {
            listener.abort();
        }
        // Unanswered, the command stays for the task's next worker.
        lock(&self.command).take();
    }
}

impl Reporter {
    /// Waits until the task is to stop: by the command `cancel`, which is accepted
    /// then, or because the program calls [`Client::close`](crate::Client::close).
    ///
    /// ```no_run
    /// # async fn example(task: tidings_client::Reporter) -> Result<(), tidings_client::BoxError> {
    /// # async fn work() {}
    /// tokio::select! {
    ///     cancelled = task.cancelled() => return Err(cancelled.into()),
    ///     () = work() => {}
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn cancelled(&self) -> Cancelled {
        self.ears().mind();
        self.hear().await
    }

    /// Returns whether the task is to stop; see [`cancelled`](Self::cancelled).
    pub fn is_cancelled(&self) -> bool {
        self.ears().mind();
        self.listen();
        self.cancellation().is_some()
    }

    /// Waits until work that does not look for a cancellation itself is cancelled.
    pub(super) async fn cancelled_unminded(&self) {
        self.hear().await;
        if self.ears().minds.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    async fn hear(&self) -> Cancelled {
        self.listen();
        let mut heard = self.ears().heard.subscribe();
        let mut closing = self.client().closing();
        let heard = async {
            let heard = heard.wait_for(Option::is_some).await;
            heard.ok().and_then(|heard| heard.clone())
        };
        let closing = async { closing.wait_for(|closing| *closing).await.is_ok() };
        tokio::select! {
            biased;
            Some(cancelled) = heard => cancelled,
            true = closing => shutdown(),
            else => std::future::pending().await,
        }
    }

    /// Returns the cancellation, if there was one.
    pub(super) fn cancellation(&self) -> Option<Cancelled> {
        let heard = self.ears().heard.borrow().clone();
        heard.or_else(|| self.client().closing().borrow().then(shutdown))
    }

    /// Listens for `cancel` from now on.
    fn listen(&self) {
        let mut listener = lock(&self.ears().listener);
        if listener.is_none() {
            let commands = Commands::of_task(self.clone());
            let listening = listen(self.clone(), commands);
            *listener = Some(self.client().runtime().spawn(listening).abort_handle());
        }
    }

    /// Answers the command that has cancelled the task.
    pub(super) fn answer_cancel(&self) {
        if let Some(command) = lock(&self.ears().command).take()
            && let Err(error) = command.complete(None)
        {
            tracing::debug!(%error, "a command could not be answered");
        }
    }
}

fn shutdown() -> Cancelled {
    Cancelled::new("shutdown")
}

async fn listen(task: Reporter, mut commands: Commands) {
    while let Ok(Some(mut command)) = commands.recv().await {
        if command.name() != "cancel" {
            continue;
        }
        let ears = task.ears();
        let by = command.by().to_owned();
        if !task.answers_itself() {
            let mut kept = lock(&ears.command);
            let answered = match *kept {
                Some(_) => command
                    .reject("the task is being cancelled already")
                    .map(drop),
                None => {
                    let accepted = command.accept().map(drop);
                    *kept = Some(command);
                    accepted
                }
            };
            if let Err(error) = answered {
                tracing::debug!(%error, "a command could not be answered");
            }
        }
        ears.heard.send_if_modified(|heard| {
            let first = heard.is_none();
            heard.get_or_insert(Cancelled::new(by));
            first
        });
    }
}
