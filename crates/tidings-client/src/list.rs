//! Listing tasks: a request over HTTP, on a short connection of its own.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tidings_protocol::{TaskId, TaskSnapshot, TaskStatus};

use crate::client::Client;
use crate::defaults::MAX_LIST_BYTES;

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

/// Why tasks were not listed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// Nobody answers there.
    #[error("{url} cannot be reached")]
    Unreachable {
        /// The server.
        url: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The connection broke, or what came back is no HTTP.
    #[error("the server's answer broke off")]
    Http(#[from] hyper::Error),
    /// The server said no.
    #[error("the server answered with HTTP status {status}")]
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// The answer is none of this protocol, or larger than an answer may be.
    #[error("the server's answer is no list of tasks")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Between two tries of a server that is away.
const RETRY: Duration = Duration::from_secs(1);

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
        loop {
            match self.page(query).await {
                Err(ListError::Unreachable { url, cause }) => {
                    tracing::debug!(url, %cause, "no list of tasks yet");
                    tokio::time::sleep(RETRY).await;
                }
                other => return other,
            }
        }
    }

    async fn page(&self, query: &TaskQuery) -> Result<TaskPage, ListError> {
        let endpoint = self.endpoint();
        let stream = endpoint
            .connect()
            .await
            .map_err(|cause| ListError::Unreachable {
                url: endpoint.to_string(),
                cause,
            })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request = Request::get(endpoint.path(&path(query)))
            .header(header::HOST, endpoint.authority())
            .header(header::CONNECTION, "close");
        if let Some(token) = self.token() {
            let bearer = format!("Bearer {}", token.reveal());
            request = request.header(header::AUTHORIZATION, bearer);
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| ListError::Answer(error.into()))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        if !status.is_success() {
            connection.abort();
            return Err(ListError::Refused {
                status: status.as_u16(),
            });
        }
        let body = Limited::new(response.into_body(), MAX_LIST_BYTES).collect();
        let body = body.await.map_err(ListError::Answer)?.to_bytes();
        connection.abort();
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
