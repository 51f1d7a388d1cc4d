//! Clients that the nodes of a cluster share.
//!
//! A client belongs to the node that has *claimed* it, in a directory that all nodes share. Its
//! node writes the client's state there. A node that claims the client continues from that state,
//! and later writes of the previous node are refused. So two nodes never speak for the same client,
//! even if they know nothing of each other.
//!
//! The client's inbox is in the directory too, which numbers the messages. The client's node keeps
//! a copy for the connection, which reads it like a task.
//!
//! * `claim`: how a client moves to a node, whether it is new, disconnected or on another node
//! * `writer`: writes the state of clients as it changes
//! * `inbox`: personal messages
//! * `everywhere`: questions to all nodes, and this node's answers

mod claim;
mod everywhere;
mod inbox;
mod writer;

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tidings_bus::lock::{Guard, Lock, place};
use tidings_bus::{ClientDirectory, ClientStanding, Neighbours, Place};
use tidings_protocol::ClientId;
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use claim::Ticket;
pub use everywhere::{Connections, NodeStats, SendError, Unanswered};
pub(crate) use writer::{hear, run};

/// The number of locks by which steps concerning the same client are serialised. Clients whose ids
/// hash to the same number share a lock.
const CLIENT_LOCKS: usize = 256;

/// How long to wait for other nodes: some round trips, and a pause of the other node.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// How long a connected client counts as connected without being written again, at least. A living
/// node writes each client well within this time.
pub(crate) const PRESENCE_TTL: Duration = Duration::from_secs(120);

/// The state that this node shares with the others.
pub(crate) struct Shared {
    pub(crate) directory: Arc<dyn ClientDirectory>,
    pub(crate) neighbours: Arc<dyn Neighbours>,
    held: Lock<HashMap<ClientId, Held>, place::Claims>,
    todo: Lock<Todo, place::Leaf>,
    wake: Notify,
    client_locks: Vec<tokio::sync::Mutex<()>>,
    /// Held while the pending work is done, so that it is done once.
    working: tokio::sync::Mutex<()>,
}

/// A client that this node has claimed.
struct Held {
    mark: String,
    /// The number of connections of the client that are being set up.
    coming: u32,
    /// The hash of the last written state, and when it was written.
    written: Option<(u64, Instant)>,
    /// `true` if the directory may have messages that this node does not have.
    looked: bool,
}

/// Pending work. A client has at most one entry of each kind.
#[derive(Default)]
struct Todo {
    writes: HashSet<ClientId>,
    pulls: HashSet<ClientId>,
    /// The final states of clients that have left this node.
    owed: VecDeque<ClientStanding>,
}

fn lock<T, P: place::Place>(lock: &Lock<T, P>) -> Guard<'_, T, P> {
    lock.lock()
}

impl Shared {
    pub(crate) fn new(
        directory: Arc<dyn ClientDirectory>,
        neighbours: Arc<dyn Neighbours>,
    ) -> Arc<Self> {
        Arc::new(Self {
            directory,
            neighbours,
            held: Lock::default(),
            todo: Lock::default(),
            wake: Notify::new(),
            working: tokio::sync::Mutex::new(()),
            client_locks: (0..CLIENT_LOCKS)
                .map(|_| tokio::sync::Mutex::new(()))
                .collect(),
        })
    }

    /// Locks a client: other steps that concern the client wait until the guard is dropped.
    async fn lock_client(&self, client_id: &ClientId) -> tokio::sync::MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        client_id.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % CLIENT_LOCKS as u64).unwrap_or(0);
        self.client_locks[at].lock().await
    }

    fn place(&self, mark: &str) -> Place {
        Place {
            node: self.neighbours.node().to_owned(),
            mark: mark.to_owned(),
        }
    }

    /// Records that the state of a client has changed and must be written.
    pub(crate) fn write_soon(&self, client_id: &ClientId) {
        if lock(&self.todo).writes.insert(client_id.clone()) {
            self.wake.notify_one();
        }
    }

    fn pull_soon(&self, client_id: &ClientId) {
        if lock(&self.todo).pulls.insert(client_id.clone()) {
            self.wake.notify_one();
        }
    }

    /// Records that a client has left this node, unless it is connecting again. Returns the node's
    /// entry of the client.
    fn left(&self, client_id: &ClientId) -> Option<Held> {
        let mut held = lock(&self.held);
        if held.get(client_id)?.coming > 0 {
            return None;
        }
        held.remove(client_id)
    }

    /// Records that a client of this node is gone for good.
    pub(crate) fn gone(&self, client_id: &ClientId, most: usize) {
        let Some(held) = self.left(client_id) else {
            return;
        };
        let standing = ClientStanding {
            client_id: client_id.clone(),
            place: self.place(&held.mark),
            state: tidings_bus::ClientState::Gone,
            token: String::new(),
            subject: None,
            record: Vec::new(),
            seen: 0,
            head: 0,
            ttl: PRESENCE_TTL,
        };
        self.owe(standing, most);
    }

    /// Adds a final state to write. If the queue is full, the directory's own expiry handles it.
    fn owe(&self, standing: ClientStanding, most: usize) {
        let mut todo = lock(&self.todo);
        if todo.owed.len() < most {
            todo.owed.push_back(standing);
        }
        self.wake.notify_one();
    }
}
