//! What nodes that act as one share beyond tasks: where clients are, what is
//! kept of them, their inboxes; and a way to ask each other.
//!
//! Like [`Keeper`](crate::Keeper) it deals in text and bytes whose meaning is
//! the layer's above. Alone there is neither, and nothing is paid for them.

use std::time::Duration;

use async_trait::async_trait;
use tidings_protocol::ClientId;
use tokio::sync::{mpsc, oneshot};

use crate::store::StoreError;

/// Where a client is: at which node, and since when. It is another place each
/// time that the node has let go of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The node, as [`Neighbours::node`] names it.
    pub node: String,
    /// Which stay of the client there.
    pub mark: String,
}

/// A client that connects, and what it proves itself by.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The client.
    pub client_id: ClientId,
    /// Where it is to be from now on.
    pub place: Place,
    /// The hash of the token that it brings, if it brings one.
    pub proof: Option<String>,
    /// Who it proved to be.
    pub subject: Option<String>,
    /// The hash of the token that it gets if nobody has this id.
    pub fresh: String,
    /// Take it from where it is, whatever that says.
    pub force: bool,
    /// How long it is kept unless it is written again.
    pub ttl: Duration,
}

/// What became of a [`Claim`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// Nobody had this id.
    Fresh {
        /// What the claiming node may still have of the client is out of date:
        /// another node had it since, or it was forgotten.
        stale: bool,
    },
    /// It goes on with what was kept.
    Resumed {
        /// What was kept.
        kept: KeptClient,
        /// As in [`Fresh`](Self::Fresh).
        stale: bool,
    },
    /// It is its own, and connected at this place of another node.
    Held(Place),
    /// The id is another subject's. This one may have another id.
    Others,
    /// The id is this subject's, and the token is missing or wrong.
    Refused,
}

/// What was kept of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptClient {
    /// What was last written.
    pub record: Vec<u8>,
    /// The last message that it got; 0 for none.
    pub seen: u64,
    /// The number of the newest message; 0 while there never was one.
    pub head: u64,
    /// Messages after `seen` that are still there, in order.
    pub messages: Vec<InboxMessage>,
}

/// A message in an inbox: its number and its text.
pub type InboxMessage = (u64, String);

/// Where a client stands, as its node writes it.
#[derive(Debug, Clone)]
pub struct ClientStanding {
    /// The client.
    pub client_id: ClientId,
    /// Where it is, or was.
    pub place: Place,
    /// What has become of it there.
    pub state: ClientState,
    /// The hash of its token.
    pub token: String,
    /// Who it proved to be.
    pub subject: Option<String>,
    /// What to keep.
    pub record: Vec<u8>,
    /// The last message that it got, and the newest that its node knows of:
    /// numbers up to there are not given again.
    pub seen: u64,
    /// See `seen`.
    pub head: u64,
    /// How long it is kept unless it is written again.
    pub ttl: Duration,
}

/// What has become of a client at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientState {
    /// It is there.
    Connected,
    /// It went, and may come back anywhere.
    Away,
    /// It went for good.
    Gone,
}

/// What became of writing a standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientWritten {
    /// It is written; this is the newest message's number.
    Kept(u64),
    /// Nothing was: the client is at another place by now.
    Moved,
    /// Nothing was: somebody had it closed and forgotten.
    Forgotten,
}

/// Clients of all nodes. One atomic step each, by one clock for all.
#[async_trait]
pub trait ClientDirectory: Send + Sync + 'static {
    /// Makes a client this node's, if it may be.
    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError>;

    /// Writes where a client stands, unless it is at another place by now.
    async fn write(&self, standing: &ClientStanding) -> Result<ClientWritten, StoreError>;

    /// Forgets a client. `None` if there is none; else where it is, if connected.
    async fn forget(&self, client_id: &ClientId) -> Result<Option<Option<Place>>, StoreError>;

    /// Where a client is; as [`forget`](Self::forget) says it.
    async fn find(&self, client_id: &ClientId) -> Result<Option<Option<Place>>, StoreError>;

    /// Puts a message into a client's inbox, which keeps so many messages and
    /// bytes; gives its number and where the client is. None if there is no
    /// such client.
    async fn send(
        &self,
        client_id: &ClientId,
        message: &str,
        max_messages: u64,
        max_bytes: usize,
    ) -> Result<Option<(u64, Option<Place>)>, StoreError>;

    /// Messages after this one, in order, as far as they are still there.
    async fn inbox(
        &self,
        client_id: &ClientId,
        after: u64,
    ) -> Result<Vec<InboxMessage>, StoreError>;
}

/// What other nodes send to this one.
#[derive(Debug)]
pub enum Heard {
    /// A question; the answer is to be given within a second or so.
    Asked {
        /// What is asked.
        question: Vec<u8>,
        /// Where the answer goes.
        answer: oneshot::Sender<Vec<u8>>,
    },
    /// Something that wants no answer.
    Told(Vec<u8>),
    /// Something may have been missed.
    Lost,
}

/// What one node answered; none if it did not, in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeAnswer {
    /// The node's name, for people.
    pub name: String,
    /// What it said.
    pub answer: Option<Vec<u8>>,
}

/// The other nodes.
#[async_trait]
pub trait Neighbours: Send + Sync + 'static {
    /// What this node is called in a [`Place`]: another one after each start.
    fn node(&self) -> &str;

    /// Its name for people.
    fn name(&self) -> &str;

    /// Asks one node, or all others; returns when all have answered or `limit`
    /// is over. A node that did not is there, without an answer.
    async fn ask(&self, node: Option<&str>, question: &[u8], limit: Duration) -> Vec<NodeAnswer>;

    /// Tells a node something, which it may not hear.
    async fn tell(&self, node: &str, message: &[u8]);

    /// What this node hears, from the call on; to be called once.
    fn heard(&self) -> mpsc::Receiver<Heard>;
}
