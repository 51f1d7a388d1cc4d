//! Sends a request over HTTP, on a short connection of its own.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;

use crate::client::Client;
use crate::defaults::MAX_LIST_BYTES;

/// Returned when a request over HTTP did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// The server cannot be reached.
    #[error("{url} cannot be reached")]
    Unreachable {
        /// The URL of the server.
        url: String,
        /// The reason of the failure.
        #[source]
        cause: std::io::Error,
    },
    /// The connection broke, or the answer is not HTTP.
    #[error("the server's answer broke off")]
    Http(#[from] hyper::Error),
    /// The server refused the request.
    #[error("the server answered with HTTP status {status}: {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's explanation.
        detail: String,
    },
    /// The answer does not follow the protocol, or is too large.
    #[error("the server's answer is none that was asked for")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The HTTP status of a server that is too busy for this client at the moment.
const TOO_MANY: u16 = 429;

/// The pause between two attempts, while a server is away or too busy.
const RETRY: Duration = Duration::from_secs(1);

/// The part of a refusal that the client reads: RFC 9457.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

impl Client {
    /// Reads a path. While the server cannot be reached or is too busy, the call tries
    /// again.
    ///
    /// This function takes no closure. The compiler cannot prove that the future of a
    /// borrowing async closure is `Send`, and programs spawn such reads.
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

    /// Sends a request without a body, and returns the body of the answer.
    pub(crate) async fn exchange(&self, method: Method, path: &str) -> Result<Bytes, ListError> {
        self.exchange_body(method, path, String::new()).await
    }

    /// Sends a request with a JSON body or an empty one, and returns the body of the
    /// answer.
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
