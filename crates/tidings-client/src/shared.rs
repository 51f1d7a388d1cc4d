//! What handles, watches and the driver share: the state machine, and who waits
//! for what of it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tidings_protocol::Secret;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use crate::error::{CommandError, ReceiptError};
use crate::publish::Acknowledged;
use crate::state::{Input, Output, RequestId, State, Status, WatchId};

type Answer<E> = oneshot::Sender<Result<Acknowledged, E>>;

#[derive(Debug)]
pub(crate) struct Shared {
    core: Mutex<Core>,
    /// The driver has something to do.
    pub(crate) work: Notify,
    /// There is room for publishes again.
    pub(crate) room: Notify,
    /// Publishes were answered, or the client has stopped.
    pub(crate) answered: Notify,
    pub(crate) status: watch::Sender<Status>,
    /// Nobody holds the client any more.
    pub(crate) abandoned: AtomicBool,
    /// The program closes the client: scopes are cancelled.
    pub(crate) closing: watch::Sender<bool>,
    /// Tasks that are run as scopes.
    pub(crate) scopes: watch::Sender<usize>,
}

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) state: State,
    todo: VecDeque<Output>,
    pub(crate) wakers: HashMap<WatchId, Waker>,
    pub(crate) publishes: HashMap<RequestId, Answer<ReceiptError>>,
    pub(crate) commands: HashMap<RequestId, Answer<CommandError>>,
    events: u64,
}

impl Core {
    /// Counts the events that were given an id.
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

    /// Does something to the state, and carries out what comes of it.
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
                // Whoever has lost interest in an answer has dropped its end.
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
        // Whoever wakes may come straight back for the lock.
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

    /// The next thing for the driver to do.
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

    /// The last handle is gone: the driver sends what waits, and stops.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        self.work.notify_one();
    }
}
