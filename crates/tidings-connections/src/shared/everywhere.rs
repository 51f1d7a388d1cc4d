//! Questions to all nodes, and this node's answers to them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings_bus::{BusStats, NodeAnswer, StoreError};
use tidings_protocol::{ClientId, TaskId};

use super::{PATIENCE, Shared};
use crate::connection::ConnectionInfo;
use crate::manager::{ConnectionManager, Inner, UnknownClient};
use crate::stats::ConnectionStats;

/// The most bytes of connections that one node lists for another.
const LIST_BYTES: usize = 3 * 1024 * 1024;

/// A question from one node to another. During an upgrade, nodes of two versions run side by side.
/// Therefore answers are read as plain JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Question {
    /// Asks for the connections, or for the connections that watch a task.
    Connections { task_id: Option<TaskId> },
    /// Asks for the connection of a client.
    Connection { client_id: ClientId },
    /// Close a client's connection, and delete the client.
    Kick { client_id: ClientId },
    /// Asks for the counters.
    Stats,
    /// Hand a client over. The mark identifies the stay of the client that is meant.
    Yield { client_id: ClientId, mark: String },
    /// There are messages for a client. This needs no answer.
    Look { client_id: ClientId },
}

impl Question {
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// The connections of all nodes that answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Connections {
    /// Each connection in the form of [`ConnectionInfo`], with the name of its `node`.
    pub connections: Vec<Value>,
    /// The nodes that did not answer in time.
    pub unanswered: Vec<String>,
    /// The nodes that have more connections than they could list.
    pub truncated: Vec<String>,
}

/// The counters of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NodeStats {
    /// The name of the node.
    pub node: String,
    /// The counters: `bus` as [`BusStats`], `connections` as [`ConnectionStats`]. `None` if the
    /// node did not answer in time.
    pub stats: Option<Value>,
}

/// The node that the client is connected to does not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the node that the client is connected to ({0}) does not answer")]
pub struct Unanswered(pub String);

/// The reason why a personal message could not be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The client does not exist.
    #[error(transparent)]
    Unknown(#[from] UnknownClient),
    /// The shared state cannot be reached. The message may or may not have been sent.
    #[error("the message could not be put into the client's inbox")]
    Unavailable(#[source] StoreError),
}

impl SendError {
    pub(crate) fn other(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Unavailable(StoreError::Unavailable(Box::new(error)))
    }
}

#[derive(Serialize, Deserialize)]
struct List {
    connections: Vec<Value>,
    truncated: bool,
}

#[derive(Serialize)]
struct Counted {
    bus: BusStats,
    connections: ConnectionStats,
}

fn named(info: &ConnectionInfo, node: &str) -> Value {
    let mut value = serde_json::to_value(info).unwrap_or_default();
    value["node"] = node.into();
    value
}

impl Inner {
    fn listed(&self, task_id: Option<&TaskId>, node: &str) -> Vec<Value> {
        let all = self.connections(task_id);
        all.iter().map(|info| named(info, node)).collect()
    }

    fn own_stats(&self) -> Value {
        let counted = Counted {
            bus: self.bus.stats(),
            connections: self.stats(),
        };
        serde_json::to_value(counted).unwrap_or_default()
    }

    /// Answers another node.
    pub(crate) async fn answer(self: &Arc<Self>, shared: &Shared, question: Question) -> Vec<u8> {
        let name = shared.neighbours.name();
        let value = match question {
            Question::Connections { task_id } => {
                let mut connections = self.listed(task_id.as_ref(), name);
                let mut bytes = 0;
                let fits = |value: &Value| {
                    bytes += value.to_string().len();
                    bytes <= LIST_BYTES
                };
                let fitting = connections
                    .iter()
                    .map(fits)
                    .take_while(|fits| *fits)
                    .count();
                let truncated = fitting < connections.len();
                connections.truncate(fitting);
                serde_json::to_value(List {
                    connections,
                    truncated,
                })
            }
            Question::Connection { client_id } => {
                let info = self
                    .find(&client_id)
                    .map(|found| named(&found.info(), name));
                serde_json::to_value(info)
            }
            Question::Kick { client_id } => serde_json::to_value(self.kick(&client_id)),
            Question::Stats => Ok(self.own_stats()),
            Question::Yield { client_id, mark } => {
                self.yield_client(shared, &client_id, &mark).await;
                Ok(Value::Null)
            }
            Question::Look { client_id } => {
                self.look_for_messages(shared, &client_id);
                Ok(Value::Null)
            }
        };
        serde_json::to_vec(&value.unwrap_or_default()).unwrap_or_default()
    }
}

impl ConnectionManager {
    /// Returns this node's name in the cluster, or `None` without a cluster.
    pub fn node_name(&self) -> Option<&str> {
        let shared = self.inner.shared.get()?;
        Some(shared.neighbours.name())
    }

    /// Returns the connections of all nodes, or only the connections that watch a task. Waits at
    /// most one second for nodes that do not answer, and names these.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn all_connections(&self, task_id: Option<&TaskId>) -> Connections {
        let Some(shared) = self.inner.shared.get() else {
            let connections = self.connections(task_id);
            let values = connections
                .iter()
                .filter_map(|info| serde_json::to_value(info).ok());
            return Connections {
                connections: values.collect(),
                ..Connections::default()
            };
        };
        let mut all = Connections {
            connections: self.inner.listed(task_id, shared.neighbours.name()),
            ..Connections::default()
        };
        let question = Question::Connections {
            task_id: task_id.cloned(),
        };
        let question = question.encode();
        let answers = shared.neighbours.ask(None, &question, PATIENCE).await;
        for NodeAnswer { name, answer } in answers {
            let list = answer.and_then(|json| serde_json::from_slice::<List>(&json).ok());
            match list {
                Some(list) => {
                    all.connections.extend(list.connections);
                    all.truncated.extend(list.truncated.then_some(name));
                }
                None => all.unanswered.push(name),
            }
        }
        all
    }

    /// Returns a client's connection on any node, or `None` if the client is not connected. It has
    /// the form of [`ConnectionInfo`]; in a cluster, the name of its `node` is added.
    ///
    /// # Errors
    /// Returns an error if the client's node or the directory does not answer.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn any_connection(&self, client_id: &ClientId) -> Result<Option<Value>, Unanswered> {
        let Some(shared) = self.inner.shared.get() else {
            let info = self.connection(client_id);
            return Ok(info.and_then(|info| serde_json::to_value(info).ok()));
        };
        if let Some(connection) = self.inner.find(client_id) {
            return Ok(Some(named(&connection.info(), shared.neighbours.name())));
        }
        let found = shared.directory.find(client_id).await;
        let found = found.map_err(|_| Unanswered("not known".to_owned()))?;
        let Some(Some(place)) = found else {
            return Ok(None);
        };
        if place.node == shared.neighbours.node() {
            // The client has just disconnected.
            return Ok(None);
        }
        let question = Question::Connection {
            client_id: client_id.clone(),
        };
        let answers = shared
            .neighbours
            .ask(Some(&place.node), &question.encode(), PATIENCE)
            .await;
        let mut name = place.node;
        for NodeAnswer {
            name: asked,
            answer,
        } in answers
        {
            name = asked;
            if let Some(json) = answer {
                return Ok(serde_json::from_slice(&json).unwrap_or_default());
            }
        }
        Err(Unanswered(name))
    }

    /// Returns the counters of all nodes, this node first, or `None` without a cluster.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn all_stats(&self) -> Option<Vec<NodeStats>> {
        let shared = self.inner.shared.get()?;
        let mut all = vec![NodeStats {
            node: shared.neighbours.name().to_owned(),
            stats: Some(self.inner.own_stats()),
        }];
        let question = Question::Stats.encode();
        let answers = shared.neighbours.ask(None, &question, PATIENCE).await;
        for NodeAnswer { name, answer } in answers {
            all.push(NodeStats {
                node: name,
                stats: answer.and_then(|json| serde_json::from_slice(&json).ok()),
            });
        }
        Some(all)
    }

    /// Closes a client's connection on any node, and deletes the client's stored state. Returns
    /// `false` if the client does not exist.
    ///
    /// # Errors
    /// Returns an error if the shared directory cannot be reached. If the client's node cannot be
    /// reached, it closes the connection later.
    ///
    /// # Cancel safety
    /// A dropped future leaves open whether the client was deleted. Call it again.
    pub async fn kick(&self, client_id: &ClientId) -> Result<bool, StoreError> {
        let here = self.inner.kick(client_id);
        let Some(shared) = self.inner.shared.get() else {
            return Ok(here);
        };
        let place = match shared.directory.forget(client_id).await? {
            None => return Ok(here),
            Some(place) => place,
        };
        if let Some(place) = place
            && place.node != shared.neighbours.node()
        {
            let question = Question::Kick {
                client_id: client_id.clone(),
            };
            let (node, question) = (place.node, question.encode());
            // If the node does not receive this, its next write of the client is refused.
            shared
                .neighbours
                .ask(Some(&node), &question, PATIENCE)
                .await;
        }
        Ok(true)
    }
}
