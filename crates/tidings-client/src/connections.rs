//! Who is connected to a server: requests over HTTP, for administrators.

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
    /// Its id.
    pub client_id: ClientId,
    /// When it connected.
    pub connected_at: Timestamp,
    /// Its address.
    pub remote_addr: Option<String>,
    /// The name of its program, as the program says.
    pub user_agent: Option<String>,
    /// The subject of its token.
    pub subject: Option<String>,
    /// `websocket` or `sse`.
    pub transport: String,
    /// The tasks that it watches.
    pub subscriptions: Vec<WatchedTask>,
    /// The patterns that it watches.
    #[serde(default)]
    pub patterns: Vec<Pattern>,
    /// Events that it has still to get, over all its subscriptions.
    #[serde(default)]
    pub lag: u64,
    /// Whether its socket takes nothing at the moment.
    #[serde(default)]
    pub blocked: bool,
    /// All that the server tells beside this.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A task that a client watches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WatchedTask {
    /// The task.
    pub task_id: TaskId,
    /// The last offset that the client got, or was told of.
    pub offset: Offset,
    /// Events that it has still to get.
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
    /// Lists who is connected, or who watches a task. While the server cannot be
    /// reached it is tried again, so bound the time from outside.
    ///
    /// # Errors
    /// The server refused it: it wants the permission `admin`.
    ///
    /// # Cancel safety
    /// It changes nothing.
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

    /// Closes a client's connection, and has the server forget what it kept of it.
    ///
    /// # Errors
    /// There is no such client (HTTP status 404), the server cannot be reached, or it
    /// refused it.
    ///
    /// # Cancel safety
    /// Dropped, the connection may still be closed.
    pub async fn kick(&self, client_id: &ClientId) -> Result<(), ListError> {
        let path = format!("/api/connections/{client_id}");
        self.exchange(Method::DELETE, &path).await.map(drop)
    }

    /// Sends a client a personal message. Returns its place in the client's inbox.
    ///
    /// # Errors
    /// There is no such client (HTTP status 404), the server cannot be reached, or it
    /// refused it.
    ///
    /// # Cancel safety
    /// Dropped, the message may still be sent.
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
