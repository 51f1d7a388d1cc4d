//! The cancellation of a task.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tidings_protocol::Cancelled;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::{Command, Commands, Host, Reporter};

/// The cancellation state of a task.
#[derive(Debug)]
pub(crate) struct Ears<H: Host> {
    heard: watch::Sender<Option<Cancelled>>,
    /// The command `cancel`, which is answered when the task has stopped.
    command: Mutex<Option<Command<H>>>,
    /// True if the work handles its cancellation. The scope then does not drop the
    /// work.
    minds: AtomicBool,
    listener: Mutex<Option<AbortHandle>>,
}

impl<H: Host> Default for Ears<H> {
    fn default() -> Self {
        Self {
            heard: watch::Sender::default(),
            command: Mutex::default(),
            minds: AtomicBool::default(),
            listener: Mutex::default(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<H: Host> Ears<H> {
    /// Notes that the work takes commands, including `cancel`.
    pub(crate) fn mind(&self) {
        self.minds.store(true, Ordering::Relaxed);
    }

    pub(crate) fn close(&self) {
        if let Some(listener) = lock(&self.listener).take() {
            listener.abort();
        }
        // The command stays unanswered for the task's next worker.
        lock(&self.command).take();
    }
}

impl<H: Host> Reporter<H> {
    /// Waits until the task is to stop. The reason is the command `cancel`, which the
    /// task then accepts, or the shutdown of the bus or the client.
    ///
    /// Work that has called this decides when to stop:
    ///
    /// ```text
    /// tokio::select! {
    ///     cancelled = task.cancelled() => return Err(cancelled.into()),
    ///     () = work() => {}
    /// }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn cancelled(&self) -> Cancelled {
        self.ears().mind();
        self.hear().await
    }

    /// Returns true if the task is to stop; see [`cancelled`](Self::cancelled).
    pub fn is_cancelled(&self) -> bool {
        self.ears().mind();
        self.listen();
        self.cancellation().is_some()
    }

    /// Waits for the cancellation of work that does not handle it.
    pub(crate) async fn cancelled_unminded(&self) {
        self.hear().await;
        if self.ears().minds.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    async fn hear(&self) -> Cancelled {
        self.listen();
        let mut heard = self.ears().heard.subscribe();
        let heard = async {
            let heard = heard.wait_for(Option::is_some).await;
            heard.ok().and_then(|heard| heard.clone())
        };
        tokio::select! {
            biased;
            Some(cancelled) = heard => cancelled,
            () = self.host().closing() => shutdown(),
        }
    }

    /// Returns the cancellation, if there was one.
    pub(crate) fn cancellation(&self) -> Option<Cancelled> {
        let heard = self.ears().heard.borrow().clone();
        heard.or_else(|| self.host().is_closing().then(shutdown))
    }

    /// Starts to listen for `cancel`.
    fn listen(&self) {
        let mut listener = lock(&self.ears().listener);
        if listener.is_none() {
            let commands = Commands::of_task(self.clone());
            *listener = Some(self.host().spawn(listen(self.clone(), commands)));
        }
    }

    /// Answers the command that has cancelled the task.
    pub(crate) fn answer_cancel(&self) {
        if let Some(command) = lock(&self.ears().command).take() {
            drop(command.complete(None));
        }
    }
}

fn shutdown() -> Cancelled {
    Cancelled::new("shutdown")
}

async fn listen<H: Host>(task: Reporter<H>, mut commands: Commands<H>) {
    while let Ok(Some(mut command)) = commands.recv().await {
        if command.name() != "cancel" {
            continue;
        }
        let ears = task.ears();
        let by = command.by().to_owned();
        if !task.answers_itself() {
            let mut kept = lock(&ears.command);
            if kept.is_some() {
                drop(command.reject("the task is being cancelled already"));
                continue;
            }
            drop(command.accept());
            *kept = Some(command);
        }
        ears.heard.send_if_modified(|heard| {
            let first = heard.is_none();
            heard.get_or_insert(Cancelled::new(by));
            first
        });
    }
}
