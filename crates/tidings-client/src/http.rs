//! A request over HTTP, on a short connection of its own.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;

use crate::client::Client;
use crate::defaults::MAX_LIST_BYTES;

/// Why a request over HTTP came to nothing.
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
    #[error("the server answered with HTTP status {status}: {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said about it.
        detail: String,
    },
    /// The answer is none of this protocol, or larger than an answer may be.
    #[error("the server's answer is none that was asked for")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The HTTP status of a server that has no time for this client now.
const TOO_MANY: u16 = 429;

/// Between two tries of a server that is away or has no time.
const RETRY: Duration = Duration::from_secs(1);

/// What of a refusal is read: RFC 9457.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

impl Client {
    /// Reads a path, and tries again while the server cannot be reached, or has no
    /// time for this client.
    ///
    /// This takes no closure: the future of an async closure that borrows is not known
    /// to be `Send`, and programs spawn what they read.
    pub(crate) async fn read(&self, path: &str) -> Result<Bytes, ListError> {
        loop {
            match self.exchange(Method::GET, path).await {
                Err(
                    error @ (ListError::Unreachable { .. }
                    | ListError::Refused {
                        status: TOO_MANY, ..
                    }),
                ) => {
                    tracing::debug!(%error, "no answer to a request yet");
                    tokio::time::sleep(RETRY).await;
                }
                other => return other,
            }
        }
    }

    /// The body of the answer to a request without one.
    pub(crate) async fn exchange(&self, method: Method, path: &str) -> Result<Bytes, ListError> {
        self.exchange_body(method, path, String::new()).await
    }

    /// The body of the answer to a request whose body is JSON, or empty.
    pub(crate) async fn exchange_body(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<Bytes, ListError> {
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
        let mut request = Request::builder()
            .method(method)
            .uri(endpoint.path(path))
            .header(header::HOST, endpoint.authority())
            .header(header::CONNECTION, "close");
        if let Some(token) = self.token() {
            let bearer = format!("Bearer {}", token.reveal());
            request = request.header(header::AUTHORIZATION, bearer);
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| ListError::Answer(error.into()))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_LIST_BYTES).collect();
        let body = body.await.map_err(ListError::Answer)?.to_bytes();
        connection.abort();
        if status.is_success() {
            return Ok(body);
        }
        let said = serde_json::from_slice::<Problem>(&body);
        Err(ListError::Refused {
            status: status.as_u16(),
            detail: said.map_or_else(
                |_| status.canonical_reason().unwrap_or("refused").to_owned(),
                |problem| problem.detail,
            ),
        })
    }
}
