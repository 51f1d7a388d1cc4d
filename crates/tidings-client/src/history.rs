//! Reads the state and the history of a task with requests over HTTP.

use hyper::Method;
use serde::Deserialize;
use tidings_protocol::{Event, EventType, Gap, Position, Since, TaskId, TaskSnapshot};

use crate::client::Client;
use crate::http::ListError;

/// Selects the events of a task to read. Set the fields one by one.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct EventQuery {
    /// Selects only events after this place. `None` selects the newest events.
    pub since: Option<Since>,
    /// Selects only events of these types. An empty list selects all types.
    pub types: Vec<EventType>,
    /// The largest number of events. `None` asks for as many as a page holds.
    pub limit: Option<u32>,
}

/// One page of a task's events.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct EventPage {
    /// The events, in the order of their offsets.
    pub events: Vec<Event>,
    /// The gap that stands for the events missing before the first one.
    pub gap: Option<Gap>,
    /// The value of [`EventQuery::since`] for the next page. If the page ends at the
    /// head of the log, this is the position of the head.
    pub next: Position,
}

impl Client {
    /// Returns the state of an existing task. If the server cannot be reached or is too
    /// busy, the call tries again without end. Use a timeout to limit the time.
    ///
    /// # Errors
    /// Returns an error if the task does not exist (HTTP status 404) or the server
    /// refuses the request.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn find(&self, task_id: &TaskId) -> Result<TaskSnapshot, ListError> {
        let path = format!("/api/tasks/{task_id}");
        let body = self.read(&path).await?;
        serde_json::from_slice(&body).map_err(|error| ListError::Answer(error.into()))
    }

    /// Returns a page of the events that the server retains of a task. If the server
    /// cannot be reached or is too busy, the call tries again without end. Use a
    /// timeout to limit the time.
    ///
    /// # Errors
    /// Returns an error if the task does not exist (HTTP status 404) or the server
    /// refuses the request.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn history(
        &self,
        task_id: &TaskId,
        query: &EventQuery,
    ) -> Result<EventPage, ListError> {
        let path = path(task_id, query);
        let body = self.read(&path).await?;
        serde_json::from_slice(&body).map_err(|error| ListError::Answer(error.into()))
    }

    /// Removes a task with its log and its state. The server tells the task's watchers.
    ///
    /// # Errors
    /// Returns an error if the task does not exist (HTTP status 404), the server cannot
    /// be reached, or the server refuses the request.
    ///
    /// # Cancel safety
    /// If the future is dropped, the server may still remove the task.
    pub async fn remove(&self, task_id: &TaskId) -> Result<(), ListError> {
        let path = format!("/api/tasks/{task_id}");
        self.exchange(Method::DELETE, &path).await.map(drop)
    }
}

/// Builds the path of the request. A task's id, a position and a type need no escaping.
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
