//! Lists tasks with a request over HTTP, on a short connection of its own.

use serde::Deserialize;
use tidings_protocol::{TaskId, TaskSnapshot, TaskStatus};

use crate::client::Client;
use crate::http::ListError;

/// Selects the tasks to list. Set the fields one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskQuery {
    /// Selects only tasks with this status.
    pub status: Option<TaskStatus>,
    /// Selects only tasks whose id begins with this prefix.
    pub prefix: Option<String>,
    /// Selects only tasks directly below this task.
    pub parent: Option<TaskId>,
    /// Selects only tasks whose id follows this one in the order of ids. Use it for the
    /// next page.
    pub after: Option<TaskId>,
}

/// One page of tasks.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct TaskPage {
    /// The tasks, in the order of their ids.
    pub tasks: Vec<TaskSnapshot>,
    /// The value of [`TaskQuery::after`] for the next page. `None` on the last page.
    pub next: Option<TaskId>,
}

impl Client {
    /// Returns a page of the server's tasks. If the server cannot be reached, the call
    /// tries again without end. Use a timeout to limit the time.
    ///
    /// # Errors
    /// Returns an error if the server refuses the request, or if its answer does not
    /// follow the protocol.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn tasks(&self, query: &TaskQuery) -> Result<TaskPage, ListError> {
        let body = self.read(&path(query)).await?;
        serde_json::from_slice(&body).map_err(|error| ListError::Answer(error.into()))
    }
}

/// Builds the path of the request. Only the prefix needs escaping, and a valid prefix
/// contains no such characters. A prefix with such characters matches no task.
fn path(query: &TaskQuery) -> String {
    let mut path = String::from("/api/tasks?limit=100");
    if let Some(status) = query.status {
        path.push_str(&format!("&status={status}"));
    }
    if let Some(prefix) = &query.prefix {
        path.push_str("&prefix=");
        for byte in prefix.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'~' => {
                    path.push(char::from(byte));
                }
                other => path.push_str(&format!("%{other:02X}")),
            }
        }
    }
    if let Some(parent) = &query.parent {
        path.push_str(&format!("&parent={parent}"));
    }
    if let Some(after) = &query.after {
        path.push_str(&format!("&after={after}"));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This function compiles only if the future is `Send`.
    #[test]
    fn what_a_list_is_read_by_can_be_spawned() {
        fn is_send<T: Send>(_: impl FnOnce(Client, TaskQuery, TaskId) -> T) {}
        is_send(|client, query, _| async move { client.tasks(&query).await });
        is_send(|client, _, id| async move { client.find(&id).await });
        is_send(|client, _, id| async move { client.connections(Some(&id)).await });
    }

    #[test]
    fn a_query_is_a_path_without_anything_to_break_out_of() {
        let query = TaskQuery {
            status: Some(TaskStatus::Running),
            prefix: Some("a b&c=ü".to_owned()),
            parent: Some("top".parse().unwrap()),
            after: Some("a:1".parse().unwrap()),
        };
        assert_eq!(
            path(&query),
            "/api/tasks?limit=100&status=running&prefix=a%20b%26c%3D%C3%BC&parent=top&after=a:1"
        );
    }
}
