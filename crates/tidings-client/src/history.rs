//! Reading the state and the history of a task: requests over HTTP.

use hyper::Method;
use serde::Deserialize;
use tidings_protocol::{Event, EventType, Gap, Position, Since, TaskId, TaskSnapshot};

use crate::client::Client;
use crate::http::ListError;

/// Which events of a task to read. Its fields may be set one by one.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct EventQuery {
    /// Only events after this place; none for the newest ones.
    pub since: Option<Since>,
    /// Only events of these types; empty for all.
    pub types: Vec<EventType>,
    /// How many events at most; none for as many as a page holds.
    pub limit: Option<u32>,
}

/// Some of the events of a task.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct EventPage {
    /// The events, in order.
    pub events: Vec<Event>,
    /// The events that are missing before the first one.
    pub gap: Option<Gap>,
    /// Where to go on, as [`EventQuery::since`]. A page that ends at the head of the
    /// log names the head.
    pub next: Position,
}

impl Client {
    /// Returns the state of a task that is there. While the server cannot be reached,
    /// or has no time for this client, it is tried again, so bound the time from outside.
    ///
    /// # Errors
    /// There is no such task (HTTP status 404), or the server refused it.
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn find(&self, task_id: &TaskId) -> Result<TaskSnapshot, ListError> {
        let path = format!("/api/tasks/{task_id}");
        let body = self.read(&path).await?;
        serde_json::from_slice(&body).map_err(|error| ListError::Answer(error.into()))
    }

    /// Returns a page of the events that are retained of a task. While the server
    /// cannot be reached it is tried again, so bound the time from outside.
    ///
    /// # Errors
    /// There is no such task (HTTP status 404), or the server refused it.
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn history(
        &self,
        task_id: &TaskId,
        query: &EventQuery,
    ) -> Result<EventPage, ListError> {
        let path = path(task_id, query);
        let body = self.read(&path).await?;
        serde_json::from_slice(&body).map_err(|error| ListError::Answer(error.into()))
    }

    /// Removes a task and all that is known of it. Its watchers are told.
    ///
    /// # Errors
    /// There is no such task (HTTP status 404), the server cannot be reached, or it
    /// refused it.
    ///
    /// # Cancel safety
    /// Dropped, the task may still be removed.
    pub async fn remove(&self, task_id: &TaskId) -> Result<(), ListError> {
        let path = format!("/api/tasks/{task_id}");
        self.exchange(Method::DELETE, &path).await.map(drop)
    }
}

/// Nothing in a task's id, a position or a type needs an escape.
fn path(task_id: &TaskId, query: &EventQuery) -> String {
    let limit = query.limit.unwrap_or(1_000);
    let mut path = format!("/api/tasks/{task_id}/events?limit={limit}");
    if let Some(since) = &query.since {
        path.push_str(&format!("&since={since}"));
    }
    if !query.types.is_empty() {
        let types: Vec<_> = query.types.iter().map(EventType::as_str).collect();
        path.push_str(&format!("&type={}", types.join(",")));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_a_path() {
        let task = "a:1".parse().unwrap();
        let mut query = EventQuery::default();
        assert_eq!(path(&task, &query), "/api/tasks/a:1/events?limit=1000");
        query.since = Some("e1:7".parse().unwrap());
        query.types = vec![EventType::Log, EventType::OutputDelta];
        query.limit = Some(5);
        assert_eq!(
            path(&task, &query),
            "/api/tasks/a:1/events?limit=5&since=e1:7&type=log,output_delta"
        );
    }
}
