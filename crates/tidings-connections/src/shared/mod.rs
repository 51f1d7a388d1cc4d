//! Clients of several nodes that act as one.
//!
//! A client belongs to the node that has *claimed* it, in a directory that all
//! nodes share. Its node writes where it stands; another that claims it takes
//! over from there, and whatever the first one writes later is refused. So no
//! two nodes ever speak for one client, whatever they know of each other.
//!
//! Its inbox lies in the directory too, which numbers the messages; its node
//! keeps a copy that the connection reads, as it reads tasks.
//!
//! * `claim` how a client comes: from nowhere, from away, from another node
//! * `writer` where clients stand, written as it changes
//! * `inbox` personal messages
//! * `everywhere` what is asked of all nodes, and how this one answers

mod claim;
mod everywhere;
mod inbox;
mod writer;

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidings_bus::{ClientDirectory, ClientStanding, Neighbours, Place};
use tidings_protocol::ClientId;
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use claim::Ticket;
pub use everywhere::{Connections, NodeStats, SendError, Unanswered};
pub(crate) use writer::{hear, run};

/// Clients are worked on one step at a time each; these locks are shared by
/// those whose ids fall together.
const TURNS: usize = 256;

/// How long other nodes are waited for: some round trips, and a pause of theirs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// How long a client that is connected counts as that without being written
/// again, at least; a node that lives writes each one well within it.
pub(crate) const PRESENCE_TTL: Duration = Duration::from_secs(120);

/// What this node has in common with the others.
pub(crate) struct Shared {
    pub(crate) directory: Arc<dyn ClientDirectory>,
    pub(crate) neighbours: Arc<dyn Neighbours>,
    held: Mutex<HashMap<ClientId, Held>>,
    todo: Mutex<Todo>,
    wake: Notify,
    turns: Vec<tokio::sync::Mutex<()>>,
    /// Held by whoever does what is to be done, until it is.
    working: tokio::sync::Mutex<()>,
}

/// A client that this node has claimed.
struct Held {
    mark: String,
    /// Connections of it that are on their way.
    coming: u32,
    /// What was last written, by its hash, and when.
    written: Option<(u64, Instant)>,
    /// There may be messages that this node does not have.
    looked: bool,
}

/// What is to be done soon: at most one entry of each for a client.
#[derive(Default)]
struct Todo {
    writes: HashSet<ClientId>,
    pulls: HashSet<ClientId>,
    /// Standings of clients that are no longer here.
    owed: VecDeque<ClientStanding>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(
        directory: Arc<dyn ClientDirectory>,
        neighbours: Arc<dyn Neighbours>,
    ) -> Arc<Self> {
        Arc::new(Self {
            directory,
            neighbours,
            held: Mutex::default(),
            todo: Mutex::default(),
            wake: Notify::new(),
            working: tokio::sync::Mutex::new(()),
            turns: (0..TURNS).map(|_| tokio::sync::Mutex::new(())).collect(),
        })
    }

    /// Waits until nobody else works on this client.
    async fn turn(&self, client_id: &ClientId) -> tokio::sync::MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        client_id.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % TURNS as u64).unwrap_or(0);
        self.turns[at].lock().await
    }

    fn place(&self, mark: &str) -> Place {
        Place {
            node: self.neighbours.node().to_owned(),
            mark: mark.to_owned(),
        }
    }

    /// Notes that something about a client is to be written.
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

    /// Notes that a client is here no more, unless it is coming again; gives
    /// what it was held by.
    fn left(&self, client_id: &ClientId) -> Option<Held> {
        let mut held = lock(&self.held);
        if held.get(client_id)?.coming > 0 {
            return None;
        }
        held.remove(client_id)
    }

    /// Notes that a client of this node's went for good.
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

    /// What cannot be written for so long that this overflows expires by itself.
    fn owe(&self, standing: ClientStanding, most: usize) {
        let mut todo = lock(&self.todo);
        if todo.owed.len() < most {
            todo.owed.push_back(standing);
        }
        self.wake.notify_one();
    }
}
