//! The state that handles, watches and the driver share: the state machine, and the
//! waiters for its outputs.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tidings_protocol::{Secret, TaskCommanded};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use crate::error::{CommandError, ReceiptError};
use crate::publish::Acknowledged;
use crate::state::{Input, Output, RequestId, State, Status, WatchId};

type TreeAnswer = oneshot::Sender<Result<Vec<TaskCommanded>, CommandError>>;
type Answer<E> = oneshot::Sender<Result<Acknowledged, E>>;

#[derive(Debug)]
pub(crate) struct Shared {
    core: Mutex<Core>,
    /// Notifies the driver of new work.
    pub(crate) work: Notify,
    /// Notifies publishers that the buffer has room again.
    pub(crate) room: Notify,
    /// Notifies waiters that publishes were answered, or that the client has stopped.
    pub(crate) answered: Notify,
    pub(crate) status: watch::Sender<Status>,
    /// True after the last handle was dropped.
    pub(crate) abandoned: AtomicBool,
    /// Becomes true when the program closes the client. Scopes are then cancelled.
    pub(crate) closing: watch::Sender<bool>,
    /// The number of tasks that are run as scopes.
    pub(crate) scopes: watch::Sender<usize>,
}

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) state: State,
    todo: VecDeque<Output>,
    pub(crate) wakers: HashMap<WatchId, Waker>,
    pub(crate) publishes: HashMap<RequestId, Answer<ReceiptError>>,
    pub(crate) commands: HashMap<RequestId, Answer<CommandError>>,
    pub(crate) tree_commands: HashMap<RequestId, TreeAnswer>,
    events: u64,
}

impl Core {
    /// Returns the number of the next event that needs an id.
    pub(crate) fn next_event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }
}

impl Shared {
    pub(crate) fn new(state: State) -> Self {
        Self {
            core: Mutex::new(Core {
                state,
                todo: VecDeque::new(),
                wakers: HashMap::new(),
                publishes: HashMap::new(),
                commands: HashMap::new(),
                tree_commands: HashMap::new(),
                events: 0,
            }),
            work: Notify::new(),
            room: Notify::new(),
            answered: Notify::new(),
            status: watch::Sender::new(Status::Connecting),
            abandoned: AtomicBool::new(false),
            closing: watch::Sender::new(false),
            scopes: watch::Sender::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state machine, and carries out the resulting outputs.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.lock();
        let result = act(&mut core);
        let core_ref = &mut *core;
        let mut wake = Vec::new();
        let (mut work, mut room, mut answered) = (false, false, false);
        let mut status = None;
        while let Some(output) = core_ref.state.poll_output() {
            match output {
                Output::Wake(watch) => wake.extend(core_ref.wakers.remove(&watch)),
                // A send fails if the waiter has dropped its receiver. Ignore this.
                Output::Acknowledged(id, answer) => {
                    answered = true;
                    if let Some(waiting) = core_ref.publishes.remove(&id) {
                        let _ = waiting.send(answer);
                    } else if let Err(error) = answer {
                        tracing::debug!(%error, "a publish that nobody waits for failed");
                    }
                }
                Output::Commanded(id, answer) => {
                    if let Some(waiting) = core_ref.commands.remove(&id) {
                        let _ = waiting.send(answer);
                    } else if let Some(waiting) = core_ref.tree_commands.remove(&id)
                        && let Err(error) = answer
                    {
                        let _ = waiting.send(Err(error));
                    }
                }
                Output::TreeCommanded(id, tasks) => {
                    if let Some(waiting) = core_ref.tree_commands.remove(&id) {
                        let _ = waiting.send(Ok(tasks));
                    }
                }
                Output::Reported => answered = true,
                Output::Room => room = true,
                Output::Status => {
                    status = Some(core_ref.state.status());
                    work = true;
                }
                Output::Connect(_)
                | Output::Send(_)
                | Output::Disconnect
                | Output::RefreshToken => {
                    core_ref.todo.push_back(output);
                    work = true;
                }
            }
        }
        drop(core);
        // Wake after the lock is released, because a woken task may take the lock at
        // once.
        wake.into_iter().for_each(Waker::wake);
        if room {
            self.room.notify_waiters();
        }
        if answered {
            self.answered.notify_waiters();
        }
        if let Some(status) = status {
            self.status.send_replace(status);
            self.answered.notify_waiters();
        }
        if work {
            self.work.notify_one();
        }
        result
    }

    pub(crate) fn handle(&self, input: Input) {
        self.with(|core| core.state.handle(input, Instant::now()));
    }

    /// Returns the next output for the driver.
    pub(crate) fn next_todo(&self) -> Option<Output> {
        self.lock().todo.pop_front()
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.lock().state.poll_timeout()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.lock().state.stopped().is_some()
    }

    pub(crate) fn pending(&self) -> usize {
        self.lock().state.pending()
    }

    pub(crate) fn token(&self) -> Option<Secret> {
        self.lock().state.token().cloned()
    }

    /// Marks the client as abandoned after its last handle was dropped. The driver then
    /// sends the waiting events and stops.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        self.work.notify_one();
    }
}
