//! The clients that are connected to a server: requests over HTTP, for administrators.

use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_protocol::{ClientId, Data, EventType, Offset, Pattern, TaskId, Timestamp};

use crate::client::Client;
use crate::http::ListError;

/// A client that is connected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConnectedClient {
    /// The client's id.
    pub client_id: ClientId,
    /// The time at which the client connected.
    pub connected_at: Timestamp,
    /// The client's network address.
    pub remote_addr: Option<String>,
    /// The name of the client's program, as the program states it.
    pub user_agent: Option<String>,
    /// The subject of the client's token.
    pub subject: Option<String>,
    /// The transport: `websocket` or `sse`.
    pub transport: String,
    /// The tasks that the client watches.
    pub subscriptions: Vec<WatchedTask>,
    /// The patterns that the client watches.
    #[serde(default)]
    pub patterns: Vec<Pattern>,
    /// The topmost tasks of the trees that the client watches.
    #[serde(default)]
    pub trees: Vec<TaskId>,
    /// The number of events that the client has still to receive, over all its
    /// subscriptions.
    #[serde(default)]
    pub lag: u64,
    /// True if the client's socket accepts no data at the moment.
    #[serde(default)]
    pub blocked: bool,
    /// All other fields of the server's answer.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A task that a client watches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WatchedTask {
    /// The task's id.
    pub task_id: TaskId,
    /// The last offset that the server has sent to the client, as an event or in a gap.
    pub offset: Offset,
    /// The number of events that the client has still to receive.
    pub lag: u64,
}

#[derive(Deserialize)]
struct List {
    connections: Vec<ConnectedClient>,
}

#[derive(Deserialize)]
struct Sent {
    offset: Offset,
}

impl Client {
    /// Lists all connected clients, or the clients that watch a task. If the server
    /// cannot be reached, the call tries again without end. Use a timeout to limit the
    /// time.
    ///
    /// # Errors
    /// Returns an error if the server refuses the request. The request needs the
    /// permission `admin`.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn connections(
        &self,
        task_id: Option<&TaskId>,
    ) -> Result<Vec<ConnectedClient>, ListError> {
        let mut path = "/api/connections".to_owned();
        if let Some(task_id) = task_id {
            path.push_str(&format!("?task={task_id}"));
        }
        let body = self.read(&path).await?;
        let list: Result<List, _> = serde_json::from_slice(&body);
        list.map(|list| list.connections)
            .map_err(|error| ListError::Answer(error.into()))
    }

    /// Closes a client's connection and deletes the state that the server keeps for the
    /// client.
    ///
    /// # Errors
    /// Returns an error if the client does not exist (HTTP status 404), the server
    /// cannot be reached, or the server refuses the request.
    ///
    /// # Cancel safety
    /// If the future is dropped, the server may still close the connection.
    pub async fn kick(&self, client_id: &ClientId) -> Result<(), ListError> {
        let path = format!("/api/connections/{client_id}");
        self.exchange(Method::DELETE, &path).await.map(drop)
    }

    /// Sends a client a personal message. Returns the message's place in the client's
    /// inbox.
    ///
    /// # Errors
    /// Returns an error if the client does not exist (HTTP status 404), the server
    /// cannot be reached, or the server refuses the request.
    ///
    /// # Cancel safety
    /// If the future is dropped, the message may still be sent.
    pub async fn send_personal(
        &self,
        client_id: &ClientId,
        event_type: &EventType,
        data: &Data,
    ) -> Result<Offset, ListError> {
        let path = format!("/api/connections/{client_id}/messages");
        let data = data.as_str();
        let body = format!("{{\"event_type\":\"{event_type}\",\"data\":{data}}}");
        let body = self.exchange_body(Method::POST, &path, body).await?;
        let sent: Result<Sent, _> = serde_json::from_slice(&body);
        sent.map(|sent| sent.offset)
            .map_err(|error| ListError::Answer(error.into()))
    }
}
