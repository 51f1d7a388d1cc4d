//! State that nodes of a cluster share in addition to tasks: the places of clients, their
//! records and their inboxes. Nodes can also ask each other questions.
//!
//! Like [`Keeper`](crate::Keeper), this module handles text and bytes. Only the layer above
//! knows their meaning. A node without a cluster has none of this, and pays nothing for it.

use std::time::Duration;

use async_trait::async_trait;
use tidings_protocol::ClientId;
use tokio::sync::{mpsc, oneshot};

use crate::store::StoreError;

/// The place of a client: its node, and one stay at that node. The place changes each time the
/// node lets go of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The node, as [`Neighbours::node`] names it.
    pub node: String,
    /// The client's stay at the node.
    pub mark: String,
}

/// A client that connects, with its proof.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The client.
    pub client_id: ClientId,
    /// The place of the client from now on.
    pub place: Place,
    /// The hash of the token that the client sent. `None` if it sent no token.
    pub proof: Option<String>,
    /// The subject that the client has proved.
    pub subject: Option<String>,
    /// The hash of the client's new token, if the id is free.
    pub fresh: String,
    /// Take the client from its current place, even if that place holds it.
    pub force: bool,
    /// How long the record is kept without another write.
    pub ttl: Duration,
}

/// The result of a [`Claim`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The id was free.
    Fresh {
        /// True if the claiming node may still have old state of the client. Another node had
        /// the client since, or the client was forgotten.
        stale: bool,
    },
    /// The client continues with its kept record.
    Resumed {
        /// The client's record and messages.
        kept: KeptClient,
        /// As in [`Fresh`](Self::Fresh).
        stale: bool,
    },
    /// The id belongs to this subject, and the client is connected at this place of another
    /// node.
    Held(Place),
    /// The id belongs to another subject. The client may take another id.
    Others,
    /// The id belongs to this subject, but the token is missing or wrong.
    Refused,
}

/// The kept state of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptClient {
    /// The record of the last write.
    pub record: Vec<u8>,
    /// The number of the last message that the client received. 0 if it received none.
    pub seen: u64,
    /// The number of the newest message. 0 if there never was a message.
    pub head: u64,
    /// The messages after `seen` that are still kept, in order.
    pub messages: Vec<InboxMessage>,
}

/// A message in an inbox: its number and its text.
pub type InboxMessage = (u64, String);

/// The state of a client, as its node writes it.
#[derive(Debug, Clone)]
pub struct ClientStanding {
    /// The client.
    pub client_id: ClientId,
    /// The client's current or last place.
    pub place: Place,
    /// The client's state at that place.
    pub state: ClientState,
    /// The hash of its token.
    pub token: String,
    /// The subject that the client has proved.
    pub subject: Option<String>,
    /// The record to keep.
    pub record: Vec<u8>,
    /// The number of the last message that the client received.
    pub seen: u64,
    /// The number of the newest message that the node knows. Numbers up to here are not given
    /// again.
    pub head: u64,
    /// How long the record is kept without another write.
    pub ttl: Duration,
}

/// The state of a client at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientState {
    /// The client is connected.
    Connected,
    /// The client has disconnected, and may come back at any node.
    Away,
    /// The client has left for good.
    Gone,
}

/// The result of writing a client's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientWritten {
    /// The state is written. Contains the number of the newest message.
    Kept(u64),
    /// Nothing is written, because the client has moved to another place.
    Moved,
    /// Nothing is written, because the client was closed and forgotten.
    Forgotten,
}

/// The clients of all nodes. Each call is one atomic step, by one clock for all nodes.
#[async_trait]
pub trait ClientDirectory: Send + Sync + 'static {
    /// Gives a client to this node, if the claim is valid.
    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError>;

    /// Writes the state of a client, unless the client has moved to another place.
    async fn write(&self, standing: &ClientStanding) -> Result<ClientWritten, StoreError>;

    /// Forgets a client. Returns `None` if there is no such client. Otherwise returns its place
    /// if it is connected, and `Some(None)` if it is not.
    async fn forget(&self, client_id: &ClientId) -> Result<Option<Option<Place>>, StoreError>;

    /// Finds a client. Returns the same values as [`forget`](Self::forget).
    async fn find(&self, client_id: &ClientId) -> Result<Option<Option<Place>>, StoreError>;

    /// Puts a message into a client's inbox, which keeps a limited number of messages and bytes.
    /// Returns the message's number and the client's place. Returns `None` if there is no such
    /// client.
    async fn send(
        &self,
        client_id: &ClientId,
        message: &str,
        max_messages: u64,
        max_bytes: usize,
    ) -> Result<Option<(u64, Option<Place>)>, StoreError>;

    /// Returns the messages after the given number that are still kept, in order.
    async fn inbox(
        &self,
        client_id: &ClientId,
        after: u64,
    ) -> Result<Vec<InboxMessage>, StoreError>;
}

/// A message from another node.
#[derive(Debug)]
pub enum Heard {
    /// A question. Answer it within about a second.
    Asked {
        /// The question.
        question: Vec<u8>,
        /// The channel for the answer.
        answer: oneshot::Sender<Vec<u8>>,
    },
    /// A message that needs no answer.
    Told(Vec<u8>),
    /// Messages may have been lost.
    Lost,
}

/// The answer of one node. `None` if the node did not answer in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeAnswer {
    /// The node's name, for people.
    pub name: String,
    /// The answer.
    pub answer: Option<Vec<u8>>,
}

/// The other nodes of a cluster.
#[async_trait]
pub trait Neighbours: Send + Sync + 'static {
    /// Returns the id of this node in a [`Place`]. Each start of the node has a new id.
    fn node(&self) -> &str;

    /// Returns the node's name for people.
    fn name(&self) -> &str;

    /// Asks one node, or all other nodes. Returns when all have answered, or after `limit`. A
    /// node that did not answer is listed without an answer.
    async fn ask(&self, node: Option<&str>, question: &[u8], limit: Duration) -> Vec<NodeAnswer>;

    /// Sends a message to a node. The message may be lost.
    async fn tell(&self, node: &str, message: &[u8]);

    /// Returns the messages that arrive at this node from now on. Call it only once.
    fn heard(&self) -> mpsc::Receiver<Heard>;
}
