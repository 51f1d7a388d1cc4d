//! Listing tasks: a request over HTTP, on a short connection of its own.

use serde::Deserialize;
use tidings_protocol::{TaskId, TaskSnapshot, TaskStatus};

use crate::client::Client;
use crate::http::ListError;

/// Which tasks to list. Its fields may be set one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskQuery {
    /// Only those in this state.
    pub status: Option<TaskStatus>,
    /// Only those whose id begins so.
    pub prefix: Option<String>,
    /// Only those after this one, in the order of ids: for the next page.
    pub after: Option<TaskId>,
}

/// Some of the tasks.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct TaskPage {
    /// In the order of their ids.
    pub tasks: Vec<TaskSnapshot>,
    /// What to ask for the next page with, as [`TaskQuery::after`]; none on the last.
    pub next: Option<TaskId>,
}

impl Client {
    /// A page of the tasks that there are. While the server cannot be reached
    /// it is tried again, so bound the time from outside.
    ///
    /// # Errors
    /// The server refused it, or answered with something else.
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn tasks(&self, query: &TaskQuery) -> Result<TaskPage, ListError> {
        let body = self.read(&path(query)).await?;
        serde_json::from_slice(&body).map_err(|error| ListError::Answer(error.into()))
    }
}

/// What follows the prefix. Nothing in it needs an escape but the prefix, which
/// begins a task's id or matches none.
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
    if let Some(after) = &query.after {
        path.push_str(&format!("&after={after}"));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compiles only if it is so.
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
            after: Some("a:1".parse().unwrap()),
        };
        assert_eq!(
            path(&query),
            "/api/tasks?limit=100&status=running&prefix=a%20b%26c%3D%C3%BC&after=a:1"
        );
    }
}
