//! The thread that drives a client.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use tidings_client::{Client, InvalidUrl};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// How long a dropped client may take to send its waiting events.
const FAREWELL: Duration = Duration::from_secs(5);

thread_local! {
    /// True on a thread that drives a client.
    static DRIVES: Cell<bool> = const { Cell::new(false) };
}

/// Returns true on a thread that drives a client. Such a thread calls the program's functions, for
/// instance its log handlers. If they waited there, the client would stand still.
pub(crate) fn is_driver() -> bool {
    DRIVES.get()
}

/// A client and the thread that drives it.
#[derive(Debug)]
pub(crate) struct Runtime {
    parts: Option<Parts>,
    thread: ThreadId,
    alive: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Parts {
    client: Client,
    handle: Handle,
    /// When this is dropped, the thread sends the waiting events and ends.
    _stop: oneshot::Sender<()>,
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // The thread has ended because its descriptors were closed. Their numbers may be in use
        // again, so closing them once more could close other files.
        if !self.is_alive() {
            std::mem::forget(self.parts.take());
        }
    }
}

/// Records that the thread has ended, even if by a panic.
struct Alive(Arc<AtomicBool>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The reason why a client could not be started.
#[derive(Debug)]
pub(crate) enum StartError {
    Setting(InvalidUrl),
    Thread(std::io::Error),
}

impl Runtime {
    /// Starts a thread, and creates the client on it.
    ///
    /// # Errors
    /// Returns an error if a setting is wrong, or if the system has no thread or descriptors left.
    pub(crate) fn start(
        make: impl FnOnce() -> Result<Client, InvalidUrl> + Send + 'static,
    ) -> Result<Self, StartError> {
        let (made, ready) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let alive = Arc::new(AtomicBool::new(true));
        let guard = Alive(Arc::clone(&alive));
        let thread = thread::Builder::new().name("tidings".to_owned());
        let spawned = thread.spawn(move || {
            let _alive = guard;
            DRIVES.set(true);
            drive(make, &made, stopped);
        });
        let thread = spawned.map_err(StartError::Thread)?.thread().id();
        let (client, handle) = ready.recv().unwrap_or_else(|_| {
            Err(StartError::Thread(std::io::Error::other(
                "the client's thread has ended",
            )))
        })?;
        Ok(Self {
            parts: Some(Parts {
                client,
                handle,
                _stop: stop,
            }),
            thread,
            alive,
        })
    }

    fn parts(&self) -> &Parts {
        self.parts.as_ref().expect("only dropping takes them")
    }

    pub(crate) fn client(&self) -> &Client {
        &self.parts().client
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.parts().handle
    }

    /// Returns whether the thread runs. It ends early if the program closes its descriptors, as
    /// daemons do that close all of them.
    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// Runs work on the client's thread and returns the result. Work that needs randomness must run
    /// there, because a forked child's main thread shares its generators with its parent. Returns
    /// `None` if the thread has ended.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Client) -> T + Send + 'static,
    ) -> Option<T> {
        if thread::current().id() == self.thread {
            return Some(act(self.client()));
        }
        let (done, result) = mpsc::channel();
        let client = self.client().clone();
        self.handle().spawn(async move {
            let _ = done.send(act(&client));
        });
        result.recv().ok()
    }
}

type Made = Result<(Client, Handle), StartError>;

/// Runs the client until its handle is dropped.
///
/// Tokio must be built without its feature `signal`, as it is in the wheel. That feature keeps a
/// pair of sockets for the whole process. A forked child that has closed all descriptors could then
/// not create a runtime any more.
fn drive(
    make: impl FnOnce() -> Result<Client, InvalidUrl>,
    made: &mpsc::Sender<Made>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = match Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = made.send(Err(StartError::Thread(error)));
            return;
        }
    };
    let driven = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(serve(make, made, stopped));
    }));
    match driven {
        // Do not wait for a name lookup that is still running.
        Ok(()) => runtime.shutdown_background(),
        // Leak the runtime, because its descriptors are closed, and their numbers may already
        // belong to other files.
        Err(_) => std::mem::forget(runtime),
    }
}

async fn serve(
    make: impl FnOnce() -> Result<Client, InvalidUrl>,
    made: &mpsc::Sender<Made>,
    stopped: oneshot::Receiver<()>,
) {
    let client = match make() {
        Ok(client) => client,
        Err(error) => {
            let _ = made.send(Err(StartError::Setting(error)));
            return;
        }
    };
    let _ = made.send(Ok((client.clone(), Handle::current())));
    let _ = stopped.await;
    client.flush(FAREWELL).await;
}
